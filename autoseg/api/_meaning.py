"""What is known of a dataset that scans or segmentations belong to: by its name, by a record beside them, or by its own folder.

- A plan comes before the raw data: it says what was learned of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoseg.data.dataset import Dataset, Labels
from autoseg.data.layouts import open_dataset
from autoseg.errors import AutosegError
from autoseg.imaging.image import Spacing3
from autoseg.workspace import Workspace

if TYPE_CHECKING:
    from autoseg.planning.plan import Plan


@dataclass(frozen=True)
class Meaning:
    """What a dataset's files mean.

    Attributes
    ----------
    labels : of its segmentations
    regions : whether regions were learned, or are declared to be
    channel_names : of its scans
    stack : millimetres along Z, Y, X where slices are stacked, else None
    """

    labels: Labels
    regions: bool
    channel_names: tuple[str, ...]
    stack: Spacing3 | None


def meaning_named(dataset: str, place: Workspace) -> Meaning:
    """Of a dataset of the workspace, from its plan or else its raw data.

    Raises
    ------
    AutosegError
        there is no such dataset, or its plan or raw data are damaged
    """
    name = place.resolve(dataset)
    return _planned(_read_plan(place.plan(name))) if place.plan(name).is_file() else _declared(open_dataset(place.raw(name)))


def meaning_recorded(record: Mapping[str, Any] | None, place: Workspace) -> Meaning | None:
    """Of the dataset that a record beside predictions names, where the workspace has its plan."""
    plan = place.plan(Path(str(record.get("dataset"))).name) if record else None
    return _planned(_read_plan(plan)) if plan is not None and plan.is_file() else None


def meaning_of(datasets: Sequence[Dataset]) -> Meaning:
    """Of datasets, at least one, whose labels mean the same.

    Raises
    ------
    AutosegError
        they do not
    """
    first = datasets[0]
    for other in datasets[1:]:
        if other.labels != first.labels:
            raise AutosegError(
                f"The labels of {first.root} mean something else than those of {other.root}. Take one after the other, or name with -d the dataset"
                " whose labels are meant."
            )
    return _declared(first)


def _planned(plan: "Plan") -> Meaning:
    return Meaning(plan.labels, plan.learns_regions, plan.dataset.channel_names, plan.dataset.stack)


def _declared(dataset: Dataset) -> Meaning:
    return Meaning(dataset.labels, bool(dataset.labels.region_order), dataset.channel_names, dataset.stack)


def _read_plan(path: Path) -> "Plan":
    from autoseg.planning.plan import read_plan  # its schema takes a sixth of a second

    return read_plan(path)
