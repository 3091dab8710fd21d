"""Images in 16 bits a voxel: two fifths of the disk that float32 takes, an eighth of the time to write, and no more to read.

- Scans hold whole numbers. Where a channel was not resampled, they are kept as they are, with the map that normalises them beside: what is read is
  bit for bit what normalising gives.
- Otherwise a channel becomes steps of its range, 0 being one of them. The error is at most 1/4000 of the channel's standard deviation, a quarter of
  what single precision here and there makes of a ready image; where 16 bits cannot promise that, the image stays in float32.
- One mark stands for voxels outside the mask of a normalisation, which are exactly 0.
"""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.imaging.normalize import SMALLEST, Linear
from autoseg.preprocessing.arrays import ArrayOnDisk, unreadable, write_array

OUTSIDE = -32768  # the mark
LOWEST, HIGHEST = -32767, 32767
WIDEST = 29.0  # range of a channel in standard deviations, above which a step is too coarse
FURTHEST = 1 << 18  # of the step that stands for 0, so that float32 knows the steps apart


@dataclass(frozen=True)
class Packed:
    """An image (C, Z, Y, X) whose voxels become float32 where it is sliced.

    Attributes
    ----------
    voxels : int16 (C, Z, Y, X), sliceable: an array, or one on disk
    maps : what makes float32 of each channel's voxels
    marked : whether some voxels may be `OUTSIDE`
    """

    voxels: Any
    maps: tuple[Linear, ...]
    marked: bool

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.voxels.shape
        return shape

    @property
    def nbytes(self) -> int:
        """Of the whole image as float32."""
        return 4 * math.prod(self.shape)

    def __getitem__(self, key: Any) -> NDArray[np.float32]:
        """Any part, cut with slices and an ellipsis: all four axes stay."""
        voxels = np.asarray(self.voxels[key])
        first = key[0] if isinstance(key, tuple) else key
        maps = self.maps[first] if isinstance(first, slice) else self.maps
        result = np.empty(voxels.shape, np.float32)
        for part, channel, linear in zip(result, voxels, maps, strict=True):
            part[...] = channel
            linear(part, out=part)
            if self.marked:
                np.copyto(part, 0, where=channel == OUTSIDE)
        return result


def pack_whole_numbers(channels: Sequence[NDArray[np.float32]], maps: Sequence[Linear], outside: Sequence[NDArray[np.bool_] | None]) -> Packed | None:
    """Pack an image before it is normalised; None where a channel holds a fraction, or a number that 16 bits do not.

    Parameters
    ----------
    channels : float32 (Z, Y, X) each, finite
    maps : that normalise them
    outside : voxels of each channel that become 0 instead; None where there are none
    """
    voxels = np.empty((len(channels), *channels[0].shape), np.int16)
    for part, channel, linear, mask in zip(voxels, channels, maps, outside, strict=True):
        if linear.clips:  # what lies beyond is clipped in any case
            channel = channel.clip(math.floor(linear.lower), math.ceil(linear.upper))
        if channel.min() < LOWEST or channel.max() > HIGHEST:
            return None
        part[...] = channel
        if not np.array_equal(part, channel):
            return None
        if mask is not None:
            np.copyto(part, OUTSIDE, where=mask)
    return Packed(voxels, tuple(maps), any(mask is not None for mask in outside))


def pack_steps(image_CZYX: NDArray[np.float32]) -> Packed | None:
    """Pack an image that is ready; None where 16 bits are too coarse for a channel of it."""
    voxels, maps = np.empty(image_CZYX.shape, np.int16), []
    for part, channel in zip(voxels, image_CZYX, strict=True):
        low, high = float(channel.min()), float(channel.max())
        if high - low > WIDEST * float(channel.std()):
            return None
        scale = (HIGHEST - LOWEST - 1) / (high - low) if high > low else 1.0  # a step is left over for the place of 0
        zero = float(LOWEST + np.ceil(-low * scale))
        if scale < SMALLEST or abs(zero) > FURTHEST or low == high != 0:
            return None
        steps = channel * np.float32(scale)
        steps += np.float32(zero)
        part[...] = np.rint(steps, out=steps)
        maps.append(Linear(zero, scale))
    return Packed(voxels, tuple(maps), marked=False)


def write_image(path: Path, image: Packed | NDArray[np.float32]) -> None:
    """Write an image (C, Z, Y, X), whole or not at all; raises what `write_array` does."""
    if isinstance(image, Packed):
        write_array(path, image.voxels, {"maps": [astuple(linear) for linear in image.maps], "marked": image.marked})
    else:
        write_array(path, image)


def open_image(path: Path) -> Packed | ArrayOnDisk:
    """An image that `write_image` wrote: every part that is cut from it is float32.

    Raises
    ------
    AutosegError
        the file is missing or damaged
    """
    voxels = ArrayOnDisk(path)
    if voxels.notes is None:
        return voxels
    try:
        return Packed(voxels, tuple(Linear(*linear) for linear in voxels.notes["maps"]), voxels.notes["marked"])
    except (KeyError, TypeError) as error:
        raise unreadable(path, error) from error
