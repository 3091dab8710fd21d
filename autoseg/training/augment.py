"""Random augmentation applied to samples on the device, from parameters drawn beforehand.

- Order (nnU-Net's): rotation and scaling, noise, blur, brightness, contrast, low resolution, gamma on the inverted image, gamma, mirroring.
- A sample that does not move is never interpolated; of one that does, only the box that the patch needs was loaded.
- One channel after the other is changed, and mirrored on its way to its place in the batch. What was loaded is never written to.
"""

import numpy as np
from torch import Tensor

from autoseg.imaging.image import Shape3
from autoseg.training.buffers import empty
from autoseg.training.draws import Draw
from autoseg.training.intensities import changed_channels
from autoseg.training.moving import move


def apply(draw: Draw, image_CZYX: Tensor, labels: Tensor, patch: Shape3, *, keep_zero: bool, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Augment one sample.

    Parameters
    ----------
    draw : what happens
    image_CZYX : float32 voxels of the box `box_shape(draw, patch)`, centred where the patch is
    labels : integers, one map (*box) or several (L, *box), of the same voxels
    patch : voxels of the result
    keep_zero : voxels that are 0 in all channels (outside the head) are 0 again at the end
    out : where the image is put, (C, *patch) on the same device; by default new memory

    Returns
    -------
    image (C, *patch) and labels (*patch) or (L, *patch), of their types
    """
    if draw.moves:
        image_CZYX, labels = move(draw, image_CZYX, labels, patch)
    image = empty(image_CZYX.shape, image_CZYX) if out is None else out
    inside = None
    channels = image_CZYX.unbind()
    for before, after, place in zip(channels, changed_channels(draw, channels), image, strict=True):
        if keep_zero and after is not before:
            inside = _inside(image_CZYX) if inside is None else inside
            after.mul_(inside)
        _put(after, draw.flips, place)
    return image, labels.flip([axis - 3 for axis in draw.flips]) if draw.flips else labels


def _inside(image_CZYX: Tensor) -> Tensor:
    """1 where a channel is not 0, else 0: (Z, Y, X) of the image's type."""
    inside = image_CZYX[0].bool()
    for channel in image_CZYX[1:]:
        inside |= channel.bool()
    return inside.to(image_CZYX.dtype)


def _put(x_ZYX: Tensor, flips: tuple[int, ...], place_ZYX: Tensor) -> None:
    """Copy, mirrored along the axes `flips`."""
    if x_ZYX.device.type == "cpu":  # NumPy reads backwards as it copies
        mirrored = tuple(slice(None, None, -1 if axis in flips else 1) for axis in range(3))
        np.copyto(place_ZYX.numpy(), x_ZYX.numpy()[mirrored])
    else:
        place_ZYX.copy_(x_ZYX.flip(flips))
