"""The segmentation that the previous stage of a cascade made of a case: brought to the ready grid, and seen as channels by the next network.

- It is read as the previous stage wrote it, on the scan's own grid and with the user's values, so that either stage may have any resolution.
- It takes the same way to the ready grid as labels do. Only declared classes may occur in it: a prediction leaves nothing unknown.
- The scan is read again for its crop box; that is little against the prediction that has just been made of it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autoseg.data.dataset import Case
from autoseg.errors import AutosegError, GeometryMismatch, listing
from autoseg.imaging.image import LabelMap, Shape3, require_same_grid
from autoseg.imaging.read import read_labels
from autoseg.planning.plan import Configuration, Plan
from autoseg.preprocessing.case import classes_on_grid, place
from autoseg.preprocessing.dataset import make_each
from autoseg.preprocessing.placement import Placement
from autoseg.preprocessing.previous_store import PreviousStore
from autoseg.preprocessing.source import naming, read_scan
from autoseg.progress import Progress, silent


def with_previous(image_CZYX: Tensor, previous_ZYX: Tensor | NDArray[np.integer], num_classes: int) -> Tensor:
    """Append the previous stage's segmentation to an image, one channel of zeros and ones a foreground class.

    Parameters
    ----------
    image_CZYX : float (C, Z, Y, X)
    previous_ZYX : integer (Z, Y, X) classes 0..num_classes - 1, on any device
    num_classes : K, background included

    Returns
    -------
    (C + K - 1, Z, Y, X) of the image's type, on its device
    """
    previous = torch.as_tensor(previous_ZYX).to(image_CZYX.device)
    labels = torch.arange(1, num_classes, device=image_CZYX.device, dtype=previous.dtype)
    return torch.cat([image_CZYX, (previous == labels[:, None, None, None]).to(image_CZYX.dtype)])


def bring_to_grid(labels: LabelMap, placement: Placement, ready_shape: Shape3, plan: Plan, configuration: Configuration) -> NDArray[np.int16]:
    """Bring a segmentation of the previous stage to the grid of its scan's ready voxels, as `prepare` does with labels.

    Parameters
    ----------
    labels : on the scan's grid, with the user's values
    placement, ready_shape : of the ready case, whose image is (C, *ready_shape)
    plan, configuration : what the case was made ready for

    Returns
    -------
    int16 classes 0..K-1 (*ready_shape)

    Raises
    ------
    GeometryMismatch
        it does not lie on the scan's grid; the text gives both
    AutosegError
        it holds a value that is no class of the plan
    """
    try:
        require_same_grid(placement.geometry, labels.geometry)
    except GeometryMismatch as error:
        raise GeometryMismatch(f"The previous stage's segmentation does not lie on the scan's grid: {error}.") from None
    unknown = sorted(set(np.unique(labels.array).tolist()) - set(plan.labels.values))
    if unknown:
        found, declared = ", ".join(map(str, unknown)), ", ".join(map(str, plan.labels.values))
        raise AutosegError(f"The previous stage's segmentation holds the values {found}; the plan's classes are {declared}.")
    return classes_on_grid(labels, placement, ready_shape, plan, configuration)


def preprocess_previous(
    cases: Sequence[Case],
    files: Mapping[str, Path],
    plan: Plan,
    configuration: Configuration,
    store: PreviousStore,
    *,
    workers: int | None = None,
    progress: Progress = silent,
    stage: str = "previous stage",
) -> int:
    """Bring the previous stage's segmentation of every case to the ready grid, where that was not done yet.

    Parameters
    ----------
    cases : which are ready in the store's `images`
    files : case name -> the segmentation that the previous stage made of it
    store : where they are kept
    workers : threads; by default one a core

    Returns
    -------
    how many were made; the others were there already

    Raises
    ------
    AutosegError
        a case has no segmentation, a file cannot be read or written, or does not fit the scan; names case and file
    """
    absent = [case.name for case in cases if case.name not in files]
    if absent:
        raise AutosegError(f"The previous stage '{configuration.previous_stage}' has made no segmentation of {listing(absent)}. Predict them first.")
    missing = [case for case in cases if not store.has(case, files[case.name])]
    make_each(
        missing, lambda case: _bring(case, files[case.name], plan, configuration, store), len(cases), workers=workers, progress=progress, stage=stage
    )
    return len(missing)


def _bring(case: Case, file: Path, plan: Plan, configuration: Configuration, store: PreviousStore) -> None:
    with naming(case):
        placement, ready_shape = place(read_scan(case, plan), plan, configuration)
        labels = read_labels(file)
        try:
            classes = bring_to_grid(labels, placement, ready_shape, plan, configuration)
        except AutosegError as error:
            raise type(error)(f"{file} for {case.first}: {error} Delete the file and predict the case anew.") from error
    store.put(case, file, classes)
