"""One panel of an overlay: a slice in grey, or in its own colours, with classes, outlines or differences on it.

- Colours are blended at the slice's own resolution; outlines follow the edges of voxels smoothly. All of it is to scale in millimetres.
- Empty margins of the scan are cut off, never a label.
- Differences speak of foreground: found though not there, missed, or found under another class's name. Ignored voxels never differ.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from autoseg.data.dataset import Labels
from autoseg.imaging.image import Spacing3
from autoseg.reporting import canvas
from autoseg.reporting.planes import View, pixel_size, upright

DIFFERENCES = {"false positive": canvas.PURPLE, "false negative": canvas.YELLOW, "wrong class": canvas.BLUE}

UNCERTAIN = {"hardly uncertain": 0.2, "uncertain": 0.6, "nothing known": 1.0}

_OPACITY = 0.5
_DIFFERENCE_OPACITY = 0.8
_CONTOUR = (0.35, 0.85, 1.0)  # of what was segmented; no colour of uncertainty
_RIM, _WIDEST_RIM = 1.2, 2.4  # points that the edges of structures have more than of those above them
_HALO, _HALO_COLOUR = 1.0, (0.1, 0.1, 0.1)  # parts an edge from any picture
_DIMMED = 0.6  # the scan under differences, so that yellow stays visible on bright tumours
_MARGIN = 0.03  # of the content's longer side is kept around it


@dataclass(frozen=True)
class Panel:
    """An upright slice, (rows, columns).

    Attributes
    ----------
    grey : 0 black .. 1 white
    prediction, reference : label values; no reference where nobody knows the truth
    uncertainty : 0..1, or None where it is not known
    pixel : height and width of a pixel in mm
    view : how the slice was taken
    index : which slice along `view.axis`
    colours : of a picture, (rows, columns, 3) in 0..1, shown instead of grey; or None
    """

    grey: NDArray[np.float64]
    prediction: NDArray[Any]
    reference: NDArray[Any] | None
    pixel: tuple[float, float]
    view: View
    index: int
    uncertainty: NDArray[np.float64] | None = None
    colours: NDArray[np.float64] | None = None

    @property
    def size(self) -> tuple[float, float]:
        """Height and width in mm."""
        rows, columns = self.grey.shape
        return rows * self.pixel[0], columns * self.pixel[1]


def take_panel(
    image_ZYX: NDArray[Any],
    prediction_ZYX: NDArray[Any],
    reference_ZYX: NDArray[Any] | None,
    how: View,
    index: int,
    *,
    spacing: Spacing3,
    window: tuple[float, float] | None = None,
    uncertainty_ZYX: NDArray[Any] | None = None,
    colours_CZYX: NDArray[Any] | None = None,
    whole: bool = False,
) -> Panel:
    """Take slice `index` of a case.

    Parameters
    ----------
    image_ZYX, prediction_ZYX, reference_ZYX : one shape; intensities, label values, label values or None
    how : the view
    index : slice along the view's axis
    spacing : mm along Z, Y, X
    window : intensities shown as black and as white; None: percentiles 0.5 and 99.5 of the slice
    uncertainty_ZYX : 0..1, of the same shape, or None
    colours_CZYX : red, green and blue in 0..1, or None
    whole : cut nothing off

    Returns
    -------
    Panel, cut to what is brighter than black and to the labels unless it is to be whole
    """
    grey = _grey(upright(image_ZYX, index, how), window)
    prediction = upright(prediction_ZYX, index, how)
    reference = None if reference_ZYX is None else upright(reference_ZYX, index, how)
    content = (grey > 0.05) | (prediction != 0)
    if reference is not None:
        content |= reference != 0
    pixel = pixel_size(spacing, how)
    cut = (slice(None), slice(None)) if whole else _bounding_box(content, pixel)
    doubt = None if uncertainty_ZYX is None else upright(uncertainty_ZYX, index, how)[cut].astype(np.float64)
    colours = None if colours_CZYX is None else np.stack([upright(channel, index, how)[cut] for channel in colours_CZYX], axis=-1).astype(np.float64)
    return Panel(grey[cut], prediction[cut], None if reference is None else reference[cut], pixel, how, index, doubt, colours)


def classes_of(panels: Iterable[Panel], labels: Labels | None) -> Labels:
    """The dataset's labels, or "label 1", "label 2", ... as found; a value nobody declared is added under such a name."""
    arrays = [array for panel in panels for array in (panel.prediction, panel.reference) if array is not None]
    found = {int(value) for array in arrays for value in np.unique(array)}
    known = labels or Labels(("background",), (0,))
    further = sorted(found - set(known.allowed))
    names = (*known.names, *(f"label {value}" for value in further))
    return Labels(names, (*known.values, *further), ignore=known.ignore)


