"""Random damage to the previous stage's segmentation, so that the next network does not learn to trust it blindly (nnU-Net's rule).

- Morphology: each class in random order is dilated, eroded, opened or closed with a ball. Voxels that a class gains are taken from the others,
  voxels that it loses become background. What lies beyond the patch is unknown: it neither grows into the patch nor eats from its border.
- Removal: one of each class's components of the chosen sizes becomes background.
- A ball's reach is found from squared distances, one axis after the other and no further than the radius: exact, on any device, and within the
  box of the class alone.
- All chance is in the draw; the application is deterministic.
"""

from math import floor

import cc3d
import numpy as np
import torch
from torch import Tensor

from autoseg.training.draws import Draw, Operation, Removal


def damaged(draw: Draw, previous_ZYX: Tensor) -> Tensor:
    """Apply what was drawn for the previous stage's segmentation.

    Parameters
    ----------
    draw : its `morphology` and `removal`
    previous_ZYX : integer (Z, Y, X) classes 0..K-1 of a patch, on any device

    Returns
    -------
    (Z, Y, X) of the same type on the same device; the input itself where nothing was drawn
    """
    for operation in draw.morphology:
        previous_ZYX = reshaped(operation, previous_ZYX)
    return previous_ZYX if draw.removal is None else without_components(draw.removal, previous_ZYX)


def reshaped(operation: Operation, classes_ZYX: Tensor) -> Tensor:
    """Dilate, erode, open or close one class, at the cost of the others; the input itself where it does not occur."""
    box = _box(classes_ZYX == operation.label, margin=floor(operation.radius) + 1)
    if box is None:
        return classes_ZYX
    result = classes_ZYX.clone()
    part = result[box]
    before = part == operation.label
    after = _KINDS[operation.kind](before, operation.radius)
    part.masked_fill_(before & ~after, 0)
    part.masked_fill_(after & ~before, operation.label)
    return result


def dilated(mask_ZYX: Tensor, radius: float) -> Tensor:
    """Voxels whose distance to a voxel of the mask is at most `radius` voxels; bool as the mask."""
    reach, limit = floor(radius), floor(radius**2)
    # squared distances above the limit are all alike, so that small integers hold them, and a step more
    small = torch.uint8 if 2 * limit < 255 else torch.int16 if 2 * limit < 32_767 else torch.int32
    squared = torch.full(mask_ZYX.shape, limit + 1, dtype=small, device=mask_ZYX.device).masked_fill_(mask_ZYX, 0)
    farther = torch.empty_like(squared)
    for axis, size in enumerate(mask_ZYX.shape):
        along = squared.clone()
        for step in range(1, min(reach, size - 1) + 1):
            torch.add(squared, step**2, out=farther)
            ahead, behind = along.narrow(axis, 0, size - step), along.narrow(axis, step, size - step)
            torch.minimum(ahead, farther.narrow(axis, step, size - step), out=ahead)
            torch.minimum(behind, farther.narrow(axis, 0, size - step), out=behind)
        squared = along
    return squared <= limit


def eroded(mask_ZYX: Tensor, radius: float) -> Tensor:
    """Voxels of the mask farther than `radius` voxels from all others; the border of the array is no edge."""
    return ~dilated(~mask_ZYX, radius)


def without_components(removal: Removal, classes_ZYX: Tensor) -> Tensor:
    """Turn one component of each class into background: the one that the draw picks among those of the chosen sizes (connected over corners)."""
    classes = classes_ZYX.cpu().numpy()
    components = cc3d.connected_components(classes, connectivity=26)
    sizes = np.bincount(components.reshape(-1))
    label_of = np.zeros(len(sizes), dtype=classes.dtype)
    label_of[components.reshape(-1)] = classes.reshape(-1)
    share = sizes / classes.size
    chosen = (share >= removal.share[0]) & (share < removal.share[1])
    gone = np.zeros(len(sizes), dtype=np.bool_)
    for label, pick in enumerate(removal.picks, start=1):
        candidates = np.flatnonzero(chosen & (label_of == label))
        if candidates.size:
            gone[candidates[int(pick * candidates.size)]] = True
    if not gone.any():
        return classes_ZYX
    return classes_ZYX.masked_fill(torch.from_numpy(gone[components]).to(classes_ZYX.device), 0)


def _opened(mask_ZYX: Tensor, radius: float) -> Tensor:
    return dilated(eroded(mask_ZYX, radius), radius)


def _closed(mask_ZYX: Tensor, radius: float) -> Tensor:
    return eroded(dilated(mask_ZYX, radius), radius)


_KINDS = {"dilation": dilated, "erosion": eroded, "opening": _opened, "closing": _closed}


def _box(mask_ZYX: Tensor, margin: int) -> tuple[slice, slice, slice] | None:
    """The box around a mask and `margin` voxels more, within the array; None where the mask is empty."""
    slices = []
    for axis, size in enumerate(mask_ZYX.shape):
        found = mask_ZYX.any(dim=(axis + 1) % 3, keepdim=True).any(dim=(axis + 2) % 3, keepdim=True).flatten().nonzero().flatten().tolist()
        if not found:
            return None
        slices.append(slice(max(0, found[0] - margin), min(size, found[-1] + 1 + margin)))
    return slices[0], slices[1], slices[2]
