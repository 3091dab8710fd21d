"""Borders against scipy's erosion, distances against all pairs of voxels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import binary_erosion, generate_binary_structure
from scipy.spatial.distance import cdist

from autoseg.imaging.surfaces import border, border_distances, bounding_box

MASKS = array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=7).flatmap(lambda shape: arrays(bool, shape))


@settings(max_examples=60, deadline=None)
@given(MASKS)
def test_border_is_the_mask_without_its_erosion(mask: np.ndarray) -> None:
    eroded = binary_erosion(mask, generate_binary_structure(3, 1), border_value=0)
    assert np.array_equal(border(mask), mask & ~eroded)


def test_border_does_not_change_its_mask() -> None:
    mask = np.ones((4, 4, 4), dtype=bool)
    border(mask)
    assert mask.all()


def test_the_border_of_a_full_image_is_its_hull() -> None:
    assert border(np.ones((5, 6, 7), dtype=bool)).sum() == 5 * 6 * 7 - 3 * 4 * 5


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_picture_has_an_outline(axis: int) -> None:
    picture = np.zeros((6, 7), dtype=bool)
    picture[1:5, 1:6] = True
    outline = border(np.expand_dims(picture, axis))
    assert np.array_equal(outline.squeeze(axis), picture & ~binary_erosion(picture))
    assert outline.sum() == 14


def test_an_image_of_one_voxel_is_border() -> None:
    assert border(np.ones((1, 1, 1), dtype=bool)).all()


def test_one_slice_of_a_volume_is_all_border() -> None:
    a, b = np.zeros((2, 9, 8, 8), dtype=bool)
    a[4, 1:7, 1:7] = True
    b[4, 2:6, 2:6] = True
    assert border(a).sum() == 36
    there, back = border_distances(a, b, (1.0, 1.0, 1.0))
    assert len(there) == 36 and len(back) == 16  # the crop to both masks must not turn the volume into a picture
    assert not back.any()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_distances_are_those_of_all_pairs(data: st.DataObject) -> None:
    a = data.draw(MASKS.filter(np.any))
    b = data.draw(arrays(bool, a.shape).filter(np.any))
    spacing = data.draw(st.tuples(*[st.sampled_from([0.5, 1.0, 3.3])] * 3))
    points_a, points_b = (np.argwhere(border(mask)) * spacing for mask in (a, b))
    table = cdist(points_a, points_b)
    there, back = border_distances(a, b, spacing)
    np.testing.assert_allclose(np.sort(there), np.sort(table.min(axis=1)))
    np.testing.assert_allclose(np.sort(back), np.sort(table.min(axis=0)))


@pytest.mark.parametrize("full", [(True, False), (False, True), (False, False)])
def test_nothing_has_no_distance(full: tuple[bool, bool]) -> None:
    a, b = (np.full((3, 3, 3), value) for value in full)
    with pytest.raises(ValueError, match="empty"):
        border_distances(a, b, (1.0, 1.0, 1.0))


def test_bounding_box() -> None:
    mask = np.zeros((9, 9, 9), dtype=bool)
    assert bounding_box(mask) is None
    mask[2, 0, 3] = mask[5, 4, 8] = True
    assert bounding_box(mask) == (slice(1, 7), slice(0, 6), slice(2, 9))
    assert bounding_box(mask, margin=0) == (slice(2, 6), slice(0, 5), slice(3, 9))
