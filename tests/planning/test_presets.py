import pytest

from autoseg.errors import AutosegError
from autoseg.planning.patch import Budget, fit_patch
from autoseg.planning.presets import PRESETS, find_preset


def test_unknown_preset_lists_the_choices() -> None:
    with pytest.raises(AutosegError, match=r"'gpu'.*default, cpu, resenc_m, resenc_l, resenc_xl"):
        find_preset("gpu")


@pytest.mark.parametrize("shape", [(300, 300, 300), (140, 170, 137), (30, 500, 500), (500, 512, 512)])
@pytest.mark.parametrize("classes", [2, 4, 14])
def test_cpu_keeps_a_step_near_a_second(shape: tuple[int, ...], classes: int) -> None:
    """2.5e5 voxels a second in 3D on two cores with AVX2; a batch of two patches near that."""
    spacing = (5.0, 0.7, 0.7) if shape[0] == 30 else (1.0, 1.0, 1.0)
    budget = Budget(PRESETS["cpu"], 0.27, classes, 1e12)
    fit = fit_patch(spacing, shape, budget)
    voxels = fit.patch_size[0] * fit.patch_size[1] * fit.patch_size[2]
    assert 7e4 < voxels <= 1.8e5
    assert fit.batch_size * voxels <= 3.7e5
    assert fit.features[0] == 16


def test_cpu_stops_at_two_volumes_and_twelve_slices() -> None:
    budget = Budget(PRESETS["cpu"], 0.27, 3, 1e12)
    assert fit_patch((1.0, 1.0, 1.0), (36, 50, 35), budget).batch_size == 2
    assert fit_patch((1.0, 1.0), (50, 35), budget).batch_size == 12


def test_cpu_slices_keep_a_step_near_a_second() -> None:
    fit = fit_patch((1.0, 1.0), (2000, 2000), Budget(PRESETS["cpu"], 0.27, 3, 1e12))
    assert 2e5 < fit.batch_size * fit.patch_size[0] * fit.patch_size[1] <= 3.2e5


def test_a_gigabyte_means_the_same_for_default_and_cpu() -> None:
    default, cpu = PRESETS["default"], PRESETS["cpu"]
    assert cpu.volumes.reference / cpu.reference_gb == pytest.approx(default.volumes.reference / default.reference_gb, rel=0.02)
