"""Classes judged: cases worked out by hand, scikit-learn as the oracle, and what is said where there is nothing to say."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.errors import AutosegError
from autoseg.evaluation.classification import MEASURES, Examples, auroc, confusion_matrix, evaluate_classes, judge, roc_curve


def examples(truth: list[int], positive: list[float], groups: list[str] | None = None) -> Examples:
    scores = np.array(positive)
    return Examples(np.array(truth), np.stack([1 - scores, scores], axis=1), groups or [str(index) for index in range(len(truth))])


def test_measures_worked_out_by_hand() -> None:
    found = judge(examples([1, 1, 1, 0, 0], [0.9, 0.6, 0.2, 0.7, 0.1]), 2)
    assert found.confusion.tolist() == [[1, 1], [1, 2]]
    assert found.measures == pytest.approx(
        {"accuracy": 3 / 5, "balanced_accuracy": (2 / 3 + 1 / 2) / 2, "auroc": 4 / 6, "sensitivity": 2 / 3, "specificity": 1 / 2}
    )


def test_ties_count_half() -> None:
    scores, positive = np.array([0.5, 0.5, 0.5, 0.2]), np.array([True, False, True, False])
    assert auroc(scores, positive) == (0.5 + 1 + 0.5 + 1) / 4
    assert auroc(np.ones(4), positive) == 0.5
    alarms, hits = roc_curve(scores, positive)
    assert (alarms.tolist(), hits.tolist()) == ([0, 0.5, 1], [0, 1, 1])


def test_an_even_chance_is_decided_for_the_first_class() -> None:
    assert examples([1], [0.5]).decided.tolist() == [0]


def test_three_classes_are_judged_each_against_the_others() -> None:
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.5, 0.1, 0.4], [0.1, 0.3, 0.6]])
    found = judge(Examples(np.array([0, 1, 2, 2]), probabilities, list("abcd")), 3)
    assert found.confusion.tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 1]]
    assert found.measures["sensitivity"] == found.measures["balanced_accuracy"] == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert found.measures["specificity"] == pytest.approx((2 / 3 + 1 + 1) / 3)
    assert found.measures["auroc"] == pytest.approx((1 + 1 + 1) / 3)


labelled = st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=2, max_size=30).filter(lambda rows: len({one for one, _ in rows}) == 2)


@given(labelled)
def test_scikit_learn_agrees(rows: list[tuple[bool, int]]) -> None:
    peer = pytest.importorskip("sklearn.metrics")
    truth, scores = np.array([one for one, _ in rows]), np.array([score / 4 for _, score in rows])
    assert auroc(scores, truth) == pytest.approx(peer.roc_auc_score(truth, scores))
    alarms, hits, _ = peer.roc_curve(truth, scores, drop_intermediate=False)
    ours = roc_curve(scores, truth)
    assert np.allclose(ours[0], alarms) and np.allclose(ours[1], hits)
    found = judge(examples(truth.astype(int).tolist(), scores.tolist(), ["one"] * len(rows)), 2)
    decided = scores > 0.5
    assert (found.confusion == peer.confusion_matrix(truth, decided)).all()
    assert found.measures["balanced_accuracy"] == pytest.approx(peer.balanced_accuracy_score(truth, decided))
    assert found.measures["sensitivity"] == pytest.approx(peer.recall_score(truth, decided))
    assert found.measures["specificity"] == pytest.approx(peer.recall_score(~truth, ~decided))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12))
def test_an_example_that_counts_twice_is_as_good_as_two(rows: list[tuple[bool, int, int]]) -> None:
    positive, scores, times = np.array([one for one, _, _ in rows]), np.array([float(s) for _, s, _ in rows]), np.array([n for _, _, n in rows])
    repeated = auroc(np.repeat(scores, times), np.repeat(positive, times))
    assert auroc(scores, positive, times.astype(float)) == pytest.approx(repeated, nan_ok=True)


def test_patients_are_drawn_whole() -> None:
    """Two patients of opposite fortune: an interval from slices alone would be narrow, that from patients reaches from all to nothing."""
    right, wrong = [1] * 50, [0.9] * 50
    whole = judge(examples(right * 2, wrong + [0.1] * 50, ["a"] * 50 + ["b"] * 50), 2)
    assert whole.groups == 2 and whole.intervals["accuracy"] == (0, 1)
    each = judge(examples(right * 2, wrong + [0.1] * 50), 2)
    assert 0.3 < each.intervals["accuracy"][0] < 0.5 < each.intervals["accuracy"][1] < 0.7
    assert judge(examples([0, 1], [0.1, 0.9], ["a", "a"]), 2).intervals["accuracy"] == pytest.approx((math.nan, math.nan), nan_ok=True)


def test_where_a_class_is_missing_it_is_said(tmp_path: Path) -> None:
    found = evaluate_classes({"slice": examples([0, 1], [0.2, 0.8]), "case": examples([1, 1], [0.3, 0.8])}, "presence", ["absent", "present"])
    assert found.notes == (
        "Every case is present (2 examples): there is no AUROC, and no measure of what is not there.",
        "2 patients: intervals of so few say little.",
    )
    case = found.levels["case"].measures
    assert math.isnan(case["auroc"]) and math.isnan(case["specificity"]) and case["sensitivity"] == case["accuracy"] == 0.5
    table, document = found.write(tmp_path)
    written = json.loads(document.read_text())
    assert written["levels"]["case"]["auroc"] == {"value": None, "low": None, "high": None}
    assert written["levels"]["slice"]["confusion"] == [[1, 0], [0, 1]]
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["level"], row["measure"]) for row in rows] == [(level, name) for level in ("slice", "case") for name in MEASURES]
    assert rows[7]["value"] == "" and float(rows[0]["value"]) == 1


def test_nothing_to_judge_is_an_error() -> None:
    with pytest.raises(AutosegError, match="no case has a known grade"):
        evaluate_classes({"case": examples([], [])}, "grade", ["LGG", "HGG"])


def test_rows_of_the_matrix_are_true_classes() -> None:
    assert confusion_matrix(np.array([0, 0, 1]), np.array([1, 1, 1]), 3).tolist() == [[0, 2, 0], [0, 1, 0], [0, 0, 0]]
