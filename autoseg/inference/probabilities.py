"""Probabilities in an `.npz` file, read and written one channel at a time.

- Ours and nnU-Net's hold an array "probabilities" (K, Z, Y, X) in the order that SimpleITK gives the scan's axes, ours also "names",
  what each channel stands for. nnU-Net's `.pkl` beside it is never opened: the grid is that of the label map of the same name.
- A channel is inflated when it is asked for, so that files of any number of classes cost one channel of memory; the file's checksum is
  verified at its end.
- What is written is deflated by zlib at level 1 in the thread that asks for it, which leaves the other cores to the networks; the same probabilities
  make the same file. `decide.py` has the figures.
"""

import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from autoseg.errors import AutosegError, UnreadableFile
from autoseg.files import atomic
from autoseg.imaging.image import Shape3

KEY, NAMES = "probabilities", "names"


@dataclass(frozen=True)
class ProbabilityFile:
    """What the head of a file says.

    Attributes
    ----------
    path : the file
    channels : K
    shape : voxels along Z, Y, X
    dtype : float16, float32 or float64
    names : of the channels: classes, the background first, or regions; None where the file does not say
    """

    path: Path
    channels: int
    shape: Shape3
    dtype: np.dtype[np.floating]
    names: tuple[str, ...] | None = None

    @classmethod
    def open(cls, path: Path) -> "ProbabilityFile":
        """Read the head.

        Raises
        ------
        UnreadableFile
            the file is missing, damaged or no `.npz`
        AutosegError
            it holds no probabilities, or in a form that cannot be read in pieces
        """
        try:
            with zipfile.ZipFile(path) as archive:
                _require_member(archive, path)
                with archive.open(f"{KEY}.npy") as stream:
                    shape, columns, dtype = _head(stream)
                names = _names(archive)
        except _DAMAGE as error:
            raise _unreadable(path, error) from error
        if dtype.kind != "f" or len(shape) != 4 or 0 in shape:
            raise AutosegError(f"{path} holds {dtype} of shape {shape} as {KEY}. Expected are floating-point numbers (K, Z, Y, X).")
        if columns:
            raise AutosegError(f"{path} holds its {KEY} in Fortran's order, which cannot be read a channel at a time. Save them in C's order.")
        return cls(path, shape[0], (shape[1], shape[2], shape[3]), dtype, names)

    def __iter__(self) -> Iterator[NDArray[np.floating]]:
        """Each channel in turn, (Z, Y, X).

        Raises
        ------
        UnreadableFile
            the file is damaged
        """
        count = int(np.prod(self.shape))
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{KEY}.npy") as stream:
                _head(stream)
                for _ in range(self.channels):
                    yield np.frombuffer(stream.read(count * self.dtype.itemsize), self.dtype, count).reshape(self.shape)  # not kept here
        except _DAMAGE as error:
            raise _unreadable(self.path, error) from error


def write_probabilities(path: Path, channels: Iterable[NDArray[np.float16]], shape: Shape3, names: Sequence[str]) -> None:
    """Write a file, whole or not at all.

    Parameters
    ----------
    channels : (Z, Y, X) each, as many as `names`; one is held at a time
    shape : voxels along Z, Y, X of a channel
    names : what each channel stands for

    Raises
    ------
    AutosegError
        the folder cannot be written, or the disk is full
    ValueError
        there are more or fewer channels than names, or one has another shape
    """
    header = {"descr": npy.dtype_to_descr(np.dtype(np.float16)), "fortran_order": False, "shape": (len(names), *shape)}
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        with archive.open(f"{KEY}.npy", "w", force_zip64=True) as stream:
            npy.write_array_header_1_0(stream, header)
            for name, channel in zip(names, channels, strict=True):
                if channel.shape != shape:
                    raise ValueError(f"{name} has the shape {channel.shape}, not {shape}")
                stream.write(np.ascontiguousarray(channel, np.float16).data)
        with archive.open(f"{NAMES}.npy", "w") as stream:
            npy.write_array(stream, np.array(names), allow_pickle=False)


_LEVEL = 1
_DAMAGE = (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, NotImplementedError)


def _require_member(archive: zipfile.ZipFile, path: Path) -> None:
    if f"{KEY}.npy" not in archive.namelist():
        there = ", ".join(name.removesuffix(".npy") for name in archive.namelist()) or "nothing"
        raise AutosegError(f"{path} holds no array '{KEY}', but {there}. Write probabilities with: autoseg predict --probabilities")


def _head(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.floating]]:
    version = npy.read_magic(stream)
    return npy.read_array_header_1_0(stream) if version == (1, 0) else npy.read_array_header_2_0(stream)


def _names(archive: zipfile.ZipFile) -> tuple[str, ...] | None:
    if f"{NAMES}.npy" not in archive.namelist():
        return None
    with archive.open(f"{NAMES}.npy") as stream:
        return tuple(str(name) for name in npy.read_array(stream, allow_pickle=False).ravel())


def _unreadable(path: Path, error: Exception) -> UnreadableFile:
    reason = "it does not exist" if isinstance(error, FileNotFoundError) else str(error) or type(error).__name__
    return UnreadableFile(f"{path} cannot be read: {reason}. Predict this case again, or copy the file again.")
