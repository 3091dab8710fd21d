"""Parts against scipy's labelling, growth against a step at a time and against cropping."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import label

from autoseg.imaging.components import boxes_of, components, dilate
from autoseg.imaging.surfaces import bounding_box

MASKS = array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=7).flatmap(lambda shape: arrays(bool, shape))


def same_parts(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two label maps differ in their numbers alone."""
    pairs = set(zip(a.ravel().tolist(), b.ravel().tolist(), strict=True))
    return len(pairs) == len({left for left, _ in pairs}) == len({right for _, right in pairs})


@settings(max_examples=60, deadline=None)
@given(MASKS)
def test_parts_are_scipys(mask: np.ndarray) -> None:
    expected, count = label(mask, np.ones((3, 3, 3)))
    found, n = components(mask)
    assert n == count
    assert same_parts(found, expected)
    assert np.array_equal(found > 0, mask)
    for part, box in enumerate(boxes_of(found, n), start=1):
        inside = np.argwhere(found == part)
        assert [(edge.start, edge.stop - 1) for edge in box] == list(zip(inside.min(axis=0), inside.max(axis=0), strict=True))


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 1, 40), (7, 1, 1), (1, 13, 13), (1, 513, 5), (3, 1, 9), (3, 3, 3), (2, 8, 8), (4, 5, 7)])
def test_as_many_parts_as_a_grid_can_hold(shape: tuple[int, int, int]) -> None:
    mask = np.zeros(shape, dtype=bool)
    mask[::2, ::2, ::2] = True
    found, count = components(mask)
    assert found.shape == shape
    assert found[mask].tolist() == list(range(1, count + 1))
    assert count == mask.sum()


@settings(max_examples=60, deadline=None)
@given(MASKS)
def test_parts_are_numbered_by_their_first_voxel(mask: np.ndarray) -> None:
    found, count = components(mask)
    numbers, first = np.unique(found[mask], return_index=True)
    assert numbers.tolist() == list(range(1, count + 1))
    assert np.all(np.diff(first) > 0)


def test_corners_hold_together() -> None:
    mask = np.zeros((4, 4, 4), dtype=bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[3, 3, 3] = True
    assert components(mask)[1] == 2


@pytest.mark.parametrize("shape", [(0, 0, 0), (3, 4, 5)])
def test_nothing_has_no_parts(shape: tuple[int, int, int]) -> None:
    labels, count = components(np.zeros(shape, dtype=bool))
    assert count == 0 and not labels.any() and boxes_of(labels, count) == []


@pytest.mark.parametrize(("times", "voxels"), [(0, 1), (1, 19), (2, 5**3 - 32), (3, None)])
def test_a_voxel_grows_over_faces_and_edges(times: int, voxels: int | None) -> None:
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[4, 4, 4] = True
    grown = dilate(mask, times)
    apart = np.abs(np.indices(mask.shape) - 4)
    assert np.array_equal(grown, (apart.max(axis=0) <= times) & (apart.sum(axis=0) <= 2 * times))
    assert voxels is None or grown.sum() == voxels


@settings(max_examples=60, deadline=None)
@given(MASKS.filter(np.any), st.integers(1, 3))
def test_parts_that_grow_together_are_the_same_within_the_box(mask: np.ndarray, times: int) -> None:
    wide = np.pad(mask, 5)
    box = bounding_box(mask, margin=0)
    assert box is not None
    everywhere, n = components(dilate(wide, times))
    cropped, n_cropped = components(dilate(mask[box], times))
    assert n == n_cropped
    assert same_parts(everywhere[wide], cropped[mask[box]])
