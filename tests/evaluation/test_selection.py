"""The choice between candidates, worked out by hand, and the file that it becomes."""

import json
from math import nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from autoseg.errors import AutosegError
from autoseg.evaluation.postprocessing import Rule
from autoseg.evaluation.selection import candidates_of, choose
from autoseg.evaluation.selection_file import SelectedMember, Selection, read_selection, write_selection

COSTS = {"2d": 1.0, "3d": 10.0}


def table(*dice: float, second: float | None = None) -> pd.DataFrame:
    return pd.DataFrame({"core": dice} | ({"rim": [second] * len(dice)} if second is not None else {}), index=[f"c{i}" for i in range(len(dice))])


def test_candidates_are_each_each_pair_and_all() -> None:
    assert candidates_of(["a"]) == (("a",),)
    assert candidates_of(["a", "b"]) == (("a",), ("b",), ("a", "b"))
    assert candidates_of(["a", "b", "c"]) == (("a",), ("b",), ("c",), ("a", "b"), ("a", "c"), ("b", "c"), ("a", "b", "c"))


def test_the_best_mean_wins_and_figures_are_those_of_the_cases() -> None:
    found = choose({("2d",): table(0.5, 0.7, second=0.8), ("3d",): table(0.7, 0.9, second=0.8), ("2d", "3d"): table(0.7, 0.8, second=0.8)}, COSTS)
    assert [one.members for one in found.candidates] == [("3d",), ("2d", "3d"), ("2d",)]
    assert found.chosen.name == "3d" and found.chosen is found.candidates[0]
    assert [one.mean for one in found.candidates] == pytest.approx([0.8, 0.775, 0.7])
    assert [one.cost for one in found.candidates] == [10.0, 11.0, 1.0]
    assert [one.difference for one in found.candidates] == pytest.approx([0.0, -0.025, -0.1])
    assert found.candidates[2].structures == pytest.approx({"core": 0.6, "rim": 0.8})
    worst = found.candidates[2]
    assert (worst.low, worst.high) == (pytest.approx(0.65), pytest.approx(0.75))  # both of one case, in the ends
    assert (worst.difference_low, worst.difference_high) == (pytest.approx(-0.1), pytest.approx(-0.1))  # every case differs by the same
    assert found.reason == "3d has the best mean Dice of 3 candidates, 0.8000 (95 % interval 0.7500 to 0.8500)."


def test_something_cheaper_is_taken_where_it_is_as_good() -> None:
    best = table(0.700, 0.900)
    assert choose({("2d",): best - 0.0009, ("3d",): best}, COSTS).chosen.name == "2d"
    assert choose({("2d",): best - 0.0011, ("3d",): best}, COSTS).chosen.name == "3d"
    tie = choose({("3d",): best, ("2d",): best, ("2d", "3d"): best}, COSTS)
    assert tie.chosen.name == "2d"
    cheap = choose({("2d",): best - 0.0009, ("2d", "3d"): best}, COSTS)
    assert "2d reaches 0.7991 at 9% of the cost of 2d + 3d, the best of 2 candidates with 0.8000: a difference of 0.0009" in cheap.reason
    sure = pd.DataFrame({"core": [0.8] * 50})  # no spread at all: intervals are points, and points that differ do not overlap
    assert choose({("2d",): sure - 0.0009, ("3d",): sure}, COSTS).chosen.name == "3d"


def test_cases_without_a_number_are_passed_over() -> None:
    found = choose({("2d",): table(nan, 0.6), ("3d",): table(0.0, 0.6)}, COSTS)
    assert found.chosen.name == "2d" and found.chosen.mean == pytest.approx(0.6)
    with pytest.raises(AutosegError, match="nothing to choose by"):
        choose({("2d",): table(nan, nan)}, COSTS)
    (only,) = choose({("2d",): table(0.6)}, COSTS).candidates
    assert only.mean == pytest.approx(0.6) and np.isnan([only.low, only.high]).all()  # one case has no interval
    assert choose({("2d",): table(0.6), ("3d",): table(0.6005)}, COSTS).chosen.name == "2d"


def test_cases_of_a_patient_are_drawn_together() -> None:
    found = {("2d",): table(0.9, 0.9, 0.9, 0.1)}
    (apart,) = choose(found, {"2d": 1.0}).candidates
    (together,) = choose(found, {"2d": 1.0}, patients={"c0": "p", "c1": "p", "c2": "p"}).candidates
    assert (together.low, together.high) == pytest.approx((0.1, 0.9)) and apart.low > 0.1 and together.mean == apart.mean
    (alone,) = choose(found, {"2d": 1.0}, patients=dict.fromkeys(("c0", "c1", "c2", "c3"), "p")).candidates
    assert np.isnan([alone.low, alone.high]).all()


def test_a_single_candidate_says_so() -> None:
    assert choose({("2d",): table(0.6, 0.8)}, COSTS).reason == "2d is the only one that was compared: mean Dice 0.7000."


def test_the_choice_is_the_same_every_time() -> None:
    rng = np.random.default_rng(0)
    tables = {members: pd.DataFrame({"a": rng.random(12), "b": rng.random(12)}) for members in candidates_of(["2d", "3d"])}
    assert choose(tables, COSTS) == choose(tables, COSTS)


def test_a_selection_outlives_its_file(tmp_path: Path) -> None:
    rule = Rule(kind="remove_small", structure="core", values=(1, 4), becomes=2, below_mm3=30.0)
    before = Selection(
        dataset="Dataset001_Small", members=(SelectedMember(configuration="2d", weights={"0": "ab"}), SelectedMember(configuration="3d_fullres")),
        postprocessing=(rule,), scheme="nnunet", mean_dice=0.8, cases=7, why={"members": "because"}, candidates=({"members": ["2d"], "mean": 0.7},),
    )  # fmt: skip
    write_selection(before, tmp_path / "selection.json")
    assert read_selection(tmp_path / "selection.json") == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"members": []}, "members: must have at least 1"),
        ({"members": [{"configuration": "../elsewhere"}]}, "members.0.configuration: must be made of letters"),
        ({"members": [{"configuration": "2d"}] * 2}, "members: must name each configuration once"),
        ({"member": []}, "member: unknown key; did you mean members"),
        ({"postprocessing": [{"kind": "keep_biggest"}]}, "postprocessing.0.kind"),
        ({"cases": "7"}, "cases: must be a whole number"),
    ],
)
def test_faults_in_an_edited_file_are_named(tmp_path: Path, change: dict[str, object], said: str) -> None:
    path = tmp_path / "selection.json"
    path.write_text(json.dumps({"dataset": "D", "members": [{"configuration": "2d"}]} | change))
    with pytest.raises(AutosegError, match="not a valid selection") as caught:
        read_selection(path)
    assert said in str(caught.value) and str(path) in str(caught.value)
