"""How ready voxels lie in the scan they came from: which part was cropped, in which order its axes are, onto which grid it was resampled."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from autoseg.errors import PlanError
from autoseg.imaging.crop import Box
from autoseg.imaging.image import Geometry, Shape3, Spacing3
from autoseg.imaging.resample import coarse_axis
from autoseg.planning.plan import Configuration
from autoseg.planning.schema.configuration import MOST_VOXELS

Voxel = TypeVar("Voxel", bound=np.generic)


@dataclass(frozen=True)
class Placement:
    """How ready voxels lie in the scan they came from.

    Attributes
    ----------
    geometry : the scan's own
    box : the cropped part, in the scan's axis order
    transpose : axis order of the ready voxels in terms of the scan's
    cropped_shape : voxels of the cropped, transposed scan before resampling
    cropped_spacing : its spacing in millimetres
    ready_spacing : the spacing after resampling
    """

    geometry: Geometry
    box: tuple[slice, slice, slice]
    transpose: tuple[int, int, int]
    cropped_shape: Shape3
    cropped_spacing: Spacing3
    ready_spacing: Spacing3

    def restore(self, voxels_ZYX: NDArray[Voxel], outside: float = 0) -> NDArray[Voxel]:
        """Put classes, or other numbers, at `cropped_shape` back into the scan's grid; the background (0), or `outside`, beyond the box."""
        full = np.full(self.geometry.shape, outside, dtype=voxels_ZYX.dtype)
        full[self.box] = voxels_ZYX.transpose(np.argsort(self.transpose))
        return full


def placement_of(geometry: Geometry, box: Box, order: tuple[int, int, int], configuration: Configuration) -> tuple[Placement, Shape3]:
    """How ready voxels will lie in a scan of which `box` is cropped, its axes then taken in that order, and how many there will be along Z, Y, X.

    Raises
    ------
    PlanError
        there would be more voxels than any computer can hold
    """
    if is_whole(configuration) and box != whole_box(geometry):
        raise ValueError("the whole of a scan is resized, and this was cropped")
    spacing = _reorder(geometry.spacing, order)
    shape = _shape3(box[axis].stop - box[axis].start for axis in order)
    ready_shape, ready_spacing = _ready_grid(shape, spacing, configuration)
    return Placement(geometry, box, order, shape, spacing, ready_spacing), ready_shape


def is_whole(configuration: Configuration) -> bool:
    """Whether a configuration begins with the whole scan, not with what is cropped to what is not zero."""
    return configuration.resampling.resize is not None


def whole_box(geometry: Geometry) -> Box:
    """All of a scan."""
    z, y, x = (slice(0, size) for size in geometry.shape)
    return z, y, x


def nearest_axis(placement: Placement, configuration: Configuration) -> int | None:
    """The axis that is not interpolated on the way from the scan to the ready voxels."""
    return coarse_axis(placement.cropped_spacing, placement.ready_spacing, configuration.resampling.separate_axis_above)


def logits_to_scan_shape(placement: Placement, configuration: Configuration) -> tuple[Shape3, int | None]:
    """The shape that logits are resampled to, and the axis along which they are taken from the nearest voxel."""
    rules = configuration.resampling
    return placement.cropped_shape, coarse_axis(placement.ready_spacing, placement.cropped_spacing, rules.separate_axis_above)


def _ready_grid(shape: Shape3, spacing: Spacing3, configuration: Configuration) -> tuple[Shape3, Spacing3]:
    """What voxels of one shape and spacing become; in 2D slices stay where they are."""
    resize = configuration.resampling.resize
    if resize is None:
        target = _target_spacing(configuration, spacing)
        ready_shape = _shape3(max(1, round(size * old / new)) for size, old, new in zip(shape, spacing, target, strict=True))
        wanted, own = (" x ".join(f"{size:g}" for size in sizes) for sizes in (target, spacing))
        how, mend = f"At the plan's spacing of {wanted} mm", f"its own is {own} mm. Correct the spacing in the plan."
    else:
        ready_shape = _shape3((*shape[: 3 - len(resize)], *resize))
        target = _spacing3(size * old / new for size, old, new in zip(shape, spacing, ready_shape, strict=True))
        how, mend = f"With every slice resized to {resize[-2]} x {resize[-1]}", "correct resampling.resize in the plan."
    if prod(ready_shape) > MOST_VOXELS:
        raise PlanError(f"{how} it would have {prod(ready_shape):.2g} voxels, more than any computer can hold; {mend}")
    return ready_shape, target


def _target_spacing(configuration: Configuration, spacing: Spacing3) -> Spacing3:
    if configuration.dimensions == 2:  # slices stay where they are
        return spacing[0], configuration.spacing[0], configuration.spacing[1]
    z, y, x = configuration.spacing
    return z, y, x


def _reorder(values: Spacing3, order: tuple[int, int, int]) -> Spacing3:
    return values[order[0]], values[order[1]], values[order[2]]


def _spacing3(sizes: Iterable[float]) -> Spacing3:
    z, y, x = sizes
    return z, y, x


def _shape3(sizes: Iterable[int]) -> Shape3:
    z, y, x = sizes
    return z, y, x
