"""The cost of a network beside what its convolutions really produce, counted while it runs (without numbers, on the meta device)."""

from collections.abc import Callable
from math import prod
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg.planning.plan import Configuration, Plan
from autoseg.planning.rules.cost import estimate
from autoseg.planning.rules.topology import topology

CUBE = ((1, 1, 1),) + ((2, 2, 2),) * 5
FEATURES = (32, 64, 128, 256, 320, 320)
MakePlan = Callable[..., Plan]


def test_residual_check_value() -> None:
    assert estimate("residual_unet", (128, 128, 128), CUBE, FEATURES, (1, 3, 4, 6, 6, 6), (1,) * 5, 3) == 557_420_544


def test_plain_worked_by_hand() -> None:
    """Encoder 2 x 2 x 64 + 2 x 4 x 16, decoder 3 x 2 x 64, output 3 x 64."""
    assert estimate("plain_unet", (8, 8), ((1, 1), (2, 2)), (2, 4), (2, 2), (2,), 3) == 384 + 384 + 192


def test_decoder_convolutions_are_given_from_the_deepest_stage_up() -> None:
    """Two more at full resolution, 64 pixels of 2 channels; or two more a stage deeper, 16 pixels of 4."""
    strides = ((1, 1), (2, 2), (2, 2))
    one = estimate("plain_unet", (8, 8), strides, (2, 4, 8), (1, 1, 1), (1, 1), 2)
    assert estimate("plain_unet", (8, 8), strides, (2, 4, 8), (1, 1, 1), (1, 3), 2) == one + 2 * 2 * 64
    assert estimate("plain_unet", (8, 8), strides, (2, 4, 8), (1, 1, 1), (3, 1), 2) == one + 2 * 4 * 16


def test_one_stage_has_no_decoder() -> None:
    assert estimate("plain_unet", (5, 5, 5), ((1, 1, 1),), (16,), (2,), (), 2) == 125 * (2 * 16 + 2)


def test_residual_shortcut_is_counted_where_only_resolution_changes() -> None:
    same = estimate("residual_unet", (8, 8), ((1, 1), (1, 1)), (4, 4), (1, 1), (1,), 2)
    strided = estimate("residual_unet", (8, 8), ((1, 1), (2, 2)), (4, 4), (1, 1), (1,), 2)
    assert same == 64 * (4 + 8 + 8 + 8 + 2)
    assert strided == 64 * (4 + 8 + 8 + 2) + 16 * (8 + 4)


@pytest.mark.parametrize("family", ["plain_unet", "residual_unet"])
@pytest.mark.parametrize(
    ("spacing", "size"),
    [
        ((1.0, 1.0, 1.0), (32, 40, 48)),
        ((5.0, 0.8, 0.8), (12, 96, 80)),
        ((3.0, 1.0, 1.0), (3, 64, 64)),
        ((1.0, 1.0, 1.0), (8, 8, 200)),
        ((1.0, 1.0), (96, 320)),
        ((1.0, 3.0), (128, 40)),
    ],
)
def test_counts_what_the_real_network_makes(family: str, spacing: tuple[float, ...], size: tuple[int, ...], small_plan: MakePlan) -> None:
    """With the topology that planning gives; the last two stages have the same channels, as where a limit is reached."""
    shape = topology(spacing, size)
    features = [min(2 * 2**stage, 2 * 2 ** (shape.stages - 2)) for stage in range(shape.stages)]
    blocks = [2] * shape.stages if family == "plain_unet" else [1, 3, 4, 6, 6, 6, 6, 6][: shape.stages]
    network = {
        "family": family,
        "features_per_stage": features,
        "strides": shape.strides,
        "kernel_sizes": shape.kernel_sizes,
        "blocks_per_stage": blocks,
        "convs_per_stage_decoder": [2 if family == "plain_unet" else 1] * (shape.stages - 1),
    }
    assert_counted(small_plan(patch=shape.patch_size, network=network).configuration("small"), 4)


@st.composite
def networks(draw: st.DrawFn) -> dict[str, Any]:
    dimensions, stages = draw(st.integers(2, 3)), draw(st.integers(2, 4))
    axes = st.lists(st.integers(1, 2), min_size=dimensions, max_size=dimensions)
    strides = [[1] * dimensions, *(draw(axes) for _ in range(stages - 1))]
    edges = draw(st.lists(st.integers(2, 5), min_size=dimensions, max_size=dimensions))
    count = {"min_size": stages, "max_size": stages}
    network = {
        "family": draw(st.sampled_from(["plain_unet", "residual_unet"])),
        "features_per_stage": draw(st.lists(st.sampled_from([2, 4, 8]), **count).map(sorted)),
        "strides": strides,
        "kernel_sizes": draw(st.lists(st.lists(st.sampled_from([1, 3]), min_size=dimensions, max_size=dimensions), **count)),
        "blocks_per_stage": draw(st.lists(st.integers(1, 3), **count)),
        "convs_per_stage_decoder": draw(st.lists(st.integers(1, 3), min_size=stages - 1, max_size=stages - 1)),
    }
    patch = [edge * prod(stride[axis] for stride in strides) for axis, edge in enumerate(edges)]
    return {"patch": patch, "network": network}


@settings(max_examples=25)
@given(networks(), st.integers(2, 6))
def test_counts_what_any_network_makes(small_plan: MakePlan, drawn: dict[str, Any], classes: int) -> None:
    assert_counted(small_plan(**drawn).configuration("small"), classes)


def assert_counted(configuration: Configuration, classes: int) -> None:
    network = configuration.network
    expected = estimate(
        network.family, configuration.patch_size, network.strides, network.features_per_stage, network.blocks_per_stage,
        network.convs_per_stage_decoder, classes,
    )  # fmt: skip
    assert expected == count(configuration, classes)


def count(configuration: Configuration, classes: int) -> int:
    """Values that come out of convolutions and transposed convolutions, and of shortcuts that are averaged without a convolution.

    Of the heads only the one at full resolution counts.
    """
    import torch
    from torch import nn

    from autoseg.networks import build

    made = 0

    def add(_module: nn.Module, _inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal made
        made += output.numel()

    convolutions = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    with torch.device("meta"):
        module = build(configuration, in_channels=2, num_classes=classes)
        heads = list(module.get_submodule("decoder").get_submodule("seg_layers").children())
        for part in module.modules():
            averaged = isinstance(part, nn.Sequential) and [type(inner) for inner in part] in ([nn.AvgPool2d], [nn.AvgPool3d])
            if averaged or (isinstance(part, convolutions) and not any(part is head for head in heads[:-1])):
                part.register_forward_hook(add)
        module(torch.empty(1, 2, *configuration.patch_size))
    return made
