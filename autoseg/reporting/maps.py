"""Images beside what a network made of them: reconstructions, noisy and denoised scans, and maps of what is unusual.

- One slice a case: that with most of the mask, or the middle one. Every image of a row has the window of its first, so that they can be compared.
- A map is drawn over the dimmed scan, from clear at 0 to pale yellow at the largest value that the row shows, with the outline of the mask.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.data.dataset import Labels
from autoseg.errors import AutosegError
from autoseg.imaging.crop import bounding_box
from autoseg.imaging.image import Affine, Spacing3
from autoseg.reporting import canvas
from autoseg.reporting.panels import Panel, add_panel
from autoseg.reporting.planes import largest_slice, pixel_size, upright, view
from autoseg.reporting.rows import Row, new_rows

_MASK = Labels(("background", "foreground"), (0, 1))
_BRIGHTEST = 99.5  # percentile of a slice's map that is drawn brightest


@dataclass(frozen=True)
class MapRow:
    """One case.

    Attributes
    ----------
    name, note : of the case; a few words for the caption
    images : heading -> (Z, Y, X) of one channel; the first decides the window
    mask : bool (Z, Y, X), what is outlined on the map and decides the slice; None where nothing is
    map : (Z, Y, X), 0 or more, or None
    spacing, affine : of the scan, as in `Geometry`; without an affine slices are shown as they are stored
    """

    name: str
    note: str
    images: Mapping[str, NDArray[Any]]
    mask: NDArray[np.bool_] | None
    map: NDArray[Any] | None
    spacing: Spacing3
    affine: Affine | None = None


def draw_maps(rows: Sequence[MapRow], target: Path) -> None:
    """Draw a row for each case: its images, then its map where it has one.

    Parameters
    ----------
    rows : at least one, all with the same headings
    target : the PNG file

    Raises
    ------
    AutosegError
        there is no row, or the file cannot be written
    """
    if not rows:
        raise AutosegError(f"{target} would show no case. Choose one.")
    drawn = [_panels(row) for row in rows]
    headings = [*rows[0].images, *(["Anomaly map"] if rows[0].map is not None else [])]
    written = [Row(row.name, row.note, panels[0].size) for row, panels in zip(rows, drawn, strict=True)]
    figure, places = new_rows(written, headings)
    for panels, boxes in zip(drawn, places, strict=True):
        for column, (box, panel) in enumerate(zip(boxes, panels, strict=True)):
            add_panel(figure, box, panel, "scan" if panel.uncertainty is None else "uncertainty", _MASK, sides=column == 0)
    canvas.save(figure, target)


def _panels(row: MapRow) -> list[Panel]:
    """One panel an image, and one for the map, all of one slice and cut alike."""
    volumes = list(row.images.values())
    how = view(0, row.affine)
    index = largest_slice(row.mask) if row.mask is not None else len(volumes[0]) // 2
    first = upright(volumes[0], index, how)
    low, high = np.percentile(first, (0.5, 99.5))
    _, rows, columns = bounding_box((first > low + 0.05 * (high - low))[None], margin=max(first.shape) // 30)
    mask = upright(row.mask, index, how)[rows, columns].astype(np.int16) if row.mask is not None else np.zeros(first[rows, columns].shape, np.int16)

    def panel(volume: NDArray[Any], uncertainty: NDArray[np.float64] | None = None) -> Panel:
        grey = np.clip((upright(volume, index, how)[rows, columns] - low) / max(high - low, 1e-12), 0, 1).astype(np.float64)
        return Panel(grey, mask, None, pixel_size(row.spacing, how), how, index, uncertainty)

    panels = [panel(volume) for volume in volumes]
    if row.map is not None:
        shown = upright(row.map, index, how)[rows, columns].astype(np.float64)
        brightest = max(float(np.percentile(shown[shown > 0], _BRIGHTEST)) if (shown > 0).any() else 0.0, 1e-12)
        panels.append(panel(volumes[0], (shown / brightest).clip(0, 1)))
    return panels
