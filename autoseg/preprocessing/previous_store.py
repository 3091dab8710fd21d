"""The store of a cascade's ready cases: images from another store, and the segmentations that its previous stage made of them.

- Two files a case: the segmentation as a Blosc2 array, and a JSON record, written last, that names the settings, the segmentation's own file and
  what the ready case was made from.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.data.dataset import Case
from autoseg.errors import AutosegError
from autoseg.files import read_json
from autoseg.imaging.image import Shape3
from autoseg.planning.plan import Configuration, Plan
from autoseg.preprocessing.arrays import ArrayOnDisk, Memory, in_few_bytes, write_array
from autoseg.preprocessing.store import FORMAT, CaseStore, StoredCase, file_state, remove_record, settings_key, write_record


class PreviousStore:
    """The ready cases of a cascade: those of an image store, with the segmentations that the previous stage made of them.

    Parameters
    ----------
    folder : of the segmentations; made when the first is stored
    images : the ready cases, on the same grid
    settings : segmentations brought here with other settings count as missing; see `settings_key`
    memory : bytes of decoded segmentations to keep at most
    """

    def __init__(self, folder: Path, images: CaseStore, settings: str, *, memory: int = 1 << 29) -> None:
        self.folder = folder
        self.images = images
        self._settings = settings
        self._memory: Memory[NDArray[Any]] = Memory(memory)

    @classmethod
    def of(cls, folder: Path, images: CaseStore, plan: Plan, configuration: Configuration) -> "PreviousStore":
        """The store of a configuration with a previous stage."""
        return cls(folder, images, settings_key(plan, configuration))

    def has(self, case: Case, file: Path) -> bool:
        """Whether the segmentation is there, brought with these settings from `file` and the case's scan as they are now."""
        array, record = self._files(case.name)
        if not array.is_file():
            return False
        try:
            return bool(read_json(record) == self._record(case, file))
        except AutosegError:  # a damaged record is as good as none, and so is one whose source is gone
            return False

    def put(self, case: Case, file: Path, classes_ZYX: NDArray[np.integer]) -> None:
        """Store the segmentation that was made of a case.

        Parameters
        ----------
        file : the previous stage's own, which `classes_ZYX` were made from
        classes_ZYX : classes 0..K-1 on the ready grid; see `previous.bring_to_grid`

        Raises
        ------
        AutosegError
            the ready case is missing or has another shape, a source file is gone, or the folder cannot be written
        """
        content, shape = self._record(case, file), self.images.shape(case.name)
        if classes_ZYX.shape != shape:
            raise AutosegError(
                f"Case {case.name}: {file} gives {classes_ZYX.shape} voxels (Z, Y, X), the ready case has {shape}. Make it ready anew."
            )
        array, record = self._files(case.name)
        remove_record(record)
        write_array(array, in_few_bytes(classes_ZYX))
        write_record(record, content)

    def get(self, name: str) -> StoredCase:
        """A ready case with `previous`, from memory where it still is.

        Raises
        ------
        AutosegError
            a file is missing or damaged; where patches come from the disk, damage within shows when they are cut
        """
        case, previous = self.images.get(name), self._memory.get(name)
        if previous is not None:
            return replace(case, previous=previous)
        on_disk = ArrayOnDisk(self._files(name)[0])
        if self._memory.fits(on_disk.nbytes):
            previous = on_disk[:]
            self._memory.keep(name, previous, on_disk.nbytes)
        return replace(case, previous=on_disk if previous is None else previous)

    def shape(self, name: str) -> Shape3:
        """Voxels of a ready case along Z, Y, X, without decoding it; raises what `CaseStore.shape` does."""
        return self.images.shape(name)

    def foreground_slices(self, name: str) -> NDArray[np.intp]:
        """Which slices of a ready case hold some class above 0; raises what `CaseStore.foreground_slices` does."""
        return self.images.foreground_slices(name)

    def _files(self, name: str) -> tuple[Path, Path]:
        """Segmentation, record."""
        return self.folder / f"{name}.previous.b2nd", self.folder / f"{name}.previous.json"

    def _record(self, case: Case, file: Path) -> dict[str, Any]:
        try:
            state = file_state(file)
        except OSError as error:
            raise AutosegError(f"Case {case.name}: {file}: {error.strerror}. Predict it anew with the previous stage.") from error
        return {"format": FORMAT, "settings": self._settings, "previous": state, "case": self.images.record(case)}
