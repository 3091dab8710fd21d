"""Networks that a plan can describe are built; what is no U-Net is refused by key."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from autoseg.errors import PlanError
from autoseg.networks import build
from autoseg.planning.plan import Plan

Plans = Callable[..., Plan]


def two_stages(**changes: Any) -> dict[str, Any]:
    return {
        "features_per_stage": [4, 8], "strides": [[1, 1, 1], [2, 2, 2]], "kernel_sizes": [[3, 3, 3]] * 2, "blocks_per_stage": [1, 1],
        "convs_per_stage_decoder": [1],
    } | changes  # fmt: skip


@pytest.mark.parametrize("family", ["plain_unet", "residual_unet"])
@pytest.mark.parametrize("stride", [[2, 2, 2], [1, 2, 2], [2, 1, 1]])
def test_the_smallest_unet(family: str, stride: list[int], small_plan: Plans) -> None:
    kernels = [[1, 3, 3], [3, 3, 3]]
    plan = small_plan(patch=(4, 8, 6), network=two_stages(family=family, strides=[[1, 1, 1], stride], kernel_sizes=kernels))
    logits = build(plan.configuration("small"), in_channels=1, num_classes=5)(torch.randn(2, 1, 4, 8, 6))
    assert [tuple(stage.shape) for stage in logits] == [(2, 5, 4, 8, 6)]


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"features_per_stage": [4], "strides": [[1, 1, 1]], "kernel_sizes": [[3, 3, 3]], "blocks_per_stage": [2], "convs_per_stage_decoder": []},
         r"features_per_stage has 1 entry: .* at least two stages"),
        (two_stages(strides=[[2, 2, 2], [2, 2, 2]]), r"strides begins with \[2, 2, 2\]"),
        (two_stages(kernel_sizes=[[3, 3, 3], [3, 2, 3]]), r"kernel_sizes holds \[3, 2, 3\]: .* every size is odd"),
    ],
)  # fmt: skip
def test_what_is_no_unet_is_refused(network: dict[str, Any], message: str, small_plan: Plans) -> None:
    plan = small_plan(network=network)
    with pytest.raises(PlanError, match=f"network.{message}"):
        build(plan.configuration("small"), in_channels=1, num_classes=2)


def test_one_slice_is_for_2d(small_plan: Plans) -> None:
    plan = small_plan(patch=(1, 16, 16), network=two_stages(strides=[[1, 1, 1], [1, 2, 2]]))
    with pytest.raises(PlanError, match=r"patch_size is \[1, 16, 16\]"):
        build(plan.configuration("small"), in_channels=1, num_classes=2)


@pytest.mark.parametrize("family", ["plain_unet", "residual_unet"])
@pytest.mark.parametrize(("patch", "larger"), [((2, 2, 2), "[4, 4, 4]"), ((4, 2), "[8, 4]")])
def test_a_deepest_stage_of_one_voxel_is_refused_and_one_of_two_is_not(family: str, patch: tuple[int, ...], larger: str, small_plan: Plans) -> None:
    axes = len(patch)
    network = two_stages(family=family, strides=[[1] * axes, list(patch)], kernel_sizes=[[3] * axes] * 2)
    with pytest.raises(PlanError, match=re.escape(f"patch_size {list(patch)}") + ".* one voxel .*" + re.escape(f"use a patch of {larger}")):
        build(small_plan(patch=patch, network=network).configuration("small"), in_channels=1, num_classes=2)
    longer = (*patch[:-1], 2 * patch[-1])
    stages = build(small_plan(patch=longer, network=network).configuration("small"), in_channels=1, num_classes=2)(torch.randn(1, 1, *longer))
    assert [tuple(logits.shape) for logits in stages] == [(1, 2, *longer)] and stages[0].isfinite().all()
