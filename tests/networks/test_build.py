"""Networks that a plan can describe are built; what is no U-Net is no valid plan, see tests/planning/test_configuration.py."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

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


@pytest.mark.parametrize("family", ["plain_unet", "residual_unet"])
@pytest.mark.parametrize("patch", [(2, 2, 4), (4, 4)])
def test_two_voxels_at_the_deepest_stage_are_enough(family: str, patch: tuple[int, ...], small_plan: Plans) -> None:
    axes = len(patch)
    strides = [[1] * axes, [2, 2, 2] if axes == 3 else [4, 2]]
    network = two_stages(family=family, strides=strides, kernel_sizes=[[3] * axes] * 2)
    stages = build(small_plan(patch=patch, network=network).configuration("small"), in_channels=1, num_classes=2)(torch.randn(1, 1, *patch))
    assert [tuple(logits.shape) for logits in stages] == [(1, 2, *patch)]
    assert stages[0].isfinite().all()
