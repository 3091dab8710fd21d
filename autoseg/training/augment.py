"""Random augmentation applied to samples on the device, from parameters drawn beforehand.

- Order (nnU-Net's): rotation and scaling, noise, blur, brightness, contrast, low resolution, gamma on the inverted image, gamma, mirroring.
- A sample that does not move is never interpolated; of one that does, only the box that the patch needs was loaded.
- Images are interpolated linearly, label maps as one-hot channels of which the largest wins.
- Slice-wise, what lies along the first axis is left alone by rotation, scaling and low resolution; noise and blur act on all axes.
"""

from math import ceil, cos, radians, sin

import torch
import torch.nn.functional as F
from torch import Tensor

from autoseg.imaging.image import Shape3
from autoseg.training.draws import Draw


def apply(draw: Draw, image_CZYX: Tensor, labels: Tensor, patch: Shape3, *, keep_zero: bool) -> tuple[Tensor, Tensor]:
    """Augment one sample.

    Parameters
    ----------
    draw : what happens
    image_CZYX : float32 voxels of the box `box_shape(draw, patch)`, centred where the patch is
    labels : integers, one map (*box) or several (L, *box), of the same voxels
    patch : voxels of the result
    keep_zero : voxels that are 0 in all channels (outside the head) are 0 again at the end

    Returns
    -------
    image (C, *patch) and labels (*patch) or (L, *patch), of their types
    """
    image, moved = move(draw, image_CZYX, labels, patch) if draw.moves else (image_CZYX, labels)
    outside = (image == 0).all(0) if keep_zero else None
    image = change_intensities(draw, image)
    if outside is not None and image is not image_CZYX:
        image = image.masked_fill(outside, 0.0)
    if draw.flips:
        axes = [axis - 3 for axis in draw.flips]
        image, moved = image.flip(axes), moved.flip(axes)
    return image, moved


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
    """Rotate and scale image and label maps, (*box) or (L, *box), at once: voxels of the box -> voxels of the patch."""
    box = labels.shape[-3:]
    grid = _sampling_grid(affine(draw), patch, box).to(image_CZYX)
    maps = labels.reshape(-1, *box).unbind()
    present = [torch.unique(one) for one in maps]
    one_hot = [(one == found[:, None, None, None]).to(image_CZYX.dtype) for one, found in zip(maps, present, strict=True)]
    moved = F.grid_sample(torch.cat([image_CZYX, *one_hot])[None], grid[None], mode="bilinear", padding_mode="zeros", align_corners=True)[0]
    image, *shares = torch.split(moved, [len(image_CZYX), *map(len, present)])
    largest = torch.stack([found[share.argmax(0)] for found, share in zip(present, shares, strict=True)])
    return image, largest.reshape(*labels.shape[:-3], *patch)


def change_intensities(draw: Draw, image_CZYX: Tensor) -> Tensor:
    """Noise, blur, brightness, contrast, low resolution and gamma; a new tensor where anything changes."""
    x = image_CZYX
    if draw.noise:
        generator = torch.Generator(x.device).manual_seed(draw.noise_seed)
        x = x + torch.randn(x.shape, generator=generator, device=x.device) * draw.noise
    changes = zip(draw.blur, draw.brightness, draw.contrast, draw.low_resolution, draw.gamma_inverted, draw.gamma, strict=True)
    before = x.unbind()
    after = [_change_channel(channel, draw.in_plane, *values) for channel, values in zip(before, changes, strict=True)]
    if all(new is old for new, old in zip(after, before, strict=True)):
        return x
    return torch.stack(after)


def _change_channel(
    x: Tensor, in_plane: bool, blur: float, brightness: float, contrast: float, scale: float, gamma_inverted: float, gamma: float
) -> Tensor:
    if blur:
        x = blurred(x, blur)
    if brightness != 1:
        x = x * brightness
    if contrast != 1:
        low, high = x.aminmax()
        mean = x.mean()
        x = ((x - mean) * contrast + mean).clamp(low, high)
    if scale != 1:
        x = at_low_resolution(x, scale, in_plane=in_plane)
    if gamma_inverted != 1:
        x = -with_gamma(-x, gamma_inverted)
    if gamma != 1:
        x = with_gamma(x, gamma)
    return x


def blurred(x_ZYX: Tensor, sigma: float) -> Tensor:
    """Gaussian blur along every axis longer than one voxel, edges repeated."""
    radius = max(1, ceil(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=x_ZYX.dtype, device=x_ZYX.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel /= kernel.sum()
    result = x_ZYX[None, None]
    for axis, size in enumerate(x_ZYX.shape):
        if size > 1:
            shape = [1, 1, 1, 1, 1]
            shape[axis + 2] = len(kernel)
            pads = [0] * 6
            pads[2 * (2 - axis)] = pads[2 * (2 - axis) + 1] = radius
            result = F.conv3d(F.pad(result, pads, mode="replicate"), kernel.view(shape))
    return result[0, 0]


def at_low_resolution(x_ZYX: Tensor, scale: float, *, in_plane: bool = False) -> Tensor:
    """Down to `scale` of the size by the nearest voxel, and up again linearly; an axis of one voxel stays, and with `in_plane` the first does."""
    small = [max(1, round(size * scale)) for size in x_ZYX.shape]
    if in_plane:
        small[0] = x_ZYX.shape[0]
    down = F.interpolate(x_ZYX[None, None], size=small, mode="nearest-exact")
    return F.interpolate(down, size=x_ZYX.shape, mode="trilinear", align_corners=False)[0, 0]


def with_gamma(x: Tensor, exponent: float) -> Tensor:
    """Power of the intensities within their range; mean and standard deviation stay."""
    low, high = x.aminmax()
    mean, std = x.mean(), x.std()
    bent = ((x - low) / (high - low).clamp_min(1e-7)) ** exponent
    return (bent - bent.mean()) / bent.std().clamp_min(1e-7) * std + mean


def _sampling_grid(matrix: Tensor, patch: Shape3, box: tuple[int, ...]) -> Tensor:
    """Positions in the box for every voxel of the patch, as `grid_sample` wants them: (*patch, 3), X first, -1..1 between corner centres."""
    offsets = [torch.arange(size, dtype=torch.float64) - (size - 1) / 2 for size in patch]
    centred = torch.stack(torch.meshgrid(*offsets, indexing="ij"), dim=-1)
    half = torch.tensor([max(size - 1, 1) / 2 for size in box], dtype=torch.float64)
    return ((centred @ matrix.T) / half).flip(-1)
