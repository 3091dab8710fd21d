"""Convolutions in the way a CPU is fastest at; the same mathematics, and elsewhere PyTorch's own.

- For a single image PyTorch turns oneDNN down where the layer is small, for code of its own that takes several times as long. Here
  oneDNN always does the work.
- A transposed convolution whose kernel is its stride is a matrix product: no voxel of the result is reached from two voxels.
- Large convolutions of three taps along Z take half the multiplications (`winograd.py`), and gradients of weights are taken from neighbours gathered
  by planes (`gathering.py`); both where the processor has AVX2 alone, as it was measured there.
- `benchmarks/execution.py` shows what whole steps and windows gain.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from autoseg.networks import gathering, winograd

FORMATS = {2: torch.channels_last, 3: torch.channels_last_3d}


class Conv2d(nn.Conv2d):
    """Of (B, C, Y, X)."""

    def forward(self, input: Tensor) -> Tensor:
        return _convolution(self, input) if _suits(self, input) else super().forward(input)


class Conv3d(nn.Conv3d):
    """Of (B, C, Z, Y, X)."""

    def forward(self, input: Tensor) -> Tensor:
        return _convolution(self, input) if _suits(self, input) else super().forward(input)


class ConvTranspose2d(nn.ConvTranspose2d):
    """Of (B, C, Y, X)."""

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        return _apart(self, input) if output_size is None and _is_product(self, input) else super().forward(input, output_size)


class ConvTranspose3d(nn.ConvTranspose3d):
    """Of (B, C, Z, Y, X)."""

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        return _apart(self, input) if output_size is None and _is_product(self, input) else super().forward(input, output_size)


FASTER: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: Conv2d, nn.Conv3d: Conv3d, nn.ConvTranspose2d: ConvTranspose2d, nn.ConvTranspose3d: ConvTranspose3d,
}  # fmt: skip


def make_faster(network: nn.Module) -> nn.Module:
    """Let every convolution of a network be one of these; weights and their names stay. Returns the network."""
    for layer in network.modules():
        if type(layer) in FASTER:
            layer.__class__ = FASTER[type(layer)]  # a library builds the network, and knows PyTorch's own layers only
    return network


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding, ctx.biased = stride, padding, bias is not None
        return _convolved(x, weight, bias, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad[:3]
        last = FORMATS[x.ndim - 2]
        gradient = gradient.contiguous(memory_format=last)
        keeps_size = _keeps_size(weight, ctx.stride, ctx.padding)
        of_x = of_weight = None
        if for_x and keeps_size:
            turned = weight.transpose(0, 1).flip(tuple(range(2, weight.ndim))).contiguous(memory_format=last)
            of_x, for_x = _convolved(gradient, turned, None, ctx.stride, ctx.padding), False
        if for_weight and keeps_size and (way := _better_way(x, weight)):
            of_weight, for_weight = way(x, gradient, weight.shape[2:]), False
        if for_x or for_weight:
            ones, none = [1] * len(ctx.stride), [0] * len(ctx.stride)
            rest = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, ctx.stride, ctx.padding, ones, False, none, 1, [for_x, for_weight, False]
            )
            of_x, of_weight = rest[0] if for_x else of_x, rest[1] if for_weight else of_weight
        of_bias = gradient.sum(tuple(axis for axis in range(x.ndim) if axis != 1)) if ctx.biased and for_bias else None
        return of_x, of_weight, of_bias, None, None


def _convolution(layer: nn.Conv2d | nn.Conv3d, x: Tensor) -> Tensor:
    stride, padding = _numbers(layer.stride), _numbers(layer.padding)
    if not torch.is_grad_enabled():
        return _convolved(x, layer.weight, layer.bias, stride, padding)
    y: Tensor = _Convolution.apply(x, layer.weight, layer.bias, stride, padding)  # type: ignore[no-untyped-call]
    return y


def _convolved(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int]) -> Tensor:
    if _keeps_size(weight, stride, padding) and _has_avx2_alone() and winograd.pays(x, weight):
        return winograd.convolve(x, weight, bias)
    return torch.mkldnn_convolution(x, weight, bias, padding, stride, [1] * len(stride), 1)


def _better_way(x: Tensor, weight: Tensor) -> Callable[[Tensor, Tensor, Sequence[int]], Tensor] | None:
    """What makes the gradient of the weights sooner than the library; None where nothing does."""
    if not _has_avx2_alone():
        return None
    if winograd.pays(x, weight):
        return winograd.weight_gradient
    return gathering.weight_gradient if gathering.pays(x, weight) else None


def _keeps_size(weight: Tensor, stride: Sequence[int], padding: Sequence[int]) -> bool:
    return set(stride) == {1} and all(2 * pad + 1 == size for pad, size in zip(padding, weight.shape[2:], strict=True))


def _apart(layer: nn.ConvTranspose2d | nn.ConvTranspose3d, x: Tensor) -> Tensor:
    """Each voxel becomes a block of voxels."""
    axes = x.ndim - 2
    block, size = layer.weight.shape[2:], x.shape[2:]
    weight = layer.weight.flatten(2).permute(2, 1, 0).flatten(0, 1)  # (block x O, I)
    bias = None if layer.bias is None else layer.bias.repeat(block.numel())
    y = F.linear(x.movedim(1, -1), weight, bias).view(len(x), *size, *block, -1)
    order = [0, *(axis for pair in zip(range(1, axes + 1), range(axes + 1, 2 * axes + 1), strict=True) for axis in pair), 2 * axes + 1]
    whole = [length * times for length, times in zip(size, block, strict=True)]
    return y.permute(order).reshape(len(x), *whole, -1).movedim(-1, 1)


def _suits(layer: nn.Conv2d | nn.Conv3d, x: Tensor) -> bool:
    plain = layer.groups == 1 and set(_numbers(layer.dilation)) == {1} and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    onednn = torch.backends.mkldnn
    return plain and _on_this_cpu(layer, x) and bool(onednn.enabled) and onednn.is_available()  # type: ignore[no-untyped-call]


def _is_product(layer: nn.ConvTranspose2d | nn.ConvTranspose3d, x: Tensor) -> bool:
    plain = layer.groups == 1 and not any(_numbers(layer.padding)) and not any(_numbers(layer.output_padding))
    return plain and set(_numbers(layer.dilation)) == {1} and _numbers(layer.stride) == _numbers(layer.kernel_size) and _on_this_cpu(layer, x)


def _on_this_cpu(layer: nn.Module, x: Tensor) -> bool:
    """Batches of float32 in the memory format that these layers are written for, on a processor of the kind that they were measured on."""
    known = x.device.type == "cpu" and x.dtype == layer.weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    known = known and torch.backends.cpu.get_cpu_capability().startswith("AVX") and x.ndim == layer.weight.ndim
    return known and x.is_contiguous(memory_format=FORMATS[x.ndim - 2])


def _has_avx2_alone() -> bool:
    return torch.backends.cpu.get_cpu_capability() == "AVX2"


def _numbers(values: Any) -> tuple[int, ...]:
    return tuple(int(value) for value in values)
