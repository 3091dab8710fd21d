"""Borders of segmented structures, and how far two borders lie apart.

- A border is made of voxels: the mask minus its erosion with the 6-neighbourhood cross, and what lies outside the image is background.
- An axis of one voxel (a picture) has no neighbours, so it makes no border: a 2D structure has its outline as border, not its area.
- Distances are looked up in a k-d tree of border voxels within the box of both masks: exact, and the size of the grid does not matter.
"""

import numpy as np
from numpy.typing import NDArray

from autoseg.imaging import crop
from autoseg.imaging.crop import Box
from autoseg.imaging.image import Spacing3


def border(mask_ZYX: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels of the mask with a face on the background or on the image's edge.

    Parameters
    ----------
    mask_ZYX : bool (Z, Y, X)

    Returns
    -------
    bool (Z, Y, X), a subset of the mask
    """
    if mask_ZYX.size == 1:  # no axis at all: the voxel is its own border
        return mask_ZYX.copy()
    inner = mask_ZYX.copy()
    for axis, size in enumerate(mask_ZYX.shape):
        if size == 1:
            continue
        inner_front, mask_front = np.moveaxis(inner, axis, 0), np.moveaxis(mask_ZYX, axis, 0)
        inner_front[1:] &= mask_front[:-1]
        inner_front[:-1] &= mask_front[1:]
        inner_front[0] = inner_front[-1] = False
    return mask_ZYX & ~inner


def border_distances(a_ZYX: NDArray[np.bool_], b_ZYX: NDArray[np.bool_], spacing: Spacing3) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distance of each border voxel to the nearest border voxel of the other mask, both ways.

    Parameters
    ----------
    a_ZYX, b_ZYX : bool (Z, Y, X), neither empty
    spacing : millimetres along Z, Y, X

    Returns
    -------
    float64 (voxels on the border of a,) and float64 (voxels on the border of b,), millimetres between voxel centres

    Raises
    ------
    ValueError
        a mask is empty: there is no distance to nothing
    """
    box = bounding_box(a_ZYX | b_ZYX)
    if box is None or not a_ZYX.any() or not b_ZYX.any():
        raise ValueError("a mask is empty")
    border_a, border_b = border(a_ZYX[box]), border(b_ZYX[box])
    return _distances(border_a, border_b, spacing), _distances(border_b, border_a, spacing)


def bounding_box(mask_ZYX: NDArray[np.bool_], *, margin: int = 1) -> Box | None:
    """The smallest box that holds the mask and `margin` voxels around it, within the image; None for an empty mask.

    With a margin of one, the border within the box is the border within the image.
    """
    return crop.bounding_box(mask_ZYX, margin=margin) if mask_ZYX.any() else None


def _distances(from_ZYX: NDArray[np.bool_], to_ZYX: NDArray[np.bool_], spacing: Spacing3) -> NDArray[np.float64]:
    from scipy.spatial import cKDTree  # takes a third of a second, and who measures no distances has no use for it

    distances = np.zeros(np.count_nonzero(from_ZYX))
    apart = np.argwhere(from_ZYX & ~to_ZYX)  # where borders coincide the distance is zero
    tree = cKDTree(np.argwhere(to_ZYX) * np.asarray(spacing), balanced_tree=False, compact_nodes=False)
    distances[: len(apart)] = tree.query(apart * np.asarray(spacing))[0]
    return distances
