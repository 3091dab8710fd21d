"""Arithmetic against PyTorch's own count, time against cases worked out by hand, and what the preset `cpu` promises."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from autoseg.networks import build
from autoseg.planning.fingerprint import Fingerprint
from autoseg.planning.hardware.compute import (
    Rates,
    Throughput,
    describe_cost,
    epoch_seconds,
    prediction_flops,
    step_seconds,
    training_flops,
    training_seconds,
    validation_step_seconds,
)
from autoseg.planning.hardware.layers import operations
from autoseg.planning.hardware.memory import largest_memory
from autoseg.planning.plan import DatasetBlock, Plan
from autoseg.planning.planner import make_plan

Plans = Callable[..., Plan]
RATES = Rates(widths=(16, 64), convolution=(1e9, 4e9), norm=1e6, thin=2e6, loss=4e6)
MACHINE = Throughput("made up", "float32", True, 2, RATES, RATES, weights=1e7)
TWO_AVX2_CORES = Path(__file__).parent / "two_avx2_cores.json"
DATASETS: dict[str, dict[str, Any]] = {
    "hippocampus": {"shapes": [(36, 50, 35)], "spacings": [(1, 1, 1)], "num_cases": 208},
    "brain tumours": {
        "shapes": [(140, 171, 137)], "spacings": [(1, 1, 1)], "channels": ("T1", "T1ce", "T2", "FLAIR"), "classes": 4, "num_cases": 369,
    },
    "body": {"shapes": [(256, 512, 512)], "spacings": [(2.0, 0.8, 0.8)], "channels": ("CT",), "num_cases": 200},
    "many organs": {"shapes": [(256, 512, 512)], "spacings": [(1.5, 1.5, 1.5)], "channels": ("CT",), "classes": 25, "num_cases": 200},
    "prostate": {"shapes": [(20, 320, 319)], "spacings": [(3.6, 0.61, 0.61)], "channels": ("T2", "ADC"), "num_cases": 32},
    "slices": {"shapes": [(1, 512, 512)], "spacings": [(1, 0.5, 0.5)], "channels": ("R", "G", "B"), "classes": 2, "num_cases": 200},
}  # fmt: skip


@pytest.mark.parametrize("family", ["plain_unet", "residual_unet"])
@pytest.mark.parametrize(
    ("patch", "change"),
    [
        ((16, 16, 16), {}),
        ((32, 16), {}),
        ((8, 16, 32), {"kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]], "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]]}),
        ((16, 16, 16), {"features_per_stage": [8, 8, 32], "blocks_per_stage": [1, 3, 2], "convs_per_stage_decoder": [2, 1]}),
    ],
)
def test_arithmetic_and_weights_are_those_of_the_real_network(patch: tuple[int, ...], change: dict[str, Any], family: str, small_plan: Plans) -> None:
    configuration = small_plan(patch=patch, network=change | {"family": family}).configuration("small")
    with torch.device("meta"):
        network = build(configuration, in_channels=3, num_classes=5)
        image = torch.zeros(configuration.batch_size, 3, *patch)
    with FlopCounterMode(display=False) as counter:
        sum(logits.sum() for logits in network(image)).backward()
    layers = training_flops(configuration, 3, 5)
    assert sum(layer.flops for layer in layers) == counter.get_total_flops()
    assert sum(one.weights for one in operations(configuration, 3, 5)) == sum(parameter.numel() for parameter in network.parameters())


def test_rate_between_measured_widths() -> None:
    assert RATES.at_width(16) == pytest.approx(1e9)
    assert RATES.at_width(32) == pytest.approx(2e9)
    assert RATES.at_width(64) == pytest.approx(4e9)
    assert (RATES.at_width(2), RATES.at_width(1000)) == (pytest.approx(1e9), pytest.approx(4e9))


def test_step_worked_by_hand(small_plan: Plans) -> None:
    """Two stages of one convolution, 16 wide, 8^2 pixels, batch 2, a class and its background."""
    network = {
        "features_per_stage": [16, 16], "strides": [[1, 1], [2, 2]], "kernel_sizes": [[3, 3]] * 2, "blocks_per_stage": [1, 1],
        "convs_per_stage_decoder": [1],
    }  # fmt: skip
    configuration = small_plan(patch=(8, 8), network=network).configuration("small")
    full, low = 2 * 64, 2 * 16
    wide = 3 * (2 * 16 * 16 * 9 * low + 2 * 32 * 16 * 9 * full)  # bottleneck and decoder
    assert wide == sum(layer.flops for layer in training_flops(configuration, 1, 2) if layer.in_channels >= 16 and layer.kernel == (3, 3))
    convolutions = 3 * 2 * 16 * 16 * 9 * low / 1e9 + 3 * 2 * 32 * 16 * 9 * full / (1e9 * 2**0.5)
    thin = 3 * 16 * full / 2e6  # first convolution, transposed convolution, head
    norms, concatenation, loss = (16 * full * 2 + 16 * low) / 1e6, 32 * full / 1e6, 2 * full / 4e6
    weights = (9 * 16 + 16) + (9 * 256 + 16) + (4 * 256 + 16) + (9 * 512 + 16) + (16 * 2 + 2) + 3 * 32
    assert step_seconds(configuration, 1, 2, MACHINE) == pytest.approx(convolutions + thin + norms + concatenation + loss + weights / 1e7, rel=1e-6)


def test_epoch_and_training_add_up(small_plan: Plans) -> None:
    configuration = small_plan().configuration("small")
    rules = configuration.training
    step, check = step_seconds(configuration, 2, 4, MACHINE), validation_step_seconds(configuration, 2, 4, MACHINE)
    assert check < step / 3 < 1.2 * check
    epoch = epoch_seconds(configuration, 2, 4, MACHINE)
    assert epoch == pytest.approx(rules.iterations_per_epoch * step + rules.validation_iterations * check)
    assert training_seconds(configuration, 2, 4, MACHINE) == pytest.approx(rules.epochs * epoch)


def test_cost_of_every_configuration(facts_of: Callable[..., tuple[Fingerprint, DatasetBlock]]) -> None:
    plan = make_plan(*facts_of(**DATASETS["brain tumours"]))
    costs = describe_cost(plan, MACHINE)
    assert [cost.name for cost in costs] == list(plan.configurations)
    volumes = next(cost for cost in costs if cost.name == "3d_fullres")
    configuration = plan.configuration("3d_fullres")
    assert volumes.memory_bytes == largest_memory(configuration, 4, 4).total
    assert volumes.training_seconds == training_seconds(configuration, 4, 4, MACHINE)
    assert volumes.step_values == pytest.approx(2 * 455e6, rel=0.01)  # as docs/plan.md works out
    assert volumes.parameters == pytest.approx(31e6, rel=0.02)
    assert {cost.epoch_seconds for cost in describe_cost(plan, None)} == {None}


@pytest.mark.parametrize("dataset", DATASETS)
def test_preset_cpu_sees_400_steps_in_20_minutes(dataset: str, facts_of: Callable[..., tuple[Fingerprint, DatasetBlock]]) -> None:
    """On two cores with AVX2 as measured once; validation batches along the way are part of the budget."""
    machine = recorded(TWO_AVX2_CORES)
    plan = make_plan(*facts_of(**DATASETS[dataset]), preset="cpu")
    for name, configuration in plan.configurations.items():
        arguments = (configuration, plan.input_channels(name), len(plan.dataset.labels.values), machine)
        steps = 20 * 60 / epoch_seconds(*arguments) * configuration.training.iterations_per_epoch
        assert steps >= 400, f"{name}: {step_seconds(*arguments):.2f} s a step"


def recorded(path: Path) -> Throughput:
    """A measurement that was kept."""

    def rates(part: dict[str, Any]) -> Rates:
        return Rates(**{name: tuple(value) if isinstance(value, list) else value for name, value in part.items()})

    content = json.loads(path.read_text(encoding="utf-8"))
    return Throughput(**(content | {key: rates(content[key]) for key in ("volumes", "slices")}))


def test_arithmetic_of_a_prediction(facts_of: Callable[..., tuple[Fingerprint, DatasetBlock]]) -> None:
    plan = make_plan(*facts_of(**DATASETS["body"]))
    full, low = plan.configuration("3d_fullres"), plan.configuration("3d_lowres")
    forward = sum(one.flops for one in operations(full, 1, plan.output_channels))
    every = [size * step / 2 for size, step in zip(full.patch_size, full.spacing, strict=True)]  # windows overlap by one half

    def window(name: str) -> float:
        return sum(one.flops for one in operations(plan.configuration(name), plan.input_channels(name), plan.output_channels))

    assert prediction_flops(plan, "3d_fullres", "default", window) == pytest.approx(forward * 8 / (every[0] * every[1] * every[2]))
    slices = plan.configuration("2d")
    forward = sum(one.flops for one in operations(slices, 1, plan.output_channels))
    area = slices.patch_size[0] * slices.spacing[0] * slices.patch_size[1] * slices.spacing[1] / 4
    assert prediction_flops(plan, "2d", "default", window) == pytest.approx(forward * 4 / (area * min(full.spacing[0], low.spacing[0])))
    stages = prediction_flops(plan, "3d_fullres", "default", window) + prediction_flops(plan, "3d_lowres", "default", window)
    assert prediction_flops(plan, "3d_cascade_fullres", "default", window) > stages
    assert prediction_flops(plan, "3d_fullres", "default", window) == 8 * prediction_flops(
        plan, "3d_fullres", "fast", window
    )  # which mirrors nothing
