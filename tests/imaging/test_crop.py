"""The non-zero mask against scipy, and the bounding box against the obvious loop."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_fill_holes

from autoseg.imaging.crop import bounding_box, nonzero_mask


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 0.9), st.tuples(*[st.integers(1, 9)] * 3))
def test_mask_is_any_channel_with_holes_filled(seed: int, density: float, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(seed)
    array = (rng.random((2, *shape)) < density / 2).astype(np.float32) * -3
    any_channel = (array != 0).any(0)
    flat = shape[0] == 1
    expected = binary_fill_holes(any_channel[0])[None] if flat else binary_fill_holes(any_channel)
    assert np.array_equal(nonzero_mask(array), expected)


def test_a_hollow_ball_is_filled_and_an_open_one_is_not() -> None:
    array = np.zeros((1, 9, 9, 9), np.float32)
    array[0, 2:7, 2:7, 2:7] = 1
    array[0, 3:6, 3:6, 3:6] = 0
    assert nonzero_mask(array)[3:6, 3:6, 3:6].all()
    array[0, 4, 4, 6] = 0
    assert not nonzero_mask(array)[4, 4, 4]


def test_a_ring_in_a_slice_is_filled_in_its_plane() -> None:
    array = np.zeros((1, 1, 7, 7), np.float32)
    array[0, 0, 1:6, 1:6] = 1
    array[0, 0, 2:5, 2:5] = 0
    assert nonzero_mask(array).sum() == 25


def test_not_a_number_counts_and_nothing_stays_nothing() -> None:
    array = np.zeros((2, 4, 4, 4), np.float32)
    assert not nonzero_mask(array).any()
    array[1, 1, 2, 3] = np.nan
    assert np.argwhere(nonzero_mask(array)).tolist() == [[1, 2, 3]]


def test_a_full_image_is_full() -> None:
    assert nonzero_mask(np.ones((1, 3, 4, 5), np.float32)).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.tuples(*[st.integers(1, 9)] * 3))
def test_the_box_holds_all_and_touches_on_every_side(seed: int, count: int, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, bool)
    mask[tuple(rng.integers(0, size, count) for size in shape)] = True
    points = np.argwhere(mask)
    expected = tuple(slice(low, high + 1) for low, high in zip(points.min(0), points.max(0), strict=True))
    assert bounding_box(mask) == expected


def test_the_box_of_nothing_is_everything() -> None:
    assert bounding_box(np.zeros((3, 4, 5), bool)) == (slice(0, 3), slice(0, 4), slice(0, 5))


def test_a_margin_stays_within_the_grid() -> None:
    mask = np.zeros((8, 6, 9), bool)
    mask[2:6, 0, 8] = True
    assert bounding_box(mask, margin=1) == (slice(1, 7), slice(0, 2), slice(7, 9))
    assert bounding_box(mask, margin=20) == (slice(0, 8), slice(0, 6), slice(0, 9))
