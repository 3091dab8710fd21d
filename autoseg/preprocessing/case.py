"""One case made ready for a network: crop, transpose, normalise, resample. The same steps for training and for prediction.

- Normalisation comes before resampling; both follow the plan.
- What undoes the steps is kept beside the voxels, so that a prediction lands exactly where the scan was.
- Class -1 marks voxels that nobody annotated.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from autoseg.errors import PlanError
from autoseg.imaging import crop, normalize
from autoseg.imaging.image import Geometry, Image, LabelMap, Shape3, Spacing3
from autoseg.imaging.resample import coarse_axis, resample, resample_labels
from autoseg.planning.plan import Configuration, Normalization, Plan

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


@dataclass(frozen=True)
class ReadyCase:
    """A case as a network sees it.

    Attributes
    ----------
    image : float32 (C, Z, Y, X), axes in the plan's order
    classes : int16 (Z, Y, X) with -1 where nobody annotated, or None without a label
    placement : how to get back
    previous : int16 (Z, Y, X) classes that the previous stage of a cascade decided, on the same grid; else None
    """

    image: NDArray[np.float32]
    classes: NDArray[np.int16] | None
    placement: Placement
    previous: NDArray[np.int16] | None = None


def prepare(image: Image, labels: LabelMap | None, plan: Plan, configuration: Configuration) -> ReadyCase:
    """Make one case ready.

    Parameters
    ----------
    image : the scan, channels in the plan's order
    labels : its segmentation, on the same grid, or None
    plan, configuration : what to do; the configuration is one of the plan's

    Raises
    ------
    PlanError
        the configuration does not have one normalisation for each channel
    AutosegError
        a channel's values are not what its normalisation is for
    """
    if len(configuration.normalization) != len(image.array):
        raise PlanError(f"The plan has {len(configuration.normalization)} entries under normalization for {len(image.array)} channels: one for each.")
    placement, ready_shape, inside = _place(image, plan, configuration)
    channels = image.array[(slice(None), *placement.box)].transpose(0, *(axis + 1 for axis in placement.transpose))
    normalized = np.stack([_normalize(channel, inside, rule) for channel, rule in zip(channels, configuration.normalization, strict=True)])
    order, nearest = configuration.resampling.image_order, _nearest_axis(placement, configuration)
    resampled = resample(torch.from_numpy(normalized), ready_shape, order=order, nearest_axis=nearest)
    classes = None if labels is None else classes_on_grid(labels, placement, ready_shape, plan, configuration)
    return ReadyCase(resampled.numpy(), classes, placement)


def place(image: Image, plan: Plan, configuration: Configuration) -> tuple[Placement, Shape3]:
    """Where the ready voxels of a scan lie in it, and how many there are along Z, Y, X; without making them."""
    placement, ready_shape, _ = _place(image, plan, configuration)
    return placement, ready_shape


def classes_on_grid(labels: LabelMap, placement: Placement, ready_shape: Shape3, plan: Plan, configuration: Configuration) -> NDArray[np.int16]:
    """Crop, transpose and resample a segmentation as its scan was.

    Parameters
    ----------
    labels : on the scan's grid, with the user's values
    placement, ready_shape : of the scan's ready voxels

    Returns
    -------
    int16 classes (*ready_shape), -1 where nobody annotated
    """
    native = np.ascontiguousarray(plan.labels.to_classes(labels.array[placement.box]).transpose(placement.transpose))
    order, nearest = configuration.resampling.label_order, _nearest_axis(placement, configuration)
    resampled = resample_labels(torch.from_numpy(native), ready_shape, len(plan.labels.values), order=order, nearest_axis=nearest)
    classes: NDArray[np.int16] = resampled.numpy().astype(np.int16)
    return classes


def logits_to_scan_shape(placement: Placement, configuration: Configuration) -> tuple[Shape3, int | None]:
    """The shape that logits are resampled to, and the axis along which they are taken from the nearest voxel."""
    rules = configuration.resampling
    return placement.cropped_shape, coarse_axis(placement.ready_spacing, placement.cropped_spacing, rules.separate_axis_above)


def _place(image: Image, plan: Plan, configuration: Configuration) -> tuple[Placement, Shape3, NDArray[np.bool_]]:
    """Placement and ready shape, and which voxels of the cropped, transposed scan are not zero in some channel (holes filled)."""
    mask = crop.nonzero_mask(image.array)
    box, order = crop.bounding_box(mask), plan.transpose_forward
    inside = mask[box].transpose(order)
    spacing = _reorder(image.geometry.spacing, order)
    target_spacing = _target_spacing(configuration, spacing)
    shape = _shape3(inside.shape)
    ready_shape = _shape3(max(1, round(size * old / new)) for size, old, new in zip(shape, spacing, target_spacing, strict=True))
    return Placement(image.geometry, box, order, shape, spacing, target_spacing), ready_shape, inside


def _nearest_axis(placement: Placement, configuration: Configuration) -> int | None:
    """The axis that is not interpolated on the way from the scan to the ready voxels."""
    return coarse_axis(placement.cropped_spacing, placement.ready_spacing, configuration.resampling.separate_axis_above)


def _normalize(channel_ZYX: NDArray[np.float32], inside: NDArray[np.bool_], rule: Normalization) -> NDArray[np.float32]:
    channel = np.ascontiguousarray(channel_ZYX)
    match rule.scheme:
        case "zscore":
            return normalize.zscore(channel, inside if rule.use_mask else None)
        case "ct":
            return normalize.ct(channel, *(value or 0.0 for value in (rule.lower, rule.upper, rule.mean, rule.std)))
        case "rescale_to_0_1":
            return normalize.rescale_to_0_1(channel)
        case "rgb_to_0_1":
            return normalize.rgb_to_0_1(channel)
        case "none":
            return channel


def _target_spacing(configuration: Configuration, spacing: Spacing3) -> Spacing3:
    if configuration.dimensions == 2:  # slices stay where they are
        return spacing[0], configuration.spacing[0], configuration.spacing[1]
    z, y, x = configuration.spacing
    return z, y, x


def _reorder(values: Spacing3, order: tuple[int, int, int]) -> Spacing3:
    return values[order[0]], values[order[1]], values[order[2]]


def _shape3(sizes: Iterable[int]) -> Shape3:
    z, y, x = sizes
    return z, y, x
