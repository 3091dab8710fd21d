"""Where voxels come from, where that is more than one file of voxels: slices that make a volume, masks, objects drawn on a picture.

- Each names its files, so that what was made of them can be told to be out of date.
- `read.py` reads them as it reads files; `str` names them in errors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autoseg.imaging.image import Spacing3


@dataclass(frozen=True)
class Slices:
    """Pictures of one size that make a volume.

    Attributes
    ----------
    files : in order along Z, at least one
    spacing : millimetres along Z, Y, X, which the pictures do not tell
    """

    files: tuple[Path, ...]
    spacing: Spacing3

    def __str__(self) -> str:
        first, last = self.files[0], self.files[-1]
        return str(first) if first == last else f"{first} to {last.name}"


@dataclass(frozen=True)
class Picture:
    """A picture as grey values or as colours, however it was saved.

    Attributes
    ----------
    file : alpha is dropped
    colours : three channels, which are equal where it was saved in grey; else one, the luma of what was saved in colours
    """

    file: Path
    colours: bool

    def __str__(self) -> str:
        return str(self.file)


@dataclass(frozen=True)
class Mask:
    """What is marked: whatever is above 0 is 1, however bright it was saved."""

    of: Path | Slices

    def __str__(self) -> str:
        return str(self.of)


@dataclass(frozen=True)
class Drawn:
    """One object on a picture.

    Attributes
    ----------
    value : the label value of its pixels
    polygons : outlines (x, y, x, y, ...) in pixels; their union is the object
    runs : instead of polygons, lengths of runs off and on, column by column, as numbers or as COCO compresses them
    runs_of : height and width of the picture that the runs were made for, where that is told
    """

    value: int
    polygons: tuple[tuple[float, ...], ...] = ()
    runs: tuple[int, ...] | str = ()
    runs_of: tuple[int, int] | None = None


@dataclass(frozen=True)
class Drawing:
    """A segmentation that is drawn, not stored as pixels; of objects that overlap the later one wins.

    Attributes
    ----------
    file : where it is described
    picture : what it was drawn on
    height, width : of that, in pixels
    objects : may be none
    """

    file: Path
    picture: str
    height: int
    width: int
    objects: tuple[Drawn, ...]

    def __str__(self) -> str:
        return f"{self.file} (annotations of {self.picture})"


@dataclass(frozen=True)
class Absent:
    """A channel that a scan lacks, and that no network looks at: zeros stand for it."""

    def __str__(self) -> str:
        return "(none)"


ImageSource = Path | Slices | Picture | Absent
LabelSource = Path | Slices | Mask | Drawing
Source = ImageSource | LabelSource


def files_of(source: Source) -> tuple[Path, ...]:
    """The files that a source is read from."""
    if isinstance(source, Path):
        return (source,)
    if isinstance(source, Slices):
        return source.files
    if isinstance(source, Absent):
        return ()
    return files_of(source.of) if isinstance(source, Mask) else (source.file,)


def all_files(sources: Sequence[Source | None]) -> tuple[Path, ...]:
    """The files of several, in order."""
    return tuple(file for source in sources if source is not None for file in files_of(source))
