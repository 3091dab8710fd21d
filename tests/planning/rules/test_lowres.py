"""The coarser grid: just coarse enough to be seen, fine axes first, and not worth having where it saves little."""

from dataclasses import replace
from math import prod

import pytest

from autoseg.planning.presets import find_preset
from autoseg.planning.rules.lowres import COARSEST, SMALLEST_COVERAGE, LowResolution, coverage, lower_resolution, wider_view
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


def wider(shape: tuple[float, float], least: float = 0.9, spacing: tuple[float, float] = (1.0, 1.0)) -> LowResolution | None:
    budget = Budget(find_preset("cpu"), 0.27, 3, prod(shape) * 100)
    return wider_view(spacing, shape, fit_patch(spacing, shape, budget), budget, least)


def test_pictures_are_made_coarser_until_a_patch_sees_nearly_all() -> None:
    """A patch of 384 x 384: of 640 x 640 it sees 36 %, and 90 % of 404 x 404, which is 1.58 times as coarse; the next step is 1.03**16."""
    found = wider((640.0, 640.0), spacing=(0.5, 0.7))
    assert found is not None and found.fit.patch_size == (384, 384)
    assert found.steps == 16 and found.spacing == pytest.approx((0.5 * 1.03**16, 0.7 * 1.03**16))
    assert found.median_shape == (round(640 / 1.03**16),) * 2 and found.saving == pytest.approx(640**2 / 399**2)
    assert coverage(found.fit.patch_size, found.median_shape) >= 0.9


def test_pictures_that_are_seen_stay_and_huge_ones_become_at_most_twice_as_coarse() -> None:
    assert wider((256.0, 256.0)) is None and wider((2000.0, 2000.0), least=0.0) is None
    found = wider((2000.0, 3000.0))
    assert found is not None and COARSEST / 1.03 < found.spacing[0] <= COARSEST
    assert coverage(found.fit.patch_size, found.median_shape) < 0.9


def test_the_share_of_the_dataset_is_that_of_the_coarser_pictures() -> None:
    budget = Budget(find_preset("cpu"), 0.27, 3, 640.0**2 * 10)
    full = fit_patch((1.0, 1.0), (640.0, 640.0), budget)
    found = wider_view((1.0, 1.0), (640.0, 640.0), full, budget, 0.9)
    assert found is not None and found.fit.batch_by_dataset == round(399**2 * 10 * 0.05 / 384**2)
