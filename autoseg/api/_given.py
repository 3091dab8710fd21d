"""Scans and the segmentations of them that are there already, with what their values mean."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoseg.api._meaning import Meaning, meaning_named, meaning_of, meaning_recorded
from autoseg.api._members import record_in, require_segmentations
from autoseg.api._output import require_elsewhere
from autoseg.data.dataset import Case, Labels
from autoseg.data.inputs import find_all_cases
from autoseg.data.layouts import open_dataset, recognise
from autoseg.data.references import find_references
from autoseg.errors import AutosegError, listing
from autoseg.evaluation.evaluate import labels_from_values
from autoseg.imaging.sources import LabelSource
from autoseg.workspace import Workspace

_ANY = ("FLAIR",)  # a name that BraTS knows and other files need not have

_MOST_VALUES = 256  # of label files that nobody declared; scans have more


@dataclass(frozen=True)
class Given:
    """Segmented cases.

    Attributes
    ----------
    cases : sorted by name
    segmentations : of each of them
    labels : what the values mean
    regions : whether regions were learned, or are declared to be
    """

    cases: tuple[Case, ...]
    segmentations: Mapping[str, LabelSource]
    labels: Labels
    regions: bool


def find_given(sources: Sequence[Path], folder: Path, output: Path, dataset: str | None, place: Workspace, notify: Callable[[str], None]) -> Given:
    """Pair scans with segmentations by their cases' names; those without a partner are reported.

    Parameters
    ----------
    sources : scans, as a prediction takes them
    folder : what holds the segmentations, as an evaluation takes references
    output : where results will lie
    dataset : whose names and channels, or None: of the dataset that made the segmentations or that the scans are, else the values as they are
    place : where a dataset is looked up
    notify : told what was assumed

    Raises
    ------
    AutosegError
        nothing was found, no scan has a segmentation, or the labels of several datasets differ; results would lie among the scans
    """
    require_elsewhere(output, sources)
    meaning = _meaning(dataset, folder, place)
    known = find_references(folder, stack=meaning.stack if meaning else None)
    own = [open_dataset(one) for one in sources if one.is_dir() and recognise(one)] if meaning is None else []
    if meaning is None and own and len(own) == len(sources):
        cases = [case for one in own for case in one.cases]
        meaning = meaning_of(own)
    else:
        cases = _cases(sources, meaning)
    there = {case.name: case for case in cases}
    if len(there) == len(known) == 1:  # two files belong together whatever they are called
        known = dict(zip(there, known.values(), strict=True))
    paired = sorted(there.keys() & known.keys())
    if not paired:
        raise AutosegError(
            f"No scan has a segmentation: {folder} holds {listing(sorted(known))}, the scans are {listing(sorted(there))}. Name both alike."
        )
    for without, names in (("segmentation", there.keys() - known.keys()), ("scan", known.keys() - there.keys())):
        if names:
            notify(f"Passed over, without a {without}: {listing(sorted(names))}")
    chosen = {name: known[name] for name in paired}
    labels = labels_from_values([*chosen.values()]) if meaning is None else meaning.labels
    if len(labels.values) > _MOST_VALUES:
        raise AutosegError(f"The segmentations in {folder} hold {len(labels.values)} different values. Are these the scans? Name the label files.")
    if meaning is None:
        notify(f"No dataset is known: the values {', '.join(map(str, labels.values[1:]))} are taken as they are. Name one with -d.")
    elif labels.optional:  # a class that these segmentations lack need not be listed
        labels = labels.settled(set(labels_from_values([*chosen.values()]).values))
    return Given(tuple(there[name] for name in paired), chosen, labels, meaning is not None and meaning.regions)


def _meaning(dataset: str | None, folder: Path, place: Workspace) -> Meaning | None:
    """Of the dataset that was named, or that the segmentations' record names."""
    inside = folder if folder.is_dir() else folder.parent
    require_segmentations(inside)
    return meaning_named(dataset, place) if dataset is not None else meaning_recorded(record_in(inside), place)


def _cases(sources: Sequence[Path], meaning: Meaning | None) -> list[Case]:
    if meaning is not None:
        return find_all_cases(sources, meaning.channel_names, stack=meaning.stack)
    try:
        return find_all_cases(sources, _ANY)
    except AutosegError as error:
        raise AutosegError(f"{error} Or name with -d the dataset whose scans these are.") from None
