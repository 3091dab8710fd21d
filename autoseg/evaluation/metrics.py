"""Agreement of a predicted mask with a reference mask, in counts of voxels.

- Every ratio is a function of four counts; 0 / 0 is not a number here, and `schemes.py` says what a report makes of it.
- What depends on where the voxels are is in `distances.py` and `lesions.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import nan, prod

import numpy as np
from numpy.typing import NDArray

from autoseg.imaging.image import Spacing3


@dataclass(frozen=True)
class Counts:
    """Voxels by agreement: true positive, false positive, false negative, true negative."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def prediction(self) -> int:
        return self.tp + self.fp

    @property
    def reference(self) -> int:
        return self.tp + self.fn

    @property
    def total(self) -> int:
        return self.tp + self.fp + self.fn + self.tn


def counts(prediction_ZYX: NDArray[np.bool_], reference_ZYX: NDArray[np.bool_]) -> Counts:
    """Count the agreement of two bool masks of one shape (Z, Y, X)."""
    tp = int(np.count_nonzero(prediction_ZYX & reference_ZYX))
    fp = int(np.count_nonzero(prediction_ZYX)) - tp
    fn = int(np.count_nonzero(reference_ZYX)) - tp
    return Counts(tp, fp, fn, prediction_ZYX.size - tp - fp - fn)


def dice(c: Counts) -> float:
    """2 tp / (2 tp + fp + fn), in 0..1; not a number where both masks are empty."""
    return _ratio(2 * c.tp, 2 * c.tp + c.fp + c.fn)


def iou(c: Counts) -> float:
    """Intersection over union (Jaccard), tp / (tp + fp + fn), in 0..1; not a number where both masks are empty."""
    return _ratio(c.tp, c.tp + c.fp + c.fn)


def precision(c: Counts) -> float:
    """Share of the prediction that is right, tp / (tp + fp), in 0..1; not a number where the prediction is empty."""
    return _ratio(c.tp, c.tp + c.fp)


def sensitivity(c: Counts) -> float:
    """Share of the reference that was found (recall), tp / (tp + fn), in 0..1; not a number where the reference is empty."""
    return _ratio(c.tp, c.tp + c.fn)


def specificity(c: Counts) -> float:
    """Share of the background left alone, tn / (tn + fp), in 0..1; not a number where the reference fills the image."""
    return _ratio(c.tn, c.tn + c.fp)


def accuracy(c: Counts) -> float:
    """Share of all voxels that agree, (tp + tn) / all, in 0..1."""
    return _ratio(c.tp + c.tn, c.total)


RATIOS: Mapping[str, Callable[[Counts], float]] = {
    "dice": dice,
    "iou": iou,
    "precision": precision,
    "sensitivity": sensitivity,
    "specificity": specificity,
    "accuracy": accuracy,
}


def volume(voxels: int, spacing: Spacing3) -> float:
    """Volume of so many voxels in cubic millimetres; `spacing` in millimetres."""
    return voxels * prod(spacing)


def relative_volume_difference(c: Counts) -> float:
    """(prediction - reference) / reference, -1 or more; not a number where the reference is empty."""
    return _ratio(c.prediction - c.reference, c.reference)


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else nan
