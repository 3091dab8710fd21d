"""Instance norm that needs no copies of a channels-last tensor on a CPU, forwards and backwards.

- PyTorch's own instance norm copies such a tensor to channels-first and back around every norm, so other kernels compute the same mathematics.
- Forwards it is group norm with one channel a group; backwards it is batch norm with one sample a batch, since group norm's own backward pass
  takes 7 to 11 times as long on that memory format (`benchmarks/execution.py` shows what a whole training step gains).
- Everywhere else PyTorch's instance norm runs.
"""

from math import gcd
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class InstanceNorm2d(nn.InstanceNorm2d):
    """Of (B, C, Y, X)."""

    def forward(self, input: Tensor) -> Tensor:
        return _instance_norm(self, input, torch.channels_last) if input.device.type == "cpu" else super().forward(input)


class InstanceNorm3d(nn.InstanceNorm3d):
    """Of (B, C, Z, Y, X)."""

    def forward(self, input: Tensor) -> Tensor:
        return _instance_norm(self, input, torch.channels_last_3d) if input.device.type == "cpu" else super().forward(input)


class GroupNorm(nn.GroupNorm):
    """Of (B, C, ...): 8 groups, or as many as divide the channels."""

    def __init__(self, num_features: int, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__(gcd(8, num_features), num_features, eps, affine)


def _instance_norm(norm: nn.InstanceNorm2d | nn.InstanceNorm3d, x: Tensor, last: torch.memory_format) -> Tensor:
    if not x.is_contiguous(memory_format=last):
        return F.instance_norm(x, weight=norm.weight, bias=norm.bias, eps=norm.eps)
    if not torch.is_grad_enabled():
        return F.group_norm(x, norm.num_features, norm.weight, norm.bias, norm.eps)
    y: Tensor = _ChannelsLast.apply(x, norm.weight, norm.bias, norm.eps, last)  # type: ignore[no-untyped-call]
    return y


class _ChannelsLast(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, last: torch.memory_format) -> Tensor:
        samples, channels = x.shape[:2]
        y, mean, inverse_std = torch.native_group_norm(x, weight, bias, samples, channels, x[0, 0].numel(), channels, eps)
        ctx.save_for_backward(x, weight, mean, inverse_std)
        ctx.eps, ctx.last = eps, last
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        x, weight, mean, inverse_std = ctx.saved_tensors
        gradients: tuple[Tensor, ...] = torch.split(gradient.contiguous(memory_format=ctx.last), 1)
        samples = zip(gradients, torch.split(x, 1), mean, inverse_std, strict=True)
        parts = [
            torch.ops.aten.native_batch_norm_backward(g, one, weight, None, None, centre, scale, True, ctx.eps, [True, True, True])
            for g, one, centre, scale in samples
        ]
        of_x, of_weight, of_bias = zip(*parts, strict=True)
        return torch.cat(of_x), torch.stack(of_weight).sum(0), torch.stack(of_bias).sum(0), None, None
