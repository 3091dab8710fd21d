"""The store of ready cases that training reads: compressed, chunked, safe to delete, safe to kill.

- Four files a case: image and classes as Blosc2 arrays (a patch is read without its case), foreground locations as a NumPy archive, and a JSON
  record. The record is written last and names the settings and the source files it was made from, so that a case is either wholly there and
  valid, or made again.
- Foreground locations of each class: at most 10,000 voxels but at least 1 % of them, drawn without replacement, seeded by the case's name.
- Recently used cases stay decoded in memory up to a number of bytes, not of cases.
"""

import hashlib
import json
import zipfile
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import blosc2
import numpy as np
from numpy.typing import NDArray

from autoseg.data.dataset import Case
from autoseg.errors import AutosegError
from autoseg.files import atomic, read_json, write_json
from autoseg.imaging.image import Shape3
from autoseg.planning.plan import Configuration, Plan
from autoseg.preprocessing.case import ReadyCase

FORMAT = 1
Locations = dict[int, NDArray[np.int32]]


@dataclass(frozen=True)
class StoredCase:
    """A ready case on disk or in memory; patches are cut by slicing.

    Attributes
    ----------
    image : (C, Z, Y, X), sliceable
    classes : (Z, Y, X), sliceable
    locations : class above 0 -> int32 (N, 3) voxels of that class, only classes that the case has
    previous : (Z, Y, X) classes that the previous stage of a cascade decided, sliceable; else None
    """

    image: Any
    classes: Any
    locations: Locations
    previous: Any = None

    @property
    def shape(self) -> Shape3:
        z, y, x = self.classes.shape
        return z, y, x


class CaseStore:
    """Ready cases of one configuration in one folder.

    Parameters
    ----------
    folder : made when the first case is stored
    settings : cases made with other settings count as missing; see `settings_key`
    memory : bytes of decoded cases to keep at most
    """

    def __init__(self, folder: Path, settings: str, *, memory: int = 2 << 30) -> None:
        self.folder = folder
        self._settings = settings
        self._budget = memory
        self._cached: OrderedDict[str, StoredCase] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    @classmethod
    def of(cls, folder: Path, plan: Plan, configuration: Configuration) -> "CaseStore":
        """The store of a configuration; cases made with other settings count as missing."""
        return cls(folder, settings_key(plan, configuration))

    def has(self, case: Case) -> bool:
        """Whether the case is there, made with these settings from the source files as they are now."""
        if not all(path.is_file() for path in self._files(case.name)):
            return False
        try:
            return bool(read_json(self._files(case.name)[-1]) == self._record(case))
        except AutosegError:  # a damaged record is as good as none
            return False

    def put(self, case: Case, ready: ReadyCase) -> None:
        """Store a ready case.

        Raises
        ------
        AutosegError
            it has no segmentation, its source files are gone, or the folder cannot be written
        """
        if ready.classes is None:
            raise AutosegError(f"Case {case.name} has no segmentation and cannot be trained on.")
        content = self._record(case)
        image, classes, foreground, record = self._files(case.name)
        try:
            record.unlink(missing_ok=True)
        except OSError as error:
            raise AutosegError(f"Cannot replace {record}: {error.strerror}. Make {self.folder} a folder that you may write to.") from error
        _write_array(image, ready.image)
        _write_array(classes, ready.classes.astype(np.int8 if ready.classes.max() < 128 else np.int16))
        locations: dict[str, Any] = {str(label): found for label, found in foreground_locations(ready.classes, case.name).items()}
        with atomic(foreground) as temporary:
            np.savez_compressed(temporary, **locations)
        write_json(record, content)

    def get(self, name: str) -> StoredCase:
        """A ready case, from memory where it still is.

        Raises
        ------
        AutosegError
            its files are missing or damaged; where patches come from the disk, damage within shows when they are cut
        """
        with self._lock:
            if name in self._cached:
                self._cached.move_to_end(name)
                return self._cached[name]
        case = self._read(name)
        size = case.image.nbytes + case.classes.nbytes
        if size > self._budget // 4:  # too large to keep: patches come from the disk
            return case
        decoded = StoredCase(case.image[:], case.classes[:], case.locations)
        with self._lock:
            if name not in self._cached:
                self._cached[name] = decoded
                self._bytes += size
            while self._bytes > self._budget:
                _, oldest = self._cached.popitem(last=False)
                self._bytes -= oldest.image.nbytes + oldest.classes.nbytes
        return decoded

    def shape(self, name: str) -> Shape3:
        """Voxels of a ready case along Z, Y, X, without decoding it.

        Raises
        ------
        AutosegError
            its file is missing or damaged
        """
        z, y, x = _ArrayOnDisk(self._files(name)[1]).shape
        return z, y, x

    def _read(self, name: str) -> StoredCase:
        image, classes, foreground, _ = self._files(name)
        try:
            with np.load(foreground, allow_pickle=False) as archive:
                locations = {int(label): archive[label] for label in archive.files}
        except (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile) as error:
            raise _damaged(foreground, error) from error
        return StoredCase(_ArrayOnDisk(image), _ArrayOnDisk(classes), locations)

    def _files(self, name: str) -> tuple[Path, Path, Path, Path]:
        """Image, classes, foreground locations, record."""
        image, classes, foreground, record = (
            self.folder / f"{name}.{ending}" for ending in ("image.b2nd", "classes.b2nd", "foreground.npz", "json")
        )  # fmt: skip
        return image, classes, foreground, record

    def _record(self, case: Case) -> dict[str, Any]:
        files = [*case.channels, *([case.label] if case.label else [])]
        try:
            states = [(str(path), path.stat()) for path in files]
        except OSError as error:
            raise AutosegError(f"Case {case.name}: {error.filename}: {error.strerror}. Put it back, or plan anew without it.") from error
        return {"format": FORMAT, "settings": self._settings, "source": [[path, state.st_size, state.st_mtime_ns] for path, state in states]}


