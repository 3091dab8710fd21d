"""Segmentations over the scans they belong to.

- A comparison shows many cases, each in one slice that says most.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.data.dataset import Labels
from autoseg.errors import AutosegError
from autoseg.imaging.image import Affine, Spacing3
from autoseg.reporting import canvas
from autoseg.reporting.panels import DIFFERENCES, UNCERTAIN, Panel, add_panel, classes_of, heat_colour, legend_of, take_panel
from autoseg.reporting.planes import largest_slice, view
from autoseg.reporting.rows import Row, new_rows

MOST_ROWS = 100


@dataclass(frozen=True)
class Comparison:
    """One case to look at.

    Attributes
    ----------
    name : the case's name
    image : (Z, Y, X), one channel
    prediction : (Z, Y, X), label values
    reference : (Z, Y, X), label values, or None where nobody knows the truth
    spacing : mm along Z, Y, X
    note : a few words for the caption ("Dice 0.91")
    affine : voxel index (x, y, z, 1) -> RAS mm, as in `Geometry`; None shows slices as they are stored, which suits flat pictures
    window : intensities shown as black and as white; None: percentiles 0.5 and 99.5 of the slice
    uncertainty : (Z, Y, X), 0 certain .. 1 nothing known, or None
    """

    name: str
    image: NDArray[Any]
    prediction: NDArray[Any]
    reference: NDArray[Any] | None
    spacing: Spacing3
    note: str = ""
    affine: Affine | None = None
    window: tuple[float, float] | None = None
    uncertainty: NDArray[Any] | None = None


def draw_comparison(rows: Sequence[Comparison], target: Path, *, labels: Labels | None = None, title: str = "") -> None:
    """Draw a row for each case: scan, reference, prediction, where the two differ, and how uncertain it is, in one slice along Z.

    It is the slice with most foreground, by the reference, or by the prediction where there is no reference or it is empty; the middle one where
    there is none. Where uncertainty and no reference is given, it is the slice with most of that, of those with foreground.

    Parameters
    ----------
    rows : 1 to 100 cases; where none has a reference, only scan and prediction are drawn
    target : the PNG file
    labels : names and order of the label values, and the value to ignore; None: "label 1", "label 2", ... as found
    title : heading of the picture

    Raises
    ------
    AutosegError
        no cases or too many; arrays of a case differ in shape; the file cannot be written
    """
    if not 1 <= len(rows) <= MOST_ROWS:
        raise AutosegError(f"{target} would show {len(rows)} cases. Choose 1 to {MOST_ROWS}.")
    panels = [_chosen_slice(row, labels) for row in rows]
    classes = classes_of(panels, labels)
    legend = legend_of(panels, classes)
    contents = ["scan", "prediction"]
    if any(row.reference is not None for row in rows):
        contents = ["scan", "reference", "prediction", "difference"]
        legend |= DIFFERENCES
    if any(row.uncertainty is not None for row in rows):
        contents.append("uncertainty")
        legend |= {name: heat_colour(share) for name, share in UNCERTAIN.items()}
    written = [Row(row.name, _facts(row, panel), panel.size) for row, panel in zip(rows, panels, strict=True)]
    figure, places = new_rows(written, [content.capitalize() for content in contents], title, legend)
    for panel, boxes in zip(panels, places, strict=True):
        for box, content in zip(boxes, contents, strict=True):
            add_panel(figure, box, panel, content, classes, sides=content == "scan")
    canvas.save(figure, target)


def _facts(row: Comparison, panel: Panel) -> str:
    return "  ·  ".join(filter(None, (row.note, _position(panel, row.image))))


def _position(panel: Panel, image: NDArray[Any]) -> str:
    count = image.shape[panel.view.axis]
    return f"slice {panel.index + 1} of {count}" if count > 1 else ""


def _chosen_slice(row: Comparison, labels: Labels | None) -> Panel:
    _require_one_shape(row)
    foreground = _foreground(row.prediction if row.reference is None else row.reference, labels)
    if not foreground.any():
        foreground = _foreground(row.prediction, labels)
    by_doubt = row.uncertainty if row.reference is None else None
    index = largest_slice(foreground) if by_doubt is None else _most_uncertain(by_doubt, foreground)
    return take_panel(
        row.image, row.prediction, row.reference, view(0, row.affine), index, spacing=row.spacing, window=row.window, uncertainty_ZYX=row.uncertainty
    )  # fmt: skip


def _most_uncertain(uncertainty_ZYX: NDArray[Any], foreground_ZYX: NDArray[np.bool_]) -> int:
    """The slice with most uncertainty, of those with foreground if there are any: the ends of a scan are often uncertain without meaning much."""
    sums_Z = uncertainty_ZYX.sum(axis=(1, 2), dtype=np.float64)
    shown_Z = foreground_ZYX.any(axis=(1, 2))
    return int(np.where(shown_Z | ~shown_Z.any(), sums_Z, -1.0).argmax())


def _foreground(values_ZYX: NDArray[Any], labels: Labels | None) -> NDArray[np.bool_]:
    foreground: NDArray[np.bool_] = values_ZYX != 0
    return foreground if labels is None or labels.ignore is None else foreground & (values_ZYX != labels.ignore)


def _require_one_shape(row: Comparison) -> None:
    for what, array in (("prediction", row.prediction), ("reference", row.reference), ("uncertainty", row.uncertainty)):
        if array is not None and array.shape != row.image.shape:
            raise AutosegError(f"{row.name}: the {what} has shape {array.shape}, the image {row.image.shape}. Both must lie on one grid (Z, Y, X).")
