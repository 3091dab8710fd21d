"""A case's files, read and held against the plan: what does not fit is named before anything is made of it.

- The check of the whole dataset happens when it is planned; a file that was replaced since is caught here, and so is a scan to predict.
- Every error begins with the case's name.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from autoseg.data.channels import canonical
from autoseg.data.dataset import Case
from autoseg.errors import AutosegError, GeometryMismatch, Interrupted
from autoseg.imaging.image import Geometry, Image, LabelMap, require_same_grid
from autoseg.imaging.read import read_image, read_labels
from autoseg.imaging.sources import Absent
from autoseg.imaging.values import count_values
from autoseg.planning.plan import Plan


@contextmanager
def naming(case: Case) -> Iterator[None]:
    """Put the case's name before the text of an error that is raised within; its type stays."""
    try:
        yield
    except Interrupted:  # is no fault of the case
        raise
    except AutosegError as error:
        raise type(error)(f"Case {case.name}: {error}") from error


def read_scan(case: Case, plan: Plan) -> Image:
    """Read the channels of a case.

    Raises
    ------
    AutosegError
        a file is missing or damaged, the channels are not as many as the plan's, or a voxel is NaN or infinite
    """
    image = read_image(case.channels)
    files = ", ".join(str(channel) for channel in case.channels if not isinstance(channel, Absent))
    expected = plan.dataset.channel_names
    if len(image.array) != len(expected):
        raise AutosegError(
            f"{files} holds {len(image.array)} channels, but the plan wants {len(expected)}: {', '.join(expected)}. Give one file for each of them."
        )
    for index, channel in enumerate(image.array):
        with np.errstate(over="ignore", invalid="ignore"):
            total = channel.sum()  # finite only of finite numbers, and found in a third of the time
        if not np.isfinite(total) and not np.isfinite(channel).all():
            file = case.channels[index] if len(case.channels) == len(expected) else files
            raise AutosegError(f"{file} holds values that are no numbers (NaN or infinity) in channel {expected[index]}. Repair or export it again.")
    return image


def read_shown(case: Case, channel_names: Sequence[str]) -> Image:
    """Read the one channel of a case that pictures show: FLAIR, in which most tumours stand out, where there is one; else the first.

    Parameters
    ----------
    case : its files hold these channels, each one of them or all in one
    channel_names : the dataset's

    Raises
    ------
    AutosegError
        a file is missing or damaged
    """
    position = next((place for place, name in enumerate(channel_names) if canonical(name) == "FLAIR"), 0)
    if len(case.channels) == len(channel_names):
        channel = case.channels[position]
        return read_image([case.first if isinstance(channel, Absent) else channel])
    image = read_image(case.channels)
    return Image(image.array[position : position + 1], image.geometry)


def read_segmentation(case: Case, plan: Plan, grid: Geometry) -> LabelMap | None:
    """Read the segmentation of a case; None where it has none.

    Parameters
    ----------
    grid : of the case's scan

    Raises
    ------
    AutosegError
        the file is missing or damaged, lies on another grid, or holds a value that the plan does not declare
    """
    if case.label is None:
        return None
    labels = read_labels(case.label)
    try:
        require_same_grid(grid, labels.geometry)
    except GeometryMismatch as error:
        raise GeometryMismatch(f"{case.label} does not lie on the grid of {case.first}: {error}. Correct one of the two.") from None
    unknown = sorted(count_values(labels.array).keys() - set(plan.labels.allowed))
    if unknown:
        found, declared = ", ".join(map(str, unknown)), ", ".join(map(str, plan.labels.allowed))
        raise AutosegError(f"{case.label} holds the label values {found}; declared are {declared}. Correct the file, or declare them and plan anew.")
    return labels
