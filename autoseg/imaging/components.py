"""Connected parts of a mask, and the mask grown by whole voxels.

- Parts are connected through faces, edges and corners (26 neighbours), and numbered in the order of their first voxels.
- Growing takes the 18 neighbours that share a face or an edge. It may be done within any box that holds the mask: moving a voxel
  to the nearest place in the box keeps neighbours neighbours, so the same parts grow together as on the whole grid.
"""

import cc3d
import numpy as np
from numpy.typing import NDArray

from autoseg.imaging.crop import Box


def components(mask_ZYX: NDArray[np.bool_]) -> tuple[NDArray[np.unsignedinteger], int]:
    """Number the connected parts of a mask.

    Parameters
    ----------
    mask_ZYX : bool (Z, Y, X)

    Returns
    -------
    unsigned (Z, Y, X), 0 outside the mask, 1..n in its parts, in the order of their first voxels; and n
    """
    if not mask_ZYX.any():
        return np.zeros(mask_ZYX.shape, dtype=np.uint16), 0
    z, y, x = mask_ZYX.shape
    # On masks of under 4 voxels along an axis, full of single voxels, cc3d runs out of numbers unless there is some background more.
    ample_ZYX = np.pad(mask_ZYX, [(0, 1)] * 3) if min(z, y, x) < 4 else np.ascontiguousarray(mask_ZYX)
    labels_ZYX, count = cc3d.connected_components(ample_ZYX, connectivity=26, return_N=True)
    return labels_ZYX[:z, :y, :x], int(count)


def boxes_of(labels_ZYX: NDArray[np.unsignedinteger], count: int) -> list[Box]:
    """The smallest box of each part 1..`count`, in that order; every part must exist."""
    if not count:
        return []
    from scipy.ndimage import find_objects  # takes a quarter of a second

    return [(z, y, x) for z, y, x in find_objects(labels_ZYX.astype(np.int32, copy=False), max_label=count)]


def dilate(mask_ZYX: NDArray[np.bool_], times: int) -> NDArray[np.bool_]:
    """Grow a mask by the 18-neighbourhood, `times` over (0 or more), within its array.

    Returns
    -------
    bool (Z, Y, X), a superset of the mask
    """
    if not times or not mask_ZYX.any():  # scipy takes 0 times to mean: until nothing changes
        return mask_ZYX.copy()
    from scipy.ndimage import binary_dilation, generate_binary_structure

    grown: NDArray[np.bool_] = binary_dilation(mask_ZYX, structure=generate_binary_structure(3, 2), iterations=times)
    return grown
