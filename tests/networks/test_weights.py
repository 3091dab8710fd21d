"""Weights by name: each once, and all of them or none."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from autoseg.networks import build
from autoseg.networks.weights import HEADS, load_all_but_other_heads, load_weights, weights_of
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


@pytest.mark.parametrize("classes", [3, 5])
def test_only_heads_for_another_number_of_classes_stay_as_they_are(
    classes: int, small_plan: Callable[..., Plan], pair: tuple[nn.Module, nn.Module]
) -> None:
    other, network = pair[0], build(small_plan().configuration("small"), in_channels=2, num_classes=classes)
    before = {name: tensor.detach().clone() for name, tensor in weights_of(network).items()}
    heads = [name for name in before if name.startswith(HEADS)]
    assert len(heads) == 2 * len(small_plan().configuration("small").network.convs_per_stage_decoder)
    assert load_all_but_other_heads(network, weights_of(other)) == (heads if classes == 5 else [])
    for name, tensor in weights_of(network).items():
        assert torch.equal(tensor, before[name] if classes == 5 and name in heads else weights_of(other)[name]), name


@pytest.mark.parametrize("name", ["encoder.stages.0.0.convs.0.conv.weight", "decoder.seg_layers.0.weight"])
@pytest.mark.parametrize("missing", [False, True])
def test_heads_are_no_excuse_for_what_else_differs(
    name: str, missing: bool, pair: tuple[nn.Module, nn.Module], small_plan: Callable[..., Plan]
) -> None:
    other, network = pair[0], build(small_plan().configuration("small"), in_channels=2, num_classes=5)
    weights = dict(weights_of(other))
    assert name in weights
    if missing:
        del weights[name]
    elif not name.startswith(HEADS):
        weights[name] = weights[name][:1]
    else:
        weights["extra"] = torch.zeros(1)
    before = {name: tensor.detach().clone() for name, tensor in weights_of(network).items()}
    with pytest.raises(ValueError, match="1 names differ" if missing or name.startswith(HEADS) else "instead of"):
        load_all_but_other_heads(network, weights)
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights_of(network).items())


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
