"""A scan in memory: voxels and where they lie in the world.

- One axis order: channels, then Z, Y, X; spacing and shape in the same order. A 2D image is (C, 1, Y, X).
- X is the axis that a file stores fastest, whatever the patient's orientation; nothing is ever reoriented, so what is written
  back lies exactly where it was read.
- World coordinates are RAS millimetres (NIfTI's convention); LPS formats are converted when read and when written.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from autoseg.errors import GeometryMismatch

Shape3 = tuple[int, int, int]
Spacing3 = tuple[float, float, float]
Affine = tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True)
class Geometry:
    """Where a grid of voxels lies.

    Attributes
    ----------
    shape : voxels along Z, Y, X
    spacing : millimetres along Z, Y, X, all above zero
    affine : 4 x 4, voxel index (x, y, z, 1) -> RAS millimetres
    flat : the file holds a 2D picture (PNG, TIFF, 2D NIfTI); its shape here is (1, Y, X)
    header : facts that only the file's own format needs to be written back (for NIfTI: `sform_code`, `qform_code`, `xyzt_units`)
    """

    shape: Shape3
    spacing: Spacing3
    affine: Affine
    flat: bool = False
    header: dict[str, int] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, shape: Shape3, spacing: Spacing3 = (1.0, 1.0, 1.0), *, flat: bool = False) -> "Geometry":
        """A grid at the world's origin, along its axes."""
        z, y, x = spacing
        return cls(shape, spacing, ((x, 0.0, 0.0, 0.0), (0.0, y, 0.0, 0.0), (0.0, 0.0, z, 0.0), (0.0, 0.0, 0.0, 1.0)), flat)


@dataclass(frozen=True)
class Image:
    """Voxels with their geometry.

    Attributes
    ----------
    array : float32 (C, Z, Y, X)
    geometry : its `shape` equals `array.shape[1:]`
    """

    array: NDArray[np.float32]
    geometry: Geometry


@dataclass(frozen=True)
class LabelMap:
    """A segmentation as the user's file holds it.

    Attributes
    ----------
    array : integer (Z, Y, X), the user's own label values
    geometry : its `shape` equals `array.shape`
    """

    array: NDArray[np.integer]
    geometry: Geometry


def require_same_grid(expected: Geometry, found: Geometry, *, tolerance: float = 1e-3) -> None:
    """Make sure that two grids are one.

    Parameters
    ----------
    expected, found : the two grids
    tolerance : largest relative difference of a spacing, and largest displacement of a corner relative to the grid's diagonal

    Raises
    ------
    GeometryMismatch
        shapes differ, or spacing or position differ by more than `tolerance`; the text says which and by how much
    """
    if expected.shape != found.shape:
        raise GeometryMismatch(f"shape {found.shape} instead of {expected.shape} (voxels along Z, Y, X)")
    spacing_a, spacing_b = np.asarray(expected.spacing), np.asarray(found.spacing)
    relative = float(np.max(np.abs(spacing_a - spacing_b) / spacing_a))
    if relative > tolerance:
        raise GeometryMismatch(
            f"spacing {_numbers(found.spacing)} mm instead of {_numbers(expected.spacing)} mm: off by {relative:.2%}, allowed is {tolerance:.1%}"
        )
    if expected.flat and found.flat:  # a picture has no place in the world
        return
    shift = _corner_shift(expected, found)
    diagonal = float(np.linalg.norm(np.asarray(expected.shape) * spacing_a))
    if shift > tolerance * diagonal:
        raise GeometryMismatch(
            f"origin or orientation differs: corners lie up to {shift:.2f} mm apart, {shift / diagonal:.2%} of the diagonal,"
            f" allowed is {tolerance:.1%}"
        )


def _corner_shift(a: Geometry, b: Geometry) -> float:
    z, y, x = (size - 1 for size in a.shape)
    corners = np.array([[i, j, k, 1] for i in (0, x) for j in (0, y) for k in (0, z)], dtype=float).T
    difference = (np.asarray(a.affine) - np.asarray(b.affine)) @ corners
    return float(np.linalg.norm(difference[:3], axis=0).max())


def _numbers(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"
