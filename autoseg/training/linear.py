"""Linear interpolation along the axes of a volume on a CPU, at any places; a plane at a time, so that nothing but the result leaves the cache."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autoseg.training.buffers import empty


@dataclass(frozen=True)
class Line:
    """Where the voxels of a result lie along one axis: between which two voxels of the source, and how near to the second (0..1, float32)."""

    low: NDArray[np.intp]
    high: NDArray[np.intp]
    weight: Tensor

    def each(self) -> Iterator[tuple[int, int, float]]:
        """One place after the other."""
        return zip(self.low.tolist(), self.high.tolist(), self.weight.tolist(), strict=True)


def line(positions: Tensor, size: int) -> Line:
    """Of positions in voxels, float64 (n,); beyond the first and the last of `size` voxels those are repeated."""
    inside = positions.clamp(0, size - 1)
    low = inside.long().clamp_max(max(size - 2, 0))
    return Line(low.numpy(), (low + 1).clamp_max(size - 1).numpy(), (inside - low).float())


def linear(x_CZYX: Tensor, lines: tuple[Line, Line, Line]) -> Tensor:
    """Interpolate float32 (C, Z, Y, X) linearly along Z, Y and X, at the places that `lines` name, on a CPU."""
    along_z, along_y, along_x = lines
    result = empty((len(x_CZYX), *(len(each.low) for each in lines)), x_CZYX)
    for index, (low, high, weight) in enumerate(along_z.each()):
        plane_CYX = torch.lerp(x_CZYX[:, low], x_CZYX[:, high], weight)
        plane_CYX = torch.lerp(_take(plane_CYX, along_y.low, 1), _take(plane_CYX, along_y.high, 1), along_y.weight[:, None])
        torch.lerp(_take(plane_CYX, along_x.low, 2), _take(plane_CYX, along_x.high, 2), along_x.weight, out=result[:, index])
    return result


def _take(x: Tensor, indices: NDArray[np.intp], axis: int) -> Tensor:
    return torch.from_numpy(x.numpy().take(indices, axis))
