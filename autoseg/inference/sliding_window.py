"""A network moved over a whole scan: overlapping windows, Gaussian weights, mirroring.

- Along each axis ceil((L - P) / (P x step)) + 1 windows, evenly spaced (nnU-Net's rule), but never two at one place: a step is at least a voxel,
  so a 2D network sees each slice once. A scan smaller than the patch is padded with zeros.
- Windows are weighted with a Gaussian (sigma = P / 8), so that a voxel is decided where it lay near a window's centre.
- Logits are accumulated in place in float32, divided once at the end; only one window is in flight, which is what a CPU is fastest at.
"""

import itertools
from collections.abc import Callable, Sequence
from math import ceil

import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from torch import Tensor, nn

from autoseg.imaging.image import Shape3
from autoseg.inference.execution import Execution

Window = tuple[slice, slice, slice]
SMALLEST_WEIGHT = 1e-12  # below what a corner has at the usual sigma, far above where float32 loses digits


def predict_logits(
    network: nn.Module,
    image_CZYX: Tensor,
    patch: Shape3,
    num_classes: int,
    execution: Execution,
    *,
    step: float = 0.5,
    sigma: float = 0.125,
    mirror_axes: Sequence[int] = (),
    on_window: Callable[[int, int], None] = lambda done, total: None,
) -> Tensor:
    """Logits of a whole scan.

    Parameters
    ----------
    network : in evaluation mode, placed by `execution`; takes (B, C, *patch), without the Z axis when `patch[0]` is 1
    image_CZYX : float32 (C, Z, Y, X), ready for the network
    patch : window in voxels; Z is 1 for a 2D network
    num_classes : channels of the network's output
    step : distance of windows as a fraction of the patch, above 0 and at most 1
    sigma : of the Gaussian weight, as a fraction of the patch
    mirror_axes : axes of the patch (0, 1, 2 = Z, Y, X) over which every combination of flips is averaged
    on_window : told how many of how many windows are done

    Returns
    -------
    float32 (K, Z, Y, X) on the execution's device
    """
    padded, inner = pad_to_patch(image_CZYX, patch)
    shape: Shape3 = (padded.shape[1], padded.shape[2], padded.shape[3])
    weight = gaussian(patch, sigma).to(execution.device)
    total = torch.zeros(num_classes, *shape, device=execution.device)
    norm = torch.zeros(shape, device=execution.device)
    flips = flip_combinations(mirror_axes)
    places = windows(shape, patch, step)
    for done, place in enumerate(places, start=1):
        patch_BCZYX = padded[(slice(None), *place)].unsqueeze(0)
        total[(slice(None), *place)].addcmul_(_mirrored(network, patch_BCZYX, flips, execution), weight)
        norm[place] += weight
        on_window(done, len(places))
    total /= norm
    return total[(slice(None), *inner)]


def windows(shape: Shape3, patch: Shape3, step: float) -> list[Window]:
    """Where the windows lie; `shape` is at least `patch` on every axis."""
    starts = [_starts(length, size, step) for length, size in zip(shape, patch, strict=True)]
    return [
        (slice(z, z + patch[0]), slice(y, y + patch[1]), slice(x, x + patch[2]))
        for z, y, x in itertools.product(*starts)
    ]  # fmt: skip


def gaussian(patch: Shape3, sigma: float) -> Tensor:
    """Weights of a window, float32 (Z, Y, X), 1 at the centre, nowhere zero."""
    axes = [torch.exp(-0.5 * ((torch.arange(size) - (size - 1) / 2) / max(size * sigma, 1e-6)) ** 2) for size in patch]
    weight = axes[0][:, None, None] * axes[1][None, :, None] * axes[2][None, None, :]
    weight = weight / weight.max()
    return weight.clamp_min(SMALLEST_WEIGHT)


def pad_to_patch(image_CZYX: Tensor, patch: Shape3) -> tuple[Tensor, Window]:
    """Pad with zeros on both sides to at least the patch; also where the image lies in the result."""
    padded, inner = pad_nd_image(image_CZYX, patch, mode="constant", kwargs={"value": 0}, return_slicer=True)
    z, y, x = inner[1:]
    return padded, (z, y, x)


def _starts(length: int, size: int, step: float) -> list[int]:
    count = ceil((length - size) / max(1.0, size * step)) + 1
    if count == 1:
        return [0]
    return [round(index * (length - size) / (count - 1)) for index in range(count)]


def flip_combinations(axes: Sequence[int]) -> list[list[int]]:
    """Every combination of axes, none of them first."""
    return [list(chosen) for count in range(len(axes) + 1) for chosen in itertools.combinations(axes, count)]


def _mirrored(network: nn.Module, patch_BCZYX: Tensor, flips: list[list[int]], execution: Execution) -> Tensor:
    """Mean over the flips of the logits of one window: (K, Z, Y, X) float32."""
    flat = patch_BCZYX.shape[2] == 1
    result: Tensor | None = None
    for axes in flips:
        dims = [axis + 2 for axis in axes]
        window = patch_BCZYX.flip(dims) if dims else patch_BCZYX
        with execution.autocast():
            logits = network(execution.arrange(window.squeeze(2) if flat else window))
        logits = logits.unsqueeze(2) if flat else logits
        logits = (logits.flip(dims) if dims else logits)[0].float()
        result = logits if result is None else result.add_(logits)
    if result is None:
        raise ValueError("flips must hold at least the empty combination")
    return result.div_(len(flips))