def legend_of(panels: Iterable[Panel], classes: Labels) -> dict[str, canvas.Colour]:
    """Name and colour of each class that the panels show."""
    arrays = [array for panel in panels for array in (panel.prediction, panel.reference) if array is not None]
    shown = sorted({int(k) for array in arrays for k in np.unique(classes.to_classes(array)) if k > 0})
    return {classes.names[k]: canvas.class_colour(k - 1) for k in shown}


def difference(prediction: NDArray[np.integer], reference: NDArray[np.integer]) -> NDArray[np.int16]:
    """Compare classes (0 background, -1 ignored), any one shape: 0 same, 1 false positive, 2 false negative, 3 wrong class."""
    found, there = prediction > 0, reference > 0
    result = np.select([found & ~there, there & ~found, found & there & (prediction != reference)], [1, 2, 3], 0)
    return np.where(reference < 0, 0, result).astype(np.int16)


def add_panel(figure: Figure, box: tuple[float, float, float, float], panel: Panel, content: str, classes: Labels, *, sides: bool = False) -> None:
    """Draw a panel.

    Parameters
    ----------
    figure : what to draw on
    box : left, bottom, width, height in inches; the slice is fitted in, the rest is black
    panel : the slice
    content : "scan", "reference", "prediction", "difference" or "uncertainty"
    classes : what the label values mean
    sides : mark the left and right edge with the letters of the patient's sides, where they are known
    """
    axes = _axes(figure, box, panel)
    prediction = classes.to_classes(panel.prediction)
    reference = None if panel.reference is None else classes.to_classes(panel.reference)
    if reference is None and content in ("reference", "difference"):
        _show(axes, panel.grey, panel)
        _letter(axes, 0.5, "no reference", "center")
    elif content == "scan":
        _show(axes, panel.grey, panel)
    elif content == "uncertainty" and panel.uncertainty is not None:
        _show(axes, _DIMMED * panel.grey, panel)
        _heat(axes, panel, panel.uncertainty)
        _outline(axes, panel, prediction > 0, _CONTOUR, 0.9)
    elif content == "difference" and reference is not None:
        _show(axes, _DIMMED * panel.grey, panel)
        _paint(axes, panel, difference(prediction, reference), (*DIFFERENCES.values(),), _DIFFERENCE_OPACITY)
        _outline(axes, panel, reference > 0, (1.0, 1.0, 1.0), 0.7)
    else:
        shown = reference if content == "reference" and reference is not None else prediction
        colours = tuple(canvas.class_colour(k) for k in range(len(classes.names) - 1))
        _show(axes, panel.grey, panel)
        _paint(axes, panel, shown, colours, _OPACITY)
        for k in np.unique(shown):
            if k > 0:
                _outline(axes, panel, shown == k, colours[int(k) - 1], 1.1)
    if sides:
        _sides(axes, panel)


def add_outlines(
    figure: Figure, box: tuple[float, float, float, float], panel: Panel, structures: Sequence[tuple[Sequence[int], canvas.Colour]], *, edge: float
) -> None:
    """Draw a slice with the edges of structures, which may overlap, and the letters of the patient's sides where they are known.

    Parameters
    ----------
    figure : what to draw on
    box : left, bottom, width, height in inches; the slice is fitted in, the rest is black
    panel : the slice
    structures : the label values that each unites, and its colour; later over earlier, which are wider, so that of edges at one place all are seen
    edge : width of the uppermost, in points
    """
    axes = _axes(figure, box, panel)
    _show(axes, panel.grey if panel.colours is None else panel.colours, panel)
    widths = [edge + min(_RIM * above, _WIDEST_RIM) for above in reversed(range(len(structures)))]
    for (values, _), width in zip(structures, widths, strict=True):
        _outline(axes, panel, np.isin(panel.prediction, values), _HALO_COLOUR, width + _HALO)
    for (values, colour), width in zip(structures, widths, strict=True):
        _outline(axes, panel, np.isin(panel.prediction, values), colour, width)
    _sides(axes, panel)


