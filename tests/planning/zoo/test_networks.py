"""The network of every recipe is built as its file says it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from autoseg.networks import build
from autoseg.networks.weights import weights_of
from autoseg.planning.planner import make_plan
from autoseg.planning.zoo.make import with_recipe
from autoseg.planning.zoo.recipes import own_recipes

MILLIONS = {  # of weights, for three classes and the channels that the recipe sees
    "resnet50_unet_2d": 32.5, "deeplabv3plus_effb0_2d": 4.5, "effb0_unet_2d": 5.8, "effb0_unet_frozen_2d": 5.8, "effb5_unetpp_2d": 30.9,
    "resnet50_unet_lgg_2d": 32.5, "resnet50_attention_unet_lgg_2d": 34.4, "unet_lgg_2d": 7.8,
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name, recipe in own_recipes().items() if recipe.task == "segmentation"])
def test_the_network_of_a_recipe(name: str, facts_of: Callable[..., Any]) -> None:
    plan = make_plan(*facts_of(shapes=[(155, 240, 240)] * 4, spacings=[(1.0, 1.0, 1.0)] * 4, channels=("FLAIR", "T1", "T1ce", "T2")))
    made = with_recipe(plan, own_recipes()[name], encoder_weights="none")
    channels, one = made.input_channels(name), made.configuration(name)
    network = build(one, in_channels=channels, num_classes=made.output_channels)
    if name in MILLIONS:
        assert sum(tensor.numel() for tensor in network.parameters()) / 1e6 == pytest.approx(MILLIONS[name], rel=0.02)
    assert all(torch.isfinite(tensor).all() for tensor in weights_of(network).values())
