"""Voxels of sources that are more than a file: slices stacked, pictures in grey or colours, masks, drawings painted.

- The library that fills outlines trusts its input and takes the whole process down with it where that is damaged: what it cannot fill (no
  number, far outside, endless) never reaches it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoseg.errors import AutosegError, GeometryMismatch
from autoseg.imaging._whole import Voxels
from autoseg.imaging.image import Geometry
from autoseg.imaging.sources import Drawing, Drawn, Picture, Slices

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue (ITU-R BT.601)
LONGEST_SIDE, MOST_PIXELS = 100_000, 2**28  # of a picture: the library counts in 32 bits and never asks whether there is memory left
LONGEST_OUTLINE = 2_000_000  # pixels along all outlines of an object: the library keeps five points for each, about 250 MB
Read = Callable[[Path], tuple[Voxels, Geometry]]


def stacked(slices: Slices, read: Read) -> tuple[Voxels, Geometry]:
    """All slices as one volume (C, Z, Y, X) of the type of the first.

    Raises
    ------
    GeometryMismatch
        a slice has another size or number of channels than the first, or is a volume itself
    """
    first, _ = read(slices.files[0])
    if first.shape[1] != 1:
        raise GeometryMismatch(f"{slices.files[0]} holds {first.shape[1]} slices where one is expected. Read it as a volume, without --stack.")
    volume = np.empty((len(first), len(slices.files), *first.shape[2:]), first.dtype)
    for index, file in enumerate(slices.files):
        voxels = first if index == 0 else read(file)[0]
        if voxels.shape != first.shape:
            raise GeometryMismatch(
                f"{file} has {_size(voxels)}, the first slice {slices.files[0].name} has {_size(first)}."
                " Slices of one volume are alike: remove the one that does not belong."
            )
        volume[:, index] = voxels[:, 0]
    return volume, Geometry.of(volume.shape[1:], slices.spacing)


def coloured(picture: Picture, read: Read) -> tuple[Voxels, Geometry]:
    """A picture of one or three channels (C, Z, Y, X), as is wanted.

    Raises
    ------
    AutosegError
        it has another number of channels than one or three
    """
    voxels, geometry = read(picture.file)
    if len(voxels) not in (1, 3):
        raise AutosegError(f"{picture} has {len(voxels)} channels; a picture is grey or has three colours. Save it as one of these.")
    if picture.colours:
        return (voxels if len(voxels) == 3 else np.repeat(voxels, 3, axis=0)), geometry
    if len(voxels) == 1 or all(np.array_equal(voxels[0], channel) for channel in voxels[1:]):
        return voxels[:1], geometry
    return np.tensordot(LUMA, voxels.astype(np.float32), axes=(0, 0))[None], geometry


def marked(voxels: Voxels) -> NDArray[np.uint8]:
    """1 where any channel (C, Z, Y, X) is above 0, else 0: (Z, Y, X)."""
    return np.array(np.greater(voxels, 0).any(axis=0), np.uint8)


def painted(drawing: Drawing) -> tuple[NDArray[np.integer], Geometry]:
    """The label values of a drawing's pixels, (1, Y, X).

    Raises
    ------
    AutosegError
        an outline or a list of runs is damaged, or the picture has no pixels or too many
    """
    height, width = drawing.height, drawing.width
    if not (0 < height <= LONGEST_SIDE and 0 < width <= LONGEST_SIDE and height * width <= MOST_PIXELS):
        raise AutosegError(
            f"{drawing}: a picture of {height} x {width} pixels cannot be drawn on: a side has 1 to {LONGEST_SIDE:,}, all of it {MOST_PIXELS:,}"
            " at most. Correct its height and width, or cut it into tiles."
        )
    highest = max((one.value for one in drawing.objects), default=0)
    canvas: NDArray[np.integer] = np.zeros((1, height, width), np.uint8 if highest <= 255 else np.int16)
    for number, one in enumerate(drawing.objects):
        try:
            canvas[0][_pixels(one, height, width)] = one.value
        except (ValueError, TypeError, IndexError) as error:
            raise AutosegError(f"{drawing}: object {number + 1} cannot be drawn: {error}. Correct its segmentation, or remove it.") from error
    return canvas, Geometry.of((1, height, width), flat=True)


def _pixels(one: Drawn, height: int, width: int) -> NDArray[np.bool_]:
    if one.polygons:
        _require_fillable(one.polygons, height, width)
        from pycocotools import mask  # only drawings need it

        encoded = mask.merge(mask.frPyObjects([list(polygon) for polygon in one.polygons], height, width))
        return np.asarray(mask.decode([encoded]))[:, :, 0].astype(bool)
    if one.runs_of is not None and one.runs_of != (height, width):
        raise ValueError(f"its runs are of {one.runs_of[0]} x {one.runs_of[1]} pixels, the picture has {height} x {width}")
    runs = _unpacked(one.runs) if isinstance(one.runs, str) else list(one.runs)
    if min(runs, default=-1) < 0 or sum(runs) != height * width:
        raise ValueError(f"its runs have {sum(runs)} pixels, the picture has {height * width}")
    on = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return on.reshape(width, height).T


def _require_fillable(polygons: Sequence[Sequence[float]], height: int, width: int) -> None:
    size = np.array([width, height])
    length = 0.0
    for polygon in polygons:
        if len(polygon) < 6 or len(polygon) % 2:
            raise ValueError(f"an outline has {len(polygon)} numbers, not x and y of three points or more")
        points = np.array(polygon, np.float64).reshape(-1, 2)
        if not ((points >= -size) & (points <= 2 * size)).all():  # what is no number is not within either
            raise ValueError(f"an outline leads far out of the picture of {height} x {width} pixels, or a coordinate is no number")
        length += len(points) + float(np.abs(points - np.roll(points, -1, axis=0)).max(axis=1).sum())
        if length > LONGEST_OUTLINE:
            raise ValueError(f"its outlines are {length:,.0f} pixels long or more, {LONGEST_OUTLINE:,} at most can be filled")


def _unpacked(text: str) -> list[int]:
    """Runs of COCO's compressed form; the library's own reader goes beyond the end of what is damaged.

    A character holds five bits, the lowest first, and a sixth where more follow; the last one's highest bit is the sign. From the fourth on
    a number is the difference to the one two before.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"'{character}' stands for no run")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("its runs end within a number")
    return runs


def _size(voxels: Voxels) -> str:
    channels, _, rows, columns = voxels.shape
    return f"{rows} x {columns} pixels in {channels} channel(s)"
