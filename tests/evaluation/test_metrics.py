"""Counts and ratios against hand-worked cases, SimpleITK's filter and their own identities."""

import math

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from autoseg.evaluation.metrics import (
    RATIOS,
    Counts,
    accuracy,
    counts,
    dice,
    iou,
    precision,
    relative_volume_difference,
    sensitivity,
    specificity,
    volume,
)
from autoseg.imaging.image import Spacing3

Mask = NDArray[np.bool_]
PAIRS = st.tuples(*[st.integers(2, 6)] * 3).flatmap(lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape)))


def blobs(seed: int, shape: tuple[int, int, int] = (20, 26, 22)) -> tuple[Mask, Mask]:
    """Two smooth, overlapping structures of several parts; they touch the image's edge."""
    noise = np.random.default_rng(seed).standard_normal((2, *shape))
    first, second = gaussian_filter(noise[0], 2.5), gaussian_filter(noise[1], 2.5)
    return first > 0.05, first + 0.5 * second > 0.05


def as_sitk(mask: Mask, spacing: Spacing3) -> sitk.Image:
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(spacing[::-1])
    return image


def test_worked_by_hand() -> None:
    prediction, reference = np.zeros((2, 2, 3, 4), dtype=bool)
    prediction[0, 0, :3] = True  # 3 voxels, of which 2 are right
    reference[0, 0, 1:4] = reference[1, 2, 3] = True  # 4 voxels
    c = counts(prediction, reference)
    assert c == Counts(tp=2, fp=1, fn=2, tn=19)
    assert (c.prediction, c.reference, c.total) == (3, 4, 24)
    assert dice(c) == pytest.approx(4 / 7)
    assert iou(c) == pytest.approx(2 / 5)
    assert precision(c) == pytest.approx(2 / 3)
    assert sensitivity(c) == pytest.approx(1 / 2)
    assert specificity(c) == pytest.approx(19 / 20)
    assert accuracy(c) == pytest.approx(21 / 24)


def test_volume_counts_anisotropic_voxels() -> None:
    assert volume(7, (2.5, 0.5, 0.4)) == pytest.approx(3.5)


def test_the_volume_difference_is_a_share_of_the_reference() -> None:
    assert relative_volume_difference(Counts(tp=2, fp=1, fn=2, tn=0)) == -1 / 4
    assert relative_volume_difference(Counts(tp=0, fp=0, fn=4, tn=0)) == -1
    assert math.isnan(relative_volume_difference(Counts(tp=0, fp=3, fn=0, tn=0)))


def test_nothing_divided_by_nothing_is_no_number() -> None:
    nothing, everything = Counts(0, 0, 0, 8), Counts(8, 0, 0, 0)
    assert all(math.isnan(RATIOS[name](nothing)) for name in ("dice", "iou", "precision", "sensitivity"))
    assert specificity(nothing) == accuracy(nothing) == 1.0
    assert math.isnan(specificity(everything))
    missed, invented = Counts(0, 0, 3, 5), Counts(0, 3, 0, 5)
    assert dice(missed) == dice(invented) == iou(missed) == sensitivity(missed) == precision(invented) == 0.0
    assert math.isnan(precision(missed)) and math.isnan(sensitivity(invented))


@settings(max_examples=60, deadline=None)
@given(PAIRS)
def test_identities_of_the_counts(pair: tuple[Mask, Mask]) -> None:
    a, b = pair
    c, swapped = counts(a, b), counts(b, a)
    assert c.total == a.size
    assert swapped == Counts(c.tp, c.fn, c.fp, c.tn)
    assert counts(~a, ~b) == Counts(c.tn, c.fn, c.fp, c.tp)
    if c.prediction + c.reference:
        assert dice(c) == dice(swapped) == pytest.approx(2 * iou(c) / (1 + iou(c)))
    if c.prediction and c.tp:
        assert dice(c) == pytest.approx(2 / (1 / precision(c) + 1 / sensitivity(c)))


@pytest.mark.parametrize("seed", range(3))
def test_overlap_is_what_simpleitk_says(seed: int) -> None:
    prediction, reference = blobs(seed)
    measures = sitk.LabelOverlapMeasuresImageFilter()
    measures.Execute(as_sitk(prediction, (1, 1, 1)), as_sitk(reference, (1, 1, 1)))
    c = counts(prediction, reference)
    assert dice(c) == pytest.approx(measures.GetDiceCoefficient())
    assert iou(c) == pytest.approx(measures.GetJaccardCoefficient())
    assert 1 - sensitivity(c) == pytest.approx(measures.GetFalseNegativeError())
    assert 1 - precision(c) == pytest.approx(measures.GetFalseDiscoveryRate())
