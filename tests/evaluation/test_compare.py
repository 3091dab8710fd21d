"""Comparisons worked by hand, against scipy's bootstrap, and a ranking followed literally."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap, wilcoxon

from autoseg.errors import AutosegError
from autoseg.evaluation.compare import bootstrap_interval, compare, require_same_cases, signed_rank_p
from autoseg.evaluation.metrics import Counts
from autoseg.evaluation.result import Evaluation, Row, Target, tabulate
from autoseg.evaluation.schemes import SCHEMES

WHOLE = Target("whole", (1, 2), region=True)
CORE = Target("core", (1,))
RANKED = {"dice": True, "hd95": False}


def evaluation(
    rows: dict[str, tuple[int, int, int, float]], scheme: str = "nnunet", target: Target = WHOLE, missing: tuple[str, ...] = ()
) -> Evaluation:
    """Cases of one structure: tp, fp, fn, HD95."""
    rules = SCHEMES[scheme]
    made = {
        case: [Row.of(target, Counts(tp, fp, fn, 100), {"hd95": far, "assd": far / 2, "nsd": 0.5}, (1.0, 1.0, 1.0), rules)]
        for case, (tp, fp, fn, far) in rows.items()
    }
    return Evaluation(scheme, (target,), tabulate(made, rules), missing)


def row(table: pd.DataFrame, **where: str) -> pd.Series:
    found = table[np.logical_and.reduce([table[key] == value for key, value in where.items()])]
    assert len(found) == 1
    return found.iloc[0]


A = evaluation({"1": (8, 0, 2, 1.0), "2": (5, 5, 5, 4.0), "3": (0, 0, 5, math.nan), "4": (0, 0, 0, math.nan)})
B = evaluation({"1": (9, 0, 1, 1.0), "2": (4, 5, 6, 3.0), "3": (5, 0, 0, 0.0), "4": (0, 2, 0, math.nan)})


def test_means_and_differences_by_hand() -> None:
    found = compare({"a": A, "b": B}, RANKED)
    assert found.cases == ("1", "2", "3", "4") and found.contestants == ("a", "b")
    a, b = (row(found.summary, target="whole", metric="dice", contestant=name) for name in "ab")
    dice_a, dice_b = (16 / 18, 0.5, 0.0), (18 / 19, 8 / 19, 1.0, 0.0)
    assert (a["mean"], a["median"], a["cases"]) == pytest.approx((np.mean(dice_a), 0.5, 3))
    assert (b["mean"], b["median"], b["cases"]) == pytest.approx((np.mean(dice_b), np.median(dice_b), 4))
    change = np.array(dice_b[:3]) - dice_a
    paired = row(found.differences, target="whole", metric="dice")
    assert (paired["first"], paired["second"], paired["cases"]) == ("a", "b", 3)  # case 4 has no Dice in a
    assert paired["difference"] == pytest.approx(change.mean())
    assert (paired["low"], paired["high"]) == bootstrap_interval(change)
    assert paired["p"] == pytest.approx(wilcoxon(change).pvalue)
    assert row(found.differences, target="whole", metric="hd95")["cases"] == 2


def test_the_ranking_by_hand() -> None:
    """Dice and HD95 of the four cases: b, both alike; a, b; b, b; a twice, for it was right to find nothing."""
    found = compare({"a": A, "b": B}, RANKED).ranking
    ranks_a = [2, 1.5, 1, 2, 2, 2, 1, 1]
    assert row(found, contestant="a")["mean_rank"] == pytest.approx(np.mean(ranks_a))
    assert row(found, contestant="b")["mean_rank"] == pytest.approx(3 - np.mean(ranks_a))
    assert found["contestant"].tolist() == ["b", "a"] if np.mean(ranks_a) > 1.5 else ["a", "b"]
    assert found["place"].tolist() == [1, 2] and set(found["ranks"]) == {8}


def test_schemes_that_have_a_number_for_every_case_rank_the_same() -> None:
    other = compare({"a": A.under("brats20"), "b": B.under("brats20")}, SCHEMES["brats20"].ranked)
    pd.testing.assert_frame_equal(other.ranking, compare({"a": A, "b": B}, RANKED).ranking)
    assert other.scheme == "brats20"


def test_one_against_itself_differs_by_nothing() -> None:
    found = compare({"a": A, "again": A, "b": B}, RANKED)
    same = found.differences[(found.differences["first"] == "a") & (found.differences["second"] == "again")]
    assert (same[["difference", "low", "high"]] == 0).all(axis=None) and (same["p"] == 1).all()
    assert len(found.differences) == 3 * len(same)
    ranks = dict(zip(found.ranking["contestant"], found.ranking["mean_rank"], strict=True))
    assert ranks["a"] == ranks["again"]
    assert sum(ranks.values()) == pytest.approx(6)
    places = dict(zip(found.ranking["contestant"], found.ranking["place"], strict=True))
    assert places["a"] == places["again"]


def test_turning_it_round_turns_the_signs() -> None:
    there, back = compare({"a": A, "b": B}, RANKED).differences, compare({"b": B, "a": A}, RANKED).differences
    np.testing.assert_allclose(there["difference"], -back["difference"])
    np.testing.assert_allclose(there["low"], -back["high"], atol=0.02)
    np.testing.assert_allclose(there["p"], back["p"])


@pytest.mark.parametrize("shift", [0.0, 0.05])
def test_the_interval_is_scipys_and_steady(shift: float) -> None:
    numbers = np.random.default_rng(3).normal(shift, 0.1, 40)
    expected = bootstrap((numbers,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)).confidence_interval
    found = bootstrap_interval(numbers)
    assert found == pytest.approx((expected.low, expected.high), abs=0.002)
    assert found == bootstrap_interval(numbers) != bootstrap_interval(numbers, seed=1)
    assert bootstrap_interval(numbers, seed=1) == pytest.approx(found, abs=0.002)
    spread = 1.96 * numbers.std() / math.sqrt(40)
    assert found == pytest.approx((numbers.mean() - spread, numbers.mean() + spread), abs=0.003)


def test_too_few_cases_have_no_interval() -> None:
    assert all(math.isnan(value) for value in bootstrap_interval(np.array([0.3])) + bootstrap_interval(np.array([])))
    assert math.isnan(signed_rank_p(np.array([]))) and signed_rank_p(np.zeros(5)) == 1.0
    assert signed_rank_p(np.array([0.3])) == 1.0
    assert signed_rank_p(np.arange(1, 11) / 10) == pytest.approx(2 / 2**10)


def test_the_files_say_it_all(tmp_path: Path) -> None:
    left, right = ({**{str(i): (5, i % 3, 1, float(i)) for i in range(6)}, "6": (0, 0, 0, math.nan)}, {str(i): (5, 1, i % 2, 2.0) for i in range(7)})
    found = compare({"left": evaluation(left, missing=("x",)), "right": evaluation(right, missing=("x",))}, RANKED, seed=5)
    csv, file = found.write(tmp_path / "new")
    table = pd.read_csv(csv)
    assert set(table["scheme"]) == {"nnunet"} and table["metric"].tolist()[:2] == ["dice", "hd95"]
    dice = table.iloc[0]
    assert dice["second_mean"] == pytest.approx(row(found.summary, metric="dice", contestant="right")["mean"])
    assert (dice["first"], dice["second"], dice["cases"]) == ("left", "right", 6)
    document = json.loads(file.read_text())
    assert (document["scheme"], document["bootstrap"]["seed"], document["missing"]) == ("nnunet", 5, ["x"])
    assert document["cases"] == [str(i) for i in range(7)] and document["ranked_by"] == ["dice", "hd95"]
    assert len(document["ranking"]) == 2
    cases = pd.read_csv(tmp_path / "new" / "comparison_cases.csv", dtype={"case": str})
    pd.testing.assert_frame_equal(cases.drop(columns="scheme"), found.values, check_dtype=False)


def test_regions_are_ranked_where_there_are_any() -> None:
    def both(dice: int) -> Evaluation:
        one = evaluation({"1": (5, 5 - dice, 0, 1.0)}, target=WHOLE)
        other = evaluation({"1": (5, dice, 0, 1.0)}, target=CORE)
        return Evaluation("nnunet", (CORE, WHOLE), pd.concat([other.table, one.table], ignore_index=True))

    found = compare({"worse": both(0), "better": both(5)}, {"dice": True})
    assert found.ranking["contestant"].tolist() == ["better", "worse"] and set(found.ranking["ranks"]) == {1}


def test_what_cannot_be_compared_is_said() -> None:
    with pytest.raises(AutosegError, match="two sets"):
        compare({"a": A}, RANKED)
    with pytest.raises(AutosegError, match="different schemes or for different structures"):
        compare({"a": A, "b": B.under("brats20")}, RANKED)
    with pytest.raises(AutosegError, match="different schemes or for different structures"):
        compare({"a": A, "b": evaluation({"1": (1, 1, 1, 1.0)}, target=CORE)}, RANKED)
    with pytest.raises(AutosegError, match="seed of the bootstrap is -1"):
        compare({"a": A, "b": B}, RANKED, seed=-1)
    fewer = evaluation({"1": (1, 1, 1, 1.0), "9": (1, 1, 1, 1.0)})
    with pytest.raises(AutosegError, match=r"a lacks 9\n  - b lacks 2, 3, 4\n"):
        compare({"a": A, "b": fewer}, RANKED)
    require_same_cases({"a": ["1", "2"], "b": ["2", "1"]})
