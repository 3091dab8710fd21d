"""Arrays on disk from which parts are read, and those that are kept decoded in memory.

- Blosc2: blocks of a few thousand voxels, so that a patch is read without its case, in chunks as large as a channel, since every chunk costs time.
- One thread an array: several cases are written, and several patches cut, at the same time.
- Zstandard notices damage that a faster codec would let pass. Files are whole or absent.
- What is kept is bounded by a number of bytes, not of arrays; what was used longest ago goes first.
"""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from autoseg.errors import AutosegError
from autoseg.files import atomic

NOTES = "autoseg"
CHUNK, LONGEST = 1 << 24, 1 << 12  # voxels of a chunk, and along one axis of it
BLOCK = (16, 16, 64)

Kept = TypeVar("Kept")


class ArrayOnDisk:
    """A compressed array that is decoded where it is sliced; damage is an `AutosegError`.

    Attributes
    ----------
    shape, nbytes : of the whole array, decoded
    notes : what was kept with it, or None
    """

    def __init__(self, path: Path) -> None:
        import blosc2  # takes a quarter of a second, and scans that are only predicted are never packed

        self._path = path
        try:
            self._array = blosc2.open(str(path), mode="r", mmap_mode="r", dparams=blosc2.DParams(nthreads=1))
            self.notes: dict[str, Any] | None = self._array.schunk.meta.get(NOTES)
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise unreadable(path, error) from error
        self.shape: tuple[int, ...] = self._array.shape
        self.nbytes = int(np.prod(self.shape, dtype=np.int64)) * self._array.dtype.itemsize

    def __getitem__(self, key: Any) -> NDArray[Any]:
        try:
            part: NDArray[Any] = self._array[key]
        except (RuntimeError, ValueError) as error:
            raise unreadable(self._path, error) from error
        return part


class Memory(Generic[Kept]):
    """The things used last, up to a number of bytes; may be used from several threads.

    Parameters
    ----------
    budget : bytes to keep at most
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._kept: OrderedDict[str, tuple[Kept, int]] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def fits(self, size: int) -> bool:
        """Whether a thing of so many bytes is kept at all: at least four of them must find room."""
        return size <= self._budget // 4

    def get(self, name: str) -> Kept | None:
        """What was kept under that name, if it still is."""
        with self._lock:
            if name not in self._kept:
                return None
            self._kept.move_to_end(name)
            return self._kept[name][0]

    def keep(self, name: str, thing: Kept, size: int) -> None:
        """Keep a thing of so many bytes."""
        with self._lock:
            if name not in self._kept:
                self._kept[name] = thing, size
                self._bytes += size
            while self._bytes > self._budget:
                _, (_, freed) = self._kept.popitem(last=False)
                self._bytes -= freed


def write_array(path: Path, array: NDArray[Any], notes: Mapping[str, Any] | None = None) -> None:
    """Write an array whose last three axes are Z, Y, X.

    Parameters
    ----------
    notes : plain values to keep with it; see `ArrayOnDisk.notes`

    Raises
    ------
    AutosegError
        the folder cannot be written, the disk is full, or memory
    """
    import blosc2  # as above

    further, (z, y, x) = (1,) * (array.ndim - 3), array.shape[-3:]
    y, x = min(y, LONGEST), min(x, LONGEST)
    chunk = min(z, max(1, CHUNK // (y * x))), y, x
    blocks = (min(size, most) for size, most in zip(chunk, BLOCK, strict=True))
    try:
        compressed = blosc2.asarray(
            np.ascontiguousarray(array), chunks=(*further, *chunk), blocks=(*further, *blocks), meta=notes and {NOTES: notes},
            cparams=blosc2.CParams(codec=blosc2.Codec.ZSTD, clevel=1, filters=[blosc2.Filter.SHUFFLE], nthreads=1),
            dparams=blosc2.DParams(nthreads=1), contiguous=True,
        )  # fmt: skip
    except RuntimeError as error:  # what the library makes of memory that is full
        raise AutosegError(f"Cannot compress {path}: {error}. Close other programs, or make memory free.") from error
    with atomic(path) as temporary:
        temporary.write_bytes(compressed.to_cframe())


def in_few_bytes(classes_ZYX: NDArray[np.integer]) -> NDArray[np.integer]:
    """Classes as int8 where they fit, else int16."""
    return classes_ZYX.astype(np.int8 if classes_ZYX.max() < 128 else np.int16)


def unreadable(path: Path, error: Exception) -> AutosegError:
    """What to say about a file that cannot be read."""
    return AutosegError(f"The ready case's file {path} cannot be read ({error}). Delete it and start again; it is made anew.")
