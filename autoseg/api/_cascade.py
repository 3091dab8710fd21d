"""What folds are trained from: ready cases, and for a cascade the segmentations of its previous stage, which is trained first where it must be.

- Every case's segmentation comes from the fold of the previous stage that validates on it, so from networks that did not see it: that fold's
  `validation/` holds it, on the scan's own grid.
- Folds that are trained and validated are taken as they are, however long they were trained. What is missing is trained with the same options.
- Nothing is believed: before a segmentation is used, `cases.json` of its fold must list the case for validation and not for training, and
  `predictions.json` must name the weights that lie there. Weights that it does not name are written again from the fold's own checkpoint.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from autoseg.api._fold import TrainingData, is_complete, require_same_plan, train_fold, validate_fold
from autoseg.api._fold_cases import CASES, read_cases
from autoseg.api._job import Job, Length, stopping
from autoseg.errors import AutosegError, listing
from autoseg.files import read_record, require_writable, sweep
from autoseg.inference.model_folder import is_trained, stored_fingerprint
from autoseg.inference.record import RECORD
from autoseg.inference.run import is_finished
from autoseg.preprocessing.dataset import preprocess
from autoseg.preprocessing.previous import preprocess_previous
from autoseg.preprocessing.previous_store import PreviousStore
from autoseg.preprocessing.store import CaseStore, store_name
from autoseg.training import checkpoint
from autoseg.training.run import read_run


@dataclass(frozen=True)
class Segmented:
    """The out-of-fold segmentations of a configuration.

    Attributes
    ----------
    files : case -> segmentation on the scan's grid
    weights : fold -> digest of the weights that made its part of them
    """

    files: Mapping[str, Path]
    weights: Mapping[str, str]


def make_ready(job: Job) -> TrainingData:
    """Make all cases ready for a configuration; for a cascade with the previous stage's segmentations.

    Raises
    ------
    Interrupted
        the job's `should_stop` answered yes; what was finished is kept
    AutosegError
        a case cannot be read, a folder cannot be written, or the previous stage is not one that may be used
    """
    previous = job.configuration.previous_stage
    segmented = segment_out_of_fold(job.of(previous), job.name) if previous else None
    images = CaseStore.of(job.preprocessed(store_name(job.plan, job.name)), job.plan, job.configuration)
    sweep(images.folder)
    preprocess(job.cases, job.plan, {job.name: images}, progress=stopping(job), stage=f"preprocess {job.name}")
    if segmented is None:
        return TrainingData(images)
    store = PreviousStore.of(job.preprocessed(job.name), images, job.plan, job.configuration)
    sweep(store.folder)
    preprocess_previous(
        job.cases, segmented.files, job.plan, job.configuration, store, progress=stopping(job), stage=f"segmentations of {previous}"
    )  # fmt: skip
    return TrainingData(store, segmented.weights)


def segment_out_of_fold(job: Job, wanted_by: str) -> Segmented:
    """Have every case segmented by the fold that validates on it; folds are trained and validated where that was not done yet.

    Parameters
    ----------
    job : of the previous stage
    wanted_by : the cascade's name, for the notice

    Raises
    ------
    Interrupted
        the job's `should_stop` answered yes; the same command goes on from there
    AutosegError
        a fold was trained on a case that it validates on, or with another plan; names fold and file
    """
    keys = range(len(job.folds.validation))
    require_writable(job.model)
    for key in keys:
        if read_run(job.folder(key)) or is_trained(job.folder(key)):
            require_unseen(job, key)
            require_same_plan(job, job.folder(key))
    untrained = [key for key in keys if not is_complete(job.folder(key))]
    unjudged = [key for key in keys if key not in untrained and not _is_validated(job, key)]
    if untrained or unjudged:
        job.notify(_notice(job, wanted_by, untrained, unjudged))
        ready = make_ready(job)
        for key in sorted(untrained + unjudged):
            job.notify(f"{job.name}, fold {key}:")
            if key in untrained:
                train_fold(job, key, ready)
            elif checkpoint.read_counters(job.folder(key)):
                train_fold(replace(job, length=Length()), key, ready)
            else:
                _require_own_weights(job, key)
                validate_fold(job, key, ready)
        job.notify(f"{job.name} is complete; on with {wanted_by}.")
    files: dict[str, Path] = {}
    for key in keys:
        require_unseen(job, key)
        if not _is_validated(job, key):
            raise AutosegError(
                f"{job.folder(key) / 'validation'} does not hold the segmentation of every case that fold {key} validates on, made with the weights"
                f" that lie there (see {RECORD}). The same command makes them anew."
            )
        files |= _validation_files(job, key)
    return Segmented(files, {str(key): stored_fingerprint(job.folder(key)) for key in keys})


def require_unseen(job: Job, key: int) -> None:
    """A fold's validation cases were not trained on.

    Raises
    ------
    AutosegError
        the fold was trained on one of them, or does not say what it was trained on
    """
    path, validation = job.folder(key) / CASES, job.split(key)[1]
    anew = f"Put the folds back as they were when it was trained, or train it anew: autoseg train {job.name} {key} --restart"
    if not path.is_file():
        raise AutosegError(f"{path} is missing, so nobody knows which cases fold {key} of '{job.name}' was trained on. {anew}")
    kept = read_cases(job.folder(key))
    if kept is None:
        raise AutosegError(f"{path} does not list the cases of 'training' and 'validation'. {anew}")
    if seen := sorted(set(validation).intersection(kept.training)):
        raise AutosegError(
            f"Fold {key} of '{job.name}' was trained on {listing(seen)} (see {path}). Its segmentation of a case that it learnt by heart would"
            f" mislead the networks that build on it. {anew}"
        )
    if foreign := sorted(set(validation).difference(kept.validation)):
        raise AutosegError(f"Fold {key} of '{job.name}' does not validate on {listing(foreign)} (see {path}). {anew}")


def _is_validated(job: Job, key: int) -> bool:
    """Whether every validation case was predicted with the weights that lie in the fold's folder, and judged."""
    folder, names = job.folder(key), set(job.split(key)[1])
    record, metrics = folder / "validation" / RECORD, folder / "metrics.json"
    if not record.is_file() or not metrics.is_file() or metrics.stat().st_mtime_ns < record.stat().st_mtime_ns:
        return False
    if not _names_weights(folder):
        return False
    files = _validation_files(job, key)
    return all(is_finished(case, files[case.name]) for case in job.cases if case.name in names)


