"""`evaluate`: segmentations of any origin judged against references."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoseg.api._members import labels_named, labels_recorded, record_in, require_segmentations
from autoseg.data.dataset import Labels
from autoseg.data.layouts import open_dataset, recognise
from autoseg.data.references import find_references
from autoseg.errors import AutosegError, listing
from autoseg.evaluation.evaluate import evaluate_folder, label_files, labels_from_values
from autoseg.evaluation.result import Evaluation, Target
from autoseg.evaluation.schemes import scheme_named
from autoseg.evaluation.targets import targets_from_regions, targets_of
from autoseg.files import require_writable, sweep
from autoseg.imaging.read import stem_of
from autoseg.imaging.sources import LabelSource
from autoseg.progress import Progress, silent
from autoseg.workspace import Workspace


@dataclass(frozen=True)
class Evaluated:
    """An evaluation and the files it was written to."""

    evaluation: Evaluation
    csv: Path
    json: Path


def evaluate(
    predictions: Path | str,
    references: Path | str,
    *,
    output: Path | str | None = None,
    dataset: str | None = None,
    regions: Mapping[str, Sequence[int]] | None = None,
    scheme: str = "nnunet",
    tumour: str = "glioma",
    tolerance: float = 1.0,
    surface: bool = True,
    workspace: Path | str | None = None,
    progress: Progress = silent,
    notify: Callable[[str], None] = lambda text: None,
) -> Evaluated:
    """Judge every segmentation of a folder.

    Parameters
    ----------
    predictions : folder of `<case><ending>`, or one such file
    references : folder of label files, a dataset in any known layout, a case's folder, or one file
    output : folder for `metrics.csv` and `metrics.json`; by default that of the predictions
    dataset : whose class names and regions to use; by default those of the references' or the predictions' own dataset, else what values there are
    regions : structures to judge instead, name -> the label values that it unites; values of no region are background
    scheme : what is measured, and rules for empty structures: "nnunet", "brats20", "brats23" or "brats25"
    tumour : which of brats23's rules: "glioma", "meningioma" or "metastasis"
    tolerance : of the normalised surface Dice, in mm (pixels where references do not tell their size)
    surface : measure distances (HD95, ASSD, NSD) and lesions too
    workspace : where a dataset is looked up
    progress, notify : told how far it is, and what was assumed

    Raises
    ------
    AutosegError
        a prediction has no reference, grids differ, a file is damaged or holds a value that nobody declared
    """
    scheme_named(scheme, tumour)
    predicted = segmentations_in(Path(predictions))
    place = Workspace.find(workspace)
    known = references_for(Path(predictions), Path(references), dataset, place)
    if Path(predictions).is_file() and Path(references).is_file():  # two files are compared whatever they are called
        predicted = dict(zip(known, predicted.values(), strict=True))
    judged: list[LabelSource] = [*predicted.values(), *(known[case] for case in predicted if case in known)]
    labels, targets = what_to_judge(Path(predictions), Path(references), judged, list(known.values()), dataset, regions, place, notify)
    folder = Path(output) if output else _folder_of(Path(predictions))
    require_writable(folder)
    sweep(folder)
    evaluation = evaluate_folder(
        predicted, known, labels, targets=targets, scheme=scheme, tumour=tumour, surface=surface, tolerance=tolerance, progress=progress
    )
    csv, json = evaluation.write(folder)
    return Evaluated(evaluation, csv, json)


def references_for(predictions: Path, references: Path, dataset: str | None, place: Workspace) -> Mapping[str, LabelSource]:
    """The references, read as the predictions' dataset is: the slices of a patient as one volume where they were stacked.

    Raises
    ------
    AutosegError
        there are none, or a file is damaged
    """
    record = record_in(_folder_of(predictions)) or {}
    name = place.resolve(dataset) if dataset is not None else Path(str(record.get("dataset"))).name
    if not (references.is_dir() and recognise(references) == "lgg" and place.plan(name).is_file()):
        return find_references(references)
    from autoseg.planning.plan import read_plan  # its schema takes a sixth of a second

    return find_references(references, stack=read_plan(place.plan(name)).dataset.stack)


def what_to_judge(
    predictions: Path,
    references: Path,
    judged: Sequence[LabelSource],
    known: Sequence[LabelSource],
    dataset: str | None,
    regions: Mapping[str, Sequence[int]] | None,
    place: Workspace,
    notify: Callable[[str], None],
) -> tuple[Labels, tuple[Target, ...]]:
    """Labels that the files may hold, and structures to judge.

    Parameters
    ----------
    predictions, references : what the user named, from which the dataset may be told
    judged : the files that will be looked at, predictions and their references
    known : all references
    dataset, regions : what the user asked for, or None
    place : where a dataset is looked up
    notify : told what was assumed

    Raises
    ------
    AutosegError
        a file cannot be read, there is nothing to judge, or a region has a value that the dataset does not declare
    """
    labels = _labels(predictions, references, dataset, place)
    if labels is None and regions is not None:  # what the references hold may occur, and what a region names
        values = sorted({0}.union(labels_from_values(known).values, *regions.values()))
        labels = Labels(("background", *(f"label {value}" for value in values[1:])), tuple(values))
    elif labels is None:
        labels = labels_from_values(known)
        notify(f"No dataset is known: judging the values {', '.join(map(str, labels.values[1:]))} as they are. Name one with -d.")
    if labels.optional and regions is None:  # a class that this release lacks must not count as found
        labels = labels.settled(set(labels_from_values(judged).values))
    if regions is None:
        return labels, targets_of(labels)
    strange = sorted({value for values in regions.values() for value in values} - set(labels.values))
    if strange:
        raise AutosegError(
            f"The regions name the value{'s' if len(strange) > 1 else ''} {listing(strange)}, which the dataset does not declare;"
            f" declared are {listing(labels.values, limit=20)}. Correct the regions."
        )
    return labels, targets_from_regions(regions)


def _folder_of(predictions: Path) -> Path:
    return predictions if predictions.is_dir() else predictions.parent


def segmentations_in(folder: Path) -> dict[str, Path]:
    """The segmentations in a folder, or the one file, by case.

    Raises
    ------
    AutosegError
        there is no such folder, or nothing in it
    """
    if folder.is_file():
        return {stem_of(folder): folder}
    if not folder.is_dir():
        raise AutosegError(f"{folder} does not exist. Name the folder that holds the segmentations.")
    require_segmentations(folder)
    files = label_files(folder)
    if not files:
        raise AutosegError(f"{folder} holds no segmentations (files such as <case>.nii.gz).")
    return files


def _labels(predictions: Path, references: Path, dataset: str | None, place: Workspace) -> Labels | None:
    """Labels of the dataset that was named, or that the references or the predictions belong to."""
    if dataset is not None:
        return labels_named(dataset, place)
    if references.is_dir() and recognise(references):
        return open_dataset(references).labels
    return labels_recorded(record_in(_folder_of(predictions)), place)
