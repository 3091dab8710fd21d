"""Candidates for a selection side by side: how good each is, and how far from the best one on the same cases.

- Two panels, because they answer two questions: intervals of means tell how patients differ, intervals of differences how candidates do.
- The band in the second panel is the margin within which a cheaper candidate is taken; the one that was taken is drawn in colour.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from autoseg.errors import AutosegError
from autoseg.reporting import canvas

_NAMES, _PANEL, _GAP, _RIGHT, _ROW, _HEAD, _FOOT = 3.0, 3.4, 0.5, 0.3, 0.42, 0.6, 0.85  # inches
_MOST = 20  # candidates in one picture
_LONGEST_NAME = 44
_NEEDED = ("candidate", "cost", "dice", "low", "high", "difference", "difference_low", "difference_high")


def draw_candidates(table: pd.DataFrame, chosen: str, target: Path, *, margin: float, title: str) -> None:
    """Draw a line for each candidate.

    Parameters
    ----------
    table : a row a candidate, the best first; columns candidate (name), cost (relative), dice, low, high (0..1), difference, difference_low,
        difference_high (to the best, 0..1); not a number where there is no interval. The first twenty are drawn, and the heading says so
    chosen : the candidate that was taken
    target : the PNG file
    margin : of Dice, 0..1, within which a cheaper candidate is taken
    title : heading of the picture

    Raises
    ------
    AutosegError
        there is no candidate, a column is missing, or the file cannot be written
    """
    if missing := [name for name in _NEEDED if name not in table]:
        raise AutosegError(f"The candidates for {target} lack the columns {', '.join(missing)}.")
    if table.empty:
        raise AutosegError(f"There is no candidate to draw for {target}.")
    shown = table[:_MOST]
    width, height = _NAMES + 2 * _PANEL + _GAP + _RIGHT, _HEAD + _ROW * len(shown) + _FOOT
    figure = canvas.new_figure(width, height)
    heading = title if len(shown) == len(table) else f"{title} (the best {len(shown)} of {len(table)})"
    canvas.write(figure, 0.2, height - 0.2, heading, fontsize=12, fontweight="bold", va="top")
    panels = [
        figure.add_axes(((_NAMES + place * (_PANEL + _GAP)) / width, _FOOT / height, _PANEL / width, _ROW * len(shown) / height)) for place in (0, 1)
    ]
    taken = (shown["candidate"] == chosen).to_numpy()
    _draw(panels[0], shown[["dice", "low", "high"]].to_numpy(dtype=float), taken, "Dice")
    panels[1].axvspan(-100 * margin, 0, color=canvas.FAINT, zorder=0)
    _draw(
        panels[1],
        100 * shown[["difference", "difference_low", "difference_high"]].to_numpy(dtype=float),
        taken,
        "difference to the best, Dice points",
    )
    for row, (name, cost) in enumerate(zip(shown["candidate"], shown["cost"], strict=True)):
        y = _FOOT + _ROW * (len(shown) - row - 0.5)
        weight = "bold" if taken[row] else "normal"
        canvas.write(figure, 0.2, y + 0.02, canvas.shortened(str(name), _LONGEST_NAME), fontsize=9, fontweight=weight)
        canvas.write(figure, 0.2, y - 0.02, f"cost {cost:.3g} x{', chosen' if taken[row] else ''}", fontsize=7, color=canvas.QUIET, va="top")
    band = f"Grey band: within {100 * margin:g} Dice points of the best, where a cheaper one is taken."
    canvas.write(figure, 0.2, 0.15, f"Cost: arithmetic of a prediction, in units of the cheapest. {band}", fontsize=8, color=canvas.QUIET)
    canvas.save(figure, target)


def _draw(axes: Axes, values: np.ndarray, taken: np.ndarray, label: str) -> None:
    """Points with their intervals; `values` has the columns middle, low, high."""
    canvas.style_axes(axes, "")
    for row, (middle, low, high) in enumerate(values):
        colour = canvas.BLUE if taken[row] else canvas.QUIET
        axes.plot([low, high], [row, row], color=colour, linewidth=2.2 if taken[row] else 1.4, solid_capstyle="butt", zorder=3)
        axes.scatter([middle], [row], s=34, color=colour, edgecolors="white", linewidths=0.6, zorder=4)
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(label, fontsize=9, color=canvas.INK)
    axes.locator_params(axis="x", nbins=6)
