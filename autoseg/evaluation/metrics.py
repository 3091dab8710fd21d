"""Measures of agreement between a predicted mask and a reference mask.

- Every ratio is a function of four counts; 0 / 0 is not a number here, and `schemes.py` says what a report makes of it.
- HD95 has three conventions in use; the one here is the 95th percentile of the pooled two-way border distances, border voxels by the
  6-neighbourhood cross (as medpy and panoptica do). The maxima of two one-way percentiles, area-weighted or not, give other numbers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import nan, prod

import numpy as np
from numpy.typing import NDArray

from autoseg.imaging.image import Spacing3
from autoseg.imaging.surfaces import border_distances

HD95_CONVENTION = "95th percentile of the pooled two-way border distances"


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


def hd95(prediction_ZYX: NDArray[np.bool_], reference_ZYX: NDArray[np.bool_], spacing: Spacing3) -> float:
    """95 % Hausdorff distance: the 95th percentile of the pooled two-way border distances.

    Parameters
    ----------
    prediction_ZYX, reference_ZYX : bool (Z, Y, X)
    spacing : millimetres along Z, Y, X

    Returns
    -------
    millimetres; not a number where either mask is empty
    """
    if not prediction_ZYX.any() or not reference_ZYX.any():
        return nan
    return float(np.percentile(np.concatenate(border_distances(prediction_ZYX, reference_ZYX, spacing)), 95))


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else nan
