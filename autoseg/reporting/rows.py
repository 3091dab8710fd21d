"""A picture of rows, one a case: its name and a few facts above as many panels as there are headings.

- Laid out in inches by hand: every panel has its place, and a picture of any number of rows looks the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from autoseg.reporting import canvas
from autoseg.reporting.sheet import LETTER, MARGIN, new_sheet

# Inches
_PANEL = 2.4
_GAP = 0.06
_HEADING = 0.22
_CAPTION = 0.3

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Row:
    """What is written above a row, and height and width of what is shown in it, in mm."""

    name: str
    facts: str
    size: tuple[float, float]


def new_rows(
    rows: Sequence[Row], headings: Sequence[str], title: str = "", legend: Mapping[str, canvas.Colour] | None = None
) -> tuple[Figure, list[list[Box]]]:
    """A figure with all that is written, and the boxes (left, bottom, width, height) of its panels in inches, for each row one a heading."""
    heights = [_PANEL * float(np.clip(row.size[0] / row.size[1], 0.4, 1.3)) for row in rows]
    width = len(headings) * (_PANEL + _GAP) - _GAP
    sheet = new_sheet(width, _HEADING + sum(heights) + _CAPTION * len(rows), title, legend or {})
    lefts = [MARGIN + column * (_PANEL + _GAP) for column in range(len(headings))]
    for left, heading in zip(lefts, headings, strict=True):
        canvas.write(sheet.figure, left, sheet.top - 0.1, heading, color=canvas.QUIET, va="top")
    y = sheet.top - _HEADING
    boxes: list[list[Box]] = []
    for row, height in zip(rows, heights, strict=True):
        y -= _CAPTION + height
        _caption(sheet.figure, width, y + height + 0.07, row)
        boxes.append([(left, y, _PANEL, height) for left in lefts])
    return sheet.figure, boxes


def _caption(figure: Figure, width: float, y: float, row: Row) -> None:
    """The case's name at the left, what is known about it at the right; a name too long for the line is cut."""
    room = max(8, int(width / LETTER) - len(row.facts) - 2)
    canvas.write(figure, MARGIN, y, canvas.shortened(row.name, room), fontweight="bold")
    canvas.write(figure, MARGIN + width, y, row.facts, color=canvas.QUIET, ha="right")
