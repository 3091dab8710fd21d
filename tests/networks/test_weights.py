"""Weights by name: each once, and all of them or none."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from autoseg.networks import build
from autoseg.networks.weights import load_weights, weights_of
from autoseg.planning.plan import Plan


@pytest.fixture
def pair(small_plan: Callable[..., Plan]) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    configuration = small_plan().configuration("small")
    return build(configuration, in_channels=2, num_classes=3), build(configuration, in_channels=2, num_classes=3)


def test_every_tensor_is_listed_once(pair: tuple[nn.Module, nn.Module]) -> None:
    network, _ = pair
    listed = [tensor.data_ptr() for tensor in weights_of(network).values()]
    everything = network.state_dict()
    assert len(listed) == len(set(listed)) < len(everything)
    assert set(listed) == {tensor.data_ptr() for tensor in everything.values()}
    assert weights_of(network).keys() <= everything.keys()


def test_buffers_are_listed() -> None:
    assert weights_of(nn.BatchNorm1d(3)).keys() == {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}


def test_loading_copies_values(pair: tuple[nn.Module, nn.Module]) -> None:
    network, other = pair
    weights = {name: tensor.detach().clone() for name, tensor in weights_of(other).items()}
    load_weights(network, weights)
    x = torch.randn(1, 2, 16, 16, 16)
    assert torch.equal(network(x)[0], other(x)[0])
    for tensor in weights.values():
        tensor.zero_()
    assert torch.equal(network(x)[0], other(x)[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("decoder.seg_layers.1.bias"), r"1 names differ, such as decoder\.seg_layers\.1\.bias"),
        (lambda weights: weights.update(extra=torch.zeros(1)), "1 names differ, such as extra"),
        (
            lambda weights: weights.update({"decoder.seg_layers.1.bias": torch.zeros(7)}),
            r"decoder\.seg_layers\.1\.bias has shape \(7,\) instead of \(3,\)",
        ),
    ],
)
def test_what_does_not_fit_changes_nothing(
    change: Callable[[dict[str, torch.Tensor]], object], message: str, pair: tuple[nn.Module, nn.Module]
) -> None:
    network, other = pair
    before = {name: tensor.detach().clone() for name, tensor in weights_of(network).items()}
    weights = dict(weights_of(other))
    change(weights)
    with pytest.raises(ValueError, match=message):
        load_weights(network, weights)
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights_of(network).items())
