"""The places of structures in a folder of cases: `localisation.json`, one document for all, and `localisation.csv`, a row a structure and part.

- A document is taken up again: entries stay that are newer than their segmentation, as long as the structures are the same.
- The document is written whole, every so often and at the end; the table, which is made of it, at the end.
"""

import csv
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from autoseg.errors import AutosegError, listing
from autoseg.evaluation.localisation import Structure, as_json
from autoseg.evaluation.result import Target
from autoseg.files import read_json, write_json, write_text
from autoseg.imaging.image import Geometry
from autoseg.imaging.sources import LabelSource, files_of

JSON, CSV = "localisation.json", "localisation.csv"
COORDINATES = {
    "voxels": "indices Z, Y, X of the file's array, from 0, X being the axis that the file stores fastest (nibabel's arrays are X, Y, Z); a box holds"
    " its first and its last voxel; a centroid is the mean of voxel indices",
    "ras_mm": "millimetres towards the patient's right, anterior and superior, by the file's affine; a box goes to the edges of voxels, along the"
    " axes of the world",
    "parts": "connected through faces, edges and corners, the largest first",
}
COLUMNS = (
    "case", "structure", "part", "voxels", "volume_mm3", "area_mm2", "first_z", "first_y", "first_x", "last_z", "last_y", "last_x",
    "centroid_z", "centroid_y", "centroid_x", "size_z_mm", "size_y_mm", "size_x_mm", "centroid_r_mm", "centroid_a_mm", "centroid_s_mm",
    "low_r_mm", "low_a_mm", "low_s_mm", "high_r_mm", "high_a_mm", "high_s_mm",
)  # fmt: skip
_EVERY = 20.0  # seconds between two writings of the document


class LocalisationFile:
    """The document in a folder, to which cases are added.

    Parameters
    ----------
    folder : where it lies, or will lie
    targets : the structures
    segmentations : case -> its segmentation, of all cases that will be asked for; entries of other cases stay while their file does
    afresh : take nothing up

    Raises
    ------
    AutosegError
        the file is there and is no such document
    """

    def __init__(self, folder: Path, targets: Sequence[Target], segmentations: Mapping[str, LabelSource], *, afresh: bool = False) -> None:
        self._folder, self._segmentations = folder, segmentations
        self._structures = [{"name": target.name, "values": list(target.values)} for target in targets]
        self._cases: dict[str, dict[str, Any]] = {} if afresh else _taken_up(folder / JSON, self._structures, segmentations)
        self._written, self._changed = time.monotonic(), False

    def __contains__(self, case: str) -> bool:
        return case in self._cases

    def put(self, case: str, geometry: Geometry, structures: Sequence[Structure], *, measured: bool) -> None:
        """Add one of the cases; `geometry` is its segmentation's, `measured` whether the spacing is known.

        Raises
        ------
        AutosegError
            the folder cannot be written
        """
        self._cases[case] = {
            "segmentation": str(self._segmentations[case]),
            "shape": list(geometry.shape),
            "spacing_mm": list(geometry.spacing) if measured else None,
            "structures": {structure.target.name: as_json(structure) for structure in structures},
        }
        self._changed = True
        if time.monotonic() - self._written > _EVERY:
            self._write_document()

    def finish(self) -> tuple[Path, Path]:
        """Write document and table, as far as they are not there as they should be; give their paths.

        Raises
        ------
        AutosegError
            the folder cannot be written
        """
        document, table = self._folder / JSON, self._folder / CSV
        if self._changed or not document.is_file():
            self._write_document()
        if not table.is_file() or table.stat().st_mtime_ns < document.stat().st_mtime_ns:
            text = io.StringIO()
            rows = (row for case in sorted(self._cases) for row in _rows(case, self._cases[case]))
            csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
            write_text(table, text.getvalue())
        return document, table

    def _write_document(self) -> None:
        cases = {case: self._cases[case] for case in sorted(self._cases)}
        write_json(self._folder / JSON, {"coordinates": COORDINATES, "structures": self._structures, "cases": cases})
        self._written = time.monotonic()


def require_ours(folder: Path, *, overwrite: bool = False) -> None:
    """Make sure, before any work, that document and table will not take the place of something else.

    Raises
    ------
    AutosegError
        a file of that name is there that is none of ours, and not to be overwritten
    """
    document, table = folder / JSON, folder / CSV
    if overwrite:
        return
    if document.is_file():
        _read(document)
    elif table.exists():
        raise AutosegError(f"{table} is there already, and no {JSON} beside it. Choose another folder with -o, or replace it with --overwrite.")


def _read(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict) or not {"coordinates", "structures", "cases"} <= content.keys() or not isinstance(content["cases"], dict):
        raise AutosegError(f"{path} is no document of autoseg locate. Choose another folder with -o, or replace it with --overwrite.")
    if damaged := [case for case, entry in content["cases"].items() if not _is_entry(entry)]:
        raise AutosegError(f"{path} is damaged where it speaks of {listing(damaged)}. Put it back as it was, or replace it with --overwrite.")
    return content


def _is_entry(entry: object) -> bool:
    """Whether it has what is read of it."""
    if not isinstance(entry, dict) or not isinstance(entry.get("segmentation"), str) or not isinstance(entry.get("structures"), dict):
        return False
    structures = [*entry["structures"].values()]
    if not all(isinstance(one, dict) and isinstance(one.get("parts"), list) for one in structures):
        return False
    return all(_is_place(place) for one in structures for place in (one, *one["parts"]))


def _is_place(place: object) -> bool:
    if (
        not isinstance(place, dict)
        or not {"voxels", "volume_mm3", "area_mm2", "box", "centroid", "box_size_mm", "centroid_ras_mm", "box_ras_mm"} <= place.keys()
    ):
        return False
    if not all(isinstance(place[key], dict | None) for key in ("box", "box_ras_mm")):
        return False
    return all(triple is None or (isinstance(triple, list) and len(triple) == 3) for triple in _triples(place))


def _taken_up(path: Path, structures: Sequence[Mapping[str, Any]], segmentations: Mapping[str, LabelSource]) -> dict[str, dict[str, Any]]:
    """The entries that still hold."""
    if not path.is_file():
        return {}
    content = _read(path)
    if content["structures"] != structures:
        return {}
    written = path.stat().st_mtime_ns
    kept = {}
    for case, entry in content["cases"].items():
        known = segmentations.get(case)
        if known is not None and str(known) != entry["segmentation"]:
            continue
        files = [Path(entry["segmentation"])] if known is None else files_of(known)
        if all(file.is_file() and file.stat().st_mtime_ns <= written for file in files):
            kept[case] = entry
    return kept


def _rows(case: str, entry: Mapping[str, Any]) -> Iterator[list[Any]]:
    """A row for each structure, called part 0, and one for each of its parts."""
    for name, structure in entry["structures"].items():
        for number, place in enumerate([structure, *structure["parts"]]):
            yield [
                case,
                name,
                number,
                place["voxels"],
                place["volume_mm3"],
                place["area_mm2"],
                *(v for triple in _triples(place) for v in triple or [""] * 3),
            ]


def _triples(place: Mapping[str, Any]) -> tuple[list[Any] | None, ...]:
    """What the table has a column for along each axis; None is not there, or not known."""
    box, world = place["box"] or {}, place["box_ras_mm"] or {}
    return (
        box.get("first"), box.get("last"), place["centroid"], place["box_size_mm"], place["centroid_ras_mm"], world.get("low"), world.get("high"),
    )  # fmt: skip
