"""Scans and label maps to files: whole or absent, and lying in the world where they were read.

- The ending chooses the format; voxels get the smallest type that the format has and that holds them.
- NIfTI is compressed with ISA-L at level 1: several times faster than zlib at nearly its size.
- Grids that came from another format are converted; PNG, TIFF and BMP hold voxels only, no place.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from autoseg.errors import AutosegError
from autoseg.files import atomic
from autoseg.imaging import _nifti
from autoseg.imaging._integers import narrowed
from autoseg.imaging._whole import Voxels
from autoseg.imaging.image import Geometry, Image, LabelMap
from autoseg.imaging.read import SUFFIXES, suffix_of

VoxelType = Literal["float32", "int16", "uint8", "uint16"]

_INTEGERS: dict[str, tuple[DTypeLike, ...]] = {".bmp": (np.uint8,)} | dict.fromkeys((".png", ".tif", ".tiff"), (np.uint8, np.uint16))
_ANY_INTEGER: tuple[DTypeLike, ...] = (np.uint8, np.int16, np.uint16, np.int32)


def write_labels(labels: LabelMap, path: Path) -> None:
    """Write a segmentation in the format that `path` ends in.

    Raises
    ------
    AutosegError
        the ending is unknown or stands for a lossy format; a value does not fit into the format (negative ones into PNG or TIFF);
        a volume is to become a picture; the folder cannot be written
    """
    suffix = _suffix(path)
    if suffix in (".jpg", ".jpeg"):
        raise AutosegError(f"{path} cannot hold labels: JPEG alters values. Write .png.")
    try:
        voxels = narrowed(labels.array, _INTEGERS.get(suffix, _ANY_INTEGER))
    except ValueError as error:
        raise AutosegError(f"{path} cannot hold these labels: {suffix} has no integer type for {error}. Write .nii.gz or .nrrd.") from error
    _write(voxels, labels.geometry, path, suffix)


def write_image(image: Image, path: Path, *, dtype: VoxelType = "float32") -> None:
    """Write a scan in the format that `path` ends in; several channels become the fourth axis of NIfTI, or components elsewhere.

    Parameters
    ----------
    image : the scan
    path : the file; PNG and JPEG need an integer `dtype`
    dtype : type of the voxels in the file; values are rounded to integers, never clipped

    Raises
    ------
    AutosegError
        as for `write_labels`, or a value lies outside the range of `dtype`
    """
    suffix = _suffix(path)
    voxels = image.array[0] if len(image.array) == 1 else image.array
    if dtype != "float32":
        voxels = _rounded(voxels, np.dtype(dtype), path)
    _write(voxels, image.geometry, path, suffix)


def _write(voxels: Voxels, geometry: Geometry, path: Path, suffix: str) -> None:
    if not suffix.startswith(".nii"):
        from autoseg.imaging import _itk  # SimpleITK is not loaded for NIfTI

        _itk.write(voxels, geometry, path, suffix)
        return
    content = _nifti.encode(voxels, geometry, compress=suffix == ".nii.gz")
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def _rounded(voxels: NDArray[np.float32], dtype: np.dtype[np.generic], path: Path) -> Voxels:
    limits = np.iinfo(dtype)  # type: ignore[type-var]
    rounded = np.rint(voxels)
    if not (rounded.min() >= limits.min and rounded.max() <= limits.max):  # also where a voxel is not a number
        raise AutosegError(f"{path} cannot hold values from {voxels.min():.6g} to {voxels.max():.6g} as {dtype}. Write float32, or scale the image.")
    return rounded.astype(dtype)


def _suffix(path: Path) -> str:
    suffix = suffix_of(path)
    if suffix is None:
        raise AutosegError(f"{path} has an ending that cannot be written. Known are: {' '.join(SUFFIXES)}.")
    return suffix