def _names_weights(folder: Path) -> bool:
    return bool(read_record(folder / "validation" / RECORD).get("weights") == [stored_fingerprint(folder)])


def _require_own_weights(job: Job, key: int) -> None:
    """Weights that came from elsewhere, with no checkpoint to write the fold's own again, may be those of another fold."""
    folder = job.folder(key)
    if (folder / "validation" / RECORD).is_file() and not _names_weights(folder):
        raise AutosegError(
            f"The weights in {folder} are not those that its validation was made with (see validation/{RECORD}), and there is no checkpoint to tell"
            f" whose they are. Put the right ones back, or train it anew: autoseg train {job.name} {key} --restart"
        )


def _validation_files(job: Job, key: int) -> dict[str, Path]:
    folder = job.folder(key) / "validation"
    return {name: folder / f"{name}{job.plan.dataset.file_ending}" for name in job.split(key)[1]}


def _notice(job: Job, wanted_by: str, untrained: list[int], unjudged: list[int]) -> str:
    if job.length.epochs is not None:
        how = ", each with the same --epochs"
    else:
        how = ", each with the same --budget" if job.length.budget is not None else ""
    todo = [f"training {_folds(untrained)} of {job.name} first{how}"] if untrained else []
    todo += [f"validating {_folds(unjudged)}{'' if untrained else f' of {job.name} first'}"] if unjudged else []
    return (
        f"{wanted_by} reads the segmentations of {job.name}, which must come from networks that did not see the case: {', and '.join(todo)}."
    )  # fmt: skip


def _folds(keys: list[int]) -> str:
    if len(keys) == 1:
        return f"fold {keys[0]}"
    return f"folds {', '.join(map(str, keys[:-1]))} and {keys[-1]}"
