"""How well classes of cases and slices were told: accuracy, AUROC, sensitivity, specificity, the confusion matrix, with intervals.

- The AUROC is the chance that a positive example has the higher score, ties half (Mann and Whitney 1947): exact, whatever the ties.
- With two classes the last is the positive one. With more, AUROC, sensitivity and specificity are means over the classes, each against the others.
- Where a class has no example, what needs it is not a number, and means pass over it.
- The interval is a percentile bootstrap over groups (patients), seeded: slices of a patient are no independent examples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.errors import AutosegError, counted
from autoseg.evaluation.crossval import on_few
from autoseg.files import write_json, write_text

MEASURES = ("accuracy", "balanced_accuracy", "auroc", "sensitivity", "specificity")
SEED, DRAWS = 0, 1000
_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Examples:
    """What was judged.

    Attributes
    ----------
    truth : int (N,), the class 0..K-1 of each
    probabilities : (N, K)
    groups : N names; examples of one group are drawn together
    """

    truth: NDArray[np.intp]
    probabilities: NDArray[np.float64]
    groups: Sequence[str]

    @property
    def decided(self) -> NDArray[np.intp]:
        """The most probable class of each, of equals the first."""
        decided: NDArray[np.intp] = self.probabilities.argmax(axis=1)
        return decided


@dataclass(frozen=True)
class Scores:
    """What came of one kind of examples, such as slices.

    Attributes
    ----------
    examples : what was judged
    groups : number of groups
    confusion : int (K, K), a row for each true class, a column for each decision
    measures : name to value, see `MEASURES`; not a number where nothing can be said
    intervals : name to the ends of its 95 % interval
    """

    examples: Examples
    groups: int
    confusion: NDArray[np.int64]
    measures: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class ClassEvaluation:
    """How well a set of cases was classified.

    Attributes
    ----------
    target, classes : what was told, and its classes, the positive one last
    levels : "case", and "slice" where slices were classified one by one -> scores
    notes : what a reader of the numbers should know
    """

    target: str
    classes: tuple[str, ...]
    levels: Mapping[str, Scores]
    notes: tuple[str, ...]

    def write(self, folder: Path, stem: str = "metrics") -> tuple[Path, Path]:
        """Write `<stem>.csv` (a row for each level and measure) and `<stem>.json` (the same with the confusion matrices), whole or not at all."""
        csv, json = folder / f"{stem}.csv", folder / f"{stem}.json"
        rows = ["level,measure,value,low,high,examples,groups"]
        for level, scores in self.levels.items():
            for name, value in scores.measures.items():
                numbers = ",".join(_text(one) for one in (value, *scores.intervals[name]))
                rows.append(f"{level},{name},{numbers},{len(scores.examples.truth)},{scores.groups}")
        write_text(csv, "\n".join(rows) + "\n")
        write_json(json, self._document())
        return csv, json

    def _document(self) -> dict[str, Any]:
        levels = {}
        for level, scores in self.levels.items():
            levels[level] = {
                "examples": len(scores.examples.truth),
                "groups": scores.groups,
                **{
                    name: {"value": value, "low": scores.intervals[name][0], "high": scores.intervals[name][1]}
                    for name, value in scores.measures.items()
                },
                "confusion": scores.confusion.tolist(),
            }
        return {
            "task": "classification",
            "target": self.target,
            "classes": list(self.classes),
            "positive": self.classes[-1] if len(self.classes) == 2 else None,
            "interval": f"95 %, {DRAWS} bootstrap resamples of the patients, seed {SEED}",
            "confusion": "a row for each true class, a column for each decision, in the order of classes",
            "levels": levels,
            "notes": list(self.notes),
        }


def evaluate_classes(levels: Mapping[str, Examples], target: str, classes: Sequence[str]) -> ClassEvaluation:
    """Judge examples of each level.

    Parameters
    ----------
    levels : name to examples; levels without any are left out

    Raises
    ------
    AutosegError
        there is no example at all
    """
    scores = {name: judge(examples, len(classes)) for name, examples in levels.items() if len(examples.truth)}
    if not scores:
        raise AutosegError(f"There is nothing to judge: no case has a known {target}.")
    notes = []
    for name, one in scores.items():
        if len(set(one.examples.truth.tolist())) == 1:
            only = classes[int(one.examples.truth[0])]
            notes.append(
                f"Every {name} is {only} ({counted(len(one.examples.truth), 'example')}): there is no AUROC, and no measure of what is not there."
            )
    groups = max(one.groups for one in scores.values())
    return ClassEvaluation(target, tuple(classes), scores, (*notes, *on_few(groups)))


def judge(examples: Examples, num_classes: int) -> Scores:
    """All measures of some examples, at least one, with their intervals."""
    names, group_N = np.unique(np.asarray(examples.groups, dtype=str), return_inverse=True)
    ones = np.ones(len(examples.truth))
    measures = _measures(examples, num_classes, ones)
    draws = []
    if len(names) > 1:
        generator = np.random.default_rng(SEED)
        for _ in range(DRAWS):
            times_G = np.bincount(generator.integers(len(names), size=len(names)), minlength=len(names))
            draws.append(list(_measures(examples, num_classes, times_G[group_N].astype(float)).values()))
    ends = {name: _ends([draw[place] for draw in draws]) for place, name in enumerate(measures)}
    return Scores(examples, len(names), confusion_matrix(examples.truth, examples.decided, num_classes), measures, ends)


def confusion_matrix(truth_N: NDArray[np.intp], decided_N: NDArray[np.intp], num_classes: int) -> NDArray[np.int64]:
    """How often each class (row) was decided to be each (column): int (K, K)."""
    return _confusion(truth_N, decided_N, num_classes, np.ones(len(truth_N))).astype(np.int64)


def auroc(scores_N: NDArray[np.float64], positive_N: NDArray[np.bool_], weights_N: NDArray[np.float64] | None = None) -> float:
    """The area under the ROC curve.

    Parameters
    ----------
    scores_N : higher means more positive
    positive_N : what is true
    weights_N : how often each example counts; None: once

    Returns
    -------
    0..1; not a number where either kind is missing
    """
    weights_N = np.ones(len(scores_N)) if weights_N is None else weights_N
    levels, place_N = np.unique(scores_N, return_inverse=True)
    own = np.bincount(place_N, weights_N * positive_N, minlength=len(levels))
    others = np.bincount(place_N, weights_N * ~positive_N, minlength=len(levels))
    below = np.cumsum(others) - others
    pairs = own.sum() * others.sum()
    return float((own * (below + others / 2)).sum() / pairs) if pairs else float("nan")


def roc_curve(scores_N: NDArray[np.float64], positive_N: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The curve's corners from (0, 0) to (1, 1): rates of false alarms and of hits at every threshold; both kinds must be there."""
    levels, place_N = np.unique(-scores_N, return_inverse=True)
    hits = np.bincount(place_N, positive_N, minlength=len(levels)).cumsum()
    alarms = np.bincount(place_N, ~positive_N, minlength=len(levels)).cumsum()
    return np.concatenate([[0.0], alarms / alarms[-1]]), np.concatenate([[0.0], hits / hits[-1]])


