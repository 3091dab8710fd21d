"""A prediction and its reference, reduced to what every metric of every class needs.

- One pass over the voxels fills a joint histogram (predicted value x reference value): all counts of all classes and regions are sums of
  its entries, and cost the same for 3 or for 300 classes.
- Only the box where either map is not background is looked at; what lies outside is counted by subtraction.
- The ignore label's voxels leave the histogram, and belong to no structure on either side when borders are measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoseg.evaluation.metrics import Counts
from autoseg.imaging.crop import Box, bounding_box

_SLAB = 1 << 18  # voxels looked at together: a few megabytes of working memory


@dataclass(frozen=True)
class Pair:
    """Two label maps on one grid, coded: code k stands for `values[k]`, `len(values)` for any other value.

    Attributes
    ----------
    values : the user's values, `values[0]` is the background's 0
    prediction, reference : unsigned (Z, Y, X) codes within the box of all that is not background
    histogram : int64 (K + 1, K + 1), voxels of the whole grid by predicted and by reference code, before anything is ignored
    ignore : the user's value of reference voxels that count nowhere, or None
    """

    values: tuple[int, ...]
    prediction: NDArray[np.unsignedinteger]
    reference: NDArray[np.unsignedinteger]
    histogram: NDArray[np.int64]
    ignore: int | None

    def counts(self, values: Sequence[int]) -> Counts:
        """Agreement on the structure that is the union of `values`."""
        member = self._member(values)
        counted = self.histogram.copy()
        if self.ignore is not None:
            counted[:, self.values.index(self.ignore)] = 0
        rows = counted[member].sum(axis=0), counted[~member].sum(axis=0)
        return Counts(tp=int(rows[0][member].sum()), fp=int(rows[0][~member].sum()), fn=int(rows[1][member].sum()), tn=int(rows[1][~member].sum()))

    def boxes(self) -> list[Box | None]:
        """For each code, the box within which either map has it; None where neither has it, and for the background."""
        from scipy.ndimage import find_objects  # takes a quarter of a second, and counts do without it

        found = [find_objects(codes, max_label=len(self.values)) for codes in (self.prediction, self.reference)]
        return [None, *(_union(a, b) for a, b in zip(*found, strict=True))]

    def masks(self, values: Sequence[int], boxes: Sequence[Box | None]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Predicted and reference mask of the union of `values`, cropped to what `boxes()` says they fill and one voxel around it."""
        box: Box | None = None
        for value in values:
            box = _union(box, boxes[self.values.index(value)])
        if box is None:
            return np.zeros((0, 0, 0), dtype=bool), np.zeros((0, 0, 0), dtype=bool)
        window = tuple(slice(max(edge.start - 1, 0), edge.stop + 1) for edge in box)
        member = self._member(values)
        prediction, reference = member[self.prediction[window]], member[self.reference[window]]
        if self.ignore is not None:
            prediction &= self.reference[window] != self.values.index(self.ignore)
        return prediction, reference

    def _member(self, values: Sequence[int]) -> NDArray[np.bool_]:
        member = np.zeros(len(self.values) + 1, dtype=bool)
        member[[self.values.index(value) for value in values]] = True
        return member


def pair_up(prediction_ZYX: NDArray[np.integer], reference_ZYX: NDArray[np.integer], values: Sequence[int], *, ignore: int | None = None) -> Pair:
    """Code two label maps and count how often each value meets each other.

    Parameters
    ----------
    prediction_ZYX, reference_ZYX : integer (Z, Y, X) of one shape, the user's values
    values : those to tell apart; the background's 0 and `ignore` are added
    ignore : the reference's value that counts nowhere

    Returns
    -------
    the pair
    """
    wanted = {0, *values} | (set() if ignore is None else {ignore})
    coded = (0, *sorted(wanted - {0}))
    n_codes = len(coded) + 1
    histogram = np.zeros((n_codes, n_codes), dtype=np.int64)
    present = np.logical_or(prediction_ZYX, reference_ZYX)
    box = bounding_box(present, margin=1) if present.any() else (slice(0), slice(0), slice(0))
    maps = prediction_ZYX[box], reference_ZYX[box]
    codes = tuple(np.empty(maps[0].shape, dtype=np.uint8 if n_codes <= 256 else np.uint16) for _ in maps)
    depth = max(1, _SLAB // max(1, maps[0].shape[1] * maps[0].shape[2]))
    for start in range(0, maps[0].shape[0], depth):
        slab = slice(start, start + depth)
        for values_ZYX, codes_ZYX in zip(maps, codes, strict=True):
            codes_ZYX[slab] = _encode(values_ZYX[slab], coded)
        joint = codes[0][slab].astype(np.intp) * n_codes + codes[1][slab]
        histogram += np.bincount(joint.ravel(), minlength=n_codes**2).reshape(n_codes, n_codes)
    histogram[0, 0] += prediction_ZYX.size - maps[0].size
    return Pair(coded, codes[0], codes[1], histogram, ignore)


def _encode(values_ZYX: NDArray[np.integer], coded: tuple[int, ...]) -> NDArray[np.uint16]:
    low, high = min(coded) - 1, max(coded) + 1
    table = np.full(high - low + 1, len(coded), dtype=np.uint16)  # its two ends stand for all that lies beyond the known values
    table[np.asarray(coded) - low] = np.arange(len(coded))
    codes: NDArray[np.uint16] = table[values_ZYX.astype(np.int64).clip(low, high) - low]
    return codes


def _union(a: Box | None, b: Box | None) -> Box | None:
    if a is None or b is None:
        return a or b
    z, y, x = (slice(min(i.start, j.start), max(i.stop, j.stop)) for i, j in zip(a, b, strict=True))
    return z, y, x
