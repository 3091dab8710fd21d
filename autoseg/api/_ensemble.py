"""`ensemble`: predictions made elsewhere, ours or nnU-Net's, made into one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.api._members import Member, find_members, labels_named, of_regions, require_fitting, require_probabilities
from autoseg.data.dataset import Labels
from autoseg.errors import AutosegError, listing
from autoseg.files import read_json, require_writable, sweep, write_json
from autoseg.imaging.image import LabelMap, require_same_grid
from autoseg.imaging.read import read_labels
from autoseg.imaging.values import count_values
from autoseg.imaging.write import write_labels
from autoseg.inference.ensembling import majority, mean_argmax, mean_regions, patterns, staple
from autoseg.inference.probabilities import ProbabilityFile
from autoseg.inference.record import ENSEMBLE_RECORD
from autoseg.progress import Progress, silent
from autoseg.workspace import Workspace

METHODS = ("auto", "mean", "majority", "staple")
_ALIKE = 0.9  # of a structure in a label map must be in its probabilities too; post-processing adds little


@dataclass(frozen=True)
class Ensembled:
    """What an ensemble did.

    Attributes
    ----------
    files : case -> segmentation
    skipped : cases that were finished before
    method : "mean", "majority" or "staple"
    members : the folders
    """

    files: Mapping[str, Path]
    skipped: tuple[str, ...]
    method: str
    members: tuple[Path, ...]


def ensemble(
    inputs: Sequence[Path | str],
    output: Path | str,
    *,
    method: str = "auto",
    dataset: str | None = None,
    overwrite: bool = False,
    workspace: Path | str | None = None,
    progress: Progress = silent,
    notify: Callable[[str], None] = lambda text: None,
) -> Ensembled:
    """Make one segmentation of every case from several folders of predictions.

    Parameters
    ----------
    inputs : at least two folders with a label map of every case, and with `<case>.npz` beside it where the mean is wanted
    output : folder for the segmentations, in the first folder's format, and `ensemble.json`
    method : "mean" of the probabilities, "majority" or "staple" of the label maps; "auto": the mean where all folders have probabilities, else
        the majority
    dataset : whose classes; by default those that the folders' own `predictions.json` or `dataset.json` tell
    overwrite : do finished cases again, and replace other predictions of the same names
    workspace : where a dataset is looked up
    progress, notify : told after each case; told which method was taken and why

    Raises
    ------
    GeometryMismatch
        members of a case lie on different grids
    AutosegError
        there is no such method; cases, classes or channels differ; a file is missing or damaged; the output holds something else
    """
    if method not in METHODS:
        raise AutosegError(f"There is no method '{method}' to ensemble with. Choose one of: {', '.join(METHODS)}.")
    target, place = Path(output), Workspace.find(workspace)
    folders = [Path(one) for one in inputs]
    if target.resolve() in {folder.resolve() for folder in folders}:
        raise AutosegError(f"{target} is a member itself, and would be replaced. Choose another folder with -o.")
    members = find_members(folders, labels_named(dataset, place) if dataset else None, place)
    chosen = _choose(method, members, notify)
    labels = require_probabilities(members) if chosen == "mean" else next((member.labels for member in members if member.labels), None)
    files = {case: target / path.name for case, path in sorted(members[0].maps.items())}
    require_writable(target)
    sweep(target)
    finished = set() if overwrite else _finished(target, files, members, _record(members, chosen))
    waiting = [case for case in files if case not in finished]
    require_fitting(members, waiting, labels if chosen == "mean" else None)
    if overwrite or not (target / ENSEMBLE_RECORD).is_file():  # what is older than the record counts as unfinished
        write_json(target / ENSEMBLE_RECORD, _record(members, chosen))
    for done, case in enumerate(waiting, start=1):
        fused = _mean(case, members, labels) if chosen == "mean" and labels else _vote(case, members, chosen, labels)
        write_labels(fused, files[case])
        progress("ensemble", done, len(waiting), case)
    return Ensembled(files, tuple(case for case in files if case in finished), chosen, tuple(folders))


def _choose(method: str, members: Sequence[Member], notify: Callable[[str], None]) -> str:
    without = [member.folder for member in members if not member.probabilities]
    chosen = method if method != "auto" else "majority" if without else "mean"
    if method == "auto":
        notify(
            f"No probabilities (.npz) in {listing(without)}: label maps are combined by majority vote."
            if without
            else f"The probabilities of {len(members)} members are averaged."
        )
    if chosen == "majority" and len(members) == 2:
        notify("Two members can only agree or tie, and a tie goes to the smaller value. Use their probabilities (--method mean), or a third member.")
    return chosen


def _record(members: Sequence[Member], method: str) -> dict[str, Any]:
    named = [member.record["dataset"] for member in members if member.record and member.record.get("dataset")]
    return {
        "dataset": named[0] if named else None,
        "method": method,
        "members": [{"folder": str(member.folder.resolve()), "made_by": member.record} for member in members],
    }


def _finished(target: Path, files: Mapping[str, Path], members: Sequence[Member], mine: dict[str, Any]) -> set[str]:
    """Cases whose file is there, newer than their members and than the record; anything else in their place is refused."""
    record = target / ENSEMBLE_RECORD
    if not record.is_file():
        if foreign := [path for path in files.values() if path.exists()]:
            raise AutosegError(
                f"{foreign[0]} is there already, and no {ENSEMBLE_RECORD} beside it says what made it."
                " Choose another folder with -o, or replace it with --overwrite."
            )
        return set()
    if read_json(record) != mine:
        raise AutosegError(
            f"{target} holds an ensemble of other members or by another method (see {ENSEMBLE_RECORD} there)."
            " Choose another folder with -o, or replace it with --overwrite."
        )
    finished = set()
    for case, path in files.items():
        before = [record, *(files[case] for member in members for files in (member.maps, member.probabilities) if case in files)]
        if path.is_file() and path.stat().st_mtime_ns >= max(one.stat().st_mtime_ns for one in before):
            finished.add(case)
    return finished


def _mean(case: str, members: Sequence[Member], labels: Labels) -> LabelMap:
    files = [ProbabilityFile.open(member.probabilities[case]) for member in members]
    geometry = read_labels(members[0].maps[case]).geometry
    regions = of_regions(files[0], labels)
    for file, member in zip(files, members, strict=True):
        _require_alike(file, member.maps[case], labels, regions)
    try:
        classes = mean_regions(files, labels.painted_classes) if regions else mean_argmax(files)
    except ValueError as error:
        named = listing(file.path for file in files)
        raise AutosegError(f"Case {case}: {error} in one of {named}. Predict this case again.") from error
    return LabelMap(labels.to_values(classes), geometry)


def _require_alike(file: ProbabilityFile, label_map: Path, labels: Labels, regions: bool) -> None:
    """The first channel must agree with the label map, so that probabilities on a grid turned otherwise are noticed."""
    values = read_labels(label_map).array
    structure = values == labels.region_order[0] if regions else values > 0
    first = next(iter(file))[structure]
    alike = first >= 0.5 if regions else first <= 0.5  # the first class is the background
    if structure.any() and alike.mean() < _ALIKE:
        raise AutosegError(
            f"{file.path} does not belong to {label_map}: where that has a structure, these have none. Are their axes in another order?"
            " Predict both again, or choose --method majority."
        )


def _vote(case: str, members: Sequence[Member], method: str, labels: Labels | None) -> LabelMap:
    first = members[0].maps[case]
    geometry = read_labels(first).geometry

    def maps() -> Iterator[NDArray[np.integer]]:
        for member in members:
            found = read_labels(member.maps[case])
            require_same_grid(geometry, found.geometry)
            if labels:
                _require_declared(found, member.maps[case], labels)
            yield found.array

    together = patterns(maps())
    return LabelMap(majority(together) if method == "majority" else staple(together), geometry)


def _require_declared(found: LabelMap, path: Path, labels: Labels) -> None:
    if strange := sorted(count_values(found.array).keys() - set(labels.allowed)):
        raise AutosegError(
            f"{path} holds the value {listing(strange)}, which no class has; there are {listing(labels.allowed)}."
            " Take this folder out, or name the right dataset with -d."
        )
