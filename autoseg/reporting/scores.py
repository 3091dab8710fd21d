"""How good a set of segmentations is: every case's Dice as a dot, for each class or region.

- All cases are shown, not a summary of them; the line is the median or the mean. The worst three are named, because they are the ones to look at.
- A case in which a target is absent from reference and prediction has no Dice: it is counted, not drawn.
- Strips of one colour belong together: each target has its own, unless the caller says which share one.
"""

from collections.abc import Mapping
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
_EXPLANATION = 0.25  # inches, where there is one
_LONGEST_NAME = 26
_NAMED = 3
_ABOVE = 0.32  # of a row lies above its strip's middle, the names below
_SPREAD = 0.3  # height of a strip, in rows
_GOLDEN = 0.6180339887  # its multiples spread evenly over 0..1, however many there are


def draw_scores(
    evaluation_table: pd.DataFrame,
    target: Path,
    *,
    title: str = "Dice of every case",
    explanation: str = "",
    centre: Literal["median", "mean"] = "median",
    means: Mapping[str, tuple[float, float, float]] | None = None,
    colours: Mapping[str, int] | None = None,
) -> None:
    """Draw the distribution of Dice over the cases, a strip for each target.

    Parameters
    ----------
    evaluation_table : a line for each case and target, with columns `case`, `target` (class or region) and `dice` (0..1, or
        not-a-number where the target is in neither); further columns are left alone
    target : the PNG file
    title, explanation : heading of the picture, and what stands in small letters below
    centre : what the line is and the numbers beside a strip say
    means : target -> the number of the line, where it is not that of the dots, and the ends of its 95 % interval, not-a-number where it has none
    colours : target -> number of its colour, 0, 1, ...; by default each has its own

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
    head = _HEAD + (_EXPLANATION if explanation else 0)
    height = head + _ROW * len(groups) + _FOOT
    figure = canvas.new_figure(_WIDTH, height)
    left, right = _NAME_COLUMN / _WIDTH, 1 - 0.3 / _WIDTH
    axes = figure.add_axes((left, _FOOT / height, right - left, _ROW * len(groups) / height))
    _dress(axes, evaluation_table["dice"].to_numpy(dtype=float), len(groups))
    canvas.write(figure, 0.2, height - 0.2, title, fontsize=12, fontweight="bold", va="top")
    canvas.write(figure, 0.2, height - 0.48, explanation, fontsize=8, color=canvas.QUIET, va="top")
    for row, (name, group) in enumerate(groups):
        dice = group["dice"].to_numpy(dtype=float)
        middle = (means or {}).get(str(name), (_middle(dice, centre), np.nan, np.nan))
        colour = canvas.class_colour((colours or {}).get(str(name), row))
        _draw_strip(axes, row, group["case"].astype(str).to_numpy(), dice, colour, middle)
        inches = height - head - _ROW * (row + _ABOVE)
        canvas.write(figure, 0.2, inches + 0.04, canvas.shortened(str(name), _LONGEST_NAME), fontsize=10, fontweight="bold")
        canvas.write(figure, 0.2, inches - 0.05, _facts(dice, centre, middle), fontsize=8, color=canvas.QUIET, va="top")
    canvas.save(figure, target)


def worst(cases: NDArray[Any], dice: NDArray[np.float64], count: int = _NAMED) -> list[tuple[str, float]]:
    """The `count` cases of lowest Dice, worst first, ties by name; cases without a Dice do not count."""
    known = [(str(case), float(value)) for case, value in zip(cases, dice, strict=True) if np.isfinite(value)]
    return sorted(known, key=lambda pair: (pair[1], pair[0]))[:count]


def _dress(axes: Axes, dice: NDArray[np.float64], rows: int) -> None:
    canvas.style_axes(axes, "")
    low = _lower_limit(dice)
    span = 1 - low
    axes.set_xlim(low - 0.015 * span, 1 + 0.015 * span)
    axes.set_ylim(rows - _ABOVE, -_ABOVE)
    axes.set_xlabel("Dice", fontsize=9, color=canvas.INK)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def _lower_limit(dice: NDArray[np.float64]) -> float:
    """The tenth below the worst case: good and bad sets both fill the width."""
    known = dice[np.isfinite(dice)]
    return max(0.0, float(np.floor(known.min() * 10 - 0.5) / 10)) if len(known) else 0.0


def _facts(dice: NDArray[np.float64], centre: str, middle: tuple[float, float, float]) -> str:
    count = int(np.isfinite(dice).sum())
    absent = len(dice) - count
    if not count:
        return "no case has it"
    lines = [f"{centre} {middle[0]:.3f}, {count} case{'s' * (count > 1)}"]
    lines += [f"95 %: {middle[1]:.3f} to {middle[2]:.3f}"] if np.isfinite(middle[1]) else []
    return "\n".join(lines + ([f"{absent} without it"] if absent else []))


def _middle(dice: NDArray[np.float64], centre: str) -> float:
    known = dice[np.isfinite(dice)]
    return float(known.mean() if centre == "mean" else np.median(known)) if len(known) else np.nan


def _draw_strip(
    axes: Axes, row: int, cases: NDArray[Any], dice: NDArray[np.float64], colour: canvas.Colour, middle: tuple[float, float, float]
) -> None:
    ordered = worst(cases, dice, len(cases))
    if not ordered:
        return
    x = np.array([value for _, value in ordered])
    y = row + ((np.arange(len(x)) * _GOLDEN + 0.5) % 1 - 0.5) * _SPREAD
    _name_worst(axes, row, [name for name, _ in ordered[:_NAMED]], x, y)
    axes.scatter(x, y, s=24, color=colour, alpha=0.8, linewidths=0.4, edgecolors="white", zorder=3)
    mean, low, high = middle
    if np.isfinite(low):
        axes.fill_between([low, high], row - 0.24, row + 0.24, color=colour, alpha=0.25, linewidth=0, zorder=1)
    if len(x) > 1:
        axes.plot([mean, mean], [row - 0.24, row + 0.24], color=canvas.INK, linewidth=1.8, zorder=4)


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
