"""One case, decoded once: what is wrong with it and what planning needs to know about it.

- Files are read one by one, so that every finding names its file and two broken files of a case give two findings.
- Faults become findings, never exceptions: the user sees all of them at once.
- Nothing large outlives the call: voxels become facts, counts and a digest.
- Voxels stay in the file's own small type: half the memory of floating-point numbers, and a third of the time.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from autoseg.data.dataset import Case, Dataset, Finding
from autoseg.data.facts import CaseFacts
from autoseg.errors import AutosegError, GeometryMismatch
from autoseg.imaging.crop import bounding_box
from autoseg.imaging.image import Geometry, LabelMap, Shape3, require_same_grid
from autoseg.imaging.read import read_labels, read_stored
from autoseg.imaging.sources import ImageSource, LabelSource, Source, files_of
from autoseg.imaging.values import count_values

LARGEST_RATIO_OF_SPACINGS = 100.0


@dataclass(frozen=True)
class _Scan:
    """One image file.

    Attributes
    ----------
    array : (C, Z, Y, X), float32, or integers that float32 holds exactly
    geometry : its grid
    ranges : smallest and largest value of each channel
    """

    array: NDArray[np.generic]
    geometry: Geometry
    ranges: tuple[tuple[float, float], ...]


Decoded = TypeVar("Decoded", _Scan, LabelMap)
From = TypeVar("From", ImageSource, LabelSource)


@dataclass(frozen=True)
class Inspection:
    """What was found in a case.

    Attributes
    ----------
    findings : errors and warnings
    facts : None where there is an error
    label_values : the user's value -> number of voxels; empty where the label could not be read
    digest : checksums of all image voxels, the same for the same images; "" where an image could not be read
    """

    findings: tuple[Finding, ...]
    facts: CaseFacts | None
    label_values: dict[int, int]
    digest: str


def inspect(case: Case, dataset: Dataset, *, foreground_limit: int) -> Inspection:
    """Read all files of a case to their last byte, verify them and gather the facts.

    Parameters
    ----------
    case : one of `dataset`
    dataset : says which channels and which label values are expected, and what its layout already found wrong
    foreground_limit : largest number of foreground voxels to keep the intensities of
    """
    findings: list[Finding] = []
    images: dict[ImageSource, _Scan] = {}
    for file in case.channels:
        image = _decode(_scan, case, file)
        if isinstance(image, Finding):
            findings.append(image)
        else:
            images[file] = image
    found = _label(case)
    if isinstance(found, Finding):
        findings.append(found)
    labels = None if isinstance(found, Finding) else found
    values = {} if labels is None else count_values(labels.array)

    complete = len(images) == len(set(case.channels)) > 0
    # Where the layout has already named what is missing, counting says nothing new.
    named = any(problem.severity == "error" and problem.case == case.name for problem in dataset.problems)
    if complete and not named:
        findings += _channel_faults(case, images, dataset.channel_names)
    findings += _intensity_faults(case, images, dataset.channel_names)
    findings += _grid_faults(case, images, labels)
    if labels is not None:
        findings += _label_faults(case, values, dataset)

    sound = complete and not named and all(finding.severity != "error" for finding in findings)
    facts = _facts(case, dataset, list(images.values()), labels, values, foreground_limit) if sound and labels is not None else None
    return Inspection(tuple(findings), facts, values, _digest(images) if complete else "")


def _scan(source: ImageSource) -> _Scan:
    voxels, geometry = read_stored(source)
    small = voxels.dtype.kind in "iu" and voxels.dtype.itemsize <= 2
    array: NDArray[np.generic] = np.ascontiguousarray(voxels, None if small else np.float32)
    return _Scan(array, geometry, tuple((float(channel.min()), float(channel.max())) for channel in array))


def _label(case: Case) -> LabelMap | Finding:
    if case.label is None:
        return Finding("error", case.name, None, "there is no segmentation", "Add the label file, or take the case out of the training cases.")
    return _decode(read_labels, case, case.label)


def _decode(reader: Callable[[From], Decoded], case: Case, source: From) -> Decoded | Finding:
    for file in files_of(source):
        if not file.exists():
            return Finding("error", case.name, file, "the file does not exist", "Add the file, or take the case out of the dataset.")
    try:
        return reader(source)
    except AutosegError as error:
        problem = str(error).removeprefix(f"{source} ")  # the finding names the file itself
        return Finding("error", case.name, source, problem, "Or take the case out of the dataset.")


def _channel_faults(case: Case, images: dict[ImageSource, _Scan], names: tuple[str, ...]) -> Iterator[Finding]:
    channels = sum(len(image.array) for image in images.values())
    if channels != len(names):
        problem = f"{channels} channel(s) instead of {len(names)} ({', '.join(names)})"
        yield Finding("error", case.name, case.channels[0], problem, "Give every case the same channels, or take the case out of the dataset.")


def _intensity_faults(case: Case, images: dict[ImageSource, _Scan], names: tuple[str, ...]) -> Iterator[Finding]:
    position = 0
    for file, image in images.items():
        for index, channel_ZYX in enumerate(image.array):
            where = f" in channel {index}" if len(image.array) > 1 else ""
            low, high = image.ranges[index]
            if not np.isfinite(low) or not np.isfinite(high):  # minimum and maximum hand on a single NaN
                count = int(np.count_nonzero(~np.isfinite(channel_ZYX)))
                mend = "Replace these voxels (0 outside the body is usual) or export the image again."
                yield Finding("error", case.name, file, f"{count} voxel(s) are not a number or infinite{where}", mend)
            elif low == high:
                name = names[position] if position < len(names) else str(position)
                problem = f"every voxel{where} is {low:g}: channel {name} tells nothing about this case"
                yield Finding("warning", case.name, file, problem, "Look whether the right file was exported.")
            position += 1


def _grid_faults(case: Case, images: dict[ImageSource, _Scan], labels: LabelMap | None) -> Iterator[Finding]:
    if not images:
        return
    grids: dict[Source, Geometry] = {file: image.geometry for file, image in images.items()}
    if labels is not None and case.label is not None:
        grids[case.label] = labels.geometry
    (first, expected), *others = grids.items()
    if oddity := _oddity(expected):
        yield Finding("warning", case.name, first, oddity, "Correct the file's header: patches and volumes are measured in millimetres.")
    for file, found in others:
        try:
            require_same_grid(expected, found)
        except GeometryMismatch as mismatch:
            mend = "Export both from one source again, or resample this file onto the grid of the other."
            yield Finding("error", case.name, file, f"does not lie on the grid of {first}: {mismatch}", mend)


def _oddity(geometry: Geometry) -> str:
    """What cannot be true of a scanner's grid, or nothing."""
    spacing = np.asarray(geometry.spacing)
    shown = ", ".join(f"{step:.4g}" for step in geometry.spacing)
    if not np.all(np.isfinite(spacing)) or spacing.min() <= 0:
        return f"spacing ({shown}) mm along Z, Y, X is not a positive length"
    if geometry.flat:  # a picture has no slices and no place in the world
        return ""
    if spacing.max() / spacing.min() > LARGEST_RATIO_OF_SPACINGS:
        return f"spacing ({shown}) mm along Z, Y, X: one axis is {spacing.max() / spacing.min():.0f} times as coarse as another"
    axes = np.asarray(geometry.affine)[:3, :3]
    if not np.all(np.isfinite(geometry.affine)) or abs(np.linalg.det(axes)) < 1e-3 * spacing.prod():
        return "the affine does not span a volume: the axes of the image fall together in the world"
    return ""


