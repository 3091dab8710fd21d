"""Rotation and scaling of a patch, image and label maps alike.

- Images are interpolated linearly. A label is the class with the largest share of the eight voxels around, by the same weights.
- On a CPU nearly all labels are read off: where the eight voxels agree there is nothing to weigh.
- On a CPU scaling alone goes axis by axis. What turns is sampled a block at a time: the volume is seen as one tall picture, its planes below each
  other, sampled at the plane below a position and at the plane above it. PyTorch has vector code for pictures and none for volumes. Positions
  along Y are then rounded to a ten-millionth of that picture's height, which is the price.
"""

from collections.abc import Iterable
from itertools import product
from math import ceil, cos, radians, sin
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from autoseg.imaging.image import Shape3
from autoseg.training.buffers import empty
from autoseg.training.draws import Draw
from autoseg.training.linear import Line, line, linear

_BLOCK = (16, 64, 64)  # voxels along Z, Y, X that are sampled at once: their positions and what is read stay in the cache


def box_shape(draw: Draw, patch: Shape3) -> Shape3:
    """Voxels that must be loaded around a patch's centre so that moving it brings in no border."""
    if not draw.moves:
        return patch
    matrix = affine(draw).abs()
    half = matrix @ torch.tensor([(size - 1) / 2 for size in patch], dtype=torch.float64)
    # the same parity as the patch, so that both have one centre
    sizes = [size + 2 * max(0, ceil(reach - (size - 1) / 2)) for reach, size in zip(half.tolist(), patch, strict=True)]
    return sizes[0], sizes[1], sizes[2]


def affine(draw: Draw) -> Tensor:
    """Offset from the patch's centre in the result -> offset in the scan, voxels in Z, Y, X order, float64 (3, 3)."""
    z, y, x = (radians(angle) for angle in draw.angles)
    about_z = torch.tensor([[1, 0, 0], [0, cos(z), -sin(z)], [0, sin(z), cos(z)]], dtype=torch.float64)
    about_y = torch.tensor([[cos(y), 0, sin(y)], [0, 1, 0], [-sin(y), 0, cos(y)]], dtype=torch.float64)
    about_x = torch.tensor([[cos(x), -sin(x), 0], [sin(x), cos(x), 0], [0, 0, 1]], dtype=torch.float64)
    scale = torch.tensor([1.0 if draw.in_plane else draw.scale, draw.scale, draw.scale], dtype=torch.float64)
    return about_z @ about_y @ about_x @ torch.diag(scale)


def move(draw: Draw, image_CZYX: Tensor, labels: Tensor, patch: Shape3) -> tuple[Tensor, Tensor]:
    """Rotate and scale image and label maps, (*box) or (L, *box), at once: voxels of the box -> voxels of the patch.

    The box is `box_shape(draw, patch)` or larger, with the same centre.
    """
    box = _shape3(labels)
    matrix = affine(draw)
    maps = labels.reshape(-1, *box)
    if image_CZYX.device.type == "cpu":
        image, moved = _moved_image(matrix, image_CZYX, box, patch), torch.stack([_moved_labels(matrix, one, patch) for one in maps])
    else:
        image, moved = sampled(matrix, image_CZYX, maps, patch)
    return image, moved.reshape(*labels.shape[:-3], *patch)


def sampled(matrix: Tensor, image_CZYX: Tensor, labels_LZYX: Tensor, patch: Shape3) -> tuple[Tensor, Tensor]:
    """Image and label maps sampled at once, on any device; label maps as one-hot channels."""
    box = _shape3(labels_LZYX)
    present = [torch.unique(one) for one in labels_LZYX]
    one_hot = [(one == found[:, None, None, None]).to(image_CZYX.dtype) for one, found in zip(labels_LZYX, present, strict=True)]
    channels = torch.cat([image_CZYX, *one_hot])
    places = _positions(matrix, patch, box, (slice(0, size) for size in patch), channels.device)
    grid = torch.stack([_normalised(place, size) for place, size in zip(places, box, strict=True)][::-1], dim=-1)
    moved = F.grid_sample(channels[None], grid[None], mode="bilinear", padding_mode="zeros", align_corners=True)[0]
    image, *shares = torch.split(moved, [len(image_CZYX), *map(len, present)])
    return image, torch.stack([found[share.argmax(0)] for found, share in zip(present, shares, strict=True)])


