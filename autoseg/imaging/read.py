"""Scans from files: voxels as float32 (C, Z, Y, X), label maps as integers, geometry from the header alone.

- A file is read to its last byte or not at all: lengths and checksums are verified wherever a format has them.
- NIfTI is inflated with ISA-L and decoded in memory; every other format goes through SimpleITK.
- What is more than one file of voxels (`sources.py`) is put together as it is read.
- Whatever is wrong with a file, the error names the file, the fault and the mend.
- NaN and infinity are kept: whether a scan may hold them is not for a reader to decide.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from autoseg.errors import AutosegError, GeometryMismatch, UnreadableFile
from autoseg.imaging import _nifti
from autoseg.imaging._composed import coloured, marked, painted, stacked
from autoseg.imaging._integers import narrowed, whole_numbers
from autoseg.imaging._whole import Voxels, unreadable
from autoseg.imaging.image import Geometry, Image, LabelMap, require_same_grid
from autoseg.imaging.sources import Absent, Drawing, ImageSource, LabelSource, Mask, Picture, Slices

SUFFIXES = (".nii.gz", ".nrrd", ".tiff", ".jpeg", ".nii", ".mha", ".mhd", ".png", ".tif", ".bmp", ".jpg")
"""The endings that are read and written, longest first."""


def read_image(sources: Sequence[ImageSource]) -> Image:
    """Read one scan.

    Parameters
    ----------
    sources : files or slices in channel order; one with several channels (4-D NIfTI (X, Y, Z, C), RGB picture) adds all of them, alpha is dropped;
        one that is absent adds zeros

    Returns
    -------
    Image with a C-contiguous array; its geometry is the first file's

    Raises
    ------
    UnreadableFile
        a file is missing, damaged, cut short or of another kind than its name says
    GeometryMismatch
        two files do not share one grid; the text names both
    AutosegError
        no file is given, or a file's ending is unknown
    """
    there = [source for source in sources if not isinstance(source, Absent)]
    if not there:
        raise AutosegError("A scan needs at least one file.")
    voxels, geometry = read_stored(there[0])
    read = [voxels]
    for source in there[1:]:
        voxels, found = read_stored(source)
        try:
            require_same_grid(geometry, found)
        except GeometryMismatch as error:
            raise GeometryMismatch(
                f"{source} does not lie on the grid of {there[0]}: {error}. Resample one onto the other, or correct its header."
            ) from None
        read.append(voxels)
    rest, zeros = iter(read), np.zeros((1, *geometry.shape), read[0].dtype) if len(there) < len(sources) else read[0]
    parts = [zeros if isinstance(source, Absent) else next(rest) for source in sources]
    # converted and joined in one go, so that the scan is written once
    array = np.ascontiguousarray(parts[0], np.float32) if len(parts) == 1 else np.concatenate(parts, dtype=np.float32, casting="unsafe")
    return Image(array, geometry)


def read_labels(source: LabelSource) -> LabelMap:
    """Read a segmentation.

    Parameters
    ----------
    source : a file of one channel, or of several equal ones (a grey picture stored as RGB); slices of such, a mask, or a drawing

    Returns
    -------
    LabelMap with the file's own values, in the smallest of uint8, int16, uint16, int32, int64 that holds them

    Raises
    ------
    UnreadableFile
        as for `read_image`
    AutosegError
        a value is not a whole number (the text names it and its voxel), or the channels differ
    """
    if isinstance(source, Drawing):
        return LabelMap(*painted(source))
    if isinstance(source, Mask):
        voxels, geometry = read_stored(source.of)
        return LabelMap(marked(voxels), geometry)
    voxels, geometry = read_stored(source)
    if len(voxels) > 1 and any((channel != voxels[0]).any() for channel in voxels[1:]):
        raise AutosegError(f"{source} holds {len(voxels)} different channels, but a label map has one. Save one label value for each voxel.")
    return LabelMap(narrowed(whole_numbers(voxels[0], str(source))), geometry)


def read_stored(source: ImageSource) -> tuple[Voxels, Geometry]:
    """Read voxels as they are: (C, Z, Y, X) of the type that the file stores, floats where its header scales them, and the grid.

    Raises
    ------
    UnreadableFile, AutosegError
        as for `read_image`
    """
    if isinstance(source, Slices):
        return stacked(source, _read_file)
    if isinstance(source, Absent):
        raise ValueError("a channel that is absent cannot be read by itself")
    return coloured(source, _read_file) if isinstance(source, Picture) else _read_file(source)


def _read_file(path: Path) -> tuple[Voxels, Geometry]:
    with _opening(path) as suffix:
        if suffix.startswith(".nii"):
            return _nifti.read(path)
        from autoseg.imaging import _itk  # SimpleITK is not loaded for NIfTI

        return _itk.read(path, suffix)


def read_geometry(path: Path) -> Geometry:
    """Read where a file's voxels lie, from its header alone; damage behind the header goes unnoticed.

    Raises
    ------
    UnreadableFile
        the file is missing, or its header is damaged
    AutosegError
        its ending is unknown
    """
    with _opening(path) as suffix:
        if suffix.startswith(".nii"):
            return _nifti.read_geometry(path)
        from autoseg.imaging import _itk

        return _itk.read_geometry(path, suffix)


def suffix_of(path: Path) -> str | None:
    """The ending among `SUFFIXES` that a file's name has, in lower case; None where it has none of them."""
    name = path.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), None)


def stem_of(path: Path) -> str:
    """A file's name without its ending; the whole name where the ending is unknown."""
    suffix = suffix_of(path)
    return path.name if suffix is None else path.name[: -len(suffix)]


@contextmanager
def _opening(path: Path) -> Iterator[str]:
    """Give the ending of a file that is about to be read; say in words what keeps it from being opened."""
    suffix = suffix_of(path)
    if suffix is None:
        raise AutosegError(f"{path} has an unknown ending. Known are: {' '.join(SUFFIXES)}.")
    try:
        yield suffix
    except FileNotFoundError as error:
        raise UnreadableFile(f"{error.filename or path} does not exist.") from error
    except OSError as error:
        raise unreadable(path, error.strerror or str(error), "Make sure that it is a file that you may read.") from error
