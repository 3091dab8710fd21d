"""Resampling on a regular grid, exact and fast.

- Spline interpolation between two aligned grids is linear and separable: one small matrix per axis, built once per
  (n_in, n_out, order) and applied as a matrix product, gives what a spline library gives, on any device.
- Output voxel i reads input coordinate (i + 0.5) * n_in / n_out - 0.5; edges are repeated. Axes that shrink come first.
- Labels are resampled as one-hot channels and decided by the larger share, so that thin structures survive.
- Logits are resampled a slab at a time (`Planes`) and become classes at once, so that the logits at the target size never exist: the largest
  wins, or, where channels are regions that may overlap, each in turn paints its class.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from autoseg.imaging.image import Shape3, Spacing3

Shape4 = tuple[int, int, int, int]
_SLAB_ELEMENTS = 1 << 24  # 64 MiB of float32


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
    operators = _operators(_shape4(x_CZYX)[1:], shape, order, nearest_axis)
    return _resampled(x_CZYX, operators, channel_ranges(x_CZYX)) if operators else x_CZYX


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
    present = torch.unique(classes_ZYX).tolist()
    if present and (present[0] < -1 or present[-1] >= num_classes):
        raise ValueError(f"classes from {present[0]} to {present[-1]}, allowed are -1 to {num_classes - 1}")
    if tuple(classes_ZYX.shape) == shape:
        return classes_ZYX
    largest = torch.full(shape, -1.0, device=classes_ZYX.device)
    result = torch.empty(shape, dtype=classes_ZYX.dtype, device=classes_ZYX.device)
    for value in sorted(present, key=lambda value: value if value >= 0 else num_classes):  # -1 wins only alone
        share = resample((classes_ZYX == value).float()[None], shape, order=order, nearest_axis=nearest_axis)[0]
        won = share > largest
        result[won] = value
        largest = torch.maximum(largest, share)
    return result


def largest_channel(x_CZYX: Tensor) -> Tensor:
    """The channel of each voxel's largest value, the first of those that tie; int64 (Z, Y, X)."""
    return x_CZYX.max(dim=0).indices  # argmax itself is slow across channels on a CPU


def paint(regions_CZYX: Tensor, painted: Sequence[int], classes_ZYX: Tensor) -> Tensor:
    """Let each region (bool) in turn paint its class into `classes_ZYX`, over those before it; returns that tensor."""
    for inside_ZYX, painted_class in zip(regions_CZYX, painted, strict=True):
        classes_ZYX[inside_ZYX] = painted_class
    return classes_ZYX


@dataclass(frozen=True)
class Planes:
    """What `resample` gives, a few planes along Z at a time, from voxels that need not be in memory.

    Attributes
    ----------
    read : gives the planes of a slice along Z, floating point and finite (C, n, Y, X), on the device where the work is done
    shape_in : (C, Z, Y, X) of what is read
    ranges : smallest and largest value of each channel, as `channel_ranges` gives them, on the same device
    shape, order, nearest_axis : as for `resample`
    """

    read: Callable[[slice], Tensor]
    shape_in: Shape4
    ranges: tuple[Tensor, Tensor]
    shape: Shape3
    order: int
    nearest_axis: int | None

    @classmethod
    def of(cls, x_CZYX: Tensor, shape: Shape3, *, order: int, nearest_axis: int | None = None) -> "Planes":
        """Of voxels that are in memory."""
        return cls(lambda band: x_CZYX[:, band], _shape4(x_CZYX), channel_ranges(x_CZYX), shape, order, nearest_axis)

    @property
    def thickness(self) -> int:
        """How many planes at a time keep the memory within a few slabs."""
        widest = max(self.shape[1], self.shape_in[2]) * max(self.shape[2], self.shape_in[3])
        return max(1, _SLAB_ELEMENTS // (self.shape_in[0] * widest))

    def at(self, planes: slice) -> Tensor:
        """The planes of the result from `planes.start` to `planes.stop`, float32 (C, n, *shape[1:]).

        The same operators, in the same order, with the same clipping to the channels' ranges as in `resample`, so that the result is the same
        also where a cubic spline overshoots.
        """
        operators = _operators(self.shape_in[1:], self.shape, self.order, self.nearest_axis)
        slab, band = _slab(operators, planes.start, planes.stop)
        return _resampled(self.read(band), slab, self.ranges)


def slabs(length: int, thickness: int) -> Iterator[slice]:
    """Planes 0 to `length` in pieces of `thickness`; the last may be thinner."""
    for start in range(0, length, thickness):
        yield slice(start, min(start + thickness, length))


def channel_ranges(x_CZYX: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest and largest value of each channel, float32 (C, 1, 1, 1)."""
    low, high = x_CZYX.flatten(1).float().aminmax(dim=1)
    return low[:, None, None, None], high[:, None, None, None]


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


_Operators = tuple[tuple[int, Tensor], ...]
"""(axis of (C, Z, Y, X), matrix (n_out, n_in)) in the order of work; an axis that keeps its size is absent and stays bit-identical."""


def _operators(shape_in: Shape3, shape_out: Shape3, order: int, nearest_axis: int | None) -> _Operators:
    sizes = {axis: (n_in, n_out) for axis, (n_in, n_out) in enumerate(zip(shape_in, shape_out, strict=True)) if n_in != n_out}
    by_growth = sorted(sizes, key=lambda axis: sizes[axis][1] / sizes[axis][0])
    return tuple((axis + 1, _operator(*sizes[axis], 0 if axis == nearest_axis else order)) for axis in by_growth)


def _slab(operators: _Operators, start: int, stop: int) -> tuple[_Operators, slice]:
    """Operators for the output planes `start` to `stop` along Z, and the input planes that they read."""
    for axis, operator in operators:
        if axis == 1:
            read = operator[start:stop].any(dim=0).nonzero()
            band = slice(int(read[0]), int(read[-1]) + 1)
            return tuple((other, operator[start:stop, band] if other == 1 else matrix) for other, matrix in operators), band
    return operators, slice(start, stop)


@lru_cache(maxsize=64)
def _operator(n_in: int, n_out: int, order: int) -> Tensor:
    """What the spline resampler makes of each unit vector, float32 (n_out, n_in)."""
    if order not in (0, 1, 3):
        raise ValueError(f"order {order}, allowed are 0, 1 and 3")
    matrix = ndimage.zoom(np.eye(n_in), (n_out / n_in, 1.0), order=order, mode="nearest", grid_mode=True)  # type: ignore[call-overload]
    return torch.from_numpy(matrix.astype(np.float32))


def _resampled(x_CZYX: Tensor, operators: _Operators, ranges: tuple[Tensor, Tensor]) -> Tensor:
    x_CZYX = x_CZYX.float()
    with _full_precision(x_CZYX.device.type):
        for axis, operator in operators:
            x_CZYX = _apply(operator.to(x_CZYX.device), x_CZYX, axis)
    return x_CZYX.clamp(*ranges)


def _apply(matrix: Tensor, x_CZYX: Tensor, axis: int) -> Tensor:
    shape = (*x_CZYX.shape[:axis], matrix.shape[0], *x_CZYX.shape[axis + 1 :])
    if axis == x_CZYX.ndim - 1:
        return (x_CZYX.reshape(-1, matrix.shape[1]) @ matrix.T).reshape(shape)
    return torch.matmul(matrix, x_CZYX.reshape(-1, matrix.shape[1], int(np.prod(shape[axis + 1 :])))).reshape(shape)


@contextmanager
def _full_precision(device: str) -> Iterator[None]:
    """float32 means float32 here, whatever training allows its own products (TF32, bf16)."""
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
