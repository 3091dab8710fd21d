"""A network as a list of operations, in the order in which they run: what they read, what they produce, how many weights they have.

- The one description that the memory model and the compute model share; plain numbers, so that no network needs to exist.
- Only operations on whole feature maps are listed. Each produces one tensor and is known by its place in the list; -1 is the image.
- Follows the networks that `networks/build` makes: blocks of convolution, norm and activation; residual blocks with averaged and projected
  shortcuts; transposed convolutions, concatenation with the skip, and a head at every decoder stage that the loss looks at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from autoseg.planning.plan import Configuration, NetworkPlan

Kind = Literal["convolution", "transposed", "norm", "activation", "pool", "add", "concatenation"]
IMAGE = -1
IN_PLACE: tuple[Kind, ...] = ("activation", "add")  # they write into their first input


@dataclass(frozen=True)
class Operation:
    """One operation on feature maps.

    Attributes
    ----------
    kind : what it does; `activation` and `add` write into their first input
    inputs : places of the operations whose results it reads
    channels, size : of its result, for one sample; voxels an axis
    in_channels, kernel, bias : of a convolution; a transposed one has its stride as kernel
    head : a convolution whose result is logits
    """

    kind: Kind
    inputs: tuple[int, ...]
    channels: int
    size: tuple[int, ...]
    in_channels: int = 0
    kernel: tuple[int, ...] = ()
    bias: bool = True
    head: bool = False

    @property
    def values(self) -> int:
        """Numbers in the result, for one sample."""
        return self.channels * prod(self.size)

    @property
    def weights(self) -> int:
        """Parameters that are learned, biases included."""
        if self.kind in ("convolution", "transposed"):
            return self.channels * (self.in_channels * prod(self.kernel) + self.bias)
        return 2 * self.channels if self.kind == "norm" else 0

    @property
    def flops(self) -> int:
        """Operations of a convolution's forward pass for one sample, a multiplication and an addition counted as two; else 0."""
        if self.kind == "convolution":
            return 2 * self.in_channels * prod(self.kernel) * self.values
        return 2 * self.in_channels * self.values if self.kind == "transposed" else 0


def operations(configuration: Configuration, in_channels: int, num_classes: int) -> tuple[Operation, ...]:
    """The operations of a configuration's network in training.

    Parameters
    ----------
    configuration : its network, patch and deep supervision decide
    in_channels : channels of the image
    num_classes : classes with the background

    Raises
    ------
    TypeError
        the network is a library's, whose operations are not known here
    """
    network, builder = configuration.network, _Builder(in_channels, configuration.patch_size)
    if not isinstance(network, NetworkPlan):
        raise TypeError(f"the operations of '{network.family}' are not known before it is built")
    stages = list(zip(network.strides, network.features_per_stage, network.kernel_sizes, network.blocks_per_stage, strict=True))
    skips, x = [], IMAGE
    if network.family == "residual_unet":
        x = builder.block(x, network.features_per_stage[0], network.kernel_sizes[0])
    for stride, features, kernel, blocks in stages:
        for index in range(blocks):
            step = stride if index == 0 else (1,) * len(stride)
            x = builder.residual(x, features, kernel, step) if network.family == "residual_unet" else builder.block(x, features, kernel, step)
        skips.append(x)
    lowest = len(stages) - 1
    for stage in range(lowest - 1, -1, -1):
        _, features, kernel, _ = stages[stage]
        x = builder.concatenate(builder.enlarge(x, features, stages[stage + 1][0]), skips[stage])
        for _ in range(network.convs_per_stage_decoder[lowest - 1 - stage]):
            x = builder.block(x, features, kernel)
        if configuration.training.deep_supervision or stage == 0:
            builder.convolve(x, num_classes, (1,) * len(kernel), head=True)
    return tuple(builder.made)


class _Builder:
    """The list as it grows."""

    def __init__(self, in_channels: int, patch_size: Sequence[int]) -> None:
        self.made: list[Operation] = []
        self._image = in_channels, tuple(patch_size)

    def block(self, x: int, channels: int, kernel: Sequence[int], stride: Sequence[int] | None = None) -> int:
        """Convolution, norm, activation."""
        return self._same("activation", self._same("norm", self.convolve(x, channels, kernel, stride)))

    def residual(self, x: int, channels: int, kernel: Sequence[int], stride: Sequence[int]) -> int:
        """Two convolutions beside a shortcut, which is averaged where resolution changes and projected where channels do."""
        shortcut = x
        if any(step != 1 for step in stride):
            width, size = self._shape(x)
            shortcut = self._add(Operation("pool", (x,), width, _divided(size, stride)))
        if self._shape(x)[0] != channels:
            shortcut = self._same("norm", self.convolve(shortcut, channels, (1,) * len(kernel), bias=False))
        branch = self._same("norm", self.convolve(self.block(x, channels, kernel, stride), channels, kernel))
        return self._same("activation", self._same("add", branch, shortcut))

    def convolve(
        self, x: int, channels: int, kernel: Sequence[int], stride: Sequence[int] | None = None, *, bias: bool = True, head: bool = False
    ) -> int:
        width, size = self._shape(x)
        shape = _divided(size, stride or (1,) * len(size))
        return self._add(Operation("convolution", (x,), channels, shape, width, tuple(kernel), bias, head))

    def enlarge(self, x: int, channels: int, stride: Sequence[int]) -> int:
        width, size = self._shape(x)
        larger = tuple(extent * step for extent, step in zip(size, stride, strict=True))
        return self._add(Operation("transposed", (x,), channels, larger, width, tuple(stride)))

    def concatenate(self, x: int, skip: int) -> int:
        width, size = self._shape(x)
        return self._add(Operation("concatenation", (x, skip), width + self._shape(skip)[0], size))

    def _same(self, kind: Kind, *inputs: int) -> int:
        """An operation that keeps the shape of its first input."""
        width, size = self._shape(inputs[0])
        return self._add(Operation(kind, inputs, width, size))

    def _shape(self, x: int) -> tuple[int, tuple[int, ...]]:
        return self._image if x == IMAGE else (self.made[x].channels, self.made[x].size)

    def _add(self, operation: Operation) -> int:
        self.made.append(operation)
        return len(self.made) - 1


def _divided(size: Sequence[int], stride: Sequence[int]) -> tuple[int, ...]:
    return tuple(extent // step for extent, step in zip(size, stride, strict=True))
