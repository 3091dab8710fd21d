"""Metrics against hand-worked cases, slow oracles, SimpleITK's filters and their own identities."""

import math

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt, gaussian_filter
from scipy.spatial.distance import cdist

from autoseg.evaluation.metrics import RATIOS, Counts, accuracy, counts, dice, hd95, iou, precision, sensitivity, specificity, volume
from autoseg.imaging.image import Spacing3
from autoseg.imaging.surfaces import border, border_distances

Mask = NDArray[np.bool_]
PAIRS = st.tuples(*[st.integers(2, 6)] * 3).flatmap(lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape)))
SPACINGS: list[Spacing3] = [(1.0, 1.0, 1.0), (6.5, 0.78, 0.78), (0.5, 2.0, 1.0)]


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


@pytest.mark.parametrize("spacing", SPACINGS)
def test_hd95_of_a_shifted_plane(spacing: Spacing3) -> None:
    a, b = np.zeros((2, 12, 5, 5), dtype=bool)
    a[2], b[6] = True, True
    assert hd95(a, b, spacing) == pytest.approx(4 * spacing[0])


def test_hd95_of_two_voxels() -> None:
    a, b = np.zeros((2, 4, 5, 6), dtype=bool)
    a[0, 0, 0], b[3, 4, 5] = True, True
    assert hd95(a, b, (1.0, 1.0, 1.0)) == pytest.approx(math.sqrt(9 + 16 + 25))
    assert hd95(a, b, (2.0, 0.5, 3.0)) == pytest.approx(math.sqrt(36 + 4 + 225))


def test_hd95_pools_both_ways() -> None:
    a, b = np.zeros((2, 1, 1, 40), dtype=bool)
    a[0, 0, 0] = True
    b[0, 0, [0, 2, 4, 30]] = True
    # all five distances: 0 one way; 0, 2, 4, 30 the other
    assert hd95(a, b, (1.0, 1.0, 1.0)) == pytest.approx(30 - 0.2 * (30 - 4))


def test_hd95_of_a_hole_counts_the_inner_border() -> None:
    solid = np.zeros((9, 9, 9), dtype=bool)
    solid[1:8, 1:8, 1:8] = True
    hollow = solid.copy()
    hollow[4, 4, 4] = False
    assert hd95(solid, solid, (1.0, 1.0, 1.0)) == 0.0
    there, back = border_distances(solid, hollow, (1.0, 1.0, 1.0))
    assert not there.any()
    assert np.count_nonzero(back) == 6  # the hole's six neighbours are border, two voxels below the hull
    assert back.max() == 2.0


def test_hd95_without_a_structure_is_no_number() -> None:
    empty, full = np.zeros((3, 4, 5), dtype=bool), np.ones((3, 4, 5), dtype=bool)
    assert hd95(full, full, (1.0, 1.0, 1.0)) == 0.0
    assert all(math.isnan(hd95(a, b, (1.0, 1.0, 1.0))) for a, b in [(empty, empty), (empty, full), (full, empty)])


@settings(max_examples=60, deadline=None)
@given(PAIRS.filter(lambda pair: pair[0].any() and pair[1].any()), st.sampled_from(SPACINGS))
def test_hd95_is_that_of_all_pairs_of_border_voxels(pair: tuple[Mask, Mask], spacing: Spacing3) -> None:
    points = [np.argwhere(mask & ~binary_erosion(mask)) * spacing for mask in pair]
    table = cdist(*points)
    expected = np.percentile(np.concatenate([table.min(axis=0), table.min(axis=1)]), 95)
    assert hd95(*pair, spacing) == pytest.approx(expected)
    assert hd95(*pair[::-1], spacing) == pytest.approx(expected)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", range(3))
def test_hd95_is_that_of_the_distance_transform(seed: int, spacing: Spacing3) -> None:
    masks = blobs(seed)
    borders = [mask & ~binary_erosion(mask) for mask in masks]
    there = distance_transform_edt(~borders[1], sampling=spacing)[borders[0]]
    back = distance_transform_edt(~borders[0], sampling=spacing)[borders[1]]
    expected = np.percentile(np.concatenate([there, back]), 95)
    assert expected > 0
    assert hd95(*masks, spacing) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_the_largest_border_distance_is_simpleitks_hausdorff_distance(spacing: Spacing3) -> None:
    masks = blobs(5)
    hausdorff = sitk.HausdorffDistanceImageFilter()
    hausdorff.Execute(*(as_sitk(border(mask), spacing) for mask in masks))
    assert max(distances.max() for distances in border_distances(*masks, spacing)) == pytest.approx(hausdorff.GetHausdorffDistance(), rel=1e-5)
