"""When two grids are one: worked out by hand at the borders of what is tolerated."""

from dataclasses import replace

import pytest

from autoseg.errors import GeometryMismatch
from autoseg.imaging.image import Geometry, require_same_grid

GRID = Geometry.of((11, 21, 31), (3.0, 2.0, 1.0))


def moved(x: float) -> Geometry:
    first, *rest = GRID.affine
    return replace(GRID, affine=((*first[:3], x), *rest))


def test_a_grid_lies_along_the_worlds_axes() -> None:
    assert GRID.affine == ((1, 0, 0, 0), (0, 2, 0, 0), (0, 0, 3, 0), (0, 0, 0, 1))
    assert not GRID.flat and Geometry.of((1, 2, 3), flat=True).flat


def test_header_facts_do_not_make_a_difference() -> None:
    assert replace(GRID, header={"sform_code": 2}) == GRID
    require_same_grid(GRID, replace(GRID, header={"sform_code": 2}))


def test_another_shape() -> None:
    with pytest.raises(GeometryMismatch, match=r"shape \(11, 21, 30\) instead of \(11, 21, 31\)"):
        require_same_grid(GRID, Geometry.of((11, 21, 30), GRID.spacing))


def test_spacing_is_compared_as_a_share() -> None:
    require_same_grid(GRID, Geometry.of(GRID.shape, (3.0, 2.001, 1.0)))
    with pytest.raises(GeometryMismatch, match=r"spacing \(3, 2\.2, 1\) mm instead of \(3, 2, 1\) mm: off by 10\.00%, allowed is 0\.1%"):
        require_same_grid(GRID, Geometry.of(GRID.shape, (3.0, 2.2, 1.0)))
    require_same_grid(GRID, Geometry.of(GRID.shape, (3.0, 2.2, 1.0)), tolerance=0.2)


def test_position_is_compared_with_the_diagonal() -> None:
    """33 x 42 x 31 mm: a diagonal of 61.76 mm, so 0.06 mm are tolerated and 0.07 are not."""
    require_same_grid(GRID, moved(0.06))
    with pytest.raises(GeometryMismatch, match=r"up to 0\.07 mm apart, 0\.11% of the diagonal"):
        require_same_grid(GRID, moved(-0.07))


def test_a_mirrored_axis_is_another_place_though_the_spacing_is_the_same() -> None:
    mirrored = replace(GRID, affine=((-1.0, 0.0, 0.0, 0.0), *GRID.affine[1:]))
    with pytest.raises(GeometryMismatch, match=r"corners lie up to 60\.00 mm apart"):
        require_same_grid(GRID, mirrored)


def test_pictures_have_no_place() -> None:
    flat, far = replace(GRID, flat=True), replace(moved(500.0), flat=True)
    require_same_grid(flat, far)
    with pytest.raises(GeometryMismatch):
        require_same_grid(flat, moved(500.0))
