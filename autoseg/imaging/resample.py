"""Resampling on a regular grid, exact and fast.

- Spline interpolation between two aligned grids is linear and separable: one matrix per axis (`_operators.py`), applied as matrix products, gives
  what a spline library gives, on any device.
- Output voxel i reads input coordinate (i + 0.5) * n_in / n_out - 0.5; edges are repeated.
- One channel at a time, so that what is between two axes stays small and near the processor.
- Only a cubic spline leaves the range of its input, and is clipped to it; to interpolate linearly is to take a mean.
- Labels are resampled as one-hot channels and decided by the larger share, so that thin structures survive.
- Logits are resampled a few planes of a channel at a time (`Planes`) and become classes at once (`channels.py`), so that the logits at the target
  size never exist.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from autoseg.imaging._operators import Operators, cut, operators
from autoseg.imaging.channels import largest_channel
from autoseg.imaging.crop import bounding_box
from autoseg.imaging.image import Shape3, Spacing3

Shape4 = tuple[int, int, int, int]
Limits = tuple[tuple[float, float], ...]
_ALONE, _TOGETHER = 1 << 18, 1 << 21  # numbers of one channel, or of all, that a processor's cache holds with what is made of them
_ON_CARD = 1 << 23  # many enough to keep a graphics card busy


def resample(x_CZYX: Tensor, shape: Shape3, *, order: int, nearest_axis: int | None = None) -> Tensor:
    """Resample each channel to `shape`.

    Parameters
    ----------
    x_CZYX : float tensor (C, Z, Y, X), finite
    shape : voxels along Z, Y, X of the result; the field of view stays the same
    order : 0 nearest, 1 linear, 3 cubic spline
    nearest_axis : 0, 1 or 2 for the axis (Z, Y, X) that is always taken by nearest neighbour

    Returns
    -------
    float32 tensor (C, *shape) on the same device, each channel within its own range; the input itself where nothing changes
    """
    steps = operators(_shape4(x_CZYX)[1:], shape, order, nearest_axis, x_CZYX.device)
    if not steps:
        return x_CZYX
    limits = limits_of(x_CZYX, order)
    result = torch.empty((len(x_CZYX), *shape), device=x_CZYX.device)
    with full_precision(x_CZYX.device.type):
        for channel, x_ZYX in enumerate(x_CZYX):
            result[channel] = _made(x_ZYX, steps, limits[channel] if limits else None)
    return result


def resample_labels(classes_ZYX: Tensor, shape: Shape3, num_classes: int, *, order: int, nearest_axis: int | None = None) -> Tensor:
    """Resample a map of classes: each class as a channel of zeros and ones, the largest share wins, the smaller class at a tie.

    One class is in memory at a time, so that memory does not grow with `num_classes`.

    Parameters
    ----------
    classes_ZYX : integer tensor (Z, Y, X) of -1 (nobody knows) and 0..num_classes - 1
    shape, order, nearest_axis : as for `resample`; order 1 is the usual choice
    num_classes : one more than the largest class allowed

    Returns
    -------
    tensor (*shape) of the input's type; the input itself where the shape stays

    Raises
    ------
    ValueError
        a class lies outside -1..num_classes - 1
    """
    lowest, highest = (int(value) for value in classes_ZYX.aminmax())
    if lowest < -1 or highest >= num_classes:
        raise ValueError(f"classes from {lowest} to {highest}, allowed are -1 to {num_classes - 1}")
    z, y, x = classes_ZYX.shape
    steps = operators((z, y, x), shape, order, nearest_axis, classes_ZYX.device)
    if not steps:
        return classes_ZYX
    common = max(lowest, 0)  # the background, as a rule
    result = torch.full(shape, lowest if lowest == highest else common, dtype=classes_ZYX.dtype, device=classes_ZYX.device)
    box = bounding_box(classes_ZYX.cpu().numpy() != common)  # what reads nothing of it keeps the common class
    window = tuple(steps[axis].reach(edge) if axis in steps else edge for axis, edge in enumerate(box))
    if lowest == highest or any(edge.start == edge.stop for edge in window):
        return result
    inner, read = cut(steps, window)
    parts_ZYX = classes_ZYX[read]
    present = (torch.bincount(parts_ZYX.flatten().long() - lowest).nonzero().flatten() + lowest).tolist()
    values = sorted(present, key=lambda value: value if value >= 0 else num_classes)  # -1 wins only alone
    with full_precision(classes_ZYX.device.type):
        winner = largest_channel(_made(parts_ZYX == value, inner, (0.0, 1.0)) for value in values)
    result[window] = torch.tensor(values, dtype=classes_ZYX.dtype, device=classes_ZYX.device)[winner.long()]
    return result


@dataclass(frozen=True)
class Planes:
    """What `resample` gives, a few planes along Z at a time, from voxels that need not be in memory.

    Attributes
    ----------
    read : gives the planes of a channel in a slice along Z, floating point and finite (n, Y, X), on the device where the work is done
    shape_in : (C, Z, Y, X) of what is read
    limits : smallest and largest value of each channel, as `limits_of` gives them
    shape, order, nearest_axis : as for `resample`
    device : where the work is done
    """

    read: Callable[[int, slice], Tensor]
    shape_in: Shape4
    limits: Limits | None
    shape: Shape3
    order: int
    nearest_axis: int | None
    device: torch.device

    @classmethod
    def of(cls, x_CZYX: Tensor, shape: Shape3, *, order: int, nearest_axis: int | None = None) -> "Planes":
        """Of voxels that are in memory."""
        limits = limits_of(x_CZYX, order)
        return cls(lambda channel, band: x_CZYX[channel, band], _shape4(x_CZYX), limits, shape, order, nearest_axis, x_CZYX.device)

    def thickness(self, together: int = 1) -> int:
        """How many planes of so many channels together make a slab of the right size for the device."""
        elements = _ON_CARD if self.device.type != "cpu" else _ALONE if together == 1 else _TOGETHER
        widest = max(self.shape[1], self.shape_in[2]) * max(self.shape[2], self.shape_in[3])
        return max(1, elements // (together * widest))

    def at(self, planes: slice) -> Tensor:
        """The planes of the result from `planes.start` to `planes.stop`, float32 (C, n, *shape[1:]), to the last digits what `resample` gives."""
        result = torch.empty((self.shape_in[0], planes.stop - planes.start, *self.shape[1:]), device=self.device)
        for channel, x_ZYX in enumerate(self.channels(planes)):
            result[channel] = x_ZYX
        return result

    def channels(self, planes: slice) -> Iterator[Tensor]:
        """The same, one channel after the other: float32 (n, *shape[1:])."""
        whole = operators(self.shape_in[1:], self.shape, self.order, self.nearest_axis, self.device)
        _, y, x = self.shape
        steps, (band, _, _) = cut(whole, (planes, slice(0, y), slice(0, x)))
        for channel in range(self.shape_in[0]):
            with full_precision(self.device.type):
                x_ZYX = _made(self.read(channel, band), steps, self.limits[channel] if self.limits else None)
            yield x_ZYX


def slabs(length: int, thickness: int) -> Iterator[slice]:
    """Planes 0 to `length` in pieces of `thickness`; the last may be thinner."""
    for start in range(0, length, thickness):
        yield slice(start, min(start + thickness, length))


def limits_of(x_CZYX: Tensor, order: int) -> Limits | None:
    """The smallest and largest value of each channel, which a cubic spline would leave; None for the orders that never do."""
    if order <= 1:
        return None
    ends = torch.stack([torch.stack(x_ZYX.float().aminmax()) for x_ZYX in x_CZYX])  # a dimension to keep would make it ten times as slow
    return tuple((low, high) for low, high in ends.tolist())


def coarse_axis(current_spacing: Spacing3, new_spacing: Spacing3, threshold: float = 3.0) -> int | None:
    """The axis to resample by nearest neighbour, if any.

    The current spacing decides where its largest is more than `threshold` times its smallest, else the new one in the same way.

    Parameters
    ----------
    current_spacing, new_spacing : millimetres along Z, Y, X
    threshold : ratio above which a grid is anisotropic

    Returns
    -------
    0, 1 or 2; None where neither grid is anisotropic, or where two axes share the largest spacing
    """
    for spacing in (current_spacing, new_spacing):
        largest = max(spacing)
        if largest / min(spacing) > threshold:
            coarse = [axis for axis, size in enumerate(spacing) if np.isclose(size, largest, rtol=1e-3)]
            return coarse[0] if len(coarse) == 1 else None
    return None


def _made(x_ZYX: Tensor, steps: Operators, limits: tuple[float, float] | None) -> Tensor:
    x_ZYX = x_ZYX.float()
    for axis, operator in steps.items():
        x_ZYX = operator.apply(x_ZYX, axis)
    return x_ZYX.clamp_(*limits) if limits and steps else x_ZYX


@contextmanager
def full_precision(device: str) -> Iterator[None]:
    """float32 means float32 here, whatever training allows its own products (TF32, bf16).

    One setting for all threads: whoever resamples in several at once enters this before they begin.
    """
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("highest")
        with torch.autocast(device, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _shape4(x_CZYX: Tensor) -> Shape4:
    c, z, y, x = x_CZYX.shape
    return c, z, y, x
