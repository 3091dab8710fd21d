"""The coarser grid: just coarse enough to be seen, fine axes first, and not worth having where it saves little."""

from dataclasses import replace
from math import prod

import pytest

from autoseg.planning.presets import find_preset
from autoseg.planning.rules.lowres import SMALLEST_COVERAGE, LowResolution, coverage, lower_resolution
from autoseg.planning.rules.patch import Budget, fit_patch

Three = tuple[float, float, float]


def lower(spacing: Three, shape: Three) -> LowResolution | None:
    budget = Budget(find_preset("default"), 8, 3, prod(shape) * 100)
    return lower_resolution(spacing, shape, fit_patch(spacing, shape, budget), budget)


def test_coverage_is_a_share_of_the_volume() -> None:
    assert coverage((2, 3, 4), (4, 6, 8)) == 1 / 8


@pytest.mark.parametrize("shape", [(128.0, 128.0, 128.0), (180.0, 220.0, 180.0)])
def test_none_where_a_patch_sees_a_quarter(shape: Three) -> None:
    assert lower((1.0, 1.0, 1.0), shape) is None


def test_not_worth_having_where_hardly_a_voxel_is_saved() -> None:
    """The patch of 128 sees 22 % of it: a grid that shows a quarter holds nearly as many voxels."""
    found = lower((1.0, 1.0, 1.0), (210.0, 220.0, 210.0))
    assert found is not None
    assert not found.is_worth_having
    assert (found.steps, found.saving) == (2, pytest.approx(1.03**6))


def test_the_first_grid_on_which_a_patch_sees_a_quarter() -> None:
    found = lower((1.0, 1.0, 1.0), (500.0, 500.0, 500.0))
    assert found is not None
    seen = coverage(found.fit.patch_size, found.median_shape)
    assert SMALLEST_COVERAGE <= seen < SMALLEST_COVERAGE * 1.03**3
    assert found.spacing[0] == found.spacing[1] == found.spacing[2] == pytest.approx(1.03**31)
    assert found.median_shape == (round(500 / found.spacing[0]),) * 3
    assert found.is_worth_having
    assert (found.steps, found.saving) == (31, pytest.approx(1.03**93))


def test_worth_having_from_half_the_voxels() -> None:
    found = lower((1.0, 1.0, 1.0), (500.0, 500.0, 500.0))
    assert found is not None
    assert [replace(found, saving=saving).is_worth_having for saving in (1.99, 2.0, 2.01)] == [False, True, True]


def test_fine_axes_are_coarsened_alone_until_they_have_caught_up() -> None:
    """Slices of 5 mm stay while the plane is finer than half of that."""
    found = lower((5.0, 1.0, 1.0), (100.0, 512.0, 512.0))
    assert found is not None
    assert found.spacing[0] == 5 and found.spacing[1] == found.spacing[2] < 2.5
    assert found.median_shape[0] == 100
