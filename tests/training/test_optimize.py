"""Steps against plain arithmetic, and the loss scale of float16 where a gradient overflows."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autoseg.inference.execution import Execution
from autoseg.planning.plan import Augmentation, Recipe
from autoseg.training.optimize import GROW_EVERY, Stepper

FLOAT32, FLOAT16 = Execution("cpu"), Execution("cpu", "float16")


def recipe(**values: Any) -> Recipe:
    return Recipe(**({"optimizer": "sgd", "learning_rate": 0.1, "augmentation": Augmentation()} | values))


def make_network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.InstanceNorm2d(3, affine=True), nn.LeakyReLU(), nn.Conv2d(3, 2, 1))


def loss_of(network: nn.Module, factor: float = 1.0) -> Tensor:
    x = torch.linspace(-1, 1, 2 * 2 * 5 * 5).view(2, 2, 5, 5)
    return factor * (network(x) - 1).square().mean()


def infinitely_steep(network: nn.Module) -> Tensor:
    """0, with a gradient that is not finite."""
    return (loss_of(network) - loss_of(network).detach()).sqrt()


def weights(network: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


def gradients(network: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(loss_of(network), list(network.parameters())))


def step(stepper: Stepper, network: nn.Module, rate: float, number: int, factor: float = 1.0) -> float:
    return stepper.step(lambda: loss_of(network, factor), rate, number)


def test_sgd_is_nesterov_momentum_with_decay() -> None:
    network = make_network()
    stepper = Stepper(network, recipe(momentum=0.9, weight_decay=0.01), FLOAT32)
    expected, velocity = weights(network), [0.0] * 6
    for number, rate in enumerate((0.1, 0.05, 0.02)):
        gradient = [g + 0.01 * w for g, w in zip(gradients(network), expected, strict=True)]
        velocity = [0.9 * v + g for v, g in zip(velocity, gradient, strict=True)]
        expected = [w - rate * (g + 0.9 * v) for w, g, v in zip(expected, gradient, velocity, strict=True)]
        assert step(stepper, network, rate, number) > 0
        assert all(torch.allclose(got, want, atol=1e-6) for got, want in zip(weights(network), expected, strict=True))


def test_sgd_without_momentum() -> None:
    network = make_network()
    stepper = Stepper(network, recipe(momentum=0.0, weight_decay=0.0), FLOAT32)
    expected = [w - 0.1 * g for w, g in zip(weights(network), gradients(network), strict=True)]
    step(stepper, network, 0.1, 0)
    assert all(torch.allclose(got, want, atol=1e-7) for got, want in zip(weights(network), expected, strict=True))


def test_adamw_by_hand_decays_kernels_only() -> None:
    network = make_network()
    stepper = Stepper(network, recipe(optimizer="adamw", momentum=0.8, weight_decay=0.1), FLOAT32)
    expected, first, second = weights(network), [0.0] * 6, [0.0] * 6
    for number, rate in enumerate((0.01, 0.02, 0.005)):
        gradient = gradients(network)
        first = [0.8 * m + 0.2 * g for m, g in zip(first, gradient, strict=True)]
        second = [0.999 * v + 0.001 * g * g for v, g in zip(second, gradient, strict=True)]
        expected = [
            w * (1 - rate * 0.1 * (w.ndim > 1)) - rate * (m / (1 - 0.8 ** (number + 1))) / ((v / (1 - 0.999 ** (number + 1))).sqrt() + 1e-8)
            for w, m, v in zip(expected, first, second, strict=True)
        ]
        step(stepper, network, rate, number)
        assert all(torch.allclose(got, want, atol=2e-5) for got, want in zip(weights(network), expected, strict=True))


def test_the_gradient_is_clipped_by_its_norm() -> None:
    network = make_network()
    norm = math.sqrt(sum(g.square().sum().item() for g in gradients(network)))
    stepper = Stepper(network, recipe(momentum=0.0, weight_decay=0.0, clip_gradient_norm=norm / 4), FLOAT32)
    expected = [w - 0.1 * g / 4 for w, g in zip(weights(network), gradients(network), strict=True)]
    step(stepper, network, 0.1, 0)
    assert all(torch.allclose(got, want, atol=1e-6) for got, want in zip(weights(network), expected, strict=True))
    small = make_network()
    loose = Stepper(small, recipe(momentum=0.0, weight_decay=0.0, clip_gradient_norm=2 * norm), FLOAT32)
    expected = [w - 0.1 * g for w, g in zip(weights(small), gradients(small), strict=True)]
    step(loose, small, 0.1, 0)
    assert all(torch.allclose(got, want, atol=1e-6) for got, want in zip(weights(small), expected, strict=True))


def test_the_average_ramps_up_to_its_decay() -> None:
    network = make_network()
    stepper = Stepper(network, recipe(weight_average=0.25), FLOAT32)
    expected = weights(network)
    for number, decay in enumerate((1 / 10, 2 / 11, 0.25, 0.25)):
        step(stepper, network, 0.1, number)
        expected = [decay * average + (1 - decay) * w for average, w in zip(expected, weights(network), strict=True)]
        assert all(
            torch.allclose(stepper.average[name], want, atol=1e-6) for (name, _), want in zip(network.named_parameters(), expected, strict=True)
        )
    assert stepper.weights() is stepper.average


def test_the_network_carries_the_average_only_within() -> None:
    network = make_network()
    stepper = Stepper(network, recipe(weight_average=0.9), FLOAT32)
    for number in range(3):
        step(stepper, network, 0.1, number)
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(KeyError), stepper.averaged():
        assert all(torch.equal(parameter, stepper.average[name]) for name, parameter in network.named_parameters())
        assert not torch.equal(network[0].weight, before["0.weight"])
        raise KeyError
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    step(stepper, network, 0.1, 3)  # and goes on


def test_without_an_average_the_weights_are_the_networks_own() -> None:
    network = make_network()
    stepper = Stepper(network, recipe(), FLOAT32)
    with stepper.averaged():
        step(stepper, network, 0.1, 0)
    assert stepper.average == {} and torch.equal(stepper.weights()["0.weight"], network[0].weight)


@pytest.mark.parametrize("factor", [math.nan, math.inf])
@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_loss_that_is_not_finite_changes_nothing(factor: float, clip: float | None) -> None:
    network = make_network()
    stepper = Stepper(network, recipe(weight_average=0.9, clip_gradient_norm=clip), FLOAT32)
    before, average = weights(network), copy.deepcopy(stepper.average)
    assert not math.isfinite(step(stepper, network, 0.1, 0, factor))
    assert all(torch.equal(got, want) for got, want in zip(weights(network), before, strict=True))
    assert all(torch.equal(stepper.average[name], want) for name, want in average.items())


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    network = make_network()
    stepper = Stepper(network, recipe(clip_gradient_norm=1.0), FLOAT32)
    before = weights(network)
    assert math.isnan(stepper.step(lambda: infinitely_steep(network), 0.1, 0))
    assert all(torch.equal(got, want) for got, want in zip(weights(network), before, strict=True))


def test_a_scaled_loss_gives_the_same_step() -> None:
    plain, scaled = make_network(), make_network()
    rules = recipe(clip_gradient_norm=0.01)
    one, other = Stepper(plain, rules, FLOAT32), Stepper(scaled, rules, FLOAT16)
    assert step(one, plain, 0.1, 0) == step(other, scaled, 0.1, 0)
    assert all(torch.allclose(got, want, atol=1e-7) for got, want in zip(weights(scaled), weights(plain), strict=True))
    assert other.loss_scale == 65536


def test_an_overflow_halves_the_scale_and_leaves_the_step_out() -> None:
    network = make_network()
    stepper = Stepper(network, recipe(weight_average=0.9), FLOAT16)
    before = weights(network)
    value = step(stepper, network, 0.1, 0, 1e36)  # finite, but not when it is scaled
    assert math.isfinite(value) and stepper.loss_scale == 32768
    assert all(torch.equal(got, want) for got, want in zip(weights(network), before, strict=True))
    assert all(torch.equal(stepper.average[name], parameter) for name, parameter in network.named_parameters())
    step(stepper, network, 0.1, 1)
    assert stepper.loss_scale == 32768 and not torch.equal(weights(network)[0], before[0])


def test_the_scale_grows_at_set_steps_within_its_limits() -> None:
    network = make_network()
    stepper = Stepper(network, recipe(), FLOAT16)
    stepper.loss_scale = 1024.0
    for number in (0, GROW_EVERY - 2, GROW_EVERY):
        step(stepper, network, 0.0, number)
    assert stepper.loss_scale == 1024
    step(stepper, network, 0.0, GROW_EVERY - 1)
    assert stepper.loss_scale == 2048
    stepper.loss_scale = 65536.0
    step(stepper, network, 0.0, 2 * GROW_EVERY - 1)
    assert stepper.loss_scale == 65536
    stepper.loss_scale = 1.0
    stepper.step(lambda: infinitely_steep(network), 0.0, 0)
    assert stepper.loss_scale == 1


def test_adam_by_hand_has_its_decay_in_the_gradient() -> None:
    network = make_network()
    stepper = Stepper(network, recipe(optimizer="adam", momentum=0.8, weight_decay=0.1), FLOAT32)
    expected, first, second = weights(network), [0.0] * 6, [0.0] * 6
    for number, rate in enumerate((0.01, 0.02, 0.005)):
        gradient = [g + 0.1 * w for g, w in zip(gradients(network), expected, strict=True)]  # of norms and biases too
        first = [0.8 * m + 0.2 * g for m, g in zip(first, gradient, strict=True)]
        second = [0.999 * v + 0.001 * g * g for v, g in zip(second, gradient, strict=True)]
        expected = [
            w - rate * (m / (1 - 0.8 ** (number + 1))) / ((v / (1 - 0.999 ** (number + 1))).sqrt() + 1e-8)
            for w, m, v in zip(expected, first, second, strict=True)
        ]
        step(stepper, network, rate, number)
        assert all(torch.allclose(got, want, atol=2e-5) for got, want in zip(weights(network), expected, strict=True))


def test_the_average_of_a_network_with_batch_norm() -> None:
    """Its running statistics are averaged as weights are; the number of batches is copied."""
    torch.manual_seed(3)
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1))
    stepper = Stepper(network, recipe(weight_average=0.9), FLOAT32)
    expected = stepper.average["1.running_mean"].clone()
    for number in range(3):
        step(stepper, network, 0.1, number)
        expected = expected + (1 - (1 + number) / (10 + number)) * (network[1].running_mean - expected)
    assert torch.allclose(stepper.average["1.running_mean"], expected, atol=1e-6)
    assert stepper.average["1.num_batches_tracked"].item() == 3
    before = copy.deepcopy(network.state_dict())
    with stepper.averaged():
        assert torch.equal(network[1].running_mean, stepper.average["1.running_mean"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_what_is_frozen_stays(optimizer: str) -> None:
    network = make_network()
    network[0].requires_grad_(False)
    stepper = Stepper(network, recipe(optimizer=optimizer, momentum=0.9, weight_decay=0.1, clip_gradient_norm=1.0), FLOAT32)
    before = weights(network)
    for number in range(2):
        step(stepper, network, 0.1, number)
    assert [torch.equal(got, want) for got, want in zip(weights(network), before, strict=True)] == [True, True, False, False, False, False]
    assert len(stepper.optimizer.state_dict()["state"]) == 4
