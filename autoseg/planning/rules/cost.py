"""What a network costs, before it exists: the number of values that its convolutions produce for one patch.

- Memory in training is dominated by stored activations, so this count stands for it; a reference count says what fits on a graphics card.
- Voxels are counted by stage from the patch and the strides; heads for deep supervision are left out, as in the rules that the references belong to.
"""

from collections.abc import Callable, Sequence
from typing import Literal

from autoseg.planning.rules.topology import stage_voxels

Family = Literal["plain_unet", "residual_unet"]
Strides = Sequence[Sequence[int]]


def estimate(
    family: Family,
    patch_size: Sequence[int],
    strides: Strides,
    features: Sequence[int],
    blocks: Sequence[int],
    decoder_convs: Sequence[int],
    num_classes: int,
) -> int:
    """Values that all convolutions of a U-Net produce for one patch (the rule of nnU-Net, Isensee et al. 2021).

    Parameters
    ----------
    family : kind of encoder
    patch_size : voxels an axis
    strides, features, blocks : one entry a stage from full resolution down; `blocks` counts convolutions (plain) or residual blocks
    decoder_convs : one entry a decoder stage, the deepest first as in `convs_per_stage_decoder`; the bottleneck has none
    num_classes : channels of the full-resolution output
    """
    voxels = stage_voxels(patch_size, strides)
    encoder = _ENCODERS[family](voxels, strides, features, blocks)
    decoder = sum((convs + 1) * channels * n for convs, channels, n in zip(reversed(decoder_convs), features, voxels, strict=False))
    return encoder + decoder + num_classes * voxels[0]


def _plain_encoder(voxels: Sequence[int], strides: Strides, features: Sequence[int], blocks: Sequence[int]) -> int:
    return sum(convs * channels * n for convs, channels, n in zip(blocks, features, voxels, strict=True))


def _residual_encoder(voxels: Sequence[int], strides: Strides, features: Sequence[int], blocks: Sequence[int]) -> int:
    """A stem, then blocks of two convolutions; the first block of a stage has a shortcut of its own where channels or resolution change.

    Where resolution alone changes the shortcut is averaged without a convolution; the references were set with it counted, so it is counted.
    """
    total, previous = features[0] * voxels[0], features[0]
    for n, stride, channels, count in zip(voxels, strides, features, blocks, strict=True):
        projected = channels != previous or any(step != 1 for step in stride)
        total += (2 * count + projected) * channels * n
        previous = channels
    return total


_ENCODERS: dict[Family, Callable[[Sequence[int], Strides, Sequence[int], Sequence[int]], int]] = {
    "plain_unet": _plain_encoder,
    "residual_unet": _residual_encoder,
}
