"""Convolutions of three taps along Z with half the multiplications.

- Winograd's way, F(4, 3) of Lavin and Gray (2015, arXiv:1509.09308), along one axis: four planes of the result need twelve products of a plane of the
  input with a plane of the kernel; six products of sums of planes hold all that is in them.
- The sums are matrix products over whole planes, the six products are convolutions in the plane. The gradient of the weights is the same
  bilinear form, read the other way.
- Rounding: about 1e-5 of the largest value at most, where direct sums leave 1e-6.
- A block is an image's four planes; each thread has blocks of its own, as many at a time as a cache holds.
- `benchmarks/convolutions.py` shows what each layer gains.
"""

from collections.abc import Callable, Sequence
from math import ceil
from typing import TypeVar

import torch
from torch import Tensor

from autoseg.networks import gathering
from autoseg.threads import each

PLANES, SUMS = 4, 6  # of the result that a block makes, and of products that it takes
AT_A_TIME = 1 << 20  # numbers in a thread's sums: 4 MB
WIDE_ENOUGH, LARGE_ENOUGH, WORK_ENOUGH = 32, 256, 1 << 31  # channels, pixels of a plane, multiplications: below, sums cost more than they save
Made = TypeVar("Made")
Block = tuple[int, int]  # image, first plane


def pays(x: Tensor, weight: Tensor) -> bool:
    """Whether a convolution that keeps its size is better left to this module than to the library.

    Parameters
    ----------
    x : what goes in (B, I, Z, Y, X)
    weight : (O, I, *kernel)
    """
    if x.ndim != 5 or weight.shape[2] != 3 or min(weight.shape[:2]) < WIDE_ENOUGH:
        return False
    _, _, planes, rows, columns = x.shape
    few_halves = 3 * ceil(planes / PLANES) <= planes  # blocks that reach beyond the last plane are work for nothing
    enough = rows * columns >= LARGE_ENOUGH and x.numel() * weight[:, 0].numel() >= WORK_ENOUGH
    return few_halves and enough and len(_blocks(x)) >= 2 * torch.get_num_threads()


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A convolution without stride, padded with zeros to keep the size.

    Parameters
    ----------
    x : float32 (B, I, Z, Y, X), channels last
    weight : (O, I, 3, height, width), both odd
    bias : (O,) or None

    Returns
    -------
    (B, O, Z, Y, X), channels last
    """
    images, inputs, planes, rows, columns = x.shape
    outputs, _, _, height, width = weight.shape
    to_sums, of_kernel, to_planes = _matrices()
    kernels = [part.contiguous(memory_format=torch.channels_last) for part in torch.einsum("sk,oikyx->soiyx", of_kernel, weight)]
    flat = _flat(x)
    result = x.new_empty(images, planes, rows, columns, outputs)
    flat_result = result.view(images, planes, -1)

    def work(blocks: Sequence[Block]) -> None:
        count = _together(blocks, x, outputs)
        sums, products = x.new_empty(SUMS, count, rows * columns * inputs), x.new_empty(SUMS, count, rows * columns * outputs)
        for some in _split(blocks, count):
            _put_sums(flat, some, to_sums, sums, before=1)
            for index, kernel in enumerate(kernels):
                part = _pictures(sums[index, : len(some)], rows, columns)
                constant = bias if index == 1 else None  # it reaches every plane of the block once
                product = torch.mkldnn_convolution(part, kernel, constant, [height // 2, width // 2], [1, 1], [1, 1], 1)
                products[index, : len(some)] = product.permute(0, 2, 3, 1).flatten(1)
            for position, (image, first) in enumerate(some):
                kept = min(PLANES, planes - first)
                torch.mm(to_planes[:kept], products[:, position], out=flat_result[image, first : first + kept])

    _share(x, work)
    return result.permute(0, 4, 1, 2, 3)


def weight_gradient(x: Tensor, gradient: Tensor, kernel: Sequence[int]) -> Tensor:
    """As `gathering.weight_gradient`, of a kernel with three taps along Z."""
    _, inputs, _, rows, columns = x.shape
    outputs = gradient.shape[1]
    to_sums, of_kernel, to_planes = _matrices()
    flat, flat_gradient = _flat(x), _flat(gradient)

    def work(blocks: Sequence[Block]) -> Tensor:
        count = _together(blocks, x, outputs)
        sums, wanted = x.new_empty(SUMS, count, rows * columns * inputs), x.new_empty(SUMS, count, rows * columns * outputs)
        total = x.new_zeros(SUMS, outputs, inputs, *kernel[1:])
        for some in _split(blocks, count):
            _put_sums(flat, some, to_sums, sums, before=1)
            _put_sums(flat_gradient, some, to_planes.T, wanted, before=0)
            for index in range(SUMS):
                part, outgoing = (_pictures(of[index, : len(some)], rows, columns).unsqueeze(2) for of in (sums, wanted))
                total[index] += gathering.weight_gradient(part, outgoing, (1, *kernel[1:]))[:, :, 0]
        return total

    return torch.einsum("sk,soiyx->oikyx", of_kernel, torch.stack(_share(x, work)).sum(0))


def _matrices() -> tuple[Tensor, Tensor, Tensor]:
    """What makes sums of six planes (6, 6), of a kernel's three slices (6, 3), and four planes of six products (4, 6)."""
    to_sums = [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]]
    of_kernel = [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]  # twenty-fourths
    to_planes = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
    return torch.tensor(to_sums).float(), torch.tensor(of_kernel) / 24, torch.tensor(to_planes).float()


def _blocks(x: Tensor) -> list[Block]:
    return [(image, first) for image in range(len(x)) for first in range(0, x.shape[2], PLANES)]


def _share(x: Tensor, work: Callable[[Sequence[Block]], Made]) -> list[Made]:
    """What each thread makes of its blocks; which are whose does not depend on how fast they are."""
    blocks = _blocks(x)
    return list(each(_split(blocks, ceil(len(blocks) / torch.get_num_threads())), work, name="convolution"))


def _split(blocks: Sequence[Block], count: int) -> list[Sequence[Block]]:
    return [blocks[start : start + count] for start in range(0, len(blocks), count)]


def _together(blocks: Sequence[Block], x: Tensor, outputs: int) -> int:
    """How many blocks a thread takes at a time."""
    numbers = SUMS * x[0, 0, 0].numel() * max(x.shape[1], outputs)
    return min(len(blocks), max(1, AT_A_TIME // numbers))


def _put_sums(flat: Tensor, blocks: Sequence[Block], matrix: Tensor, sums: Tensor, *, before: int) -> None:
    """Sums of the planes of each block, and of `before` planes ahead of it; planes beyond the image are zeros.

    Parameters
    ----------
    flat : (B, Z, numbers in a plane)
    matrix : (6, planes)
    sums : (6, at least as many as blocks, numbers in a plane), is written
    """
    for position, (image, first) in enumerate(blocks):
        start = first - before
        inside = slice(max(start, 0), min(start + matrix.shape[1], flat.shape[1]))
        torch.mm(matrix[:, inside.start - start : inside.stop - start], flat[image, inside], out=sums[:, position])


def _flat(x: Tensor) -> Tensor:
    """The same numbers (B, Z, Y x X x C) of a tensor (B, C, Z, Y, X) in channels last."""
    return x.permute(0, 2, 3, 4, 1).flatten(2)


def _pictures(planes: Tensor, rows: int, columns: int) -> Tensor:
    """(N, C, Y, X) in channels last, of planes (N, Y x X x C)."""
    return planes.view(len(planes), rows, columns, -1).permute(0, 3, 1, 2)
