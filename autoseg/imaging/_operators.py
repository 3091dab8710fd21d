"""Resampling along one axis as a banded matrix.

- What spline interpolation makes of a row of voxels is linear: a matrix, built once for (n_in, n_out, order).
- Its rows are narrow: those of a cubic spline fall to a quarter from voxel to voxel, and what is below 1e-7 is left out. On a CPU 32 voxels are made
  at a time of the few that they read, in half the time of the full product; a graphics card does one large product sooner than several small ones.
- Linear interpolation mixes two neighbours: where these are whole lines of voxels (all axes but the last), that is all that is done.
- Of all orders of the axes the cheapest is taken.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autoseg.imaging.image import Shape3

_NEGLIGIBLE = 1e-7
_ROWS = 32
_MIX = 4  # to mix two lines takes as long as so many multiplications for each voxel


@dataclass(frozen=True)
class Operator:
    """What makes n_out voxels of n_in.

    Attributes
    ----------
    matrix : float32 (n_out, n_in)
    blocks : output voxels, the input voxels that they read, and their part of the matrix
    neighbours : for each output voxel the two input voxels that it lies between, and the share of the second; None where it reads more
    """

    matrix: Tensor
    blocks: tuple[tuple[slice, slice, Tensor], ...]
    neighbours: tuple[Tensor, Tensor, Tensor] | None

    @classmethod
    def of(cls, matrix: Tensor) -> "Operator":
        n_out = matrix.shape[0]
        rows = _ROWS if matrix.device.type == "cpu" else n_out
        read = (matrix != 0).cpu().numpy()
        blocks = []
        for start in range(0, n_out, rows):
            found = np.flatnonzero(read[start : start + rows].any(axis=0))
            made, needed = slice(start, min(start + rows, n_out)), slice(int(found[0]), int(found[-1]) + 1)
            blocks.append((made, needed, matrix[made, needed].contiguous()))
        return cls(matrix, tuple(blocks), _neighbours(matrix, read))

    def cut(self, start: int, stop: int) -> tuple["Operator", slice]:
        """What makes the output voxels from `start` to `stop`, and the input voxels that it reads."""
        if stop - start == len(self.matrix):
            return self, slice(0, self.matrix.shape[1])
        found = self.matrix[start:stop].any(dim=0).nonzero()
        read = slice(int(found[0]), int(found[-1]) + 1)
        return Operator.of(self.matrix[start:stop, read]), read

    def reach(self, read: slice) -> slice:
        """The output voxels that depend on some of the input voxels."""
        found = self.matrix[:, read].any(dim=1).nonzero()
        return slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 0)

    def work(self, axis: int) -> int:
        """What a row of voxels costs along an axis, in multiplications of a product."""
        return _MIX * len(self.matrix) if self.neighbours and axis < 2 else sum(part.numel() for _, _, part in self.blocks)

    def apply(self, x_ZYX: Tensor, axis: int) -> Tensor:
        """Along one axis of float32 voxels."""
        if self.neighbours and axis < 2:
            first, second, share = self.neighbours
            return torch.lerp(x_ZYX.index_select(axis, first), x_ZYX.index_select(axis, second), share.view(-1, *[1] * (2 - axis)))
        n_out = self.matrix.shape[0]
        shape = (*x_ZYX.shape[:axis], n_out, *x_ZYX.shape[axis + 1 :])
        result = x_ZYX.new_empty(shape)
        if axis == 2:
            x_NI, result_NO = x_ZYX.reshape(-1, x_ZYX.shape[axis]), result.view(-1, n_out)
            for made, read, part in self.blocks:
                torch.mm(x_NI[:, read], part.T, out=result_NO[:, made])
        else:
            lines = math.prod(shape[axis + 1 :])
            x_BIN, result_BON = x_ZYX.reshape(-1, x_ZYX.shape[axis], lines), result.view(-1, n_out, lines)
            for made, read, part in self.blocks:
                torch.bmm(part.expand(len(x_BIN), -1, -1), x_BIN[:, read], out=result_BON[:, made])
        return result


Operators = Mapping[int, Operator]
"""By axis, in the order of work; an axis that keeps its size is absent and stays bit-identical."""


def operators(shape_in: Shape3, shape_out: Shape3, order: int, nearest_axis: int | None, device: torch.device) -> Operators:
    """What takes voxels of `shape_in` to `shape_out`; parameters as for `resample`."""
    sizes = {axis: (n_in, n_out) for axis, (n_in, n_out) in enumerate(zip(shape_in, shape_out, strict=True)) if n_in != n_out}
    return _cheapest({axis: _operator(*size, 0 if axis == nearest_axis else order, device) for axis, size in sizes.items()}, shape_in)


def cut(whole: Operators, window: Sequence[slice]) -> tuple[Operators, tuple[slice, slice, slice]]:
    """What makes a window of the output, and the window of the input that it reads; slices along Z, Y, X with a start and a stop."""
    parts = {axis: operator.cut(window[axis].start, window[axis].stop) for axis, operator in whole.items()}
    z, y, x = (parts[axis][1] if axis in parts else edge for axis, edge in enumerate(window))
    return _cheapest({axis: part for axis, (part, _) in parts.items()}, tuple(edge.stop - edge.start for edge in (z, y, x))), (z, y, x)


def _cheapest(unordered: Operators, shape_in: Sequence[int]) -> Operators:
    def work(axes: tuple[int, ...]) -> int:
        shape, total = list(shape_in), 0
        for axis in axes:
            total += unordered[axis].work(axis) * (math.prod(shape) // shape[axis])
            shape[axis] = unordered[axis].matrix.shape[0]
        return total

    return {axis: unordered[axis] for axis in min(permutations(unordered), key=work)}


def _neighbours(matrix: Tensor, read: NDArray[np.bool_]) -> tuple[Tensor, Tensor, Tensor] | None:
    first = read.argmax(axis=1)
    last = read.shape[1] - 1 - read[:, ::-1].argmax(axis=1)
    if (last - first > 1).any():
        return None
    first, last = (torch.from_numpy(index).to(matrix.device)[:, None] for index in (first, last))
    share = matrix.gather(1, last).where(last > first, 0.0)
    return first[:, 0], last[:, 0], share[:, 0]


@lru_cache(maxsize=64)
def _operator(n_in: int, n_out: int, order: int, device: torch.device) -> Operator:
    """What the spline resampler makes of each unit vector."""
    if order not in (0, 1, 3):
        raise ValueError(f"order {order}, allowed are 0, 1 and 3")
    from scipy import ndimage  # takes a quarter of a second, and scans on the right grid do without it

    matrix = ndimage.zoom(np.eye(n_in), (n_out / n_in, 1.0), order=order, mode="nearest", grid_mode=True)  # type: ignore[call-overload]
    matrix[np.abs(matrix) < _NEGLIGIBLE] = 0
    return Operator.of(torch.from_numpy(matrix.astype(np.float32)).to(device))
