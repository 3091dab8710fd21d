"""The norm against PyTorch's instance norm, in value and gradient, in every memory format."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoseg.networks.norm import InstanceNorm2d, InstanceNorm3d

FORMATS = {2: torch.channels_last, 3: torch.channels_last_3d}
SHAPES = [(2, 4, 5, 7), (1, 3, 4, 6), (3, 1, 5, 4), (2, 4, 5, 7, 6), (1, 5, 4, 4, 4), (3, 2, 1, 4, 4), (2, 8, 1, 1, 2)]


def norm_for(shape: tuple[int, ...]) -> nn.Module:
    torch.manual_seed(0)
    norm = (InstanceNorm2d if len(shape) == 4 else InstanceNorm3d)(shape[1], eps=1e-5, affine=True)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
    return norm


def library(norm: nn.Module, x: Tensor) -> Tensor:
    return F.instance_norm(x, weight=norm.weight, bias=norm.bias, eps=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels_last", [False, True])
def test_equals_instance_norm_in_value_and_gradient(shape: tuple[int, ...], channels_last: bool) -> None:
    norm = norm_for(shape)
    layout = FORMATS[len(shape) - 2] if channels_last else torch.contiguous_format
    x, weight_of_loss = (torch.randn(shape) * 3 + 5).to(memory_format=layout), torch.randn(shape)

    def both(function: Callable[[Tensor], Tensor]) -> list[Tensor]:
        leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
        norm.zero_grad()
        value = function(leaf)
        (value * weight_of_loss).sum().backward()  # type: ignore[no-untyped-call]
        return [value.detach(), *(tensor.grad.clone() for tensor in (leaf, norm.weight, norm.bias) if tensor.grad is not None)]

    ours, expected = both(norm), both(lambda leaf: library(norm, leaf))
    assert len(ours) == 4
    for found, right in zip(ours, expected, strict=True):
        torch.testing.assert_close(found, right, atol=5e-4, rtol=1e-3)
    assert ours[0].is_contiguous(memory_format=layout) and ours[1].is_contiguous(memory_format=layout)
    with torch.inference_mode():
        assert torch.equal(norm(x), ours[0])


@pytest.mark.parametrize("shape", [(2, 3, 4, 3), (2, 2, 3, 2, 3)])
def test_the_gradient_is_that_of_the_norm(shape: tuple[int, ...]) -> None:
    norm = norm_for(shape).double()
    x = torch.randn(shape, dtype=torch.float64).to(memory_format=FORMATS[len(shape) - 2]).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: norm(x), (x, norm.weight, norm.bias))


@pytest.mark.parametrize("shape", [(2, 4, 8, 8), (2, 4, 4, 8, 8)])
def test_bfloat16_is_normalised_in_float32(shape: tuple[int, ...]) -> None:
    norm = norm_for(shape)
    x, gradient = ((torch.randn(shape) + 2).bfloat16().to(memory_format=FORMATS[len(shape) - 2]) for _ in range(2))
    leaf, exact = x.clone(memory_format=torch.preserve_format).requires_grad_(), x.float().requires_grad_()
    y, right = norm(leaf), library(norm, exact)
    y.backward(gradient)
    of_weight = norm.weight.grad.clone()
    norm.zero_grad()
    right.backward(gradient.float())
    assert y.dtype == leaf.grad.dtype == torch.bfloat16 and of_weight.dtype == torch.float32
    torch.testing.assert_close(y.float(), right, atol=0.05, rtol=0.02)
    torch.testing.assert_close(leaf.grad.float(), exact.grad, atol=0.05, rtol=0.02)
    torch.testing.assert_close(of_weight, norm.weight.grad, atol=0.5, rtol=0.05)


def test_what_follows_may_work_in_place() -> None:
    norm = norm_for((2, 4, 5, 7))
    x = torch.randn(2, 4, 5, 7).to(memory_format=torch.channels_last)

    def gradient(inplace: bool) -> Tensor:
        leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
        return torch.autograd.grad(F.leaky_relu(norm(leaf), 0.01, inplace=inplace).square().sum(), leaf)[0]

    assert torch.equal(gradient(True), gradient(False))
