"""The store of ready cases that training reads: compressed, chunked, safe to delete, safe to kill.

- Four files a case: image and classes as Blosc2 arrays (a patch is read without its case), foreground locations as a NumPy archive, and a JSON
  record. The record is written last and names the settings and the source files it was made from, so that a case is either wholly there and
  valid, or made again.
- Foreground locations of each class: at most 10,000 voxels but at least 1 % of them, drawn without replacement, seeded by the case's name.
- Recently used cases stay decoded in memory up to a number of bytes, not of cases.
"""

import hashlib
import json
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
from autoseg.files import atomic, write_json
from autoseg.imaging.image import Shape3
from autoseg.planning.plan import Configuration, Plan
from autoseg.preprocessing.case import ReadyCase

FORMAT = 1
Locations = dict[int, NDArray[np.int16]]


@dataclass(frozen=True)
class StoredCase:
    """A ready case on disk or in memory; patches are cut by slicing.

    Attributes
    ----------
    image : (C, Z, Y, X), sliceable
    classes : (Z, Y, X), sliceable
    locations : class above 0 -> (N, 3) voxels of that class, only classes that the case has
    """

    image: Any
    classes: Any
    locations: Locations

    @property
    def shape(self) -> Shape3:
        z, y, x = self.classes.shape
        return z, y, x


class CaseStore:
    """Ready cases of one configuration in one folder."""

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
        record = self.folder / f"{case.name}.json"
        return record.is_file() and json.loads(record.read_text(encoding="utf-8")) == self._record(case)

    def put(self, case: Case, ready: ReadyCase) -> None:
        """Store a ready case."""
        if ready.classes is None:
            raise AutosegError(f"Case {case.name} has no segmentation and cannot be trained on.")
        (self.folder / f"{case.name}.json").unlink(missing_ok=True)
        _write_array(self.folder / f"{case.name}.image.b2nd", ready.image)
        _write_array(self.folder / f"{case.name}.classes.b2nd", ready.classes.astype(np.int8 if ready.classes.max() < 128 else np.int16))
        locations = foreground_locations(ready.classes, case.name)
        with atomic(self.folder / f"{case.name}.foreground.npz") as temporary:
            np.savez_compressed(temporary, allow_pickle=False, **{str(label): found for label, found in locations.items()})
        write_json(self.folder / f"{case.name}.json", self._record(case))

    def get(self, name: str) -> StoredCase:
        """A ready case, from memory where it still is."""
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

    def _read(self, name: str) -> StoredCase:
        try:
            image = blosc2.open(str(self.folder / f"{name}.image.b2nd"), mode="r", mmap_mode="r")
            classes = blosc2.open(str(self.folder / f"{name}.classes.b2nd"), mode="r", mmap_mode="r")
            with np.load(self.folder / f"{name}.foreground.npz", allow_pickle=False) as archive:
                locations = {int(label): archive[label] for label in archive.files}
        except (OSError, RuntimeError, ValueError) as error:
            raise AutosegError(f"Ready case {name} in {self.folder} cannot be read ({error}). Delete that folder; it is made again.") from error
        return StoredCase(image, classes, locations)

    def _record(self, case: Case) -> dict[str, Any]:
        files = [*case.channels, *([case.label] if case.label else [])]
        source = [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
        return {"format": FORMAT, "settings": self._settings, "source": source}


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
    class -> int16 (N, 3), only for classes that are there
    """
    generator = np.random.default_rng(zlib.crc32(case_name.encode()))
    voxels = np.flatnonzero(classes_ZYX > 0)
    found = classes_ZYX.reshape(-1)[voxels]
    locations: Locations = {}
    for label in np.flatnonzero(np.bincount(found)):
        members = voxels[found == label]
        count = max(min(10_000, len(members)), -(-len(members) // 100))
        drawn = np.sort(generator.choice(members, count, replace=False)) if count < len(members) else members
        locations[int(label)] = np.stack(np.unravel_index(drawn, classes_ZYX.shape), axis=1).astype(np.int16)
    return locations


def _write_array(path: Path, array: NDArray[Any]) -> None:
    with atomic(path) as temporary:
        chunks = (*(1 for _ in array.shape[:-3]), *(min(64, size) for size in array.shape[-3:]))
        blocks = (*(1 for _ in array.shape[:-3]), *(min(16, size) for size in array.shape[-3:-1]), chunks[-1])
        blosc2.asarray(
            np.ascontiguousarray(array), urlpath=str(temporary), mode="w", chunks=chunks, blocks=blocks,
            cparams=blosc2.CParams(codec=blosc2.Codec.ZSTD, clevel=3, filters=[blosc2.Filter.SHUFFLE]),
        )  # fmt: skip
