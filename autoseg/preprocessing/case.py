"""One case made ready for a network: crop, transpose, normalise, resample. The same steps for training and for prediction.

- Normalisation comes before resampling; both follow the plan.
- What does not depend on the configuration, the crop above all, is done once for all of them: the crop is that of all channels, also for a
  configuration that sees some. One that resizes whole images does not crop.
- Where a channel is equalised, which no linear map does, the image is stored as what comes out.
- What undoes the steps (`placement.py`) is kept beside the voxels, so that a prediction lands exactly where the scan was.
- Class -1 marks voxels that nobody annotated.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from autoseg.errors import PlanError
from autoseg.imaging import crop
from autoseg.imaging.image import Geometry, Image, LabelMap, Shape3
from autoseg.imaging.normalize import Linear
from autoseg.imaging.resample import resample, resample_labels
from autoseg.planning.plan import Configuration, Plan
from autoseg.planning.schema.configuration import channel_positions
from autoseg.preprocessing.intensities import equalized, equalizes, linear_map
from autoseg.preprocessing.packed import Packed, pack_steps, pack_whole_numbers
from autoseg.preprocessing.placement import Placement, is_whole, nearest_axis, placement_of, whole_box


@dataclass(frozen=True)
class ReadyCase:
    """A case as a network sees it.

    Attributes
    ----------
    image : float32 (C, Z, Y, X), axes in the plan's order
    classes : int16 (Z, Y, X) with -1 where nobody annotated, or None without a label
    placement : how to get back
    previous : int16 (Z, Y, X) classes that the previous stage of a cascade decided, on the same grid; else None
    maps : what normalised each channel, once it was equalised where its rule says so
    outside : bool (*placement.cropped_shape), zero in all channels of the scan and no hole; None where there are no such voxels
    """

    image: NDArray[np.float32]
    classes: NDArray[np.int16] | None
    placement: Placement
    previous: NDArray[np.int16] | None = None
    maps: tuple[Linear, ...] = ()
    outside: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class PackedCase:
    """A case as it is stored.

    Attributes
    ----------
    image : what `ReadyCase.image` is, in 16 bits; in float32 where those are too few
    classes : as `ReadyCase.classes`
    """

    image: Packed | NDArray[np.float32]
    classes: NDArray[np.int16] | None


@dataclass(frozen=True)
class CroppedCase:
    """The part of a scan that holds anything, or the whole of it, axes in the plan's order: where all configurations of a plan begin.

    Attributes
    ----------
    geometry : the scan's own
    box : the cropped part, in the scan's axis order
    transpose : axis order in terms of the scan's
    channel_names : the dataset's
    channels : float32 (Z, Y, X) each, as the files hold them
    outside : bool (Z, Y, X), zero in all channels and no hole; None where there are no such voxels
    classes : int16 (Z, Y, X) with -1 where nobody annotated, or None without a label
    """

    geometry: Geometry
    box: tuple[slice, slice, slice]
    transpose: tuple[int, int, int]
    channel_names: tuple[str, ...]
    channels: tuple[NDArray[np.float32], ...]
    outside: NDArray[np.bool_] | None
    classes: NDArray[np.int16] | None


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
        the scan or the configuration does not have the plan's channels, or there would be too many voxels
    AutosegError
        a channel's values are not what its normalisation is for, or that needs a package that is not installed
    """
    cropped = crop_case(image, labels, plan, whole=is_whole(configuration))
    placement, ready_shape = _place(cropped, configuration)
    maps = _maps(cropped, configuration)
    ready = _image(cropped, maps, placement, ready_shape, configuration)
    classes = _classes(cropped, placement, ready_shape, plan, configuration)
    return ReadyCase(ready, classes, placement, maps=maps, outside=cropped.outside)


def crop_case(image: Image, labels: LabelMap | None, plan: Plan, *, whole: bool = False) -> CroppedCase:
    """Crop and transpose one case; parameters and errors as for `prepare`. `whole`: transpose it only, for configurations that are `is_whole`."""
    names = plan.dataset.channel_names
    if len(image.array) != len(names):
        raise PlanError(f"The scan has {len(image.array)} channels, the plan wants {len(names)}: {', '.join(names)}.")
    mask = crop.nonzero_mask(image.array)
    box, order = whole_box(image.geometry) if whole else crop.bounding_box(mask), plan.transpose_forward
    inside = np.ascontiguousarray(mask[box].transpose(order))
    channels = tuple(np.ascontiguousarray(channel[box].transpose(order)) for channel in image.array)
    classes = None if labels is None else _native_classes(labels, box, plan)
    return CroppedCase(image.geometry, box, order, names, channels, None if inside.all() else ~inside, classes)