def _measures(examples: Examples, num_classes: int, weights_N: NDArray[np.float64]) -> dict[str, float]:
    confusion = _confusion(examples.truth, examples.decided, num_classes, weights_N)
    total, hits = confusion.sum(), confusion.diagonal()
    with np.errstate(invalid="ignore"):
        found_K = hits / confusion.sum(axis=1)  # of each class, how much of it
        others_K = total - confusion.sum(axis=1)
        rejected_K = (others_K - (confusion.sum(axis=0) - hits)) / others_K  # of all others, how much was not taken for it
    judged = range(num_classes) if num_classes > 2 else (1,)
    areas = [auroc(examples.probabilities[:, one], examples.truth == one, weights_N) for one in judged]
    values = (
        float(hits.sum() / total),
        _mean(found_K),
        _mean(areas),
        _mean([found_K[one] for one in judged]),
        _mean([rejected_K[one] for one in judged]),
    )
    return dict(zip(MEASURES, values, strict=True))


def _confusion(truth_N: NDArray[np.intp], decided_N: NDArray[np.intp], num_classes: int, weights_N: NDArray[np.float64]) -> NDArray[np.float64]:
    joint = np.bincount(truth_N * num_classes + decided_N, weights_N, minlength=num_classes**2)
    return joint.astype(np.float64).reshape(num_classes, num_classes)


def _mean(values: Sequence[float] | NDArray[np.float64]) -> float:
    known = [float(value) for value in values if value == value]
    return sum(known) / len(known) if known else float("nan")


def _ends(draws: Sequence[float]) -> tuple[float, float]:
    known = [draw for draw in draws if draw == draw]
    if not known:
        return float("nan"), float("nan")
    low, high = np.percentile(known, _PERCENTILES)
    return float(low), float(high)


def _text(value: float) -> str:
    return f"{value:.6f}" if value == value else ""
