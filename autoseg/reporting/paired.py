"""How two or more sets of predictions differ, case by case: a line for each case from contestant to contestant.

- Every case is drawn, so that one case that decides a mean is seen; the bars are the medians, and lie under the dots.
- Distances are on an axis that is even up to 1 (mm or pixels) and logarithmic beyond, so that penalties of hundreds leave room for the rest.
- A case joins a panel only where all contestants have a number; how many do not is said.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from autoseg.errors import AutosegError
from autoseg.reporting import canvas

_PANEL, _LEFT, _GAP, _HEAD, _FOOT = 2.4, 0.9, 0.75, 1.0, 0.85  # inches
_MOST = 6  # structures in one picture
_LONGEST_NAME = 18
_EXPLANATION = "A line is a case, a dot its number. A black bar is the median."


def draw_pairs(
    values: pd.DataFrame, contestants: Sequence[str], targets: Sequence[str], metrics: Mapping[str, str], target: Path, *, title: str
) -> None:
    """Draw a panel for each structure (across) and metric (down).

    Parameters
    ----------
    values : a row for each case, structure and metric; columns case, target, metric, and one of each contestant's name
    contestants : at least two, from left to right
    targets : structures; the first six are drawn, and the heading says so
    metrics : metric -> how its axis is called; what ends in "mm" or "pixels" is a distance
    target : the PNG file
    title : heading of the picture

    Raises
    ------
    AutosegError
        there is nothing to draw, or the file cannot be written
    """
    shown = list(targets)[:_MOST]
    if values.empty or not shown or len(contestants) < 2:
        raise AutosegError(f"There is nothing to draw for {target}: it takes a case, a structure and two contestants.")
    wide = max(_PANEL, 0.8 * len(contestants))
    width = max(_LEFT + len(shown) * (wide + _GAP), 6.0)
    height = _HEAD + len(metrics) * (_PANEL + _FOOT)
    figure = canvas.new_figure(width, height)
    heading = title if len(shown) == len(targets) else f"{title} (the first {len(shown)} of {len(targets)} structures)"
    canvas.write(figure, 0.2, height - 0.2, heading, fontsize=12, fontweight="bold", va="top")
    canvas.write(figure, 0.2, height - 0.48, _EXPLANATION, fontsize=8, color=canvas.QUIET, va="top")
    for row, (metric, name) in enumerate(metrics.items()):
        for column, structure in enumerate(shown):
            bottom = height - _HEAD - (row + 1) * _PANEL - row * _FOOT
            axes = figure.add_axes(((_LEFT + column * (wide + _GAP)) / width, bottom / height, wide / width, _PANEL / height))
            rows = values[(values["target"] == structure) & (values["metric"] == metric)]
            _draw_panel(axes, rows[list(contestants)].to_numpy(dtype=float), contestants, canvas.shortened(structure, _LONGEST_NAME), name)
    canvas.save(figure, target)


def _draw_panel(axes: Axes, values: np.ndarray, contestants: Sequence[str], structure: str, metric: str) -> None:
    known = values[np.isfinite(values).all(axis=1)]
    absent = len(values) - len(known)
    canvas.style_axes(axes, "")
    axes.set_title(f"{structure}{f' ({absent} without a number)' if absent else ''}", loc="left", fontsize=9, color=canvas.INK, parse_math=False)
    places = np.arange(len(contestants))
    axes.plot(places, known.T, color=canvas.QUIET, linewidth=0.5, alpha=0.6, zorder=2)
    for place in places:
        axes.scatter(
            np.full(len(known), place), known[:, place], s=16, color=canvas.class_colour(int(place)), linewidths=0.4, edgecolors="white", zorder=4,
        )  # fmt: skip
        if len(known):
            axes.plot([place - 0.2, place + 0.2], [np.median(known[:, place])] * 2, color=canvas.INK, linewidth=1.8, zorder=3)
    axes.set_xlim(-0.5, len(contestants) - 0.5)
    few = len(contestants) < 3
    axes.set_xticks(
        places, [canvas.shortened(name, _LONGEST_NAME) for name in contestants], parse_math=False, rotation=0 if few else 25,
        ha="center" if few else "right",
    )  # fmt: skip
    if metric.endswith(("mm", "pixels")):
        _stretch(axes, known)
    else:
        _clamp(axes)
    axes.set_ylabel(metric, fontsize=9, color=canvas.INK)


def _stretch(axes: Axes, distances: np.ndarray) -> None:
    largest = max(1.0, float(distances.max())) if distances.size else 1.0
    axes.set_yscale("symlog", linthresh=1.0)
    axes.set_ylim(-0.1, 1.3 * largest)
    ticks = [tick for tick in (0, 1, 3, 10, 30, 100, 300, 1000) if tick <= 1.3 * largest]
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()


def _clamp(axes: Axes) -> None:
    """Room for the dots at 0 and 1, and no tick outside."""
    low, high = axes.get_ylim()
    room = 0.04 * (high - low)
    low, high = max(low, -room), min(high, 1 + room)
    ticks = [tick for tick in axes.get_yticks() if max(low, 0) <= tick <= min(high, 1)]
    axes.set_yticks(ticks)
    axes.set_ylim(low, high)
