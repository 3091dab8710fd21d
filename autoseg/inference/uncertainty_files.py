"""Uncertainty beside predictions: maps in the folder `uncertainty`, and one row a case in `uncertainty.csv`.

- `<case>_entropy` and, of two members or more, `<case>_disagreement` have the segmentations' format as float32; where that is a picture of whole
  numbers, they are 8-bit PNG in which 255 stands for 1. Both are rounded to 1/1024, which keeps the files small.
- The table is written whole after each case. Rows of cases that are not predicted now stay; a table that is older than the record of what made the
  predictions is another model's, and starts anew.
- Doubt is that of the networks: post-processing changes segmentations, and neither maps nor table.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoseg.errors import AutosegError
from autoseg.files import write_text
from autoseg.imaging.image import Geometry, Image
from autoseg.imaging.read import stem_of
from autoseg.imaging.write import write_image
from autoseg.inference.record import RECORD
from autoseg.inference.uncertainty import Uncertainty

FOLDER, TABLE = "uncertainty", "uncertainty.csv"
_STEPS = 1024
_PICTURES = (".png", ".bmp", ".jpg", ".jpeg")


def map_files(target: Path, members: int) -> list[Path]:
    """The maps that belong to a segmentation: entropy, and disagreement where there are two members or more."""
    stem = stem_of(target)
    suffix = target.name.removeprefix(stem)
    ending = ".png" if suffix.lower() in _PICTURES else suffix
    kinds = ["entropy"] if members == 1 else ["entropy", "disagreement"]
    return [target.parent / FOLDER / f"{stem}_{kind}{ending}" for kind in kinds]


def write_maps(uncertainty: Uncertainty, geometry: Geometry, files: Sequence[Path]) -> None:
    """Write the maps of a case to the files that `map_files` names.

    Raises
    ------
    AutosegError
        the folder cannot be written
    """
    maps = [uncertainty.entropy] if uncertainty.disagreement is None else [uncertainty.entropy, uncertainty.disagreement]
    for values, path in zip(maps, files, strict=True):
        if path.suffix == ".png":
            write_image(Image(values[None] * np.float32(255), geometry), path, dtype="uint8")
        else:
            rounded: NDArray[np.float32] = np.rint(values[None] * np.float32(_STEPS)) / np.float32(_STEPS)
            write_image(Image(rounded, geometry), path)


class UncertaintyTable:
    """`uncertainty.csv` in a folder of predictions: case, doubt, stability of each structure, entropy, agreement.

    Parameters
    ----------
    output : the folder, with its record of what made the predictions
    cases : names, in the order of the rows
    structures : as `Plan.structure_names`

    Raises
    ------
    AutosegError
        a table is there that is damaged, or of other structures
    """

    def __init__(self, output: Path, cases: Sequence[str], structures: Sequence[str]) -> None:
        self._path, self._cases = output / TABLE, tuple(cases)
        self._columns = ["case", "doubt", *(f"stability_{name}" for name in structures), "foreground_entropy", "member_agreement"]
        record = output / RECORD
        known = self._path.is_file() and self._path.stat().st_mtime_ns >= record.stat().st_mtime_ns
        self._rows = _read(self._path, self._columns) if known else {}

    def __contains__(self, case: str) -> bool:
        return case in self._rows

    def put(self, case: str, uncertainty: Uncertainty) -> None:
        """Add the row of a case, or replace it, and write the table.

        Raises
        ------
        AutosegError
            the folder cannot be written
        """
        numbers = [uncertainty.doubt, *uncertainty.stability.values(), uncertainty.foreground_entropy, uncertainty.agreement]
        self._rows[case] = [case, *("" if number is None else f"{number:.6f}" for number in numbers)]
        order = dict.fromkeys([*self._cases, *self._rows])
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self._columns, *(self._rows[name] for name in order if name in self._rows)])
        write_text(self._path, text.getvalue())


def _read(path: Path, columns: list[str]) -> dict[str, list[str]]:
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AutosegError(f"{path} cannot be read: {error}. Remove it; its cases are predicted again.") from error
    if not rows or any(len(row) != len(columns) for row in rows) or rows[0] != columns:
        raise AutosegError(f"{path} is not a table of these predictions: it lacks the columns {', '.join(columns)}. Move it away.")
    return {row[0]: row for row in rows[1:]}