def pack(cropped: CroppedCase, plan: Plan, configuration: Configuration) -> PackedCase:
    """What `prepare` makes of a case, for the store: the same where voxels are whole numbers and were not resampled, else within the bounds that
    `preprocessing.packed` gives; raises what `prepare` does. A case is cut as the configuration is: `whole`, or cropped."""
    placement, ready_shape = _place(cropped, configuration)
    classes, maps = _classes(cropped, placement, ready_shape, plan, configuration), _maps(cropped, configuration)
    if ready_shape == placement.cropped_shape and not any(map(equalizes, configuration.normalization)):
        whole = pack_whole_numbers(_seen(cropped, configuration), maps, _zeroed(cropped, configuration))
        if whole is not None:
            return PackedCase(whole, classes)
    image = _image(cropped, maps, placement, ready_shape, configuration)
    return PackedCase(pack_steps(image) or image, classes)


def way(cropped: CroppedCase, configuration: Configuration) -> Hashable:
    """How a configuration makes a case ready: where two have the same, so are the voxels."""
    placement, ready_shape = _place(cropped, configuration)
    rules = tuple(rule.model_dump_json() for rule in configuration.normalization)
    cut = tuple((edge.start, edge.stop) for edge in placement.box)
    if ready_shape == placement.cropped_shape:
        return rules, cut
    resampling = configuration.resampling
    return rules, cut, ready_shape, resampling.image_order, resampling.label_order, nearest_axis(placement, configuration)


def place(image: Image, plan: Plan, configuration: Configuration) -> tuple[Placement, Shape3]:
    """Where the ready voxels of a scan lie in it, and how many there are along Z, Y, X; without making them."""
    box = whole_box(image.geometry) if is_whole(configuration) else crop.bounding_box(crop.nonzero_mask(image.array))
    return placement_of(image.geometry, box, plan.transpose_forward, configuration)


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
    return _resampled_classes(_native_classes(labels, placement.box, plan), placement, ready_shape, plan, configuration)


def _place(cropped: CroppedCase, configuration: Configuration) -> tuple[Placement, Shape3]:
    return placement_of(cropped.geometry, cropped.box, cropped.transpose, configuration)


def _image(
    cropped: CroppedCase, maps: Sequence[Linear], placement: Placement, ready_shape: Shape3, configuration: Configuration
) -> NDArray[np.float32]:
    """Normalise, then resample."""
    normalized = np.empty((len(maps), *placement.cropped_shape), np.float32)
    seen = zip(configuration.normalization, _seen(cropped, configuration), maps, _zeroed(cropped, configuration), strict=True)
    for result, (rule, channel, linear, outside) in zip(normalized, seen, strict=True):
        linear(equalized(channel, rule), out=result)
        if outside is not None:
            np.copyto(result, 0, where=outside)
    order, nearest = configuration.resampling.image_order, nearest_axis(placement, configuration)
    resampled: NDArray[np.float32] = resample(torch.from_numpy(normalized), ready_shape, order=order, nearest_axis=nearest).numpy()
    return resampled


def _maps(cropped: CroppedCase, configuration: Configuration) -> tuple[Linear, ...]:
    """What normalises each channel that is seen, once it is equalised where its rule says so."""
    inside = None if cropped.outside is None else ~cropped.outside
    return tuple(linear_map(channel, inside, rule) for channel, rule in zip(_seen(cropped, configuration), configuration.normalization, strict=True))


def _seen(cropped: CroppedCase, configuration: Configuration) -> list[NDArray[np.float32]]:
    """The channels that a configuration sees."""
    channels = [rule.channel for rule in configuration.normalization]
    positions = channel_positions(channels, cropped.channel_names)
    if positions is None:
        raise PlanError(f"The configuration sees the channels {', '.join(channels)}, the plan has {', '.join(cropped.channel_names)}, in that order.")
    return [cropped.channels[position] for position in positions]


def _zeroed(cropped: CroppedCase, configuration: Configuration) -> list[NDArray[np.bool_] | None]:
    """The voxels of each channel that is seen that are 0 once it is normalised, wherever its mean lies."""
    return [cropped.outside if rule.use_mask else None for rule in configuration.normalization]


def _native_classes(labels: LabelMap, box: crop.Box, plan: Plan) -> NDArray[np.int16]:
    """Cropped and transposed, not resampled."""
    return np.ascontiguousarray(plan.labels.to_classes(labels.array[box]).transpose(plan.transpose_forward))


def _classes(cropped: CroppedCase, placement: Placement, ready_shape: Shape3, plan: Plan, configuration: Configuration) -> NDArray[np.int16] | None:
    return None if cropped.classes is None else _resampled_classes(cropped.classes, placement, ready_shape, plan, configuration)


def _resampled_classes(
    native_ZYX: NDArray[np.int16], placement: Placement, ready_shape: Shape3, plan: Plan, configuration: Configuration
) -> NDArray[np.int16]:
    if native_ZYX.shape == ready_shape:
        return native_ZYX
    order, nearest = configuration.resampling.label_order, nearest_axis(placement, configuration)
    classes: NDArray[np.int16] = resample_labels(
        torch.from_numpy(native_ZYX), ready_shape, len(plan.labels.values), order=order, nearest_axis=nearest
    ).numpy()  # fmt: skip
    return classes