def _label_faults(case: Case, values: dict[int, int], dataset: Dataset) -> Iterator[Finding]:
    allowed = dataset.labels.allowed
    unexpected = {value: count for value, count in values.items() if value not in allowed}
    if unexpected:
        listed = ", ".join(f"{value} ({count} voxels)" for value, count in list(unexpected.items())[:10])
        more = f" and {len(unexpected) - 10} other values" if len(unexpected) > 10 else ""
        problem = f"label value {listed}{more} where only {', '.join(map(str, allowed))} are declared"
        yield Finding("error", case.name, case.label, problem, "Correct the segmentation, or declare the value in the dataset's description.")


def _facts(case: Case, dataset: Dataset, images: list[_Scan], labels: LabelMap, values: dict[int, int], foreground_limit: int) -> CaseFacts:
    geometry = images[0].geometry
    foreground_ZYX = labels.array != 0
    if dataset.labels.ignore is not None:
        foreground_ZYX &= labels.array != dataset.labels.ignore
    chosen = np.flatnonzero(foreground_ZYX)
    if len(chosen) > foreground_limit:
        # The name decides the draw, not the order of the cases nor the number of threads.
        rng = np.random.default_rng(int.from_bytes(hashlib.blake2b(case.name.encode(), digest_size=16).digest()))
        chosen = np.sort(rng.choice(chosen, foreground_limit, replace=False, shuffle=False))
    return CaseFacts(
        name=case.name,
        shape=geometry.shape,
        shape_after_crop=_shape_after_crop(images),
        spacing=geometry.spacing,
        class_voxels=tuple(values.get(value, 0) for value in dataset.labels.values),
        foreground=np.concatenate([image.array.reshape(len(image.array), -1)[:, chosen].astype(np.float32) for image in images]),
    )


def _shape_after_crop(images: list[_Scan]) -> Shape3:
    """Filling holes never widens the bounding box, so none are filled."""
    nonzero_ZYX = np.zeros(images[0].geometry.shape, np.bool_)
    for image in images:
        for channel_ZYX in image.array:
            nonzero_ZYX |= channel_ZYX != 0
    z, y, x = (part.stop - part.start for part in bounding_box(nonzero_ZYX))
    return z, y, x


def _digest(images: dict[ImageSource, _Scan]) -> str:
    """Two checksums of every channel's voxels: no proof against malice, but many times as fast as a cryptographic hash."""
    contents = [_typeless(*channel) for image in images.values() for channel in zip(image.array, image.ranges, strict=True)]
    return " ".join(f"{content.shape} {isal_zlib.crc32(content):08x} {isal_zlib.adler32(content):08x}" for content in contents)


def _typeless(channel_ZYX: NDArray[Any], limits: tuple[float, float]) -> NDArray[Any]:
    """The same bytes for the same numbers, in whatever type a file stores them: int16 where that holds them all, else float32."""
    shortest = np.iinfo(np.int16)
    if shortest.min <= limits[0] and limits[1] <= shortest.max:
        whole = channel_ZYX.astype(np.int16, copy=False)
        if channel_ZYX.dtype.kind != "f" or np.array_equal(whole, channel_ZYX):
            return whole
    return channel_ZYX.astype(np.float32, copy=False)
