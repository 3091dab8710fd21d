"""How good a set of segmentations is: every case's Dice as a dot, for each class or region.

- All cases are shown, not a summary of them; the line is the median or the mean. The worst three are named, because they are the ones to look at.
- A case in which a target is absent from reference and prediction has no Dice: it is counted, not drawn.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from autoseg.errors import AutosegError
from autoseg.reporting import canvas

_WIDTH, _ROW, _HEAD, _FOOT = 9.5, 1.05, 0.55, 0.55  # inches
_NAME_COLUMN = 2.5  # inches
_LONGEST_NAME = 26
_NAMED = 3
_ABOVE = 0.32  # of a row lies above its strip's middle, the names below
_SPREAD = 0.3  # height of a strip, in rows
_GOLDEN = 0.6180339887  # its multiples spread evenly over 0..1, however many there are


def draw_scores(
    evaluation_table: pd.DataFrame, target: Path, *, title: str = "Dice of every case", centre: Literal["median", "mean"] = "median"
) -> None:
    """Draw the distribution of Dice over the cases, a strip for each target.

    Parameters
    ----------
    evaluation_table : a line for each case and target, with columns `case`, `target` (class or region) and `dice` (0..1, or
        not-a-number where the target is in neither); further columns are left alone
    target : the PNG file
    title : heading of the picture
    centre : what the line is and the numbers beside a strip say

    Raises
    ------
    AutosegError
        a column is missing, or there is no line; the file cannot be written
    """
    missing = [name for name in ("case", "target", "dice") if name not in evaluation_table]
    if missing:
        raise AutosegError(f"The evaluation for {target} lacks the columns {', '.join(missing)}. It needs case, target and dice.")
    if evaluation_table.empty:
        raise AutosegError(f"The evaluation for {target} holds no case. Evaluate a folder with at least one.")
    groups = list(evaluation_table.groupby("target", sort=False))
    height = _HEAD + _ROW * len(groups) + _FOOT
    figure = canvas.new_figure(_WIDTH, height)
    left, right = _NAME_COLUMN / _WIDTH, 1 - 0.3 / _WIDTH
    axes = figure.add_axes((left, _FOOT / height, right - left, _ROW * len(groups) / height))
    canvas.style_axes(axes, "")
    canvas.write(figure, 0.2, height - 0.2, title, fontsize=12, fontweight="bold", va="top")
    low = _lower_limit(evaluation_table["dice"].to_numpy(dtype=float))
    span = 1 - low
    axes.set_xlim(low - 0.015 * span, 1 + 0.015 * span)
    axes.set_ylim(len(groups) - _ABOVE, -_ABOVE)
    axes.set_xlabel("Dice", fontsize=9, color=canvas.INK)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    for row, (name, group) in enumerate(groups):
        _draw_strip(axes, row, group["case"].astype(str).to_numpy(), group["dice"].to_numpy(dtype=float), canvas.class_colour(row), centre)
        inches = height - _HEAD - _ROW * (row + _ABOVE)
        canvas.write(figure, 0.2, inches + 0.04, canvas.shortened(str(name), _LONGEST_NAME), fontsize=10, fontweight="bold")
        canvas.write(figure, 0.2, inches - 0.05, _facts(group["dice"].to_numpy(dtype=float), centre), fontsize=8, color=canvas.QUIET, va="top")
    canvas.save(figure, target)


def worst(cases: NDArray[Any], dice: NDArray[np.float64], count: int = _NAMED) -> list[tuple[str, float]]:
    """The `count` cases of lowest Dice, worst first, ties by name; cases without a Dice do not count."""
    known = [(str(case), float(value)) for case, value in zip(cases, dice, strict=True) if np.isfinite(value)]
    return sorted(known, key=lambda pair: (pair[1], pair[0]))[:count]


def _lower_limit(dice: NDArray[np.float64]) -> float:
    """The tenth below the worst case: good and bad sets both fill the width."""
    known = dice[np.isfinite(dice)]
    return max(0.0, float(np.floor(known.min() * 10 - 0.5) / 10)) if len(known) else 0.0


def _facts(dice: NDArray[np.float64], centre: str) -> str:
    known = dice[np.isfinite(dice)]
    text = f"{centre} {_middle(known, centre):.3f}, {len(known)} case{'s' * (len(known) > 1)}" if len(known) else "no case has it"
    absent = len(dice) - len(known)
    return f"{text}\n{absent} without it" if absent and len(known) else text


def _middle(values: NDArray[np.float64], centre: str) -> float:
    return float(values.mean() if centre == "mean" else np.median(values))


def _draw_strip(axes: Axes, row: int, cases: NDArray[Any], dice: NDArray[np.float64], colour: canvas.Colour, centre: str) -> None:
    ordered = worst(cases, dice, len(cases))
    if not ordered:
        return
    x = np.array([value for _, value in ordered])
    y = row + ((np.arange(len(x)) * _GOLDEN + 0.5) % 1 - 0.5) * _SPREAD
    _name_worst(axes, row, [name for name, _ in ordered[:_NAMED]], x, y)
    axes.scatter(x, y, s=24, color=colour, alpha=0.8, linewidths=0.4, edgecolors="white", zorder=3)
    if len(x) > 1:
        middle = _middle(x, centre)
        axes.plot([middle, middle], [row - 0.24, row + 0.24], color=canvas.INK, linewidth=1.8, zorder=4)


def _name_worst(axes: Axes, row: int, names: list[str], x: NDArray[np.floating], y: NDArray[np.floating]) -> None:
    """Names under the strip, each on its own line and joined to its dot; those near the right edge end at their dot."""
    low, high = axes.get_xlim()
    to_the_left = (x[: len(names)] - low) / (high - low) > 0.6
    lines = range(len(names)) if to_the_left.all() else reversed(range(len(names)))  # so that no leader crosses a name
    for i, line in zip(range(len(names)), lines, strict=True):
        at = row + 0.35 + 0.13 * line
        axes.plot([x[i], x[i]], [y[i], at], color=canvas.QUIET, linewidth=0.5, zorder=2)
        axes.annotate(
            canvas.shortened(names[i], _LONGEST_NAME),
            (x[i], at),
            xytext=(-3 if to_the_left[i] else 3, 0),
            textcoords="offset points",
            ha="right" if to_the_left[i] else "left",
            va="center",
            fontsize=7,
            color=canvas.INK,
            parse_math=False,
        )
