"""How well classes were told, as a picture: for slices and for cases the confusion matrix and the ROC curve.

- A cell's shade is its share of the true class, so that a rare class is seen; its number is the count.
- With more than two classes there is a curve for each, against all others. Where a class has no example there is no curve.
"""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from autoseg.evaluation.classification import ClassEvaluation, Scores, auroc, roc_curve
from autoseg.reporting import canvas

_WIDTH, _ROW, _HEAD = 8.2, 3.65, 0.35  # inches
_SHADES = LinearSegmentedColormap.from_list("share", [(1, 1, 1), canvas.SKY_BLUE])
_LONGEST_NAME = 14
_MOST_NAMED = 8  # classes whose curves have names


def draw_classification(evaluation: ClassEvaluation, target: Path, *, title: str = "") -> None:
    """Draw a row for each level.

    Parameters
    ----------
    evaluation : what was found
    target : the PNG file
    title : heading; by default what was told

    Raises
    ------
    AutosegError
        the file cannot be written
    """
    height = _HEAD + _ROW * len(evaluation.levels)
    figure = canvas.new_figure(_WIDTH, height)
    canvas.write(figure, 0.25, height - 0.2, title or f"Classification of {evaluation.target}", fontsize=12, fontweight="bold", va="top")
    for row, (level, scores) in enumerate(evaluation.levels.items()):
        bottom = height - _HEAD - (row + 1) * _ROW
        left = figure.add_axes((1.2 / _WIDTH, (bottom + 0.65) / height, 2.5 / _WIDTH, 2.5 / height))
        right = figure.add_axes((5.0 / _WIDTH, (bottom + 0.65) / height, 2.8 / _WIDTH, 2.5 / height))
        _draw_confusion(left, scores, evaluation.classes, f"{len(scores.examples.truth):,} {level}s of {scores.groups:,} patients")
        _draw_curves(right, scores, evaluation.classes)
    canvas.save(figure, target)


def _draw_confusion(axes: Axes, scores: Scores, classes: tuple[str, ...], title: str) -> None:
    canvas.style_axes(axes, f"{title}, accuracy {scores.measures['accuracy']:.3f}")
    axes.grid(visible=False)
    of_class = scores.confusion.sum(axis=1, keepdims=True)
    axes.imshow(scores.confusion / np.maximum(of_class, 1), cmap=_SHADES, vmin=0, vmax=1, aspect="auto")
    for row in range(len(classes)):
        for column in range(len(classes)):
            axes.text(column, row, f"{scores.confusion[row, column]:,}", ha="center", va="center", fontsize=10, color=canvas.INK)
    names = [canvas.shortened(name, _LONGEST_NAME) for name in classes]
    axes.set_xticks(range(len(classes)), names, parse_math=False)
    axes.set_yticks(range(len(classes)), names, parse_math=False)
    axes.set_xlabel("decided", fontsize=9, color=canvas.INK)
    axes.set_ylabel("true", fontsize=9, color=canvas.INK)


def _draw_curves(axes: Axes, scores: Scores, classes: tuple[str, ...]) -> None:
    area, (low, high) = scores.measures["auroc"], scores.intervals["auroc"]
    interval = f" ({low:.3f} to {high:.3f})" if low == low else ""
    canvas.style_axes(axes, f"AUROC {area:.3f}{interval}" if area == area else "No AUROC: all are of one class")
    axes.plot([0, 1], [0, 1], color=canvas.FAINT, linewidth=1)
    judged = range(len(classes)) if len(classes) > 2 else (1,)
    lines, names = [], []
    for number, one in enumerate(judged):
        positive, probable = scores.examples.truth == one, scores.examples.probabilities[:, one]
        if positive.all() or not positive.any():
            continue
        alarms, hits = roc_curve(probable, positive)
        (line,) = axes.plot(alarms, hits, color=canvas.BLUE if len(classes) == 2 else canvas.class_colour(number), linewidth=1.6)
        lines.append(line)
        names.append(f"{canvas.shortened(classes[one], _LONGEST_NAME)} {auroc(probable, positive):.3f}")
    if len(classes) == 2 and lines:
        sensitivity, specificity = scores.measures["sensitivity"], scores.measures["specificity"]
        (dot,) = axes.plot([1 - specificity], [sensitivity], "o", color=canvas.VERMILION, markersize=6)
        lines, names = [dot], [f"as decided: sensitivity {sensitivity:.3f},\nspecificity {specificity:.3f}"]
    if lines and len(lines) <= _MOST_NAMED:
        canvas.add_legend(axes, lines, names, loc="lower right")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("1 - specificity", fontsize=9, color=canvas.INK)
    axes.set_ylabel("sensitivity", fontsize=9, color=canvas.INK)
