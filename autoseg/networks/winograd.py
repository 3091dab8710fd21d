"""Convolutions of three taps along Z with half the multiplications.

- Winograd's way, F(4, 3) of Lavin and Gray (2015, arXiv:1509.09308), along one axis: four planes of the result need twelve products of a plane of the
  input with a plane of the kernel; six products of sums of planes hold all that is in them.
- The transforms are matrix products over whole planes, the six products are convolutions in the plane. The gradient of the weights is the
  same bilinear form, read the other way.
- Rounding errors are a few times those of direct sums. A value that is not finite spreads to the four planes of its tile.
- A tile is four planes of an image; each thread has tiles of its own, as many at a time as stay near the processor, at least one.
- `benchmarks/convolutions.py` shows what each layer gains.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import ceil

import torch
from torch import Tensor

from autoseg.networks import gathering
from autoseg.threads import Made, map_in_order

PLANES, PRODUCTS = 4, 6  # of the result that a tile makes, and of planes that it takes
AT_A_TIME = 1 << 20  # numbers of transformed tiles in a thread: 4 MB
WIDE_ENOUGH, LARGE_ENOUGH, WORK_ENOUGH = 32, 256, 1 << 31  # channels, pixels of a plane, multiplications: below, transforms cost more than they save
Tile = tuple[int, int]  # image, first plane


def pays(x: Tensor, weight: Tensor) -> bool:
    """Whether a convolution that keeps its size is better left to this module than to the library.

    Parameters
    ----------
    x : what goes in (B, I, *size)
    weight : (O, I, *kernel)
    """
    if x.ndim != 5 or weight.shape[2] != 3 or weight[0, 0, 0].numel() == 1 or min(weight.shape[:2]) < WIDE_ENOUGH:
        return False
    _, _, planes, rows, columns = x.shape
    little_beyond = 3 * ceil(planes / PLANES) <= planes  # tiles that reach beyond the last plane are work for nothing
    enough = rows * columns >= LARGE_ENOUGH and x.numel() * weight[:, 0].numel() >= WORK_ENOUGH
    return little_beyond and enough and len(_tiles(x)) >= 2 * torch.get_num_threads()


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
    input_transform, filter_transform, output_transform = _transforms()
    kernels = [part.contiguous(memory_format=torch.channels_last) for part in torch.einsum("pk,oikyx->poiyx", filter_transform, weight)]
    flat = _flat(x)
    result = torch.empty(images, outputs, planes, rows, columns, memory_format=torch.channels_last_3d)
    flat_result = _flat(result)

    def work(tiles: Sequence[Tile]) -> None:
        count = _at_a_time(tiles, x, outputs)
        seen, products = x.new_empty(PRODUCTS, count, rows * columns * inputs), x.new_empty(PRODUCTS, count, rows * columns * outputs)
        for some in _pieces(tiles, count):
            _transform(flat, some, input_transform, seen, before=1)
            for index, kernel in enumerate(kernels):
                picture = _as_pictures(seen[index, : len(some)], rows, columns)
                constant = bias if index == 1 else None  # it reaches every plane of the tile once
                product = torch.mkldnn_convolution(picture, kernel, constant, [height // 2, width // 2], [1, 1], [1, 1], 1)
                products[index, : len(some)] = product.permute(0, 2, 3, 1).flatten(1)
            for position, (image, first) in enumerate(some):
                kept = min(PLANES, planes - first)
                torch.mm(output_transform[:kept], products[:, position], out=flat_result[image, first : first + kept])

    _share(x, work)
    return result


def weight_gradient(x: Tensor, gradient: Tensor, kernel: Sequence[int]) -> Tensor:
    """As `gathering.weight_gradient`, of a kernel with three taps along Z."""
    _, inputs, _, rows, columns = x.shape
    outputs = gradient.shape[1]
    input_transform, filter_transform, output_transform = _transforms()
    flat, flat_gradient = _flat(x), _flat(gradient)

    def work(tiles: Sequence[Tile]) -> Tensor:
        count = _at_a_time(tiles, x, outputs)
        seen, wanted = x.new_empty(PRODUCTS, count, rows * columns * inputs), x.new_empty(PRODUCTS, count, rows * columns * outputs)
        total = x.new_zeros(PRODUCTS, outputs, inputs, *kernel[1:])
        for some in _pieces(tiles, count):
            _transform(flat, some, input_transform, seen, before=1)
            _transform(flat_gradient, some, output_transform.T, wanted, before=0)
            for index in range(PRODUCTS):
                picture, outgoing = (_as_pictures(of[index, : len(some)], rows, columns).unsqueeze(2) for of in (seen, wanted))
                total[index] += gathering.weight_gradient(picture, outgoing, (1, *kernel[1:]))[:, :, 0]
        return total

    total, *others = _share(x, work)
    for other in others:
        total += other
    return torch.einsum("pk,poiyx->oikyx", filter_transform, total)


def _transforms() -> tuple[Tensor, Tensor, Tensor]:
    """Of six planes of the input (6, 6), of a kernel's three slices (6, 3), and of six products to four planes of the result (4, 6)."""
    of_input = [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]]
    of_filter = [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]  # twenty-fourths
    to_output = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
    return torch.tensor(of_input).float(), torch.tensor(of_filter) / 24, torch.tensor(to_output).float()


def _tiles(x: Tensor) -> list[Tile]:
    return [(image, first) for image in range(len(x)) for first in range(0, x.shape[2], PLANES)]


def _share(x: Tensor, work: Callable[[Sequence[Tile]], Made]) -> list[Made]:
    """What each thread makes of its tiles; which are whose does not depend on how fast they are."""
    tiles = _tiles(x)
    threads = min(torch.get_num_threads(), len(tiles))
    edges = [len(tiles) * index // threads for index in range(threads + 1)]
    return list(map_in_order(work, [tiles[first:last] for first, last in pairwise(edges)]))


def _pieces(tiles: Sequence[Tile], count: int) -> list[Sequence[Tile]]:
    return [tiles[start : start + count] for start in range(0, len(tiles), count)]


def _at_a_time(tiles: Sequence[Tile], x: Tensor, outputs: int) -> int:
    numbers = PRODUCTS * x[0, 0, 0].numel() * max(x.shape[1], outputs)
    return min(len(tiles), max(1, AT_A_TIME // numbers))


def _transform(flat: Tensor, tiles: Sequence[Tile], matrix: Tensor, transformed: Tensor, *, before: int) -> None:
    """Sums of the planes of each tile, and of `before` planes ahead of it; planes beyond the image are zeros.

    Parameters
    ----------
    flat : (B, Z, numbers in a plane)
    matrix : (6, planes)
    transformed : (6, at least as many as tiles, numbers in a plane), is written
    """
    for position, (image, first) in enumerate(tiles):
        start = first - before
        inside = slice(max(start, 0), min(start + matrix.shape[1], flat.shape[1]))
        torch.mm(matrix[:, inside.start - start : inside.stop - start], flat[image, inside], out=transformed[:, position])


def _flat(x: Tensor) -> Tensor:
    """The same memory as (B, Z, Y x X x C), of a tensor (B, C, Z, Y, X) in channels last."""
    images, _, planes, _, _ = x.shape
    return x.permute(0, 2, 3, 4, 1).view(images, planes, -1)


def _as_pictures(planes: Tensor, rows: int, columns: int) -> Tensor:
    """(N, C, Y, X) in channels last, of planes (N, Y x X x C)."""
    return planes.view(len(planes), rows, columns, -1).permute(0, 3, 1, 2)
