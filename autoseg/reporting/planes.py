"""Slices of a volume as a radiologist expects to see them.

- Anterior (or superior) is up, the patient's right is at the left of the picture; in sagittal slices anterior is at the left.
  All of it is one rule: each axis of the picture starts at the right, anterior or superior end.
- Oblique grids are shown along the world axes that they are nearest to; nothing is interpolated.
- Without an affine (photographs) a slice is shown as it is stored.
"""

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.imaging.image import Affine, Spacing3

_ENDS = (("R", "L"), ("A", "P"), ("S", "I"))  # positive end first, for each world axis
_PLANES = ("sagittal", "coronal", "axial")  # by the world axis that stands upright on it


@dataclass(frozen=True)
class View:
    """How to show the slices along one array axis.

    Attributes
    ----------
    axis : array axis (0 Z, 1 Y, 2 X) that counts the slices
    plane : "axial", "coronal" or "sagittal"; without an affine "along Z", "along Y" or "along X"
    transpose : exchange the two axes of the slice
    flip : turn the rows, the columns round (after the exchange)
    ends : letters of the left and the right edge, ("R", "L") or ("A", "P"); None without an affine
    """

    axis: int
    plane: str
    transpose: bool
    flip: tuple[bool, bool]
    ends: tuple[str, str] | None


def view(axis: int, affine: Affine | None) -> View:
    """The upright view of the slices along array axis `axis` (0 Z, 1 Y, 2 X); `affine` as in `Geometry`."""
    if affine is None:
        return View(axis, f"along {'ZYX'[axis]}", False, (False, False), None)
    world, positive = _orientation(affine)
    rows, columns = (other for other in range(3) if other != axis)
    transpose = world[rows] < world[columns]  # superior, else anterior, is up
    if transpose:
        rows, columns = columns, rows
    return View(axis, _PLANES[world[axis]], transpose, (positive[rows], positive[columns]), _ENDS[world[columns]])


def upright(volume_ZYX: NDArray[Any], index: int, how: View) -> NDArray[Any]:
    """Slice number `index` along the view's axis, (rows, columns) of the picture."""
    plane: NDArray[Any] = volume_ZYX.take(index, axis=how.axis)
    if how.transpose:
        plane = plane.T
    return plane[:: -1 if how.flip[0] else 1, :: -1 if how.flip[1] else 1]


def pixel_size(spacing: Spacing3, how: View) -> tuple[float, float]:
    """Height and width of a picture's pixel in mm; `spacing` along Z, Y, X."""
    rows, columns = (spacing[axis] for axis in range(3) if axis != how.axis)
    return (columns, rows) if how.transpose else (rows, columns)


def largest_slice(foreground_ZYX: NDArray[np.bool_], axis: int = 0) -> int:
    """Index along `axis` (0 Z, 1 Y, 2 X) of the slice with most foreground; the middle one where there is none."""
    area = np.count_nonzero(foreground_ZYX, axis=tuple(other for other in range(3) if other != axis))
    return int(area.argmax()) if area.any() else len(area) // 2


def _orientation(affine: Affine) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """For array axes Z, Y, X: the world axis each is nearest to (0 R, 1 A, 2 S), and whether it runs towards its positive end."""
    columns_xyz = np.asarray(affine, dtype=float)[:3, :3]
    directions = (columns_xyz / np.linalg.norm(columns_xyz, axis=0))[:, ::-1]
    world = max(permutations(range(3)), key=lambda order: sum(abs(directions[order[axis], axis]) for axis in range(3)))
    return world, tuple(bool(directions[world[axis], axis] > 0) for axis in range(3))
