"""Random changes of intensities, channel by channel: noise, blur, brightness, contrast, low resolution and gamma.

- Every function gives new memory and leaves what it was given alone; within, all work is done in place.
- Slice-wise, what lies along the first axis is left alone by low resolution; noise and blur act on all axes.
"""

from collections.abc import Iterator, Sequence
from math import ceil, exp

import torch
import torch.nn.functional as F
from torch import Tensor

from autoseg.training.buffers import empty
from autoseg.training.draws import Draw
from autoseg.training.linear import Line, line, linear


def changed_channels(draw: Draw, channels: Sequence[Tensor]) -> Iterator[Tensor]:
    """Each channel (Z, Y, X) as the draw changes it: new memory, or the channel itself where nothing happens to it."""
    generator = torch.Generator(channels[0].device).manual_seed(draw.noise_seed) if draw.noise else None
    changes = zip(draw.blur, draw.brightness, draw.contrast, draw.low_resolution, draw.gamma_inverted, draw.gamma, strict=True)
    for x_ZYX, (blur, brightness, contrast, scale, gamma_inverted, gamma) in zip(channels, changes, strict=True):
        x = x_ZYX if generator is None else noisy(x_ZYX, draw.noise, generator)
        if blur:
            x = blurred(x, blur)
        if brightness != 1:
            x = torch.mul(x, brightness, out=empty(x.shape, x))
        if contrast != 1:
            x = with_contrast(x, contrast)
        if scale != 1:
            x = at_low_resolution(x, scale, in_plane=draw.in_plane)
        if gamma_inverted != 1:
            x = with_gamma(torch.neg(x, out=empty(x.shape, x)), gamma_inverted).neg_()
        if gamma != 1:
            x = with_gamma(x, gamma)
        yield x


def noisy(x_ZYX: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Gaussian noise added."""
    return empty(x_ZYX.shape, x_ZYX).normal_(0.0, deviation, generator=generator).add_(x_ZYX)


def blurred(x_ZYX: Tensor, sigma: float) -> Tensor:
    """Gaussian blur along every axis longer than one voxel, edges repeated."""
    radius = max(1, ceil(3 * sigma))
    kernel = [exp(-0.5 * (offset / sigma) ** 2) for offset in range(radius + 1)]
    total = 2 * sum(kernel) - kernel[0]
    pads = [radius if size > 1 else 0 for size in reversed(x_ZYX.shape) for _ in range(2)]
    x = F.pad(x_ZYX[None, None], pads, mode="replicate")[0, 0]
    for axis, size in enumerate(x_ZYX.shape):
        if size > 1:
            centre = x.narrow(axis, radius, size)
            result = torch.mul(centre, kernel[0] / total, out=empty(centre.shape, x))
            for offset in range(1, radius + 1):
                result.add_(x.narrow(axis, radius - offset, size), alpha=kernel[offset] / total)
                result.add_(x.narrow(axis, radius + offset, size), alpha=kernel[offset] / total)
            x = result
    return x


def with_contrast(x: Tensor, factor: float) -> Tensor:
    """Intensities spread about their mean, and kept within their range."""
    result = _copy(x)
    (low, high), mean = result.aminmax(), result.mean()
    result.sub_(mean).mul_(factor).add_(mean)
    torch.maximum(result, low, out=result)
    return torch.minimum(result, high, out=result)


def at_low_resolution(x_ZYX: Tensor, scale: float, *, in_plane: bool = False) -> Tensor:
    """Down to `scale` of the size by the nearest voxel, and up again linearly; an axis of one voxel stays, and with `in_plane` the first does."""
    shape = x_ZYX.shape
    small = [max(1, round(size * scale)) for size in shape]
    if in_plane:
        small[0] = shape[0]
    if x_ZYX.device.type == "cpu":
        z, y, x = (_down_and_up(size, count) for size, count in zip(shape, small, strict=True))
        return linear(x_ZYX[None], (z, y, x))[0]
    down = F.interpolate(x_ZYX[None, None], size=small, mode="nearest-exact")
    return F.interpolate(down, size=shape, mode="trilinear", align_corners=False)[0, 0]


def with_gamma(x_ZYX: Tensor, exponent: float) -> Tensor:
    """Power of the intensities within their range; mean and standard deviation stay."""
    bent = _copy(x_ZYX)
    mean = bent.mean()
    deviation = _deviation(bent.sub_(mean))
    low, high = bent.aminmax()
    bent.sub_(low).div_((high - low).clamp_min_(1e-7))
    bent.log_().mul_(exponent).exp_()  # far faster than a power; 0 stays 0
    bent.sub_(bent.mean())
    return bent.mul_(deviation / _deviation(bent).clamp_min_(1e-7)).add_(mean)


def _copy(x: Tensor) -> Tensor:
    """Contiguous: sums depend on the order, and a view of a case must end as its copy does."""
    return empty(x.shape, x).copy_(x)


def _deviation(centred_ZYX: Tensor) -> Tensor:
    """Standard deviation of what has the mean 0; a plane at a time, as the sum over millions of float32 squares is not exact."""
    squares: Tensor = torch.linalg.vector_norm(centred_ZYX, dim=(1, 2)).square_()
    return squares.sum().div_(max(centred_ZYX.numel() - 1, 1)).sqrt_()


def _down_and_up(size: int, count: int) -> Line:
    """Where each of `size` voxels comes from, if `count` of them were picked and the others interpolated."""
    picked = F.interpolate(torch.arange(float(size))[None, None], size=count, mode="nearest-exact").long().flatten().numpy()
    up = line((torch.arange(size, dtype=torch.float64) + 0.5) * count / size - 0.5, count)
    return Line(picked[up.low], picked[up.high], up.weight)
