"""Border distances and what is read from them: worked by hand, all pairs of voxels, SimpleITK's filters, distance transforms."""

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

from autoseg.evaluation.distances import HD95_AREA_WEIGHTED, NSD_MEAN, hd95_area_weighted, surface_measures
from autoseg.imaging.image import Spacing3
from autoseg.imaging.surfaces import border, border_distances

Mask = NDArray[np.bool_]
PAIRS = st.tuples(*[st.integers(2, 6)] * 3).flatmap(lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape)))
SPACINGS: list[Spacing3] = [(1.0, 1.0, 1.0), (6.5, 0.78, 0.78), (0.5, 2.0, 1.0)]
UNIT: Spacing3 = (1.0, 1.0, 1.0)


def hd95(a: Mask, b: Mask, spacing: Spacing3) -> float:
    return surface_measures(a, b, spacing, tolerance=1.0)["hd95"]


def blobs(seed: int, shape: tuple[int, int, int] = (20, 26, 22)) -> tuple[Mask, Mask]:
    """Two smooth, overlapping structures of several parts; they touch the image's edge."""
    noise = np.random.default_rng(seed).standard_normal((2, *shape))
    first, second = gaussian_filter(noise[0], 2.5), gaussian_filter(noise[1], 2.5)
    return first > 0.05, first + 0.5 * second > 0.05


def as_sitk(mask: Mask, spacing: Spacing3) -> sitk.Image:
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(spacing[::-1])
    return image


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


def test_nsd_and_assd_worked_by_hand() -> None:
    a, b = np.zeros((2, 1, 1, 40), dtype=bool)
    a[0, 0, 0] = True
    b[0, 0, [0, 2, 4, 30]] = True  # distances 0 one way; 0, 2, 4, 30 the other
    found = surface_measures(a, b, UNIT, tolerance=2.0)
    assert found["assd"] == pytest.approx(36 / 5)
    assert found["nsd"] == pytest.approx(3 / 5)
    assert surface_measures(a, b, UNIT, tolerance=2.0, nsd_convention=NSD_MEAN)["nsd"] == pytest.approx((1 + 1 / 2) / 2)
    assert surface_measures(a, b, UNIT, tolerance=0.0)["nsd"] == pytest.approx(2 / 5)


@pytest.mark.parametrize("step", [0.1, 0.3, 0.7, 1.1])
def test_a_distance_that_equals_the_tolerance_is_within(step: float) -> None:
    a, b = np.zeros((2, 3, 3, 9), dtype=bool)
    a[1, 1, 1] = b[1, 1, 4] = True
    assert surface_measures(a, b, (1.0, 1.0, step), tolerance=round(3 * step, 6))["nsd"] == 1.0  # 3 x 0.1 is more than 0.3
    assert surface_measures(a, b, (1.0, 1.0, step), tolerance=2.999 * step)["nsd"] == 0.0


@settings(max_examples=60, deadline=None)
@given(PAIRS.filter(lambda pair: pair[0].any() and pair[1].any()), st.sampled_from(SPACINGS), st.sampled_from([0.5, 1.0, 2.0]))
def test_nsd_and_assd_are_those_of_all_pairs_of_border_voxels(pair: tuple[Mask, Mask], spacing: Spacing3, tolerance: float) -> None:
    table = cdist(*[np.argwhere(mask & ~binary_erosion(mask)) * spacing for mask in pair])
    both = table.min(axis=1), table.min(axis=0)
    found = surface_measures(*pair, spacing, tolerance=tolerance)
    assert found["assd"] == pytest.approx(np.concatenate(both).mean())
    assert found["nsd"] == pytest.approx((np.concatenate(both) <= tolerance + 1e-7).mean())
    mean = surface_measures(*pair, spacing, tolerance=tolerance, nsd_convention=NSD_MEAN)["nsd"]
    assert mean == pytest.approx(np.mean([(way <= tolerance + 1e-7).mean() for way in both]))
    assert surface_measures(*pair[::-1], spacing, tolerance=tolerance) == pytest.approx(found)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_border_distances_are_simpleitks_distance_maps(spacing: Spacing3) -> None:
    masks = blobs(7)
    ways = []
    for one, other in (masks, masks[::-1]):
        far = sitk.SignedMaurerDistanceMap(as_sitk(border(other), spacing), insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
        ways.append(np.maximum(sitk.GetArrayFromImage(far), 0)[border(one)])
    pooled = np.concatenate(ways)
    found = surface_measures(*masks, spacing, tolerance=1.5)
    assert found["assd"] == pytest.approx(pooled.mean(), rel=1e-5)
    assert found["hd95"] == pytest.approx(np.percentile(pooled, 95), rel=1e-5)
    assert found["nsd"] == pytest.approx((pooled <= 1.5 + 1e-5).mean())


@pytest.mark.parametrize("spacing", SPACINGS)
def test_the_area_weighted_hd95_of_a_shifted_cube(spacing: Spacing3) -> None:
    a, b = np.zeros((2, 20, 12, 12), dtype=bool)
    a[3:9, 3:9, 3:9] = b[7:13, 3:9, 3:9] = True
    assert hd95_area_weighted(a, b, spacing) == pytest.approx(4 * spacing[0])
    assert surface_measures(a, b, spacing, tolerance=1.0, hd95_convention=HD95_AREA_WEIGHTED)["hd95"] == hd95_area_weighted(a, b, spacing)


def test_the_area_weighted_hd95_takes_the_larger_way_and_weighs() -> None:
    a, b = np.zeros((2, 24, 24, 40), dtype=bool)
    a[2:12, 2:12, 2:12] = b[2:12, 2:12, 2:12] = True
    b[20, 20, 35] = True  # one voxel far away: 8 of 608 elements there, by area still less
    assert hd95_area_weighted(a, b, UNIT) == 0.0
    assert hd95_area_weighted(a, np.roll(b, 1, axis=2), UNIT) == pytest.approx(1.0)
    b[18:22, 18:22, 30:36] = True  # some 15 % of the surface
    assert hd95_area_weighted(a, b, UNIT) == hd95_area_weighted(b, a, UNIT) > 20


def test_nothing_has_no_distance_of_any_kind() -> None:
    empty, full = np.zeros((3, 4, 5), dtype=bool), np.ones((3, 4, 5), dtype=bool)
    for pair in [(empty, empty), (empty, full), (full, empty)]:
        assert all(math.isnan(value) for value in surface_measures(*pair, UNIT, tolerance=1.0).values())
        assert math.isnan(hd95_area_weighted(*pair, UNIT))
    assert surface_measures(full, full, UNIT, tolerance=0.0) == {"hd95": 0.0, "assd": 0.0, "nsd": 1.0}
