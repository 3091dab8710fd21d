"""Where a scan holds anything at all: the non-zero mask and its bounding box."""

import cc3d
import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, slice, slice]


def nonzero_mask(array_CZYX: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Voxels that are not zero in at least one channel, with holes filled.

    A hole is background that no path along faces leads out of; in a single slice (Z = 1) paths stay in the plane.

    Parameters
    ----------
    array_CZYX : one scan, any numeric type; NaN counts as non-zero

    Returns
    -------
    bool (Z, Y, X)
    """
    mask: NDArray[np.bool_] = array_CZYX[0] != 0
    for channel in array_CZYX[1:]:
        mask |= channel != 0
    box = bounding_box(mask)  # outside it is no hole
    mask[box] |= _holes(mask[box])
    return mask


def bounding_box(mask_ZYX: NDArray[np.bool_], *, margin: int = 0) -> Box:
    """The smallest box around all true voxels, or around all and `margin` voxels more, within the grid; the whole grid when there is none.

    Parameters
    ----------
    mask_ZYX : bool (Z, Y, X)
    margin : voxels, at least 0

    Returns
    -------
    a slice along Z, Y and X
    """
    slices = np.flatnonzero(mask_ZYX.any(axis=(1, 2)))
    if not slices.size:
        z, y, x = (slice(0, size) for size in mask_ZYX.shape)
        return z, y, x
    in_plane = np.asarray(mask_ZYX[slices[0] : slices[-1] + 1].any(axis=0))
    found = slices, np.flatnonzero(in_plane.any(axis=1)), np.flatnonzero(in_plane.any(axis=0))
    z, y, x = (slice(max(0, int(used[0]) - margin), min(size, int(used[-1]) + 1 + margin)) for used, size in zip(found, mask_ZYX.shape, strict=True))
    return z, y, x


def _holes(mask_ZYX: NDArray[np.bool_]) -> NDArray[np.bool_]:
    flat = mask_ZYX.shape[0] == 1
    background = np.pad(~(mask_ZYX[0] if flat else mask_ZYX), 1, constant_values=True)  # a frame that joins all that is open
    parts = cc3d.connected_components(background, connectivity=4 if flat else 6)
    within = parts[(slice(1, -1),) * parts.ndim]
    enclosed: NDArray[np.bool_] = (within != 0) & (within != parts.flat[0])
    return enclosed.reshape(mask_ZYX.shape)
