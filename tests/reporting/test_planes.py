"""Slices come out upright: told from world coordinates, for each of the 48 ways a file may store its axes."""

from itertools import permutations, product

import numpy as np
import pytest
from numpy.typing import NDArray

from autoseg.imaging.image import Affine, Shape3, Spacing3
from autoseg.reporting.planes import largest_slice, pixel_size, upright, view

Axes = tuple[int, ...]

ORIENTATIONS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def affine_of(order: Axes, signs: Axes, spacing_xyz: Spacing3 = (1.0, 1.0, 1.0), tilt: float = 0.0) -> Affine:
    """File axis i runs along world axis order[i], in direction signs[i]; `tilt` turns the grid about the world's axes."""
    matrix = np.zeros((3, 3))
    for i in range(3):
        matrix[order[i], i] = signs[i]
    cos, sin = np.cos(tilt), np.sin(tilt)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ matrix @ np.diag(spacing_xyz)
    return tuple(map(tuple, affine.tolist()))


def world_of(affine: Affine, shape_ZYX: Shape3) -> NDArray[np.floating]:
    """RAS coordinates of each voxel, (3, Z, Y, X)."""
    z, y, x = np.indices(shape_ZYX)
    return np.einsum("ij,jzyx->izyx", np.asarray(affine)[:3, :3], np.stack([x, y, z]).astype(float))


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_right_is_left_and_anterior_or_superior_is_up(order: Axes, signs: Axes) -> None:
    affine = affine_of(order, signs, tilt=0.2)
    right, anterior, superior = world_of(affine, (4, 5, 6))
    seen = {}
    for how in (view(axis, affine) for axis in range(3)):
        index = (4, 5, 6)[how.axis] // 2
        across = anterior if how.plane == "sagittal" else right
        up = anterior if how.plane == "axial" else superior
        across_picture, up_picture = upright(across, index, how), upright(up, index, how)
        assert (np.diff(across_picture, axis=1) < 0).all()  # each column lies further to the patient's left (posterior)
        assert (np.diff(up_picture, axis=0) < 0).all()
        seen[how.plane] = how.ends
    assert seen == {"axial": ("R", "L"), "coronal": ("R", "L"), "sagittal": ("A", "P")}


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS[::7])
def test_pixel_size_follows_the_exchange_of_axes(order: Axes, signs: Axes) -> None:
    spacing_xyz = (0.5, 2.0, 3.0)
    affine = affine_of(order, signs, spacing_xyz)
    world = world_of(affine, (3, 3, 3))
    for how in (view(axis, affine) for axis in range(3)):
        height, width = pixel_size(spacing_xyz[::-1], how)
        picture = np.stack([upright(component, 1, how) for component in world])
        assert np.linalg.norm(picture[:, 1, 0] - picture[:, 0, 0]) == pytest.approx(height)
        assert np.linalg.norm(picture[:, 0, 1] - picture[:, 0, 0]) == pytest.approx(width)


def test_without_an_affine_slices_stay_as_stored() -> None:
    volume = np.arange(24).reshape(2, 3, 4)
    for axis in range(3):
        how = view(axis, None)
        assert how.ends is None
        np.testing.assert_array_equal(upright(volume, 1, how), volume.take(1, axis))
        assert how.plane == f"along {'ZYX'[axis]}"


def test_largest_slice() -> None:
    mask = np.zeros((5, 4, 4), bool)
    assert largest_slice(mask) == 2
    mask[1, 0, 0] = mask[4, :2, 0] = True
    assert largest_slice(mask) == 4
