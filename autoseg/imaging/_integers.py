"""Label values: whole numbers in the smallest type that holds them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike, NDArray

from autoseg.errors import AutosegError

TOLERANCE = 1e-4  # what scaling by a header's float32 slope leaves of a whole number
ANY = (np.uint8, np.int16, np.uint16, np.int32, np.int64)


def whole_numbers(voxels: NDArray[np.generic], source: str) -> NDArray[np.integer]:
    """Voxels (Z, Y, X) of any real type as integers.

    Raises
    ------
    AutosegError
        a value is not a whole number; the text names `source`, the value and the voxel
    """
    if np.issubdtype(voxels.dtype, np.integer):
        return voxels.astype(np.int64) if voxels.dtype == np.uint64 else voxels  # type: ignore[return-value]
    if voxels.dtype == np.bool_:
        return voxels.astype(np.uint8)
    with np.errstate(invalid="ignore"):
        exact = voxels.astype(np.int32)
    if np.array_equal(exact, voxels):  # the usual segmentation that was saved as floats: a sixth of the time of looking at every remainder
        return exact
    values = voxels.astype(np.float64)
    rounded = np.rint(values)
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(values - rounded) <= TOLERANCE)
    if wrong.any():
        z, y, x = np.unravel_index(int(wrong.argmax()), wrong.shape)
        raise AutosegError(
            f"{source} holds {values[z, y, x]:.6g} at voxel x={x}, y={y}, z={z} ({int(wrong.sum())} such voxels), but labels are whole numbers."
            " Save the segmentation again as integers, resampled with nearest neighbour."
        )
    return rounded.astype(np.int64)


def narrowed(values: NDArray[np.integer], allowed: Sequence[DTypeLike] = ANY) -> NDArray[np.integer]:
    """The same numbers in the first type of `allowed` that holds them all; ValueError where none does."""
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    for candidate in allowed:
        limits = np.iinfo(np.dtype(candidate))
        if limits.min <= low and high <= limits.max:
            return values.astype(candidate, copy=False)
    raise ValueError(f"values from {low} to {high}")
