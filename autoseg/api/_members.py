"""What is to be ensembled: folders of predictions of the same cases on the same grids, found and compared before any work.

- Whose classes the channels of an `.npz` are is told by the record beside it (ours) or by `dataset.json` (nnU-Net leaves it there), or by the user;
  it is never guessed.
- Where folders disagree, all that is wrong is said at once, with the files.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoseg.api._meaning import meaning_named, meaning_recorded
from autoseg.api._tasks import require_segmenting
from autoseg.data.dataset import Labels
from autoseg.data.description import read_dataset_json
from autoseg.errors import AutosegError, GeometryMismatch, listing
from autoseg.evaluation.evaluate import label_files
from autoseg.files import read_record
from autoseg.imaging.image import require_same_grid
from autoseg.imaging.read import read_geometry
from autoseg.inference.probabilities import ProbabilityFile
from autoseg.inference.record import ENSEMBLE_RECORD, RECORD
from autoseg.workspace import Workspace

DESCRIPTION = "dataset.json"
_LISTED = 20


@dataclass(frozen=True)
class Member:
    """A folder of predictions.

    Attributes
    ----------
    folder : where they lie
    maps : case -> label map
    probabilities : case -> `.npz`; empty where there are none
    labels : what values and channels mean, or None where nothing says so
    record : what its `predictions.json` or `ensemble.json` says, or None
    """

    folder: Path
    maps: dict[str, Path]
    probabilities: dict[str, Path]
    labels: Labels | None
    record: dict[str, Any] | None


def find_members(folders: Sequence[Path], labels: Labels | None, place: Workspace) -> list[Member]:
    """Look into the folders.

    Parameters
    ----------
    folders : at least two
    labels : of the dataset that the user named; None: what each folder says
    place : where a dataset that a record names has its plan

    Raises
    ------
    AutosegError
        there are fewer than two folders, or one twice; one holds no label map, or lacks a case that another has; classes differ
    """
    if len(folders) < 2:
        raise AutosegError("An ensemble needs at least two folders of predictions. Name them all: autoseg ensemble -i out_a out_b -o out")
    resolved = [folder.resolve() for folder in folders]
    if twice := sorted({str(folder) for folder in resolved if resolved.count(folder) > 1}):
        raise AutosegError(f"{listing(twice)} is named more than once. A member has one voice: name every folder once.")
    members = [_member(folder, labels, place) for folder in folders]
    everyone = set().union(*(member.maps for member in members))
    lacking = [(member.folder, sorted(everyone - member.maps.keys())) for member in members]
    if faults := [f"{folder} lacks {listing(cases, limit=_LISTED)}" for folder, cases in lacking if cases]:
        raise AutosegError("\n- ".join(["Not all members have all cases. Predict what is missing, or move it out of the others:", *faults]))
    known = [member for member in members if member.labels]
    for member in known[1:]:
        if member.labels != known[0].labels:
            raise AutosegError(
                f"{known[0].folder} and {member.folder} have different classes: {_described(known[0].labels)} and {_described(member.labels)}."
                " Only predictions of the same classes can be one; if these are, name their dataset with -d."
            )
    return members


def labels_named(dataset: str, place: Workspace) -> Labels:
    """The labels of a dataset of the workspace, from its plan or else its raw data."""
    return meaning_named(dataset, place).labels


def record_in(folder: Path) -> dict[str, Any] | None:
    """What `predictions.json` or `ensemble.json` in a folder says, or None."""
    return next((read_record(folder / name) for name in (RECORD, ENSEMBLE_RECORD) if (folder / name).is_file()), None)


def require_segmentations(folder: Path) -> None:
    """Make sure that a folder of predictions does not hold something else.

    Raises
    ------
    AutosegError
        its record says that it does
    """
    record = record_in(folder)
    task = record.get("task") if record else None
    if record is not None and task is not None:
        require_segmenting(
            {f"{record.get('configuration')} of {record.get('dataset')}": str(task)},
            f"what lies in {folder} (see {RECORD} there) cannot be taken for them. How good it is on cases that it did not see is in metrics.csv of"
            " the fold's model folder.",
        )


def labels_recorded(record: dict[str, Any] | None, place: Workspace) -> Labels | None:
    """The labels of the dataset that a record names, where the workspace has its plan."""
    meaning = meaning_recorded(record, place)
    return meaning.labels if meaning else None


def require_probabilities(members: Sequence[Member]) -> Labels:
    """Make sure that the mean can be taken, and say of which classes.

    Raises
    ------
    AutosegError
        a case has no `.npz`, or nothing says what the channels mean
    """
    faults = []
    for member in members:
        missing = sorted(member.maps.keys() - member.probabilities.keys())
        faults += [f"{member.folder} lacks {listing((f'{case}.npz' for case in missing), limit=_LISTED)}"] if missing else []
    if faults:
        advice = "Predict with probabilities (autoseg predict --probabilities, nnUNetv2_predict --save_probabilities), or choose --method majority:"
        raise AutosegError("\n- ".join([f"The mean needs the probabilities of every case. {advice}", *faults]))
    known = [member.labels for member in members if member.labels]
    if not known:
        raise AutosegError(
            f"Nothing says which values the channels of the probabilities in {members[0].folder} stand for: neither {RECORD} with a dataset of this"
            f" workspace, nor nnU-Net's {DESCRIPTION}. Name the dataset with -d, or choose --method majority."
        )
    return known[0]


def require_fitting(members: Sequence[Member], cases: Sequence[str], labels: Labels | None) -> None:
    """Make sure, from the heads of the files alone, that members share grids; and channels, where `labels` are those of a mean.

    Raises
    ------
    GeometryMismatch
        label maps of a case lie on different grids, and that is all
    AutosegError
        an `.npz` has another shape than its label map, or channels that are not the classes or regions; a head is damaged
    """
    faults = [fault for case in cases for fault in _faults(case, members, labels)]
    if len(faults) == 1:
        raise faults[0]
    if faults:
        kind = GeometryMismatch if all(isinstance(fault, GeometryMismatch) for fault in faults) else AutosegError
        more = [f"... and {len(faults) - _LISTED} more"] if len(faults) > _LISTED else []
        raise kind("\n- ".join([f"{len(faults)} predictions do not fit the others:", *map(str, faults[:_LISTED]), *more]))


def of_regions(file: ProbabilityFile, labels: Labels) -> bool:
    """Whether the channels are the labels' regions; else they are their classes.

    Raises
    ------
    AutosegError
        they are neither
    """
    regions = tuple(labels.regions) if labels.region_order else ()
    for are_regions, names in ((True, regions), (False, labels.names)):
        # without names the file is nnU-Net's, which learns regions wherever an order is declared for them
        if names and (file.names == names if file.names is not None else file.channels == len(names)):
            return are_regions
    held = ", ".join(file.names) if file.names is not None else f"{file.channels} channels"
    either = f"neither the regions {', '.join(regions)} nor" if regions else "not"
    raise AutosegError(
        f"{file.path} holds {held}, {either} one for each of the classes {_described(labels)}. Name the right dataset with -d, or choose"
        " --method majority."
    )


def _member(folder: Path, labels: Labels | None, place: Workspace) -> Member:
    if not folder.is_dir():
        raise AutosegError(f"{folder} is not a folder. Name the folders that hold the predictions of the members.")
    require_segmentations(folder)
    maps = label_files(folder)
    if not maps:
        raise AutosegError(f"{folder} holds no segmentations (files such as <case>.nii.gz).")
    probabilities = {path.name.removesuffix(".npz"): path for path in sorted(folder.glob("*.npz")) if not path.name.startswith(".")}
    if alone := sorted(probabilities.keys() - maps.keys()):
        raise AutosegError(
            f"{folder / f'{alone[0]}.npz'} has no label map beside it, which tells where the scan lies. Put {alone[0]}'s there, or remove the file."
        )
    record = record_in(folder)
    return Member(folder, maps, probabilities, labels or labels_recorded(record, place) or _labels_described(folder), record)


def _labels_described(folder: Path) -> Labels | None:
    return read_dataset_json(folder / DESCRIPTION).labels if (folder / DESCRIPTION).is_file() else None


def _faults(case: str, members: Sequence[Member], labels: Labels | None) -> Iterator[AutosegError]:
    first = members[0].maps[case]
    expected = read_geometry(first)
    kinds: dict[bool, Path] = {}
    for member in members:
        path = member.maps[case]
        try:
            require_same_grid(expected, read_geometry(path))
        except GeometryMismatch as error:
            yield GeometryMismatch(f"{path} does not lie on the grid of {first}: {error}. Predict both from the same images.")
            continue
        if labels is None:
            continue
        file = ProbabilityFile.open(member.probabilities[case])
        if file.shape != expected.shape:
            yield AutosegError(
                f"{file.path} has the shape {file.shape}, but {path} {expected.shape} (voxels along Z, Y, X). Predict this case again."
            )
        try:
            kinds.setdefault(of_regions(file, labels), file.path)
        except AutosegError as error:
            yield error
    if len(kinds) > 1:
        yield AutosegError(
            f"{kinds[False]} holds probabilities of classes, {kinds[True]} of regions, which have no mean. Choose --method majority, or staple."
        )


def _described(labels: Labels | None) -> str:
    return ", ".join(f"{name} = {value}" for name, value in zip(labels.names, labels.values, strict=True)) if labels else "unknown"
