"""A figure with a title above, a legend below, and room between them; laid out in inches by hand."""

from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from autoseg.reporting import canvas

# Inches
MARGIN = 0.2
LETTER = 0.075  # width of a letter of 9 points
_TITLE = 0.36
_TITLE_LETTER = 0.12  # of 12 points
_LEAST_TITLE = 7.0  # points
_LEGEND_LINE = 0.22


@dataclass(frozen=True)
class Sheet:
    """A figure with title and legend in place; `top`, in inches from below, is where the content starts."""

    figure: Figure
    top: float


def new_sheet(width: float, height: float, title: str, legend: Mapping[str, canvas.Colour]) -> Sheet:
    """Make room, in inches, for content of that size within margins, a title above and a legend below."""
    entries = [len(name) * LETTER + 0.5 for name in legend] or [0.0]
    columns = len(legend) if sum(entries) <= width else max(1, int(width / max(entries)))
    foot = 0.1 + _LEGEND_LINE * -(-len(legend) // columns) if legend else 0.0
    top = MARGIN + foot + height
    figure = canvas.new_figure(width + 2 * MARGIN, top + (_TITLE if title else 0.0) + MARGIN)
    if title:
        size = min(12.0, max(_LEAST_TITLE, 12 * width / (len(title) * _TITLE_LETTER)))
        letters = len(title) if size > _LEAST_TITLE else int(12 * width / (size * _TITLE_LETTER))
        canvas.write(figure, MARGIN, top + _TITLE, canvas.shortened(title, letters), fontsize=size, fontweight="bold", va="top")
    if legend:
        patches = [Patch(color=colour) for colour in legend.values()]
        place = (MARGIN / (width + 2 * MARGIN), 0.6 * MARGIN / float(figure.get_size_inches()[1]))
        canvas.add_legend(figure, patches, list(legend), ncols=columns, loc="lower left", bbox_to_anchor=place, borderaxespad=0.0, borderpad=0.0)
    return Sheet(figure, top)
