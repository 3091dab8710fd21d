"""How a training goes: loss, pseudo-Dice (or another score), learning rate and time over the epochs, from the run's log.

- Reads the CSV itself, line by line: nothing heavy is imported, and a picture takes a fraction of a second.
- Values that were not measured are left out and the curve goes on; a single epoch is a dot.
"""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from autoseg.errors import AutosegError
from autoseg.progress import duration
from autoseg.reporting import canvas

CLASS_PREFIX = "dice_"
SMOOTHING = 0.9
SCORES = {"psnr": ("PSNR", 1), "accuracy": ("accuracy", 3), "auroc": ("AUROC", 3)}  # where nothing is segmented: names, and digits

_REQUIRED = ("epoch", "elapsed_s", "epoch_s", "learning_rate", "train_loss", "validation_loss", "pseudo_dice")
_NAMED_CLASSES = 12  # more would fill the plot with names
_DOTS_UP_TO = 12  # epochs

Columns = Mapping[str, NDArray[np.float64]]


def draw_progress(log: Path, target: Path) -> None:
    """Draw a run's log.

    Parameters
    ----------
    log : CSV with a line for each epoch: epoch, elapsed_s, epoch_s, learning_rate, train_loss, validation_loss, pseudo_dice,
        and dice_<class name> for each class, psnr, or accuracy and auroc; what was not measured is empty
    target : the PNG file

    Raises
    ------
    AutosegError
        the log is missing, lacks a column or an epoch, or holds something else than numbers; the file cannot be written
    """
    columns = _read(log)
    figure = canvas.new_figure(10.5, 6.4)
    upper = figure.subplots(2, 2, sharex=True, gridspec_kw={"height_ratios": (2, 1)})
    figure.subplots_adjust(left=0.06, right=0.98, top=0.87, bottom=0.08, wspace=0.16, hspace=0.22)
    (loss, dice), (rate, time) = upper
    canvas.write(figure, 0.63, 6.4 - 0.2, _summary(columns), fontsize=12, fontweight="bold", va="top")
    _draw_loss(loss, columns)
    (_draw_scores if set(SCORES) & columns.keys() else _draw_dice)(dice, columns)
    _draw_one(rate, columns, "learning_rate", "Learning rate")
    rate.yaxis.set_major_formatter(lambda value, _: f"{value:g}")  # no power of ten apart from its numbers
    _draw_one(time, columns, "epoch_s", "Seconds per epoch")
    loss.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))  # of all four: they share the axis
    for axes in (rate, time):
        axes.set_ylim(bottom=0)
        axes.set_xlabel("epoch", fontsize=8, color=canvas.QUIET)
    canvas.save(figure, target)


def moving_average(values: NDArray[np.float64], smoothing: float = SMOOTHING) -> NDArray[np.float64]:
    """Exponential moving average that begins as the plain mean: a short run must not look worse than it is.

    Parameters
    ----------
    values : (n,), finite
    smoothing : weight of the past, 0..1

    Returns
    -------
    (n,), with result[i] = (1 - w) * result[i - 1] + w * values[i], w = max(1 - smoothing, 1 / (i + 1))
    """
    result = values.copy()
    for i in range(1, len(result)):
        weight = max(1 - smoothing, 1 / (i + 1))
        result[i] = (1 - weight) * result[i - 1] + weight * values[i]
    return result


def _read(log: Path) -> Columns:
    try:
        with log.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, restval=""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AutosegError(f"The log {log} cannot be read: {error}") from error
    if not rows:
        raise AutosegError(f"The log {log} holds no epoch yet. It can be drawn after the first one.")
    missing = [name for name in _REQUIRED if name not in rows[0]]
    if missing:
        raise AutosegError(f"The log {log} lacks the columns {', '.join(missing)}. Draw the log.csv that training wrote.")
    names = [name for name in rows[0] if name in (*_REQUIRED, *SCORES) or (name or "").startswith(CLASS_PREFIX)]
    return {name: np.array([_number(row[name], name, line, log) for line, row in enumerate(rows, start=2)]) for name in names}


