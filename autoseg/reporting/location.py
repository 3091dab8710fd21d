"""Where structures lie: their edges on the scan, one picture a case, and sheets of many such pictures.

- A volume is shown in the slices of largest area, one in each of the three planes; a flat picture whole, in its own colours if it has any.
- What networks learn as regions may overlap; edges show that, where painted areas would hide each other.
- A picture keeps what was found and where in it the panels are. Sheets are made of the pictures, so that no scan is read again for them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autoseg.errors import AutosegError
from autoseg.evaluation.result import Target
from autoseg.imaging.image import Affine, Spacing3
from autoseg.reporting import canvas
from autoseg.reporting.panels import Panel, add_outlines, take_panel
from autoseg.reporting.planes import largest_slice, view
from autoseg.reporting.sheet import LETTER, MARGIN, new_sheet

MOST_CELLS = 100

_EDGE, _FLAT_EDGE = 1.1, 2.0  # points; a flat picture gets smaller on a sheet than a volume's panels do

# Inches
_VOLUME, _PICTURE = 2.8, 5.0  # height of a volume's panels; longer side of a flat picture
_NARROWEST = 1.6  # of a picture's content, so that a name fits above it
_GAP = 0.06
_HEADING = 0.2
_CELL, _CELL_CAPTION, _CELL_GAP = 1.6, 0.2, 0.08
_WIDEST = 16.8
_CELL_LETTER = 0.062


@dataclass(frozen=True)
class Location:
    """One case to draw.

    Attributes
    ----------
    name : the case's name
    image : (C, Z, Y, X); three channels are red, green and blue if `colours` says so, else the first is shown
    segmentation : (Z, Y, X), label values
    spacing : mm along Z, Y, X
    affine : voxel index (x, y, z, 1) -> RAS mm, as in `Geometry`; None where nobody knows how the patient lies
    flat : a 2D picture
    colours : whether the image's channels are colours
    """

    name: str
    image: NDArray[Any]
    segmentation: NDArray[Any]
    spacing: Spacing3
    affine: Affine | None
    flat: bool = False
    colours: bool = False


def draw_location(case: Location, structures: Sequence[Target], target: Path, *, notes: Mapping[str, str]) -> None:
    """Draw the edges of structures on a case's scan.

    Parameters
    ----------
    case : what to draw
    structures : each gets a colour by its place here; later ones are drawn over earlier ones
    target : the PNG file
    notes : what the file is to keep, and `canvas.notes_of` will read; not "found" or "panels"

    Raises
    ------
    AutosegError
        image and segmentation differ in shape, or the file cannot be written
    """
    if case.image.shape[1:] != case.segmentation.shape:
        raise AutosegError(
            f"{case.name}: the segmentation has shape {case.segmentation.shape}, the image {case.image.shape[1:]}. Both must be alike."
        )
    panels = _panels(case, np.isin(case.segmentation, [value for one in structures for value in one.values]))
    colours = [canvas.class_colour(k) for k in range(len(structures))]
    found = {int(value) for value in np.unique(case.segmentation)}
    legend = {one.name: colour for one, colour in zip(structures, colours, strict=True) if found.intersection(one.values)}

    sizes = [_panel_size(panel, case) for panel in panels]
    height = max(size[0] for size in sizes)
    wanted = sum(width for _, width in sizes) + _GAP * (len(sizes) - 1)
    sheet = new_sheet(max(wanted, _NARROWEST), height + _HEADING, case.name, legend or {"nothing found": canvas.FAINT})
    left, bottom = MARGIN, sheet.top - _HEADING - height
    for panel, (_, width) in zip(panels, sizes, strict=True):
        canvas.write(sheet.figure, left, sheet.top - 0.04, _heading(panel, case, width), color=canvas.QUIET, va="top")
        outlined = [(one.values, colour) for one, colour in zip(structures, colours, strict=True)]
        add_outlines(sheet.figure, (left, bottom, width, height), panel, outlined, edge=_FLAT_EDGE if case.flat else _EDGE)
        left += width + _GAP
    top = float(sheet.figure.get_size_inches()[1]) - bottom - height
    box = [round(inches * canvas.DPI) for inches in (MARGIN, top, MARGIN + wanted, top + height)]
    canvas.save(sheet.figure, target, notes={**notes, "found": json.dumps(list(legend)), "panels": json.dumps(box)})


def draw_sheet(pictures: Mapping[str, Path], structures: Sequence[Target], target: Path, *, title: str, notes: Mapping[str, str]) -> None:
    """Draw many cases small, from pictures that `draw_location` made.

    Parameters
    ----------
    pictures : case -> its picture, 1 to 100 of them
    structures : those that the pictures were drawn with
    target : the PNG file
    title : heading
    notes : what the file is to keep

    Raises
    ------
    AutosegError
        there are no cases or too many, a picture is gone or was not made by `draw_location`, or the file cannot be written
    """
    if not 1 <= len(pictures) <= MOST_CELLS:
        raise AutosegError(f"{target} would show {len(pictures)} cases. Choose 1 to {MOST_CELLS}.")
    found: set[str] = set()
    boxes = {}
    for case, picture in pictures.items():
        names, boxes[case] = _kept(picture)
        found.update(names)
    legend = {one.name: canvas.class_colour(k) for k, one in enumerate(structures) if one.name in found}
    shape = np.median([(right - left) / (bottom - top) for left, top, right, bottom in boxes.values()])
    width = _CELL * float(np.clip(shape, 1.0, 2.4))
    height = width / float(np.clip(shape, 0.5, 4.0))
    columns = min(len(pictures), int((_WIDEST + _CELL_GAP) / (width + _CELL_GAP)))
    rows = -(-len(pictures) // columns)
    sheet = new_sheet(columns * (width + _CELL_GAP) - _CELL_GAP, rows * (height + _CELL_CAPTION), title, legend)
    for index, (case, picture) in enumerate(pictures.items()):
        left = MARGIN + index % columns * (width + _CELL_GAP)
        bottom = sheet.top - (index // columns + 1) * (height + _CELL_CAPTION)
        canvas.write(sheet.figure, left, bottom + height + 0.04, canvas.shortened(case, int(width / _CELL_LETTER)), fontsize=7)
        small = _small(picture, boxes[case], (width, height))
        sheet.figure.figimage(small, round(left * canvas.DPI), round((bottom + height) * canvas.DPI) - len(small))
    canvas.save(sheet.figure, target, notes=notes)


def _panels(case: Location, foreground_ZYX: NDArray[np.bool_]) -> list[Panel]:
    """The slice of largest area in each plane that is one: along an axis of a single voxel there is nothing to see."""
    shape = case.segmentation.shape
    axes = [axis for axis in range(3) if all(shape[other] > 1 for other in range(3) if other != axis)] if shape[0] > 1 else [0]
    views = sorted((view(axis, case.affine) for axis in axes or [0]), key=lambda how: ("axial", "coronal", "sagittal", how.plane).index(how.plane))
    colours = None
    if case.colours and len(case.image) == 3:
        colours = np.clip(case.image / (255.0 if case.image.max() <= 255 else 65535.0), 0.0, 1.0)
    return [
        take_panel(
            case.image[0], case.segmentation, None, how, largest_slice(foreground_ZYX, how.axis), spacing=case.spacing, colours_CZYX=colours,
            whole=case.flat,
        )
        for how in views
    ]  # fmt: skip


def _panel_size(panel: Panel, case: Location) -> tuple[float, float]:
    """Height and width in inches."""
    shape = panel.size[0] / panel.size[1]
    if case.flat:
        return (_PICTURE, _PICTURE / min(shape, 8.0)) if shape > 1 else (_PICTURE * max(shape, 0.125), _PICTURE)
    return _VOLUME, _VOLUME / float(np.clip(shape, 0.5, 2.0))


def _heading(panel: Panel, case: Location, width: float) -> str:
    if case.flat:
        rows, columns = panel.grey.shape
        return f"{columns} x {rows} pixels"
    text = f"{panel.view.plane.capitalize()}, slice {panel.index + 1} of {case.segmentation.shape[panel.view.axis]}"
    return canvas.shortened(text, int(width / LETTER))


def _kept(picture: Path) -> tuple[list[str], tuple[int, int, int, int]]:
    """What a picture keeps: names of the structures that the case has, and the place of the panels."""
    notes = canvas.notes_of(picture)
    try:
        left, top, right, bottom = json.loads(notes["panels"])
        found = [str(name) for name in json.loads(notes["found"])]
    except (KeyError, ValueError, TypeError) as error:
        raise AutosegError(f"{picture} was not made by autoseg, or is damaged. Remove it and run the same command again.") from error
    return found, (left, top, right, bottom)


def _small(picture: Path, box: tuple[int, int, int, int], size: tuple[float, float]) -> NDArray[np.uint8]:
    """The panels of a picture, fitted into width and height in inches; black around them."""
    width, height = (round(inches * canvas.DPI) for inches in size)
    try:
        with Image.open(picture) as opened:
            panels = opened.convert("RGB").crop(box)
    except (OSError, SyntaxError, ValueError) as error:
        raise AutosegError(f"{picture} cannot be read: {error}. Remove it and run the same command again.") from error
    scale = min(width / panels.width, height / panels.height)
    panels = panels.resize((max(1, round(panels.width * scale)), max(1, round(panels.height * scale))), Image.Resampling.LANCZOS)
    cell = Image.new("RGB", (width, height))
    cell.paste(panels, ((width - panels.width) // 2, (height - panels.height) // 2))
    return np.asarray(cell)
