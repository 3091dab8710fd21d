"""The store of ready cases that training reads: compressed, chunked, safe to delete, safe to kill.

- Four files a case: image (see `packed`) and classes as Blosc2 arrays (a patch is read without its case), foreground locations as a NumPy archive,
  and a JSON record. The record is written last and names the settings and the source files it was made from, so that a case is either wholly there
  and valid, or made again.
- Recently used cases stay decoded in memory up to a number of bytes, not of cases, and as float32: to make that of 16 bits again for every patch
  takes longer than it saves by keeping twice as many.
- Configurations that make cases ready in the same way share them. Where two that differ make the same voxels of a case, their stores share its
  files by links, each with a record of its own. What a cascade's previous stage made of a case is kept beside, by `previous_store.py`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from autoseg.data.dataset import Case
from autoseg.errors import AutosegError
from autoseg.files import link, read_json, write_json
from autoseg.imaging.image import Shape3
from autoseg.planning.plan import Configuration, Plan
from autoseg.preprocessing.arrays import ArrayOnDisk, Memory, in_few_bytes, write_array
from autoseg.preprocessing.case import PackedCase, ReadyCase
from autoseg.preprocessing.foreground import Locations, read_locations, write_locations
from autoseg.preprocessing.packed import open_image, write_image
from autoseg.preprocessing.placement import is_whole

FORMAT = 3


@dataclass(frozen=True)
class StoredCase:
    """A ready case on disk or in memory; patches are cut by slicing.

    Attributes
    ----------
    image : (C, Z, Y, X), sliceable: every part is float32
    classes : (Z, Y, X), sliceable
    locations : class above 0 -> int32 (N, 3) voxels of that class, only classes that the case has
    previous : (Z, Y, X) classes that the previous stage of a cascade decided, sliceable; else None
    annotated : int32 (N, 3) voxels that somebody annotated, where not all of the case is; else None
    """

    image: Any
    classes: Any
    locations: Locations
    previous: Any = None
    annotated: NDArray[np.int32] | None = None

    @property
    def shape(self) -> Shape3:
        z, y, x = self.classes.shape
        return z, y, x


class ReadyCases(Protocol):
    """Where batches take ready cases from: a `CaseStore`, or a `PreviousStore`."""

    def get(self, name: str) -> StoredCase:
        """A ready case."""

    def shape(self, name: str) -> Shape3:
        """Its voxels along Z, Y, X."""

    def foreground_slices(self, name: str) -> NDArray[np.intp]:
        """Which of its slices hold some class above 0, rising."""


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
        self._memory: Memory[StoredCase] = Memory(memory)

    @classmethod
    def of(cls, folder: Path, plan: Plan, configuration: Configuration) -> "CaseStore":
        """The store of a configuration; cases made with other settings count as missing."""
        return cls(folder, settings_key(plan, configuration))

    def has(self, case: Case) -> bool:
        """Whether the case is there, made with these settings from the source files as they are now."""
        if not all(path.is_file() for path in self._files(case.name)):
            return False
        try:
            return bool(read_json(self._files(case.name)[-1]) == self.record(case))
        except AutosegError:  # a damaged record is as good as none
            return False

    def put(self, case: Case, ready: ReadyCase | PackedCase) -> None:
        """Store a ready case as it is: `pack` makes what is small and quick to write.

        Raises
        ------
        AutosegError
            it has no segmentation, its source files are gone, or the folder cannot be written
        """
        if ready.classes is None:
            raise AutosegError(f"Case {case.name} has no segmentation and cannot be trained on.")
        content = self.record(case)
        image, classes, foreground, record = self._files(case.name)
        remove_record(record)
        write_image(image, ready.image)
        write_array(classes, in_few_bytes(ready.classes))
        write_locations(foreground, ready.classes, case.name)
        write_record(record, content)

    def put_same(self, case: Case, other: "CaseStore") -> None:
        """Store a case that another store has just taken up and that looks the same here.

        Raises
        ------
        AutosegError
            its source files are gone, or the folder cannot be written
        """
        content = self.record(case)
        *files, record = self._files(case.name)
        remove_record(record)
        for there, here in zip(other._files(case.name), files, strict=False):
            link(there, here)
        write_record(record, content)

    def get(self, name: str) -> StoredCase:
        """A ready case, from memory where it still is.

        Raises
        ------
        AutosegError
            its files are missing or damaged; where patches come from the disk, damage within shows when they are cut
        """
        kept = self._memory.get(name)
        if kept is not None:
            return kept
        case = self._read(name)
        size = case.image.nbytes + case.classes.nbytes
        if not self._memory.fits(size):  # patches come from the disk
            return case
        decoded = replace(case, image=case.image[:], classes=case.classes[:])
        self._memory.keep(name, decoded, size)
        return decoded

    def shape(self, name: str) -> Shape3:
        """Voxels of a ready case along Z, Y, X, without decoding it.

        Raises
        ------
        AutosegError
            its file is missing or damaged
        """
        z, y, x = ArrayOnDisk(self._files(name)[1]).shape
        return z, y, x

    def foreground_slices(self, name: str) -> NDArray[np.intp]:
        """Which slices of a ready case along Z hold some class above 0, rising; its image is not decoded.

        Raises
        ------
        AutosegError
            its file is missing or damaged
        """
        classes: NDArray[np.integer] = ArrayOnDisk(self._files(name)[1])[:]
        return np.flatnonzero((classes > 0).any(axis=(1, 2)))

    def record(self, case: Case) -> dict[str, Any]:
        """What a case is made from: format, settings, and the state of its source files now.

        Raises
        ------
        AutosegError
            a source file is gone
        """
        try:
            return {"format": FORMAT, "settings": self._settings, "source": [file_state(path) for path in case.files]}
        except OSError as error:
            raise AutosegError(f"Case {case.name}: {error.filename}: {error.strerror}. Put it back, or plan anew without it.") from error

    def _read(self, name: str) -> StoredCase:
        image, classes, foreground, _ = self._files(name)
        locations, annotated = read_locations(foreground)
        return StoredCase(open_image(image), ArrayOnDisk(classes), locations, annotated=annotated)

    def _files(self, name: str) -> tuple[Path, Path, Path, Path]:
        """Image, classes, foreground locations, record."""
        image, classes, foreground, record = (
            self.folder / f"{name}.{ending}" for ending in ("image.b2nd", "classes.b2nd", "foreground.npz", "json")
        )  # fmt: skip
        return image, classes, foreground, record


def store_name(plan: Plan, name: str) -> str:
    """The configuration whose ready cases another one uses: the plan's first that makes cases ready in the same way, often itself.

    Raises
    ------
    PlanError
        the plan has no configuration of that name
    """
    key = settings_key(plan, plan.configuration(name))
    return next(other for other, configuration in plan.configurations.items() if settings_key(plan, configuration) == key)


def settings_key(plan: Plan, configuration: Configuration) -> str:
    """A short hash of everything in the plan that ready cases depend on."""
    parts = {
        "transpose": plan.transpose_forward,
        "values": plan.dataset.labels.values,
        "ignore": plan.dataset.labels.ignore,
        "dimensions": configuration.dimensions,
        "spacing": None if is_whole(configuration) else configuration.spacing,
        "normalization": [rule.model_dump(exclude_none=True) for rule in configuration.normalization],
        "resampling": configuration.resampling.model_dump(exclude_none=True),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def file_state(path: Path) -> list[str | int]:
    """What changes when a file does: path, size, time of the last change.

    Raises
    ------
    OSError
        it is gone
    """
    state = path.stat()
    return [str(path), state.st_size, state.st_mtime_ns]


def write_record(record: Path, content: Mapping[str, Any]) -> None:
    """Write the record of a case, whose other files are on the disk by now; one that a loss of power emptied counts as missing.

    Raises
    ------
    AutosegError
        the folder cannot be written, or the disk is full
    """
    write_json(record, content, durable=False)


def remove_record(record: Path) -> None:
    """Remove the record of a case, which from now on counts as missing.

    Raises
    ------
    AutosegError
        the folder cannot be written
    """
    try:
        record.unlink(missing_ok=True)
    except OSError as error:
        raise AutosegError(f"Cannot replace {record}: {error.strerror}. Make {record.parent} a folder that you may write to.") from error