class _ArrayOnDisk:
    """A compressed array that is decoded where it is sliced; damage is an `AutosegError`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._array = blosc2.open(str(path), mode="r", mmap_mode="r")
        except (OSError, RuntimeError, ValueError) as error:
            raise _damaged(path, error) from error
        self.shape: tuple[int, ...] = self._array.shape
        self.nbytes = int(np.prod(self.shape, dtype=np.int64)) * self._array.dtype.itemsize

    def __getitem__(self, key: Any) -> NDArray[Any]:
        try:
            part: NDArray[Any] = self._array[key]
        except (RuntimeError, ValueError) as error:
            raise _damaged(self._path, error) from error
        return part


def settings_key(plan: Plan, configuration: Configuration) -> str:
    """A short hash of everything in the plan that ready cases depend on."""
    parts = {
        "transpose": plan.transpose_forward,
        "values": plan.dataset.labels.values,
        "ignore": plan.dataset.labels.ignore,
        "dimensions": configuration.dimensions,
        "spacing": configuration.spacing,
        "normalization": [rule.model_dump() for rule in configuration.normalization],
        "resampling": configuration.resampling.model_dump(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def foreground_locations(classes_ZYX: NDArray[np.integer], case_name: str) -> Locations:
    """Voxels of each class above 0: at most 10,000 but at least 1 % of them (nnU-Net's rule), seeded by the case's name.

    Returns
    -------
    class -> int32 (N, 3), only for classes that are there
    """
    generator = np.random.default_rng(zlib.crc32(case_name.encode()))
    voxels = np.flatnonzero(classes_ZYX > 0)
    found = classes_ZYX.reshape(-1)[voxels]
    locations: Locations = {}
    for label in np.flatnonzero(np.bincount(found)):
        members = voxels[found == label]
        count = max(min(10_000, len(members)), -(-len(members) // 100))
        drawn = np.sort(generator.choice(members, count, replace=False)) if count < len(members) else members
        locations[int(label)] = np.stack(np.unravel_index(drawn, classes_ZYX.shape), axis=1).astype(np.int32)
    return locations


def _write_array(path: Path, array: NDArray[Any]) -> None:
    with atomic(path) as temporary:
        chunks = (*(1 for _ in array.shape[:-3]), *(min(64, size) for size in array.shape[-3:]))
        blocks = (*(1 for _ in array.shape[:-3]), *(min(16, size) for size in array.shape[-3:-1]), chunks[-1])
        try:
            blosc2.asarray(
                np.ascontiguousarray(array), urlpath=str(temporary), mode="w", chunks=chunks, blocks=blocks,
                cparams=blosc2.CParams(codec=blosc2.Codec.ZSTD, clevel=3, filters=[blosc2.Filter.SHUFFLE]),
            )  # fmt: skip
        except RuntimeError as error:  # what the library makes of a full disk
            raise AutosegError(f"Cannot write {path}: {error}. Free the disk or choose a folder you may write to.") from error


def _damaged(path: Path, error: Exception) -> AutosegError:
    return AutosegError(f"The ready case's file {path} cannot be read ({error}). Delete it and start again; it is made anew.")
