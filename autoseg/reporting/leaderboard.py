"""What accuracy costs: the mean Dice of every configuration with its interval, against training time and against the time to predict a case.

- Both times are drawn by their logarithm, since configurations differ by factors; ticks are times that people say.
- A configuration keeps its colour in both panels. One whose time is not known is named below the panel, and not drawn in it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from autoseg.errors import AutosegError, listing
from autoseg.reporting import canvas
from autoseg.reporting.labels import Box, place_labels

_PANEL, _HEIGHT, _LEFT, _GAP, _RIGHT, _HEAD, _FOOT = 4.6, 3.6, 0.75, 0.75, 0.25, 0.85, 0.65  # inches
_REMARK = 0.3  # inches, where a configuration is not drawn
_COMFORTABLE = 10  # configurations in a panel of that height
_TALLER = 0.22  # inches for each more
_LONGEST_NAME = 30
_MOST_TICKS = 7
_AXES = {"training_seconds": "training of a fold", "case_seconds": "prediction of a case, one fold"}
_NEEDED = ("configuration", "dice", "low", "high", *_AXES)
_SECOND, _MINUTE, _HOUR, _DAY = 1, 60, 3600, 86400
_TICKS = (
    [(factor * 10**power, f"{factor * 10**power:g} s") for power in (-3, -2, -1) for factor in (1, 2, 5)]
    + [(number * unit, f"{number} {name}") for unit, name in ((_SECOND, "s"), (_MINUTE, "min")) for number in (1, 2, 5, 10, 20, 30)]
    + [(number * _HOUR, f"{number} h") for number in (1, 2, 5, 10)]
    + [(number * _DAY, f"{number} d") for number in (1, 2, 5, 10, 20, 50, 100)]
)


def draw_leaderboard(table: pd.DataFrame, target: Path, *, title: str, explanation: str = "") -> None:
    """Draw the configurations.

    Parameters
    ----------
    table : a row a configuration, best first; columns configuration (name), dice, low, high (0..1; ends not a number where there is no interval),
        training_seconds (of a fold) and case_seconds (to predict a case), not a number where nobody knows
    target : the PNG file
    title, explanation : heading of the picture, and what stands in small letters below it

    Raises
    ------
    AutosegError
        there is no configuration, a column is missing, or the file cannot be written
    """
    if missing := [name for name in _NEEDED if name not in table]:
        raise AutosegError(f"The configurations for {target} lack the columns {', '.join(missing)}.")
    if table.empty:
        raise AutosegError(f"There is no configuration to draw for {target}.")
    tall = _HEIGHT + _TALLER * max(0, len(table) - _COMFORTABLE)
    foot = _FOOT if all(_drawable(table, column).all() for column in _AXES) else _FOOT + _REMARK
    width, height = _LEFT + 2 * _PANEL + _GAP + _RIGHT, _HEAD + tall + foot
    figure = canvas.new_figure(width, height)
    canvas.write(figure, 0.2, height - 0.2, title, fontsize=12, fontweight="bold", va="top")
    canvas.write(figure, 0.2, height - 0.48, explanation, fontsize=8, color=canvas.QUIET, va="top")
    for place, (column, label) in enumerate(_AXES.items()):
        left = _LEFT + place * (_PANEL + _GAP)
        axes = figure.add_axes((left / width, foot / height, _PANEL / width, tall / height))
        known = _drawable(table, column)
        _draw(figure, axes, table, known, column, label)
        untold = [str(name) for name, there in zip(table["configuration"], known, strict=True) if not there]
        canvas.write(figure, left, 0.2, f"No time or no Dice: {listing(untold, limit=3)}" if untold else "", fontsize=8, color=canvas.QUIET)
    canvas.save(figure, target)


def _drawable(table: pd.DataFrame, column: str) -> np.ndarray:
    """Which configurations have a place: a Dice, and a time above zero."""
    times = table[column].to_numpy(dtype=float)
    drawable: np.ndarray = np.isfinite(times) & (np.nan_to_num(times) > 0) & np.isfinite(table["dice"].to_numpy(dtype=float))
    return drawable


def _draw(figure: Figure, axes: Axes, table: pd.DataFrame, known: np.ndarray, column: str, label: str) -> None:
    canvas.style_axes(axes, "")
    axes.set_xlabel(f"{label} (logarithmic)", fontsize=9, color=canvas.INK)
    axes.set_ylabel("mean Dice", fontsize=9, color=canvas.INK)
    shown = table[known]
    numbers = np.flatnonzero(known)
    axes.set_ylim(*_limits(table[["dice", "low", "high"]].to_numpy(dtype=float)))
    if shown.empty:
        axes.set_xticks([])
        axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", color=canvas.QUIET)
        return
    x = shown[column].to_numpy(dtype=float)
    _time_axis(axes, x)
    y, low, high = (shown[name].to_numpy(dtype=float) for name in ("dice", "low", "high"))
    for place, number in enumerate(numbers):
        colour = canvas.class_colour(int(number))
        if np.isfinite(low[place]):
            axes.plot([x[place]] * 2, [low[place], high[place]], color=colour, linewidth=1.6, solid_capstyle="butt", zorder=3)
        axes.scatter([x[place]], [y[place]], s=38, color=colour, edgecolors="white", linewidths=0.7, zorder=4)
    _name_points(figure, axes, [canvas.shortened(str(name), _LONGEST_NAME) for name in shown["configuration"]], x, y, low, high)


def _limits(values: np.ndarray) -> tuple[float, float]:
    """Room for all points and intervals, and a little more for names."""
    known = values[np.isfinite(values)]
    if not len(known):
        return 0.0, 1.0
    margin = max(0.12 * float(np.ptp(known)), 0.005)
    return float(known.min()) - margin, float(known.max()) + margin


def _time_axis(axes: Axes, seconds: np.ndarray) -> None:
    low, high = float(seconds.min()) / 2.2, float(seconds.max()) * 2.2
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = [tick for tick in _TICKS if low <= tick[0] <= high]
    ticks = ticks[:: -(-len(ticks) // _MOST_TICKS) or 1]
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks([at for at, _ in ticks], [said for _, said in ticks])


def _name_points(figure: Figure, axes: Axes, names: Sequence[str], x: np.ndarray, y: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    texts = [axes.text(0, 0, name, fontsize=8, color=canvas.INK, parse_math=False, ha="left", va="bottom", zorder=5) for name in names]
    extents = [text.get_window_extent(renderer) for text in texts]
    points = axes.transData.transform(np.column_stack([x, y]))
    ends = [axes.transData.transform(np.column_stack([x, np.where(np.isfinite(edge), edge, y)])) for edge in (low, high)]
    taken: list[Box] = [(px - 5, py - 5, px + 5, py + 5) for px, py in points]
    taken += [(px - 2, bottom, px + 2, top) for (px, _), bottom, top in zip(points, ends[0][:, 1], ends[1][:, 1], strict=True)]
    frame = axes.get_window_extent(renderer)
    places = place_labels(
        points, np.array([(extent.width, extent.height) for extent in extents]), (frame.x0 + 4, frame.y0 + 4, frame.x1, frame.y1), taken
    )
    back = axes.transData.inverted()
    unnamed = []
    for text, box, point, name in zip(texts, places, points, names, strict=True):
        if box is None:
            text.remove()
            unnamed.append(name)
            continue
        text.set_position(tuple(back.transform((box[0], box[1]))))
        _lead(axes, point, box)
    if unnamed:
        axes.set_title(f"No room for the names of {listing(unnamed, limit=3)}", loc="left", fontsize=7, color=canvas.QUIET)


def _lead(axes: Axes, point: np.ndarray, box: Box) -> None:
    """A line from a point to a name that is not right beside it."""
    end = np.array([np.clip(point[0], box[0], box[2]), np.clip(point[1], box[1], box[3])])
    if np.hypot(*(end - point)) > 14:
        (x0, y0), (x1, y1) = axes.transData.inverted().transform([point, end])
        axes.plot([x0, x1], [y0, y1], color=canvas.QUIET, linewidth=0.5, zorder=2)
