"""Where the foreground of a case lies, and what of it was annotated, so that patches can be centred there without looking for it.

- Of each class at most 10,000 voxels but at least 1 % of them, drawn without replacement, seeded by the case's name.
- Regions need no voxels of their own: they unite classes. So cases made ready serve either way of training.
- On disk an axis at a time, in 16 bits where they do: compressed at the lowest level that is half of what rows take at the highest, in a tenth of
  the time.
- Where somebody left part of a case without labels, the annotated voxels are sampled in the same way, the background included.
"""

import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoseg.files import atomic
from autoseg.preprocessing.arrays import unreadable

Locations = dict[int, NDArray[np.int32]]
ANNOTATED = "annotated"  # beside the classes in the file


def write_locations(path: Path, classes_ZYX: NDArray[np.integer], case_name: str) -> None:
    """Write `foreground_locations` and `annotated_voxels` of a case as a NumPy archive, whole or not at all."""
    entries = {str(label): voxels for label, voxels in foreground_locations(classes_ZYX, case_name).items()}
    annotated = annotated_voxels(classes_ZYX, case_name)
    if annotated is not None:
        entries[ANNOTATED] = annotated
    kind = np.int16 if max(classes_ZYX.shape) <= np.iinfo(np.int16).max else np.int32
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, voxels in entries.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.ascontiguousarray(voxels.T, dtype=kind))


def read_locations(path: Path) -> tuple[Locations, NDArray[np.int32] | None]:
    """What `write_locations` wrote.

    Raises
    ------
    AutosegError
        the file is missing or damaged
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            entries = {name: np.ascontiguousarray(archive[name].T, dtype=np.int32) for name in archive.files}
            annotated = entries.pop(ANNOTATED, None)
            return {int(label): voxels for label, voxels in entries.items()}, annotated
    except (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile) as error:
        raise unreadable(path, error) from error


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
        locations[int(label)] = _some(voxels[found == label], generator, classes_ZYX.shape)
    return locations


def annotated_voxels(classes_ZYX: NDArray[np.integer], case_name: str) -> NDArray[np.int32] | None:
    """Voxels that somebody annotated, as many as of a class: int32 (N, 3); None where that is all of them, or none."""
    voxels = np.flatnonzero(classes_ZYX >= 0)
    if len(voxels) in (0, classes_ZYX.size):
        return None
    return _some(voxels, np.random.default_rng(zlib.crc32(case_name.encode())), classes_ZYX.shape)


def _some(members: NDArray[np.intp], generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.int32]:
    count = max(min(10_000, len(members)), -(-len(members) // 100))
    drawn = np.sort(generator.choice(members, count, replace=False)) if count < len(members) else members
    return np.stack(np.unravel_index(drawn, shape), axis=1).astype(np.int32)
