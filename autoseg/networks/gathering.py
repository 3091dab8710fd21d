"""The gradient of a convolution's weights, from neighbours gathered by planes.

Where oneDNN gathers all neighbours of every voxel, here neighbours in a plane are gathered and multiplied with the gradients of three planes at
once, a piece that fits the cache at a time.
"""

from collections.abc import Sequence
from math import ceil

import torch.nn.functional as F
from torch import Tensor

GATHERED = 1 << 19  # values of neighbours at a time: 2 MB
WIDE_ENOUGH = 32  # channels below which gathering takes longer than what it replaces


def pays(x: Tensor, weight: Tensor) -> bool:
    """Whether a convolution that keeps its size is better left to this module than to the library.

    Parameters
    ----------
    x : what goes in (B, I, *size)
    weight : (O, I, *kernel)
    """
    return x.ndim == 5 and min(weight.shape[:2]) >= WIDE_ENOUGH and weight[0, 0].numel() > 1


def weight_gradient(x: Tensor, gradient: Tensor, kernel: Sequence[int]) -> Tensor:
    """Of a convolution without stride that keeps the size: the sum over voxels of what goes in times the gradient of what comes out.

    Parameters
    ----------
    x : (B, I, Z, Y, X), channels last
    gradient : (B, O, Z, Y, X), channels last
    kernel : odd sizes along Z, Y, X

    Returns
    -------
    (O, I, *kernel)
    """
    depth, height, width = kernel
    _, inputs, planes, rows, columns = x.shape
    outputs = gradient.shape[1]
    pieces = ceil(rows * columns * height * width * inputs / GATHERED)
    taken = ceil(rows / min(rows, pieces))
    neighbours = x.new_empty(taken, columns, height, width, inputs)
    wanted = x.new_empty(taken, columns, depth, outputs)
    total = x.new_zeros(height * width * inputs, depth * outputs)
    for image, outgoing in zip(x.permute(0, 2, 3, 4, 1), gradient.permute(0, 2, 3, 4, 1), strict=True):
        padded = F.pad(image, (0, 0, width // 2, width // 2, height // 2, height // 2))
        around = padded.unfold(1, height, 1).unfold(2, width, 1).movedim(3, -1)  # (Z, Y, X, height, width, I)
        for plane in range(planes):
            for row in range(0, rows, taken):
                count = min(taken, rows - row)
                neighbours[:count] = around[plane, row : row + count]
                for tap in range(depth):
                    seen_from = plane + depth // 2 - tap
                    wanted[:count, :, tap] = outgoing[seen_from, row : row + count] if 0 <= seen_from < planes else 0.0
                total.addmm_(neighbours[:count].flatten(0, 1).flatten(1).T, wanted[:count].flatten(0, 1).flatten(1))
    return total.view(height, width, inputs, depth, outputs).permute(4, 2, 3, 0, 1)
