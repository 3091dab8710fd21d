"""Many cases predicted in one go: reading, network and writing overlap, finished cases are passed over.

- What made a folder's predictions is written beside them (`predictions.json`): one configuration, or several as members, and what was done to their
  segmentations. A folder that holds predictions of another model, or files of the same names from elsewhere, is refused, so that results never
  mix and nothing is lost.
- A case counts as finished when its files are there, newer than its images and newer than `predictions.json`, which --overwrite writes anew: a
  run that was killed while it replaced predictions leaves none of the old ones among the new. With uncertainty its row must be in the table too.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autoseg.data.dataset import Case
from autoseg.errors import AutosegError
from autoseg.files import read_json, require_writable, sweep, write_json
from autoseg.imaging.image import Image, LabelMap
from autoseg.imaging.read import stem_of
from autoseg.imaging.write import write_image, write_labels
from autoseg.inference.decide import Prediction
from autoseg.inference.in_turn import Report, Timed, in_turn, read_ready
from autoseg.inference.model_folder import Model, fold_of, weights_fingerprint
from autoseg.inference.predictor import Predictor, Ready, Segmenter
from autoseg.inference.probabilities import write_probabilities
from autoseg.inference.reconstruction import Reconstructed, Reconstructor, output_files
from autoseg.inference.record import RECORD
from autoseg.inference.uncertainty_files import FOLDER, TABLE, UncertaintyTable, map_files, write_maps
from autoseg.preprocessing.source import naming
from autoseg.progress import Progress, silent

if TYPE_CHECKING:
    from autoseg.inference.classes import ClassPredictor


@dataclass(frozen=True)
class Source:
    """A configuration that makes predictions: written beside them, compared before more are added.

    Attributes
    ----------
    dataset, configuration, folds : which models
    weights : a digest for each fold
    step, mirror : how the window moves, and whether mirrored images are averaged
    previous : the same of a cascade's previous stage
    task : what the configuration is for
    """

    dataset: str
    configuration: str
    folds: tuple[str, ...]
    weights: tuple[str, ...]
    step: float
    mirror: bool
    previous: "Source | None" = None
    task: str = "segmentation"

    @classmethod
    def of(cls, models: Sequence[Model], segmenter: "Predictor | ClassPredictor", previous: "Source | None" = None) -> "Source":
        """What a segmenter made of these models is, `previous` what its previous stage is."""
        return cls(
            dataset=segmenter.plan.dataset.name,
            configuration=models[0].configuration_name,
            folds=tuple(fold_of(model.folder) for model in models),
            weights=tuple(weights_fingerprint(model) for model in models),
            step=segmenter.step,
            mirror=segmenter.mirror,
            previous=previous,
            task=segmenter.configuration.task,
        )


@dataclass(frozen=True)
class Outcome:
    """What was done: the files of all cases, and which of them had been there already."""

    files: dict[str, Path]
    skipped: tuple[str, ...]


def predict_cases(
    segmenter: Segmenter[Ready],
    cases: Sequence[Case],
    output: Path,
    source: Source | Sequence[Source],
    *,
    probabilities: bool = False,
    uncertainty: bool = False,
    finish: Callable[[LabelMap], LabelMap] | None = None,
    rules: Sequence[Mapping[str, object]] = (),
    overwrite: bool = False,
    timed: Timed = lambda case, seconds, elapsed: None,
    progress: Progress = silent,
    stage: str = "predict",
) -> Outcome:
    """Segment cases into a folder.

    Parameters
    ----------
    segmenter : a predictor, a cascade, or several of these
    cases : channels in the plan's order
    output : gets `<case><file ending>`; with `probabilities` also `<case>.npz`: "probabilities", float16 (channels, Z, Y, X), and "names", what each
        channel stands for; with `uncertainty` also `uncertainty/` and `uncertainty.csv`, see `uncertainty_files.py`
    source : what the segmenter is: one configuration, or each of several
    finish : post-processing, applied to the segmentation before it is written; probabilities and uncertainty stay as they are
    rules : the same in plain values, for the record; given exactly where `finish` is
    overwrite : predict finished cases again, and replace another model's predictions
    timed : told of each case the seconds from its being ready to its segmentation, and its share of the clock on the wall (see `timing.py`)

    Raises
    ------
    AutosegError
        a case cannot be read or predicted (names it; what was finished before stays), the folder holds another model's predictions
        or files of others, or an image would be overwritten
    ValueError
        post-processing is not described, or described and not there
    """
    if (finish is None) != (not rules):
        raise ValueError("finish and rules belong together")
    files = {case.name: output / f"{case.name}{segmenter.plan.dataset.file_ending}" for case in cases}
    wanted = {name: _wanted(target, probabilities, segmenter.members if uncertainty else 0) for name, target in files.items()}
    _require_apart(cases, files)
    if uncertainty:
        require_writable(output / FOLDER)
    targets = [*(path for paths in wanted.values() for path in paths), *([output / TABLE] if uncertainty else [])]
    claim(output, record_of(source, rules), targets, overwrite)
    table = UncertaintyTable(output, list(files), segmenter.plan.structure_names) if uncertainty else None
    sweep(output / FOLDER)

    def finished(case: Case) -> bool:
        return _all_newer(case, wanted[case.name]) and (table is None or case.name in table)

    def predict(ready: Ready, report: Report) -> Prediction:
        return segmenter.predict(ready, probabilities=probabilities, uncertainty=uncertainty, folder=output, progress=report)

    def write(case: Case, prediction: Prediction) -> None:
        _write(case, prediction, files[case.name], finish, table)

    waiting = [case for case in cases if overwrite or not finished(case)]
    skipped = in_turn(cases, waiting, lambda case: read_ready(case, segmenter), predict, write, progress, stage, timed)
    return Outcome(files, skipped)


def reconstruct_cases(
    reconstructor: Reconstructor, cases: Sequence[Case], output: Path, source: Source, *, overwrite: bool = False, progress: Progress = silent,
    stage: str = "predict",
) -> Outcome:  # fmt: skip
    """Write the maps of anomalies, or the denoised scans, of cases into a folder.

    Parameters
    ----------
    reconstructor : what makes them
    cases : channels in the plan's order
    output : gets the files that `reconstruction.output_files` names; the outcome's `files` hold the first of each case
    source, overwrite, progress, stage : as for `predict_cases`, and so are the errors
    """
    wanted = {case.name: output_files(reconstructor.plan, source.configuration, case.name, output) for case in cases}
    for case in cases:
        for target in wanted[case.name]:
            _require_apart([case], {case.name: target})
    claim(output, record_of(source), [path for paths in wanted.values() for path in paths], overwrite)

    def write(case: Case, made: Reconstructed) -> None:
        for channel, target in reversed(list(zip(made.image.array, wanted[case.name], strict=True))):  # the first says that the rest is there
            write_image(Image(channel[None], made.image.geometry), target)

    waiting = [case for case in cases if overwrite or not _all_newer(case, wanted[case.name])]
    skipped = in_turn(
        cases, waiting, lambda case: read_ready(case, reconstructor),
        lambda ready, report: reconstructor.predict(ready, progress=report), write, progress, stage,
    )  # fmt: skip
    return Outcome({name: paths[0] for name, paths in wanted.items()}, skipped)


def record_of(source: Source | Sequence[Source], rules: Sequence[Mapping[str, object]] = ()) -> dict[str, object]:
    """What `predictions.json` holds.

    Parameters
    ----------
    source : one configuration, or each of several
    rules : post-processing in plain values; empty where there is none

    Returns
    -------
    of one configuration its own facts, of several "dataset" and "members"; and "postprocessing" where there are rules
    """
    sources = [source] if isinstance(source, Source) else list(source)
    records = [_own_record(one) for one in sources]
    record: dict[str, object] = records[0] if len(records) == 1 else {"dataset": sources[0].dataset, "members": records}
    if rules:
        record["postprocessing"] = json.loads(json.dumps(list(rules)))  # as it will be read again
    return record


def is_finished(case: Case, target: Path, *, probabilities: bool = False) -> bool:
    """Whether a case's segmentation, and its probabilities if wanted, are there, newer than its images and than the record of what made them."""
    return _all_newer(case, _wanted(target, probabilities, 0))