def _moved_image(matrix: Tensor, image_CZYX: Tensor, box: Shape3, patch: Shape3) -> Tensor:
    """On a CPU: axis by axis where none mixes with another, plane by plane where Z mixes with none, else block by block."""
    mixes = (matrix - torch.diag(matrix.diag())) != 0
    if not mixes.any():
        return linear(image_CZYX, _lines(matrix, patch, box))
    if mixes[0].any() or mixes[:, 0].any():
        return _sampled_in_blocks(matrix, image_CZYX, patch)
    return _sampled_in_planes(matrix, image_CZYX, patch)


def _sampled_in_planes(matrix: Tensor, image_CZYX: Tensor, patch: Shape3) -> Tensor:
    """Rotated about Z, and scaled: the same for all planes."""
    box = _shape3(image_CZYX)
    along_z, _, _ = _lines(matrix, patch, box)
    _, y, x = _positions(matrix, patch, box, (slice(0, 1), slice(0, patch[1]), slice(0, patch[2])), image_CZYX.device)
    grid = torch.stack([_normalised(x, box[2]), _normalised(y, box[1])], dim=-1)
    result = empty((len(image_CZYX), *patch), image_CZYX)
    for index, (low, high, weight) in enumerate(along_z.each()):
        plane_CYX = torch.lerp(image_CZYX[:, low], image_CZYX[:, high], weight)
        result[:, index] = F.grid_sample(plane_CYX[None], grid, padding_mode="border", align_corners=True)[0]
    return result


def _sampled_in_blocks(matrix: Tensor, image_CZYX: Tensor, patch: Shape3) -> Tensor:
    """Rotated and scaled about any axes; the box is at least two voxels deep."""
    image_CZYX = image_CZYX.contiguous()
    channels, depth, height, width = image_CZYX.shape
    result = empty((channels, *patch), image_CZYX)
    for block in _blocks(patch):
        z, y, x = _positions(matrix, patch, (depth, height, width), block, image_CZYX.device)
        below = z.floor().clamp_(0, depth - 2)
        weight = z.sub_(below)
        first, last = (int(end) for end in below.aminmax())
        # both pictures, of the planes from the first on and of those from the one above it on, are the same memory
        rows = (last - first + 1) * height
        strides = (height * width, depth * height * width, width, 1)
        pictures = image_CZYX.as_strided((2, channels, rows, width), strides, image_CZYX.storage_offset() + first * height * width)
        row = y.add_(below.sub_(first), alpha=height)
        grid = torch.stack([_normalised(x, width), _normalised(row, rows)], dim=-1).view(1, -1, x.shape[-1], 2)
        low, high = F.grid_sample(pictures, grid.expand(2, -1, -1, -1), padding_mode="border", align_corners=True).view(2, channels, *x.shape)
        torch.lerp(low, high, weight, out=result[:, block[0], block[1], block[2]])
    return result


def _moved_labels(matrix: Tensor, labels_ZYX: Tensor, patch: Shape3) -> Tensor:
    """One label map on a CPU: the first of the eight voxels around, and where not all are alike, the class with the largest share of them."""
    box = _shape3(labels_ZYX)
    labels, mixed = labels_ZYX.reshape(-1), _mixed(labels_ZYX).view(-1)
    result, unclear = torch.empty(patch, dtype=labels_ZYX.dtype), torch.empty(patch, dtype=torch.bool)
    for block in _blocks(patch):
        places = _positions(matrix, patch, box, block, labels_ZYX.device)
        z, y, x = (place.int().clamp_(0, max(size - 2, 0)) for place, size in zip(places, box, strict=True))
        index = z.mul_(box[1]).add_(y).mul_(box[2]).add_(x)
        result[block] = labels.index_select(0, index.view(-1)).view(index.shape)
        unclear[block] = mixed.index_select(0, index.view(-1)).view(index.shape)
    voxels = np.flatnonzero(unclear.numpy())
    result.view(-1).numpy()[voxels] = _weighed(matrix.numpy(), labels_ZYX.numpy(), voxels, patch)
    return result