def _grey(plane: NDArray[Any], window: tuple[float, float] | None) -> NDArray[np.float64]:
    low, high = np.percentile(plane, (0.5, 99.5)) if window is None else window
    return np.clip((plane - low) / max(high - low, 1e-12), 0.0, 1.0).astype(np.float64)


def _bounding_box(content: NDArray[np.bool_], pixel: tuple[float, float]) -> tuple[slice, slice]:
    """Where the content lies, with a margin; everything without content."""
    lines = [np.flatnonzero(content.any(axis=1 - axis)) for axis in range(2)]
    if not len(lines[0]):
        return slice(None), slice(None)
    margin = _MARGIN * max((indices[-1] - indices[0] + 1) * size for indices, size in zip(lines, pixel, strict=True))
    rows, columns = (
        slice(max(0, int(indices[0] - margin // size)), int(indices[-1] + margin // size) + 1) for indices, size in zip(lines, pixel, strict=True)
    )
    return rows, columns


def _axes(figure: Figure, box: tuple[float, float, float, float], panel: Panel) -> Axes:
    """Black axes in mm, one scale for both directions, the slice in the middle."""
    width, height = figure.get_size_inches()
    left, bottom, box_width, box_height = box
    axes = figure.add_axes((left / width, bottom / height, box_width / width, box_height / height), facecolor="black")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    panel_height, panel_width = panel.size
    mm_per_inch = max(panel_height / box_height, panel_width / box_width)
    axes.set_xlim(panel_width / 2 - mm_per_inch * box_width / 2, panel_width / 2 + mm_per_inch * box_width / 2)
    axes.set_ylim(panel_height / 2 + mm_per_inch * box_height / 2, panel_height / 2 - mm_per_inch * box_height / 2)
    return axes


def _show(axes: Axes, picture: NDArray[np.float64], panel: Panel) -> None:
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, **_placed(axes, panel), interpolation="bilinear")


def _paint(axes: Axes, panel: Panel, index: NDArray[np.integer], colours: tuple[canvas.Colour, ...], opacity: float) -> None:
    """Blend colour k - 1 over the pixels of index k = 1, 2, ..."""
    paint = np.zeros((*index.shape, 4))
    for k in np.unique(index[index > 0]):
        paint[index == k] = (*colours[k - 1], opacity)
    axes.imshow(paint, **_placed(axes, panel), interpolation="nearest")


def heat_colour(share: float) -> canvas.Colour:
    """Of an uncertainty 0..1: from dark over red to pale yellow."""
    red, green, blue, _ = colormaps["inferno"](share)
    return float(red), float(green), float(blue)


def _heat(axes: Axes, panel: Panel, share: NDArray[np.float64]) -> None:
    """Colours from clear at 0 over red to pale yellow at 1."""
    paint = colormaps["inferno"](share)
    paint[..., 3] = np.sqrt(share.clip(0, 1))  # what is slightly uncertain can be seen too
    axes.imshow(paint, **_placed(axes, panel), interpolation="nearest")


def _placed(axes: Axes, panel: Panel) -> dict[str, Any]:
    """Where an image lies, in mm; matplotlib would otherwise narrow the axes to it."""
    height, width = panel.size
    axes.set_autoscale_on(False)
    return {"extent": (0.0, width, height, 0.0), "aspect": "auto"}


def _outline(axes: Axes, panel: Panel, mask: NDArray[np.bool_], colour: canvas.Colour, width: float) -> None:
    rows, columns = mask.shape
    padded = np.pad(mask, 1).astype(float)  # an outline closes at the edge of the slice
    y, x = (np.arange(-1, n + 1) + 0.5 for n in (rows, columns))
    if mask.any():
        axes.contour(x * panel.pixel[1], y * panel.pixel[0], padded, levels=[0.5], colors=[colour], linewidths=width)


def _sides(axes: Axes, panel: Panel) -> None:
    if panel.view.ends is not None:
        _letter(axes, 0.02, panel.view.ends[0], "left")
        _letter(axes, 0.98, panel.view.ends[1], "right")


def _letter(axes: Axes, x: float, text: str, side: str) -> None:
    outline = [withStroke(linewidth=2, foreground="black")]
    axes.text(x, 0.5, text, transform=axes.transAxes, ha=side, va="center", color="white", fontsize=9, path_effects=outline)
