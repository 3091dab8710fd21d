"""Looking into folders: what is an image file, what is passed over, how names are listed to the user.

- Hidden entries (`._x.nii.gz`, which macOS scatters) and `__MACOSX` do not exist for us.
- Links are followed; nothing is decoded.
"""

import re
from pathlib import Path

from autoseg.data.pictures import is_sheet
from autoseg.errors import AutosegError, listing
from autoseg.imaging.read import SUFFIXES, stem_of, suffix_of

_NUMBERED = re.compile(r"(.+)_(\d{4})")
PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, sorted by name, without hidden entries.

    Raises
    ------
    AutosegError
        the folder cannot be listed
    """
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith(".") and entry.name != "__MACOSX")
    except OSError as error:
        raise AutosegError(f"{folder} cannot be listed: {error.strerror or error}. Make sure that it is a folder which you may read.") from error


def image_files(folder: Path) -> list[Path]:
    """Files in a folder whose ending is one that we read, but no sheets of pictures, sorted by name; empty if there is no such folder."""
    if not folder.is_dir():
        return []
    return [entry for entry in entries(folder) if suffix_of(entry) is not None and entry.is_file() and not is_sheet(entry)]


def split_number(file: Path) -> tuple[str, int] | None:
    """`case_0001.nii.gz` -> ("case", 1); None where no channel number of four digits ends the name."""
    match = _NUMBERED.fullmatch(stem_of(file))
    return (match[1], int(match[2])) if match else None


def is_picture(file: Path) -> bool:
    """Whether the file is of a 2D picture format, which may hold colours as channels."""
    return (suffix_of(file) or "") in PICTURES


def describe(folder: Path) -> str:
    """What lies in a folder, in half a sentence, for an error message."""
    found = entries(folder)
    return f"found are {listing(entry.name for entry in found)}" if found else "the folder is empty"


def known_endings() -> str:
    """The file endings that can be read, for an error message."""
    return " ".join(SUFFIXES)
