"""A network that knows: the scan's first channel tells each voxel's class, and the network says it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autoseg.imaging.image import Geometry, Image, LabelMap
from autoseg.inference.model_folder import Model
from autoseg.networks import build
from autoseg.networks.unet import set_deep_supervision
from autoseg.planning.plan import Plan

VALUES = (0, 1, 2, 4)


class Knows(nn.Module):
    """Class k where the first channel is 10 k + 5; zeros are background."""

    def forward(self, x: Tensor) -> Tensor:
        classes = ((x[:, :1] - 5) / 10).round()
        return torch.cat([(classes == index).float() * 20 for index in range(len(VALUES))], 1)


@pytest.fixture(scope="session")
def knowing_model() -> Callable[..., Model]:
    """A model of one channel that is never wrong; for plans with normalisation "none"."""

    def make(plan: Plan, folder: Path = Path("fold_0")) -> Model:
        return Model(folder, plan, "small", Knows().eval())

    return make


@pytest.fixture(scope="session")
def random_model() -> Callable[..., Model]:
    """A small U-Net with random weights, of the configuration "small" or another."""

    def make(plan: Plan, seed: int = 0, folder: Path = Path("fold_0"), name: str = "small") -> Model:
        torch.manual_seed(seed)
        network = build(plan.configuration(name), in_channels=plan.input_channels(name), num_classes=plan.output_channels)
        set_deep_supervision(network, False)
        return Model(folder, plan, name, network.eval())

    return make


@pytest.fixture(scope="session")
def telling_scan() -> Callable[..., tuple[Image, LabelMap]]:
    """A scan with an empty margin whose only channel tells the labels, blocks of random values."""

    def make(geometry: Geometry, seed: int = 0, margin: int = 2) -> tuple[Image, LabelMap]:
        rng = np.random.default_rng(seed)
        classes = rng.integers(0, len(VALUES), geometry.shape)
        array = (10.0 * classes + 5).astype(np.float32)
        outside = np.ones(geometry.shape, bool)
        flat = geometry.shape[0] == 1
        outside[(slice(None) if flat else slice(margin, -1), slice(margin + 1, -2), slice(margin, -margin))] = False
        array[outside], classes[outside] = 0, 0
        return Image(array[None], geometry), LabelMap(np.array(VALUES, np.uint8)[classes], geometry)

    return make