def _number(text: str, name: str, line: int, log: Path) -> float:
    try:
        return float(text) if text.strip() else float("nan")
    except ValueError:
        raise AutosegError(f"The log {log} has '{text}' as {name} in line {line}, where a number belongs. Mend or remove the line.") from None


def _summary(columns: Columns) -> str:
    epochs, elapsed, dice = (_known(columns, name)[1] for name in ("epoch", "elapsed_s", "pseudo_dice"))
    parts = [f"Epoch {epochs[-1]:.0f}"] if len(epochs) else ["Training"]
    if len(elapsed):
        parts.append(duration(elapsed[-1]))
    if len(dice):
        parts.append(f"mean pseudo-Dice {dice[-1]:.3f}, best {dice.max():.3f}")
    for name, (called, digits) in SCORES.items():
        if name in columns and len(values := _known(columns, name)[1]):
            parts.append(f"{called} {values[-1]:.{digits}f}, best {values.max():.{digits}f}")
    return "  ·  ".join(parts)


def _draw_loss(axes: Axes, columns: Columns) -> None:
    canvas.style_axes(axes, "Loss")
    lines = {
        "training": _line(axes, columns, "train_loss", canvas.BLUE),
        "validation": _line(axes, columns, "validation_loss", canvas.VERMILION),
    }
    canvas.add_legend(axes, list(lines.values()), list(lines), loc="upper right")


def _draw_dice(axes: Axes, columns: Columns) -> None:
    canvas.style_axes(axes, "Pseudo-Dice on validation patches")
    classes = [name for name in columns if name.startswith(CLASS_PREFIX)]
    few = len(classes) <= _NAMED_CLASSES
    lines: dict[str, Line2D] = {}
    for index, name in enumerate(classes):
        line = _line(axes, columns, name, canvas.class_colour(index) if few else canvas.FAINT, width=0.9)
        lines[name.removeprefix(CLASS_PREFIX) if few else f"each of {len(classes)} classes"] = line
    lines["mean"] = _line(axes, columns, "pseudo_dice", canvas.QUIET, width=0.9)
    epochs, mean = _known(columns, "pseudo_dice")
    (lines["mean, moving average"],) = axes.plot(epochs, moving_average(mean), color=canvas.INK, linewidth=2)
    axes.set_ylim(0, 1)
    canvas.add_legend(axes, list(lines.values()), list(lines), loc="lower right", ncols=1 + len(lines) // 7)


def _draw_scores(axes: Axes, columns: Columns) -> None:
    """What stands in the place of the pseudo-Dice where nothing is segmented."""
    names = [name for name in SCORES if name in columns]
    canvas.style_axes(axes, " and ".join(SCORES[name][0] for name in names) + " on validation patches")
    lines = {}
    for index, name in enumerate(names):
        lines[SCORES[name][0]] = _line(axes, columns, name, canvas.class_colour(index), width=0.9)
        epochs, values = _known(columns, name)
        axes.plot(epochs, moving_average(values), color=canvas.class_colour(index), linewidth=2)
    if "psnr" not in names:
        axes.set_ylim(0, 1.02)
    canvas.add_legend(axes, list(lines.values()), list(lines), loc="lower right")


def _draw_one(axes: Axes, columns: Columns, name: str, title: str) -> None:
    canvas.style_axes(axes, title)
    _line(axes, columns, name, canvas.BLUE)


def _line(axes: Axes, columns: Columns, name: str, colour: canvas.Colour, width: float = 1.3) -> Line2D:
    epochs, values = _known(columns, name)
    marker = "o" if len(epochs) <= _DOTS_UP_TO else ""
    (line,) = axes.plot(epochs, values, color=colour, linewidth=width, marker=marker, markersize=3.5)
    return line


def _known(columns: Columns, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Epochs at which a column has a value, and the values."""
    known = np.isfinite(columns[name]) & np.isfinite(columns["epoch"])
    return columns["epoch"][known], columns[name][known]
