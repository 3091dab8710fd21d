"""AUROC and average precision: by hand, against pairs counted one by one, against scikit-learn, and pooled."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg.evaluation.ranking import Ranking, no_voxels


def ranking(scores: object, actual: object) -> Ranking:
    return Ranking.of(np.array(scores, np.float32), np.array(actual, bool))


def test_by_hand() -> None:
    found = ranking([0.1, 0.4, 0.35, 0.8], [False, False, True, True])
    assert found.auroc == 0.75 and found.average_precision == pytest.approx(0.5 + 0.5 * 2 / 3) and found.prevalence == 0.5
    same = ranking([1, 1, 1, 1], [True, False, False, False])
    assert (same.auroc, same.average_precision) == (0.5, 0.25)
    perfect = ranking([[0, 0.0], [2, 3]], [[False, False], [True, True]])
    assert (perfect.auroc, perfect.average_precision) == (1, 1)


def test_without_one_kind_there_is_no_number() -> None:
    assert np.isnan(ranking([1, 2], [True, True]).auroc) and ranking([1, 2], [True, True]).average_precision == 1
    nothing = ranking([1, 2], [False, False])
    assert np.isnan(nothing.auroc) and np.isnan(nothing.average_precision) and nothing.prevalence == 0
    assert np.isnan(no_voxels().prevalence)


@pytest.mark.parametrize("wrong", [-0.5, np.nan, np.inf])
def test_scores_that_have_no_place_are_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="finite and 0 or more"):
        ranking([1, wrong], [True, False])


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=30))
def test_every_pair_counted(voxels: list[tuple[int, bool]]) -> None:
    scores, actual = [score / 4 for score, _ in voxels], [is_there for _, is_there in voxels]
    there = [score for score, is_there in zip(scores, actual, strict=True) if is_there]
    rest = [score for score, is_there in zip(scores, actual, strict=True) if not is_there]
    if there and rest:
        pairs = [(a > b) + (a == b) / 2 for a in there for b in rest]
        assert ranking(scores, actual).auroc == pytest.approx(np.mean(pairs))


def test_scikit_learn_says_the_same() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    actual = rng.random(20_000) < 0.03
    scores = np.abs(rng.normal(size=20_000) + actual).astype(np.float32)
    tied = np.rint(scores * 8) / 8
    for values, tolerance in ((tied, 1e-12), (scores, 2e-4)):
        found = ranking(values, actual)
        assert found.auroc == pytest.approx(metrics.roc_auc_score(actual, values), abs=tolerance)
        assert found.average_precision == pytest.approx(metrics.average_precision_score(actual, values), abs=tolerance)


def test_cases_are_pooled_by_adding() -> None:
    rng = np.random.default_rng(2)
    scores, actual = rng.random((2, 50)).astype(np.float32), rng.random((2, 50)) < 0.3
    pooled = no_voxels() + ranking(scores[0], actual[0]) + ranking(scores[1], actual[1])
    whole = ranking(scores, actual)
    assert (pooled.auroc, pooled.average_precision) == (whole.auroc, whole.average_precision)
