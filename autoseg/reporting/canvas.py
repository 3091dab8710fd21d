"""What all pictures share: palette, type, legend, and how they reach the disk.

- `matplotlib.figure.Figure` with the Agg canvas, never pyplot: no global state, so a picture can be drawn in a background thread.
- Okabe and Ito's palette: its colours stay apart for colour-blind eyes; further classes get lighter, then darker shades of it.
- Names that a user chose are drawn as they are: a `$` starts no formula, a leading `_` hides no legend entry.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from PIL import Image

from autoseg.files import atomic

Colour = tuple[float, float, float]

DPI = 110
INK = (0.13, 0.13, 0.13)
QUIET = (0.45, 0.45, 0.45)
FAINT = (0.88, 0.88, 0.88)

ORANGE: Colour = (0.902, 0.624, 0.000)
SKY_BLUE: Colour = (0.337, 0.706, 0.914)
GREEN: Colour = (0.000, 0.620, 0.451)
VERMILION: Colour = (0.835, 0.369, 0.000)
YELLOW: Colour = (0.941, 0.894, 0.259)
PURPLE: Colour = (0.800, 0.475, 0.655)
BLUE: Colour = (0.000, 0.447, 0.698)

# Yellow, purple and blue come last: they mark the differences in overlays, and few datasets have more than four classes.
_PALETTE = (ORANGE, SKY_BLUE, GREEN, VERMILION, YELLOW, PURPLE, BLUE)
_SHADES = ((1.0, 0.0), (0.5, 0.5), (0.55, 0.0))  # (share of the colour, share of white)


def class_colour(index: int) -> Colour:
    """RGB in 0..1 of the foreground class number `index` = 0, 1, ...; the first 21 differ."""
    share, white = _SHADES[index // len(_PALETTE) % len(_SHADES)]
    red, green, blue = _PALETTE[index % len(_PALETTE)]
    return share * red + white, share * green + white, share * blue + white


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure, sides in inches, that `save` can write."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, target: Path, *, notes: Mapping[str, str] | None = None) -> None:
    """Write a figure as PNG, whole or not at all.

    Parameters
    ----------
    notes : text that the file keeps, and `notes_of` reads

    Raises
    ------
    AutosegError
        the file cannot be written
    """
    with atomic(target) as temporary:
        # zlib's default level takes as long as drawing
        figure.savefig(temporary, format="png", dpi=DPI, pil_kwargs={"compress_level": 1}, metadata=dict(notes or {}))


def notes_of(picture: Path) -> dict[str, str]:
    """The text that a PNG keeps; none where there is no such file, or it cannot be read."""
    try:
        with Image.open(picture) as opened:
            return {str(key): value for key, value in opened.info.items() if isinstance(value, str)}
    except (OSError, SyntaxError, ValueError):  # what PIL raises for what is no picture
        return {}


def write(figure: Figure, x: float, y: float, text: str, **style: Any) -> Text:
    """Put a user's text on the figure, at a place in inches from its lower left corner."""
    width, height = figure.get_size_inches()
    return figure.text(x / width, y / height, text, parse_math=False, **{"color": INK, "fontsize": 9, **style})


def shortened(text: str, letters: int) -> str:
    """The text, cut to that many letters with an ellipsis."""
    return text if len(text) <= letters else text[: max(letters - 1, 1)] + "…"


def add_legend(owner: Axes | Figure, handles: Sequence[Artist], names: Sequence[str], **style: Any) -> Legend:
    """A frameless legend; `style` goes to matplotlib's `legend`."""
    empty = [""] * len(names)  # texts are set afterwards, because matplotlib leaves out names that start with an underscore
    options: dict[str, Any] = {"frameon": False, "fontsize": 8, "handlelength": 1.4, "labelcolor": INK, **style}
    legend: Legend = owner.legend(list(handles), empty, **options)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(name)
    return legend


def style_axes(axes: Axes, title: str) -> None:
    """A plot's calm dress: title at the left, no box, a faint grid."""
    axes.set_title(title, loc="left", y=1.02, fontsize=10, color=INK)  # a given height spares matplotlib the search for one
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(QUIET)
    axes.tick_params(labelsize=8, colors=QUIET, labelcolor=INK)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
