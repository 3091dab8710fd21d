"""Names of the pictures that lie beside segmentations, so that nobody takes one for a segmentation.

- One picture a case lies in the folder `overlays`; sheets of many cases, `overlays.png`, `overlays_2.png`, ..., lie beside that folder.
"""

import re
from pathlib import Path

from autoseg.errors import AutosegError

FOLDER = "overlays"
_SHEET = re.compile(r"overlays(_[2-9]|_[1-9]\d+)?\.png")


def picture_of(output: Path, case: str) -> Path:
    """The picture of a case whose segmentation lies in `output`."""
    return output / FOLDER / f"{case}.png"


def sheet(output: Path, number: int) -> Path:
    """Sheet number 1, 2, ... of a folder."""
    return output / (f"{FOLDER}.png" if number == 1 else f"{FOLDER}_{number}.png")


def is_sheet(path: Path) -> bool:
    """Whether a file is a sheet: by its name, and the folder of pictures beside it."""
    return _SHEET.fullmatch(path.name) is not None and (path.parent / FOLDER).is_dir()


def require_apart(segmentation: Path) -> None:
    """Make sure that a segmentation will not have the name of a sheet.

    Raises
    ------
    AutosegError
        it has
    """
    if _SHEET.fullmatch(segmentation.name):
        raise AutosegError(f"The segmentation {segmentation} has the name of a sheet of pictures. Rename the case, or predict it without --overlay.")