def _mixed(labels_ZYX: Tensor) -> Tensor:
    """Whether a voxel and the seven after it, along Z, Y and X, are not all alike; bool as the map, wrong for the last along each axis."""
    low = high = labels_ZYX
    for axis, size in enumerate(labels_ZYX.shape):
        if size > 1:
            low = torch.minimum(low.narrow(axis, 0, size - 1), low.narrow(axis, 1, size - 1))
            high = torch.maximum(high.narrow(axis, 0, size - 1), high.narrow(axis, 1, size - 1))
    mixed = torch.zeros(labels_ZYX.shape, dtype=torch.bool)
    z, y, x = low.shape
    torch.ne(low, high, out=mixed[:z, :y, :x])
    return mixed


def _weighed(matrix: NDArray[np.float64], labels_ZYX: NDArray[Any], voxels: NDArray[np.intp], patch: Shape3) -> NDArray[Any]:
    """The label with the largest share around each of `voxels` (N,) of the result, counted along X first; the smallest of those that tie."""
    box = np.array(labels_ZYX.shape)[:, None]
    offsets = np.stack(np.unravel_index(voxels, patch)) - (np.array(patch)[:, None] - 1) / 2
    places = np.clip(matrix @ offsets + (box - 1) / 2, 0, box - 1)
    first = np.minimum(places.astype(np.intp), np.maximum(box - 2, 0))
    beyond = (places - first).astype(np.float32)
    corners = list(product((0, 1), repeat=3))
    around = np.stack([labels_ZYX[tuple(np.minimum(first + np.array(corner)[:, None], box - 1))] for corner in corners])
    shares = np.stack([np.where(np.array(corner)[:, None], beyond, 1 - beyond).prod(0) for corner in corners])
    best: NDArray[Any] = around[0]
    largest = np.full(len(voxels), -1, dtype=np.float32)
    for label in np.unique(around):
        share = (shares * (around == label)).sum(0)
        best = np.where(share > largest, label, best)
        largest = np.maximum(largest, share)
    return best


def _blocks(patch: Shape3) -> Iterable[tuple[slice, ...]]:
    ranges = [[slice(start, min(start + step, size)) for start in range(0, size, step)] for size, step in zip(patch, _BLOCK, strict=True)]
    return product(*ranges)


def _positions(matrix: Tensor, patch: Shape3, box: Shape3, block: Iterable[slice], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Where a block of the result lies in the box: voxels along Z, Y and X, float32 of the block's shape each."""
    z, y, x = (torch.arange(part.start, part.stop, dtype=torch.float64) - (size - 1) / 2 for part, size in zip(block, patch, strict=True))
    places = []
    for row, size in zip(matrix, box, strict=True):
        plane = ((y * row[1])[:, None] + (x * row[2] + (size - 1) / 2)).to(device, torch.float32)
        places.append((z * row[0]).to(device, torch.float32)[:, None, None] + plane)
    return places[0], places[1], places[2]


def _lines(matrix: Tensor, patch: Shape3, box: Shape3) -> tuple[Line, Line, Line]:
    z, y, x = (
        line((torch.arange(size, dtype=torch.float64) - (size - 1) / 2) * factor + (wide - 1) / 2, wide)
        for size, wide, factor in zip(patch, box, matrix.diag(), strict=True)
    )
    return z, y, x


def _normalised(places: Tensor, size: int) -> Tensor:
    """Voxels -> -1..1 between the centres of the first and the last, as `grid_sample` wants them; changes `places`."""
    return places.mul_(2 / max(size - 1, 1)).sub_(1)


def _shape3(labels: Tensor) -> Shape3:
    z, y, x = labels.shape[-3:]
    return z, y, x
