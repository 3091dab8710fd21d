"""The grid that a dataset is brought to: target spacing, order of the axes, median shape.

- The median spacing loses the least to resampling over all cases. Where slices are thick *and* few, the median would throw away what the better
  scans hold, so the coarse axis takes the tenth percentile.
- The coarsest axis is put first, so that 2D networks see the finest plane and slice-wise augmentation knows its slices.
- Decisions come with the line that explains them.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autoseg.imaging.image import Spacing3

ANISOTROPY = 3.0
Axes3 = tuple[int, int, int]


@dataclass(frozen=True)
class Grid:
    """The grid of a dataset.

    Attributes
    ----------
    transpose_forward : axes of the file's order Z, Y, X in the order that networks see them
    spacing : millimetres, transposed; three axes, or two for slices
    median_shape : median voxels of the cases at that spacing, transposed; fractions are possible
    why_transpose, why_spacing, why_shape : a line each
    """

    transpose_forward: Axes3
    spacing: tuple[float, ...]
    median_shape: tuple[float, ...]
    why_transpose: str
    why_spacing: str
    why_shape: str

    def plane(self) -> "Grid":
        """The grid of the slices, without the first axis."""
        return replace(self, spacing=self.spacing[1:], median_shape=self.median_shape[1:])


def target_grid(spacings: NDArray[np.float64], shapes: NDArray[np.float64], override: Spacing3 | None = None) -> Grid:
    """Target spacing, transposition and median shape of a dataset (the rule of nnU-Net, Isensee et al. 2021).

    Parameters
    ----------
    spacings : (cases, 3), millimetres along Z, Y, X
    shapes : (cases, 3), voxels along Z, Y, X after cropping
    override : target spacing in millimetres along Z, Y, X instead of the rule's
    """
    target, why_spacing = _target_spacing(spacings, shapes) if override is None else (np.array(override), "Given by the user.")
    flat = float(np.median(shapes[:, 0])) == 1
    order, why_transpose = _transposition(target, flat)
    new_shapes = np.rint(spacings / target * shapes)
    median = np.median(new_shapes, axis=0)
    z, y, x = order
    return Grid(
        transpose_forward=order,
        spacing=(float(target[z]), float(target[y]), float(target[x])),
        median_shape=(float(median[z]), float(median[y]), float(median[x])),
        why_transpose=why_transpose,
        why_spacing=why_spacing,
        why_shape=f"Median over {len(shapes)} cases, cropped to what is not zero and brought to the target spacing.",
    )


def _target_spacing(spacings: NDArray[np.float64], shapes: NDArray[np.float64]) -> tuple[NDArray[np.float64], str]:
    target = np.percentile(spacings, 50, axis=0)
    size = np.percentile(shapes, 50, axis=0)
    coarse = int(np.argmax(target))
    others = [axis for axis in range(3) if axis != coarse]
    widest = float(target[others].max())
    median = _mm(target)
    if not target[coarse] > ANISOTROPY * widest:
        return target, f"Median spacing of the cases, Z, Y, X = {median} mm; no axis is more than {ANISOTROPY:g} times coarser than the others."
    if not size[coarse] * ANISOTROPY < size[others].min():
        return target, (
            f"Median spacing of the cases, Z, Y, X = {median} mm; axis {'ZYX'[coarse]} is more than {ANISOTROPY:g} times coarser, but with"
            f" {size[coarse]:g} voxels against {size[others].min():g} in-plane it is not short enough to be refined."
        )
    fine = float(np.percentile(spacings[:, coarse], 10))
    # never finer than the other axes: the tiny excess keeps this axis the coarsest
    target[coarse] = fine if fine >= widest else widest + 1e-5
    return target, (
        f"Median spacing of the cases, Z, Y, X = {median} mm; axis {'ZYX'[coarse]} is more than {ANISOTROPY:g} times coarser and has only"
        f" {size[coarse]:g} voxels against {size[others].min():g}, so it takes the 10th percentile, {fine:.4g} mm"
        + ("." if fine >= widest else f", but not less than the {widest:.4g} mm of the other axes.")
    )


def _transposition(target: NDArray[np.float64], flat: bool) -> tuple[Axes3, str]:
    if flat:
        return (0, 1, 2), "Single slices: the axes stay as they are."
    first = int(np.argmax(target))
    second, third = (axis for axis in range(3) if axis != first)
    name = "ZYX"[first]
    if first == 0:
        return (0, 1, 2), f"Axis Z is the coarsest of the target spacing (Z, Y, X = {_mm(target)} mm) or as coarse as any, and is first already."
    return (first, second, third), f"Axis {name} is the coarsest of the target spacing (Z, Y, X = {_mm(target)} mm), so it becomes the first."


def _mm(spacing: NDArray[np.float64]) -> str:
    return " x ".join(f"{value:.4g}" for value in spacing)
