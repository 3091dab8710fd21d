"""One fold trained and validated, under a lock, with the plan and the cases that it began with."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from autoseg.api._classify import classes_of, validate_classes
from autoseg.api._fold_cases import keep_cases, read_cases
from autoseg.api._job import Job, Key, stopping
from autoseg.api._validate import validate
from autoseg.data.dataset import Case
from autoseg.errors import AutosegError, counted, listing
from autoseg.evaluation.classification import ClassEvaluation
from autoseg.evaluation.reconstructions import ReconstructionScores
from autoseg.evaluation.result import Evaluation
from autoseg.files import read_record, remove_folder, sweep, write_json
from autoseg.inference.execution import enough_memory
from autoseg.inference.model_folder import PLAN, PREVIOUS, fold_of, is_trained
from autoseg.planning.plan import Augmentation, read_plan
from autoseg.preprocessing.previous_store import PreviousStore
from autoseg.preprocessing.store import CaseStore
from autoseg.reporting.curves import draw_progress
from autoseg.training import checkpoint
from autoseg.training.batches import PatchSource
from autoseg.training.monitor import why_stopped
from autoseg.training.run import Run, has_ended, read_run
from autoseg.training.trainer import Outcome, Trainer

TOO_LARGE = (
    "Make patch_size or batch_size in the plan smaller, plan anew for less memory (autoseg plan DATASET --gpu-memory GB --force),"
    " or close other programs."
)
VALIDATION_SEED = 7_919  # added to the seed, so that validation patches are drawn apart from training patches


@dataclass(frozen=True)
class Trained:
    """A trained fold.

    Attributes
    ----------
    folder : the model's folder
    fold : "0".."4" or "all"
    steps, seconds : how long it was trained, over all sittings
    recipe : name of the plan's recipe that was used
    evaluation : of the validation cases at full resolution; `ReconstructionScores` of the tasks anomaly and denoising; None for fold "all" and where
        the configuration only classifies
    classification : how well the validation cases were classified, where it does that
    """

    folder: Path
    fold: str
    steps: int
    seconds: float
    recipe: str
    evaluation: Evaluation | ReconstructionScores | None
    classification: ClassEvaluation | None = None


@dataclass(frozen=True)
class TrainingData:
    """What folds are trained from.

    Attributes
    ----------
    store : the ready cases; for a cascade with the previous stage's segmentations
    weights : fold of the previous stage -> digest of the weights that made its segmentations; empty where there is no previous stage
    """

    store: CaseStore | PreviousStore
    weights: Mapping[str, str] = field(default_factory=dict)


def train_fold(job: Job, key: Key, ready: TrainingData, *, restart: bool = False, pretrained: Path | None = None) -> Trained:
    """Train a fold, or what is missing of it, and validate it.

    Parameters
    ----------
    job, key, ready : what, which fold, from what
    restart : delete the run that lies there first
    pretrained : folder of the model that a new run starts from

    Raises
    ------
    Interrupted
        the job's `should_stop` answered yes
    AutosegError
        another process trains into the folder, or plan or cases changed since the run there began
    """
    folder = job.folder(key)
    with locked(folder):
        if restart and folder.exists():
            remove_folder(folder)
        _tidy(folder)
        training, validation = job.split(key)
        _require_classes(job, training)
        require_same_plan(job, folder)
        keep_cases(folder, training, validation, job.cases)
        _notice_state(job, folder, len(training), len(validation))
        _notice_previous(job, folder, ready)
        _notice_seen(job, folder, pretrained, validation)
        outcome = _train(job, key, ready, training, validation, pretrained)
        evaluation, classification = _validate(job, key, ready) if validation else (None, None)
    return Trained(folder, str(key), outcome.steps, outcome.seconds, outcome.run.recipe, evaluation, classification)


def validate_fold(job: Job, key: Key, ready: TrainingData) -> None:
    """Validate a fold that is trained, and do not train it further."""
    with locked(job.folder(key)):
        _tidy(job.folder(key))
        _validate(job, key, ready)


def require_same_plan(job: Job, folder: Path) -> None:
    """A run goes on with the plan it began with; what only prediction reads may change.

    Raises
    ------
    AutosegError
        the plan changed
    """
    if not (folder / PLAN).is_file() or read_run(folder) is None:
        return
    before = read_plan(folder / PLAN)
    ignored = {"why", "inference", "inherits"}
    same = [
        before.configuration(job.name).model_dump(exclude=ignored) == job.configuration.model_dump(exclude=ignored),
        before.transpose_forward == job.plan.transpose_forward,
        before.dataset.labels == job.plan.dataset.labels,
        before.dataset.channel_names == job.plan.dataset.channel_names,
    ]
    if not all(same):
        raise AutosegError(
            f"The plan's '{job.name}' changed since the run in {folder} began. Put {job.place.plan(job.plan.dataset.name)} back as it was"
            f" (a copy is {folder / PLAN}), or start anew with --restart."
        )


def is_complete(folder: Path) -> bool:
    """Whether there are weights and no unfinished run; a checkpoint that was deleted is no unfinished run."""
    if not is_trained(folder):
        return False
    run = read_run(folder)
    return run is None or checkpoint.read_counters(folder) is None or has_ended(folder, run.target)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Nobody else trains into the folder within."""
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise AutosegError(f"Another autoseg is training into {folder} right now. Wait for it, or stop it.") from None
    except OSError as error:
        raise AutosegError(f"Cannot write into {folder}: {error.strerror or error}. Make it writable or free the disk.") from error
    try:
        yield
    finally:
        lock.release()


