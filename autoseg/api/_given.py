"""Scans and the segmentations of them that are there already, with what their values mean."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoseg.api._members import record_in, require_segmentations
from autoseg.data.dataset import Case, Labels
from autoseg.data.inputs import find_all_cases
from autoseg.data.layouts import open_dataset, recognise
from autoseg.data.references import find_references
from autoseg.errors import AutosegError, listing
from autoseg.evaluation.evaluate import labels_from_values
from autoseg.imaging.image import Spacing3
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


@dataclass(frozen=True)
class _Meaning:
    """What is known of a dataset."""

    labels: Labels
    regions: bool
    channel_names: tuple[str, ...]
    stack: Spacing3 | None


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
        nothing was found, or no scan has a segmentation; results would lie among the scans
    """
    if any(one.is_dir() and one.resolve() == output.resolve() for one in sources):
        raise AutosegError(f"{output} is the folder that the scans lie in. Choose another with -o, so that no picture is taken for a scan.")
    meaning = _meaning(dataset, folder, place)
    known = find_references(folder, stack=meaning.stack if meaning else None)
    own = [open_dataset(one) for one in sources if one.is_dir() and recognise(one)] if meaning is None else []
    if meaning is None and own and len(own) == len(sources):
        cases = [case for one in own for case in one.cases]
        meaning = _Meaning(own[0].labels, bool(own[0].labels.region_order), own[0].channel_names, None)
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


def _meaning(dataset: str | None, folder: Path, place: Workspace) -> _Meaning | None:
    """Of the dataset that was named, or that the segmentations' record names."""
    require_segmentations(folder if folder.is_dir() else folder.parent)
    record = record_in(folder if folder.is_dir() else folder.parent)
    name = place.resolve(dataset) if dataset is not None else Path(str(record.get("dataset"))).name if record else None
    if name is None:
        return None
    if place.plan(name).is_file():
        from autoseg.planning.plan import read_plan  # its schema takes a sixth of a second

        plan = read_plan(place.plan(name))
        return _Meaning(plan.labels, plan.learns_regions, plan.dataset.channel_names, plan.dataset.stack)
    if dataset is None:
        return None
    raw = open_dataset(place.raw(name))
    return _Meaning(raw.labels, bool(raw.labels.region_order), raw.channel_names, raw.stack)


def _cases(sources: Sequence[Path], meaning: _Meaning | None) -> list[Case]:
    if meaning is not None:
        return find_all_cases(sources, meaning.channel_names, stack=meaning.stack)
    try:
        return find_all_cases(sources, _ANY)
    except AutosegError as error:
        raise AutosegError(f"{error} Or name with -d the dataset whose scans these are.") from None
