"""Which whole numbers a label map holds, and how often."""

import numpy as np
from numpy.typing import NDArray


def count_values(array: NDArray[np.integer]) -> dict[int, int]:
    """How many elements hold each value, in increasing order; without sorting where the values lie close together."""
    flat = array.ravel()
    marked = flat[flat != 0]  # most of a segmentation is background, which is counted faster than looked at
    counts = _counted(marked) if marked.size else {}
    if marked.size < flat.size:
        counts[0] = flat.size - marked.size
    return dict(sorted(counts.items()))


def _counted(array: NDArray[np.integer]) -> dict[int, int]:
    low, high = int(array.min()), int(array.max())
    if high - low > 65535:
        values, counts = np.unique(array, return_counts=True)
        return dict(zip(values.tolist(), counts.tolist(), strict=True))
    offset = 0 if low >= 0 and high <= 65535 else low
    counts = np.bincount(array if offset == 0 else array.astype(np.int64) - offset)
    present = np.flatnonzero(counts)
    return dict(zip((present + offset).tolist(), counts[present].tolist(), strict=True))
