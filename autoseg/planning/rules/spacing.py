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
        why = (
            self.why_spacing if self.median_shape[0] == 1 else f"{self.why_spacing} Slices stay where they are; only the spacing within them is used."
        )
        return replace(self, spacing=self.spacing[1:], median_shape=self.median_shape[1:], why_spacing=why)


def target_grid(spacings: NDArray[np.float64], shapes: NDArray[np.float64], override: Spacing3 | None = None) -> Grid:
    """Target spacing, transposition and median shape of a dataset (the rule of nnU-Net, Isensee et al. 2021).

    Parameters
    ----------
    spacings : (cases, 3), millimetres along Z, Y, X
    shapes : (cases, 3), voxels along Z, Y, X after cropping
    override : target spacing in millimetres along Z, Y, X instead of the rule's
    """
    flat = float(np.median(shapes[:, 0])) == 1
    target, why_spacing = _target_spacing(spacings, shapes, flat) if override is None else (np.array(override), "Given by the user.")
    order, why_transpose = _transposition(target, flat)
    new_shapes = np.rint(spacings / target * shapes)
    median = np.median(new_shapes, axis=0)
    if flat:  # whatever their spacing: slices are never cut into thinner ones
        median[0] = 1
    z, y, x = order
    cases = "1 case" if len(shapes) == 1 else f"{len(shapes)} cases"
    return Grid(
        transpose_forward=order,
        spacing=(float(target[z]), float(target[y]), float(target[x])),
        median_shape=(float(median[z]), float(median[y]), float(median[x])),
        why_transpose=why_transpose,
        why_spacing=why_spacing,
        why_shape=f"Median over {cases}, cropped to what is not zero and brought to the target spacing.",
    )


def _target_spacing(spacings: NDArray[np.float64], shapes: NDArray[np.float64], flat: bool) -> tuple[NDArray[np.float64], str]:
    target = np.percentile(spacings, 50, axis=0)
    size = np.percentile(shapes, 50, axis=0)
    coarse = int(np.argmax(target))
    others = [axis for axis in range(3) if axis != coarse]
    widest, shortest = float(target[others].max()), float(size[others].min())
    name, median = "zyx"[coarse], "every axis takes the median spacing of the cases."
    if flat:
        return target, f"Median pixel spacing of the cases, {_mm(target[1:], 'yx')}; single slices have no distance to a next one."
    compared = f"{name} spacing {target[coarse]:.4g} mm is {{}}more than {ANISOTROPY:g} x {widest:.4g} mm"
    if not target[coarse] > ANISOTROPY * widest:
        return target, f"{compared.format('not ')}: {median}"
    if not size[coarse] * ANISOTROPY < shortest:
        return target, f"{compared.format('')}, but its {size[coarse]:g} voxels are not fewer than a third of the {shortest:g} across: {median}"
    fine = float(np.percentile(spacings[:, coarse], 10))
    # never finer than the other axes: the tiny excess keeps this axis the coarsest
    target[coarse] = fine if fine >= widest else widest + 1e-5
    limited = "" if fine >= widest else f", but no less than the {widest:.4g} mm of the other axes"
    return target, (
        f"{compared.format('')}, and its {size[coarse]:g} voxels are fewer than a third of the {shortest:g} across: the median would throw away what"
        f" thinner slices show, so {name} takes the 10th percentile of the cases, {fine:.4g} mm{limited}; the other axes take the median."
    )


def _transposition(target: NDArray[np.float64], flat: bool) -> tuple[Axes3, str]:
    if flat:
        return (0, 1, 2), "Single slices: the axes stay as they are."
    first = int(np.argmax(target))
    second, third = (axis for axis in range(3) if axis != first)
    given = f"target spacing {_mm(target)}"
    if first == 0:
        return (0, 1, 2), f"No axis is coarser than z ({given}) and z is first already: the axes stay as they are."
    return (first, second, third), f"{'zyx'[first]} is the coarsest axis ({given}), so it becomes the first: slices then lie in the finest plane."


def _mm(spacing: NDArray[np.float64], axes: str = "zyx") -> str:
    return ", ".join(f"{axis} {value:.4g}" for axis, value in zip(axes, spacing, strict=True)) + " mm"
