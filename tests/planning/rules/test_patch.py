from dataclasses import replace
from math import ceil, prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.errors import AutosegError
from autoseg.planning.presets import PRESETS
from autoseg.planning.rules.patch import Budget, fit_patch

DEFAULT = Budget(PRESETS["default"], 8, 3, 1e12)


def test_cube_of_one_millimetre() -> None:
    fit = fit_patch((1.0, 1.0, 1.0), (300, 300, 300), DEFAULT)
    assert fit.first_patch == (256, 256, 256)
    assert fit.patch_size == (128, 128, 128)
    assert fit.features == (32, 64, 128, 256, 320, 320)
    assert fit.batch_size == 2


def test_equally_covered_axes_lose_the_last_first() -> None:
    """128 x 128 x 128 costs 453 million; 6.4 GB allow 448: one reduction, by the finer step of the smaller patch."""
    fit = fit_patch((1.0, 1.0, 1.0), (128, 128, 128), replace(DEFAULT, gpu_memory_gb=6.4))
    assert fit.reductions == 1
    assert fit.patch_size == (128, 128, 112)


def test_memory_scales_the_batch() -> None:
    small = fit_patch((1.0, 1.0, 1.0), (40, 48, 40), DEFAULT)
    double = fit_patch((1.0, 1.0, 1.0), (40, 48, 40), replace(DEFAULT, gpu_memory_gb=16))
    assert small.reductions == 0
    assert double.batch_size == pytest.approx(2 * small.batch_size, abs=1)


def test_batch_covers_at_most_a_twentieth_of_the_dataset() -> None:
    fit = fit_patch((1.0, 1.0, 1.0), (32, 32, 32), replace(DEFAULT, dataset_voxels=100 * 32**3))
    assert fit.batch_size == fit.batch_by_dataset == 5
    assert fit.batch_by_memory > 5


def test_residual_presets_leave_room_for_the_reference_batch_in_2d() -> None:
    budget = Budget(PRESETS["resenc_m"], 8, 3, 1e12)
    fit = fit_patch((1.0, 1.0), (2000, 2000), budget)
    assert fit.cost <= budget.reference(2)
    assert fit.batch_size >= 12
    assert fit_patch((1.0, 1.0), (2000, 2000), DEFAULT).cost > DEFAULT.reference(2)


def test_too_little_memory_is_said() -> None:
    with pytest.raises(AutosegError, match=r"No patch fits 1e-08 GB.*--gpu-memory"):
        fit_patch((1.0, 1.0, 1.0), (100, 100, 100), replace(DEFAULT, gpu_memory_gb=1e-8))


@given(
    st.integers(2, 3).flatmap(lambda n: st.tuples(st.tuples(*[st.floats(0.2, 10)] * n), st.tuples(*[st.integers(2, 400)] * n))),
    st.sampled_from(sorted(PRESETS)),
    st.integers(2, 40),
    st.integers(2, 2000),
)
def test_every_fit_holds_its_promises(grid: tuple[tuple[float, ...], tuple[int, ...]], name: str, classes: int, cases: int) -> None:
    spacing, shape = grid
    preset = PRESETS[name]
    budget = Budget(preset, preset.reference_gb, classes, prod(shape) * cases)
    fit = fit_patch(spacing, shape, budget)
    limit = preset.sizing(len(shape)).max_batch
    assert 2 <= fit.batch_size <= (limit or 10**9)
    assert fit.cost <= budget.allowed(len(shape))
    assert prod(fit.patch_size) <= budget.most_voxels(len(shape))
    for size, divisor, extent in zip(fit.patch_size, fit.topology.divisors, shape, strict=True):
        assert size % divisor == 0
        assert size <= ceil(extent / divisor) * divisor
    assert len(fit.features) == len(fit.blocks) == fit.topology.stages == len(fit.decoder_convs) + 1