def _all_newer(case: Case, wanted: Sequence[Path]) -> bool:
    before = [path for path in (*case.scans, wanted[0].with_name(RECORD)) if path.is_file()]  # a missing image is the reader's to name
    newest = max((path.stat().st_mtime_ns for path in before), default=0)
    return all(path.is_file() and path.stat().st_mtime_ns >= newest for path in wanted)


def _wanted(target: Path, probabilities: bool, members: int) -> list[Path]:
    """The files of a case, the segmentation first; `members` is 0 where nobody asks for uncertainty."""
    return [target, *([_probability_file(target)] if probabilities else []), *(map_files(target, members) if members else [])]


def _require_apart(cases: Sequence[Case], files: Mapping[str, Path]) -> None:
    for case in cases:
        if files[case.name].resolve() in {path.resolve() for path in case.scans}:
            raise AutosegError(f"Case {case.name}: the prediction would replace the image {files[case.name]}. Choose another folder with -o.")


def _own_record(source: Source) -> dict[str, object]:
    record = asdict(source) | {"folds": list(source.folds), "weights": list(source.weights)}
    del record["previous"]
    if source.task == "segmentation":  # what a record says that says nothing
        del record["task"]
    return record if source.previous is None else record | {"previous": _own_record(source.previous)}


def claim(output: Path, mine: Mapping[str, object], targets: Sequence[Path], overwrite: bool) -> None:
    """Write the record of what makes predictions into their folder.

    Raises
    ------
    AutosegError
        without `overwrite`: another record is there, or one of the targets and no record
    """
    record = output / RECORD
    if not overwrite and record.is_file():
        if read_json(record) != mine:
            raise AutosegError(
                f"{output} holds predictions of another model or with other settings (see {RECORD} there)."
                " Choose another folder with -o, or replace them with --overwrite."
            )
        return
    foreign = [] if overwrite else [target for target in targets if target.exists()]
    if foreign:
        raise AutosegError(
            f"{foreign[0]} is there already, and no {RECORD} beside it says what made it."
            " Choose another folder with -o, or replace it with --overwrite."
        )
    write_json(record, mine)


def _write(case: Case, prediction: Prediction, target: Path, finish: Callable[[LabelMap], LabelMap] | None, table: UncertaintyTable | None) -> None:
    """Write what was predicted of a case; the segmentation comes last, and says that the rest is there."""
    with naming(case):
        labels = finish(prediction.labels) if finish else prediction.labels
    if soft := prediction.probabilities:
        write_probabilities(_probability_file(target), soft, soft.shape, soft.names)
    if table is not None and (doubts := prediction.uncertainty):
        write_maps(doubts, labels.geometry, map_files(target, 1 if doubts.disagreement is None else 2))
        table.put(case.name, doubts)
    write_labels(labels, target)


def _probability_file(target: Path) -> Path:
    return target.with_name(stem_of(target) + ".npz")
