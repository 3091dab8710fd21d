"""Arrays that wait on disk, so that memory does not grow with how many there are.

- Each is a file without a name in the folder of the results: the system frees it when nothing refers to it any more, also where the program was
  killed, so that there is nothing to sweep away.
- It is read and written like any file, not mapped into memory: a full disk is an error in words instead of a crash, and what was read does not
  count as this program's memory.
"""

import weakref
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from autoseg.errors import AutosegError
from autoseg.imaging.image import Shape3

Number = TypeVar("Number", np.float16, np.float32)


class Waiting(Generic[Number]):
    """An array (C, Z, Y, X) on disk, written and read a few planes or a channel at a time. Several threads may read.

    Parameters
    ----------
    folder : where it takes room, made if it is missing; None: where the system keeps temporary files
    channels, shape : C, and Z, Y, X
    dtype : float16 or float32

    Raises
    ------
    AutosegError
        the folder cannot be written
    """

    def __init__(self, folder: Path | None, channels: int, shape: Shape3, dtype: type[Number]) -> None:
        self.shape = shape
        self._reading = Lock()  # between seeking a position and reading there
        self.dtype: np.dtype[Number] = np.dtype(dtype)
        self._folder = folder
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
            self._file = TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - lives as long as this does
        except OSError as error:
            raise self._cannot("write", error) from error
        weakref.finalize(self, self._file.close)

    def write(self, planes: slice, voxels_CZYX: NDArray[Number]) -> None:
        """Fill the planes of a slice along Z.

        Raises
        ------
        AutosegError
            the disk is full
        """
        try:
            for channel, voxels_ZYX in enumerate(voxels_CZYX):
                self._file.seek(self._position(channel, planes.start))
                left = np.ascontiguousarray(voxels_ZYX, dtype=self.dtype).reshape(-1).view(np.uint8)
                while left.size:  # a single call takes 2 GiB at most
                    left = left[self._file.write(left.data) :]
        except OSError as error:
            raise self._cannot("write", error) from error

    def planes(self, channel: int, planes: slice) -> NDArray[Number]:
        """The planes of one channel in a slice along Z: (n, Y, X)."""
        read: NDArray[Number] = np.empty((planes.stop - planes.start, *self.shape[1:]), self.dtype)
        self._fill(read, self._position(channel, planes.start))
        return read

    def channel(self, channel: int) -> NDArray[Number]:
        """One channel: (Z, Y, X)."""
        return self.planes(channel, slice(0, self.shape[0]))

    def _position(self, channel: int, plane: int) -> int:
        z, y, x = self.shape
        return int((channel * z + plane) * y * x * self.dtype.itemsize)

    def _fill(self, voxels: NDArray[Number], position: int) -> None:
        left = voxels.reshape(-1).view(np.uint8)  # a view: channels of a new array lie together
        try:
            with self._reading:
                self._file.seek(position)
                while left.size:
                    found = self._file.readinto(left.data)
                    if not found:
                        raise ValueError(f"the last {left.size} of {voxels.nbytes} bytes were never written")
                    left = left[found:]
        except OSError as error:
            raise self._cannot("read", error) from error

    def _cannot(self, do: str, error: OSError) -> AutosegError:
        where = self._folder or "the system's folder of temporary files"
        return AutosegError(
            f"Cannot {do} what waits on disk in {where}: {error.strerror or error}. Free the disk or choose a folder you may write to."
        )
