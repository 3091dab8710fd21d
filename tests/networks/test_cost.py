"""What a network costs: counted by hand, and against the description that planning works with."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from autoseg.networks.cost import network_cost
from autoseg.planning.hardware.layers import operations
from autoseg.planning.plan import Plan

TINY: dict[str, Any] = {
    "features_per_stage": [4, 8], "strides": [[1, 1], [2, 2]], "kernel_sizes": [[3, 3]] * 2, "blocks_per_stage": [1, 1],
    "convs_per_stage_decoder": [1],
}  # fmt: skip


def test_a_small_network_by_hand(small_plan: Callable[..., Plan]) -> None:
    cost = network_cost(small_plan(patch=(8, 8), network=TINY).configuration("small"), in_channels=2, num_classes=3)
    convolutions = 2 * 64 * 4 * (2 * 9), 2 * 16 * 8 * (4 * 9), 2 * 16 * (8 * 4 * 4), 2 * 64 * 4 * (8 * 9), 2 * 64 * 3 * 4
    assert cost.window_flops == sum(convolutions) == 60_928
    weights = 2 * 9 * 4 + 4, 8, 4 * 9 * 8 + 8, 16, 8 * 4 * 4 + 4, 8 * 9 * 4 + 4, 8, 4 * 3 + 3
    assert cost.parameters == sum(weights) == 843


@pytest.mark.parametrize("family", ["plain_unet", "residual_unet"])
@pytest.mark.parametrize("patch", [(16, 16, 16), (16, 32)])
def test_planning_counts_the_same_but_for_heads_that_prediction_does_without(
    family: str, patch: tuple[int, ...], small_plan: Callable[..., Plan]
) -> None:
    configuration = small_plan(patch=patch, network={"family": family}).configuration("small")
    made = operations(configuration, 2, 4)
    heads = [one.flops for one in made if one.head]
    cost = network_cost(configuration, in_channels=2, num_classes=4)
    assert len(heads) == 2  # the last is that of the full resolution
    assert cost.window_flops == sum(one.flops for one in made) - heads[0]
    assert cost.parameters == sum(one.weights for one in made)


def test_counting_draws_nothing(small_plan: Callable[..., Plan]) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    network_cost(small_plan().configuration("small"), in_channels=2, num_classes=4)
    assert torch.equal(torch.rand(4), expected)
