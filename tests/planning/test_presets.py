from functools import cache
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg.errors import AutosegError
from autoseg.planning.plan import Plan
from autoseg.planning.planner import make_plan
from autoseg.planning.presets import PRESETS, find_preset
from autoseg.planning.rules.cost import estimate
from autoseg.planning.rules.patch import Budget, fit_patch
from tests.planning.conftest import make_facts

# The planned network for brains of 1 mm trained 529 steps in 15 minutes on two cores; 400 steps in 20 minutes may each cost 1.76 times that.
SLOWEST_STEP = (20 * 60 / 400) / (15 * 60 / 529)
BRAINS = ((140, 172, 138), (1.0, 1.0, 1.0), 4, 4)


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


@pytest.mark.parametrize(
    ("shape", "spacing", "channels", "classes"),
    [
        ((500, 512, 512), (1.5, 1.5, 1.5), 1, 105),
        ((20, 320, 320), (3.6, 0.6, 0.6), 2, 3),
        ((25, 256, 256), (6.5, 0.78, 0.78), 1, 2),
        ((30, 60, 900), (1.0, 1.0, 1.0), 1, 2),
        ((3, 256, 256), (8.0, 1.0, 1.0), 1, 2),
        ((1, 3000, 4000), (1.0, 1.0, 1.0), 3, 2),
    ],
)
def test_twenty_minutes_on_a_cpu_see_four_hundred_steps(shape: tuple[int, ...], spacing: tuple[float, ...], channels: int, classes: int) -> None:
    """Of every configuration: 2D, both resolutions, and the cascade with its further input channels. Time is taken as multiplications."""
    plan = cpu_plan(shape, spacing, channels, classes)
    for name in plan.configurations:
        assert multiplications(plan, name) <= SLOWEST_STEP * brains_step()


@settings(max_examples=60)
@given(
    st.tuples(st.integers(1, 600), st.integers(12, 600), st.integers(12, 600)),
    st.tuples(*[st.floats(0.3, 6)] * 3),
    st.sampled_from(sorted(PRESETS)),
    st.integers(2, 40),
    st.integers(1, 2000),
    st.floats(0.5, 3),
)
def test_no_configuration_costs_more_than_its_memory(
    shape: tuple[int, ...], spacing: tuple[float, ...], name: str, classes: int, cases: int, scale: float
) -> None:
    """A step of two never does; larger batches are rounded, up by half a patch at most."""
    preset = PRESETS[name]
    memory = scale * preset.reference_gb
    plan = make_plan(*make_facts([shape], [spacing], classes=classes, num_cases=cases), preset=name, gpu_memory_gb=memory)
    for configuration in plan.configurations.values():
        network, batch, sizing = configuration.network, configuration.batch_size, preset.sizing(configuration.dimensions)
        cost = estimate(
            network.family, configuration.patch_size, network.strides, network.features_per_stage, network.blocks_per_stage,
            network.convs_per_stage_decoder, classes,
        )  # fmt: skip
        rounding = 0 if batch == 2 else 0.5
        assert cost * (batch - rounding) <= sizing.reference * sizing.reference_batch * scale * (1 + 1e-12)
        assert 2 <= batch <= (sizing.max_batch or batch)


def cpu_plan(shape: tuple[int, ...], spacing: tuple[float, ...], channels: int, classes: int) -> Plan:
    names = tuple(f"channel {index}" for index in range(channels))
    return make_plan(*make_facts([shape], [spacing], channels=names, classes=classes, num_cases=500), preset="cpu")


@cache
def brains_step() -> int:
    return multiplications(cpu_plan(*BRAINS), "3d_fullres")


def multiplications(plan: Plan, name: str) -> int:
    """Those of one step's forward pass, counted while the network runs without numbers."""
    import torch
    from torch import nn

    from autoseg.networks import build

    configuration, done = plan.configuration(name), 0

    def add(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal done
        transposed = isinstance(module, nn.ConvTranspose2d | nn.ConvTranspose3d)
        values, other_side = (inputs[0].numel(), module.out_channels) if transposed else (output.numel(), module.in_channels)
        done += values * other_side * prod(module.kernel_size)

    with torch.device("meta"):
        network = build(configuration, in_channels=plan.input_channels(name), num_classes=len(plan.dataset.labels.values))
        for part in network.modules():
            if isinstance(part, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
                part.register_forward_hook(add)
        network(torch.empty(configuration.batch_size, plan.input_channels(name), *configuration.patch_size))
    return done
