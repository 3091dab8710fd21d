"""Areas of patches against shapes whose surface is known and marching cubes; distances against all pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.spatial.distance import cdist
from skimage.measure import marching_cubes, mesh_surface_area

from autoseg.imaging.surface_elements import element_distances, patch_areas

SPACINGS = [(1.0, 1.0, 1.0), (3.0, 1.0, 0.75), (0.6, 2.0, 1.3)]
MASKS = array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=5).flatmap(lambda shape: arrays(bool, shape))
CODES = np.arange(256)


def inside(code: int) -> np.ndarray:
    return np.array([code >> bit & 1 for bit in range(8)], dtype=bool).reshape(2, 2, 2)


def code_of(voxels: np.ndarray) -> int:
    return int((voxels.ravel() << np.arange(8)).sum())


def total_area(mask: np.ndarray, spacing: tuple[float, float, float]) -> float:
    return float(element_distances(mask, mask, spacing)[0][1].sum())


def test_areas_by_hand() -> None:
    areas = patch_areas((3.0, 1.0, 0.5))
    plane_z, plane_y, plane_x = (code_of(np.indices((2, 2, 2))[axis]) for axis in range(3))
    assert (areas[plane_z], areas[plane_y], areas[plane_x]) == pytest.approx((0.5, 1.5, 3.0))
    corner = np.array([[1.5, 0, 0], [0, 0.5, 0], [0, 0, 0.25]])
    assert areas[1] == pytest.approx(np.linalg.norm(np.cross(corner[1] - corner[0], corner[2] - corner[0])) / 2)
    unit = patch_areas((1.0, 1.0, 1.0))
    assert unit[0] == unit[255] == 0.0
    assert unit[0b00000011] == pytest.approx(np.sqrt(0.5))  # an edge: a rectangle
    assert unit[0b00010111] == pytest.approx(6 * np.sqrt(3) / 8)  # a corner and its three neighbours: a hexagon
    assert unit[0b10000001] == pytest.approx(2 * unit[1])  # opposite corners are apart


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_mask_and_its_complement_have_one_surface(spacing: tuple[float, float, float]) -> None:
    areas = patch_areas(spacing)
    assert areas == pytest.approx(areas[::-1])
    for code in CODES:
        for axis in range(3):
            assert areas[code] == pytest.approx(areas[code_of(np.flip(inside(code), axis))])


def test_turning_a_neighbourhood_turns_the_spacing() -> None:
    areas, turned = patch_areas((3.0, 1.0, 0.75)), patch_areas((1.0, 0.75, 3.0))
    for code in CODES:
        assert areas[code] == pytest.approx(turned[code_of(inside(code).transpose(1, 2, 0))])


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_ball_has_the_area_of_marching_cubes(spacing: tuple[float, float, float]) -> None:
    middle = np.array([9.0, 10.0, 11.0])[:, None, None, None]
    ball = np.linalg.norm((np.indices((20, 21, 22)) - middle) / 6.3, axis=0) < 1
    vertices, faces, *_ = marching_cubes(np.pad(ball, 1).astype(float), 0.5, spacing=spacing)
    assert total_area(ball, spacing) == pytest.approx(mesh_surface_area(vertices, faces), rel=0.01)


def test_a_block_loses_its_edges() -> None:
    block = np.ones((4, 5, 6), dtype=bool)
    flat = 2 * (3 * 4 + 4 * 5 + 3 * 5)
    assert total_area(block, (1.0, 1.0, 1.0)) == pytest.approx(flat + 4 * (3 + 4 + 5) * np.sqrt(0.5) + np.sqrt(3))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_distances_are_those_of_all_pairs_of_corners(data: st.DataObject) -> None:
    a = data.draw(MASKS.filter(np.any))
    b = data.draw(arrays(bool, a.shape).filter(np.any))
    spacing = data.draw(st.sampled_from(SPACINGS))
    points = []
    for mask in (a, b):
        padded = np.pad(mask, 1)
        corners = [c for c in np.ndindex(*(size + 1 for size in mask.shape)) if len(set(padded[tuple(slice(i, i + 2) for i in c)].ravel())) == 2]
        points.append(np.array(corners) * spacing)
    table = cdist(*points)
    (there, areas_a), (back, areas_b) = element_distances(a, b, spacing)
    np.testing.assert_allclose(np.sort(there), np.sort(table.min(axis=1)), atol=1e-9)
    np.testing.assert_allclose(np.sort(back), np.sort(table.min(axis=0)), atol=1e-9)
    assert (areas_a > 0).all() and (areas_b > 0).all()


def test_nothing_has_no_surface() -> None:
    with pytest.raises(ValueError, match="empty"):
        element_distances(np.zeros((3, 3, 3), dtype=bool), np.ones((3, 3, 3), dtype=bool), (1.0, 1.0, 1.0))