def _require_classes(job: Job, training: list[str]) -> None:
    """A network that classifies cases learns from some of each class."""
    block = job.configuration.classification
    classes = classes_of(job.cases, block) if block else None
    if block is None or classes is None:
        return
    known = {block.classes[classes[name]] for name in training if name in classes}
    if absent := [name for name in block.classes if name not in known]:
        raise AutosegError(
            f"{job.name} cannot learn to tell {listing(block.classes)}: none of the {counted(len(training), 'case')} to train on is"
            f" {listing(absent)} ({block.target}). Divide the folds otherwise, or add cases."
        )
    if left := len(job.cases) - len(classes):
        where = "left out" if job.configuration.task == "classification" else "segmented, and teach nothing of it"
        job.notify(f"{counted(left, 'case')} without {block.target} {'is' if left == 1 else 'are'} {where}.")


def _tidy(folder: Path) -> None:
    for place in (folder.parent, folder, folder / "validation"):
        sweep(place)


def _notice_state(job: Job, folder: Path, training: int, validation: int) -> None:
    run = read_run(folder)
    if run is None:
        job.notify(f"{counted(training, 'case')} to train on, {validation} to validate on.")
        return
    counters = checkpoint.read_counters(folder)
    if counters is not None and counters.stopped:
        job.notify(
            f"The run in {folder} {why_stopped(counters, run, validated=validation > 0)}{_asked_for_more(job, run)}; only what is missing is done."
            " To train longer, raise stop_after in the plan and start anew with --restart."
        )
    elif not has_ended(folder, job.target or run.target):
        job.notify(f"An unfinished run is taken up in {folder}.")
    elif job.target is not None and not has_ended(folder, run.target):
        job.notify(f"The unfinished run in {folder} is as long already as {job.target.describe()}; it ends here, and only what is missing is done.")
    else:
        kept = job.target is not None and job.target != run.target
        asked = f", and {job.target.describe()} ask for no more" if job.target and kept else ""
        job.notify(
            f"{folder} is trained already, for {run.target.describe()}{asked}; only what is missing is done."
            f" Lengthen it with {'a longer ' if kept else ''}--epochs or --budget, or start anew with --restart."
        )
    if run.seed != job.seed:
        job.notify(f"It keeps the seed that it began with, {run.seed}.")


def _asked_for_more(job: Job, run: Run) -> str:
    if job.target is None or job.target == run.target:
        return ""
    return f", so it does not go on for {job.target.describe()}"


def _notice_previous(job: Job, folder: Path, ready: TrainingData) -> None:
    """Keep which weights of the previous stage a run began with, and say when they are others now."""
    path, previous = folder / PREVIOUS, job.configuration.previous_stage
    if previous is None:
        return
    if read_run(folder) is None or not path.is_file():
        write_json(path, {"configuration": previous, "weights": dict(ready.weights)})
    elif read_record(path).get("weights") != ready.weights:
        job.notify(
            f"{previous} was trained again since the run in {folder} began, which saw other segmentations of it. For a result of one piece, start"
            f" anew: autoseg train {job.name} {fold_of(folder)} --restart"
        )


def _notice_seen(job: Job, folder: Path, pretrained: Path | None, validation: list[str]) -> None:
    """Say when a new run starts from weights that were, by their names, trained on cases that it validates on."""
    learnt = read_cases(pretrained) if pretrained is not None and read_run(folder) is None else None
    seen = sorted(set(validation).intersection(learnt.training if learnt else ()))
    if seen:
        job.notify(
            f"{pretrained} was trained on cases with the names of {len(seen)} of the {len(validation)} to validate on ({listing(seen)}): if they"
            " are the same patients, the validation will flatter."
        )


def _train(job: Job, key: Key, ready: TrainingData, training: list[str], validation: list[str], pretrained: Path | None) -> Outcome:
    folder, run = job.folder(key), read_run(job.folder(key))
    seed = run.seed if run else job.seed
    block = job.configuration.classification
    targets = classes_of(job.cases, block) if block else None

    def patches(names: list[str], augmentation: Augmentation | None, seed: int) -> PatchSource:
        regions = job.plan.labels.region_classes if job.plan.learns_regions else None
        classes = len(job.plan.labels.values)
        return PatchSource(
            ready.store, names, job.configuration, augmentation, seed, num_classes=classes, regions=regions, targets=targets
        )  # fmt: skip

    with enough_memory(job.device, TOO_LARGE):
        trainer = Trainer(
            job.plan, job.name, str(key), folder,
            training=lambda recipe, seed: patches(training, recipe.augmentation, seed),
            validation=patches(validation, None, seed + VALIDATION_SEED) if validation else None,
            device=job.device, target=job.target, seed=seed, pretrained=pretrained, draw=draw_progress, notify=job.notify,
        )  # fmt: skip
        return trainer.train(progress=job.progress, should_stop=job.should_stop)


def _validate(job: Job, key: Key, ready: TrainingData) -> tuple[Evaluation | ReconstructionScores | None, ClassEvaluation | None]:
    """How well a fold segments, and how well it classifies, as far as it does either."""
    validation = set(job.split(key)[1])
    cases = [case for case in job.cases if case.name in validation]
    evaluation = classification = None
    if job.configuration.task != "classification":
        shapes = {case.name: ready.store.shape(case.name) for case in cases}
        evaluation = validate(job.folder(key), cases, job.device, shapes=shapes, progress=stopping(job), notify=job.notify)
    if job.configuration.classification is not None and any(_has_class(job, case) for case in cases):
        classification = validate_classes(job.folder(key), cases, job.device, progress=stopping(job), notify=job.notify)
    return evaluation, classification


def _has_class(job: Job, case: Case) -> bool:
    block = job.configuration.classification
    return block is not None and (block.of_presence or case.attributes.get(block.target) in block.classes)
