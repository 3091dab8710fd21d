"""Configurations side by side: means by hand, intervals the slow way, only common cases, and what is said about the rest."""

import json
from collections.abc import Sequence
from math import nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from autoseg.errors import AutosegError
from autoseg.evaluation.crossval import OVER_CLASSES
from autoseg.evaluation.leaderboard import rank
from autoseg.evaluation.standings import Contestant, Costs
from autoseg.planning.zoo.recipe import Published

COSTS = Costs(
    parameters=843, window_flops=60_928, windows=40, mirrorings=4, case_flops=9_748_480, training_steps={"0": 100, "1": 300},
    training_seconds={"0": 10.0, "1": 30.0}, case_seconds=0.5, case_elapsed=0.75, timed_cases=3, predicted_on=("m: cpu, float32",),
    peak_resident=2**30,
)  # fmt: skip


def table(dice_of: dict[str, Sequence[float]], targets: Sequence[str] = ("core", "rim"), **columns: object) -> pd.DataFrame:
    """A case's Dice of each target; IoU as it follows from it, HD95 and volumes made up."""
    rows = [
        {"case": case, "target": target, "region": False, "scheme": "nnunet", "dice": dice, "iou": dice / (2 - dice), "hd95": 10 * (1 - dice),
         "volume_reference": 5.0, "hd95_convention": "x"}
        for case, numbers in dice_of.items()
        for target, dice in zip(targets, numbers, strict=True)
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(**columns)


def contestant(name: str, tables: dict[str, pd.DataFrame], costs: Costs = COSTS, published: Sequence[Published] = ()) -> Contestant:
    return Contestant(name, tables, costs, published, {})


GOOD = contestant("good", {"0": table({"a": (0.9, 0.7), "b": (0.8, 0.6)}), "1": table({"c": (1.0, 0.8)})})
POOR = contestant("poor", {"0": table({"a": (0.5, 0.3), "b": (0.6, 0.2)}), "1": table({"c": (0.4, 0.4), "d": (1.0, 1.0)}), "2": table({"e": (1, 1)})})


def test_only_common_cases_count_and_the_best_comes_first() -> None:
    board = rank([POOR, GOOD])
    assert [one.name for one in board.standings] == ["good", "poor"] and board.cases == ("a", "b", "c")
    good, poor = (one.scores for one in board.standings)
    assert good.row()["mean"] == pytest.approx((0.9 + 0.7) / 2) and poor.row()["mean"] == pytest.approx((0.5 + 0.3) / 2)
    assert (poor.row("core")["mean"], poor.row("rim")["mean"]) == (pytest.approx(0.5), pytest.approx(0.3))
    assert poor.row("rim", "hd95")["mean"] == pytest.approx(7.0)
    assert good.row("core", "iou")["mean"] == pytest.approx(np.mean([9 / 11, 8 / 12, 1]))
    assert board.metrics == ("dice", "iou", "hd95") and board.structures == (OVER_CLASSES, "core", "rim")
    assert (good.folds, poor.folds) == ({"0": 2, "1": 1}, {"0": 2, "1": 1}) and board.folds() == "0 (2 cases), 1 (1 case)"
    assert board.left_out == {"poor": 2}
    assert board.remarks == ("Compared on the 3 cases that all of them validated; left out: 2 of poor. Intervals of so few say little.",)


def test_slices_of_a_patient_count_as_one() -> None:
    """Told by any of the contestants; of one patient there is no interval."""
    slices = {str(number): (number / 20, number / 30) for number in range(12)}
    patients = {name: "p" if int(name) < 5 else "q" for name in slices}
    first, second = (Contestant(name, {"0": table(slices)}, COSTS, (), known) for name, known in (("first", None), ("second", patients)))
    board = rank([first, second])
    assert board.remarks[0] == "12 cases of 2 patients: intervals of so few say little."
    for one in board.standings:
        row = one.scores.row("core")
        assert [row["low"], row["high"]] == pytest.approx([np.mean([0, 1, 2, 3, 4]) / 20, np.mean([5, 6, 7, 8, 9, 10, 11]) / 20])
    alone = rank([Contestant("first", {"0": table(slices)}, COSTS, (), dict.fromkeys(slices, "p"))])
    assert alone.remarks[0] == "12 cases of 1 patient: intervals of so few say little." and np.isnan(alone.standings[0].scores.row()["low"])


def test_intervals_are_the_slow_way_and_draw_the_same_cases_for_all() -> None:
    rng = np.random.default_rng(4)
    numbers = {name: rng.random((12, 2)) for name in ("p", "q")}
    numbers["q"][:9, 1] = nan
    cases = [f"case_{index:02}" for index in range(12)]
    shuffled = rng.permutation(12)
    ones = [
        contestant("p", {"0": table({cases[index]: numbers["p"][index] for index in range(12)})}),
        contestant(
            "q", {fold: table({cases[index]: numbers["q"][index] for index in part}) for fold, part in (("1", shuffled[:5]), ("3", shuffled[5:]))}
        ),
    ]
    board = rank(ones, seed=7, draws=300)
    found = {one.name: one.scores for one in board.standings}
    times = np.random.default_rng(7)
    drawn = [times_N for part in (250, 50) for times_N in times.multinomial(12, [1 / 12] * 12, size=part)]
    for name, values in numbers.items():
        for metric, of in (("dice", values), ("iou", values / (2 - values)), ("hd95", 10 * (1 - values))):
            samples = [pd.DataFrame(np.repeat(of, times_N, axis=0)).mean() for times_N in drawn]
            for target, means in (
                (None, [one.mean() for one in samples]),
                ("core", [one[0] for one in samples]),
                ("rim", [one[1] for one in samples]),
            ):
                known = [mean for mean in means if np.isfinite(mean)]
                row = found[name].row(target, metric)
                assert (row["low"], row["high"]) == pytest.approx(tuple(np.percentile(known, (2.5, 97.5))))
    assert found["q"].row("rim")["cases"] == 3
    assert any("Dice of rim is over different numbers of cases (" in remark and "3 of q" in remark for remark in board.remarks)
    assert any(remark.startswith("q and p were trained on other folds") for remark in board.remarks)
    assert board.folds() in ("p: 0 (12 cases); q: 1 (5 cases), 3 (7 cases)", "q: 1 (5 cases), 3 (7 cases); p: 0 (12 cases)")


def test_equals_stand_by_name_and_one_without_a_number_last() -> None:
    nothing = contestant("a", {"0": table({"a": (nan, nan), "b": (nan, nan)}), "1": table({"c": (nan, nan)})})
    board = rank([nothing, contestant("z", GOOD.tables), GOOD])
    assert [one.name for one in board.standings] == ["good", "z", "a"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            {"4": table({"x": (1, 1)})},
            r"No case was validated by all of good, other \(good: 3 cases of fold 0, 1; other: 1 case of fold 4\).*-c NAME",
        ),
        ({"0": table({"a": (1, 1)}, scheme="brats20")}, "good was judged by the scheme nnunet .*, other by brats20"),
        ({"0": table({"a": (1, 1)}, hd95_convention="y")}, r"HD95: x\), other by nnunet \(HD95: y"),
        ({"0": table({"a": (1, 1)}, targets=("core", "edge"))}, "good and other were judged on other structures"),
        ({"0": table({"a": (1, 1)}), "1": table({"a": (1, 1)})}, "other: a is in the validation of fold 0 and of fold 1"),
    ],
)
def test_what_cannot_be_compared(other: dict[str, pd.DataFrame], message: str) -> None:
    with pytest.raises(AutosegError, match=message):
        rank([GOOD, contestant("other", other)])


def test_what_misleads_about_times_is_said() -> None:
    untimed = Costs(843, 60_928, None, 4, None, {}, {})
    elsewhere = Costs(843, 60_928, 40, 4, 1, {}, {}, 0.1, 0.1, 2, ("card: cuda, float16",), 5, True, 7)
    board = rank([GOOD, contestant("untimed", GOOD.tables, untimed), contestant("cuda", GOOD.tables, elsewhere)])
    assert board.remarks[1:] == (
        "Seconds a case were measured in different ways and are no contest (cuda: card: cuda, float16; good: m: cpu, float32).",
        "Prediction was not timed for untimed: validated before times were recorded.",
        "Seconds a case are the mean of fewer cases than were compared (cuda 2).",
        "The peak of memory of cuda is since the process began; a training in it counts too.",
    )


def test_the_files_hold_all_numbers(tmp_path: Path) -> None:
    figure = Published(metric="Dice", value=0.91, data="their scans", differs="split by slices, so that patients leak", where="a paper")
    other = Published(metric="Surface score", value=0.5, data="their scans", differs="another metric")
    board = rank([contestant("good", GOOD.tables, COSTS, [figure, other]), POOR])
    assert [board.standings[0].ours(one.metric) for one in (figure, other)] == [pytest.approx(0.8), None]
    csv, document = board.write(tmp_path, "DatasetX")
    found = pd.read_csv(csv)
    dice = found[(found["kind"] == "accuracy") & (found["metric"] == "dice") & (found["configuration"] == "good")].set_index("target")
    assert dice.loc["rim", "value"] == pytest.approx(0.7) and dice.loc["core", "fold_1"] == 1.0 and dice.loc["rim", "cases"] == 3
    assert len(found[found["kind"] == "accuracy"]) == 2 * 3 * 3
    costs = found[(found["kind"] == "cost") & (found["configuration"] == "good")].set_index("metric")
    assert costs["value"].to_dict() == pytest.approx(
        {"parameters": 843, "window_gflops": 6.0928e-5, "windows": 40, "mirrorings": 4, "case_gflops": 0.00974848, "case_seconds": 0.5,
         "case_elapsed": 0.75, "peak_resident": 2**30, "peak_cuda": nan, "training_steps": 200, "training_seconds": 20}, nan_ok=True
    )  # fmt: skip
    assert costs.loc["training_seconds", ["fold_0", "fold_1"]].tolist() == [10, 30]
    told = found[found["kind"] == "published"]
    assert told[["metric", "value", "data", "differs", "where"]].fillna("").to_numpy().tolist() == [
        list(one.model_dump().values()) for one in (figure, other)
    ]
    content = json.loads(document.read_text())
    assert content["dataset"] == "DatasetX" and content["cases"] == ["a", "b", "c"] and content["left_out"] == {"poor": 2}
    assert [one["name"] for one in content["configurations"]] == ["good", "poor"]
    assert content["configurations"][0]["published"][0] == figure.model_dump() and content["configurations"][0]["costs"]["peak_cuda"] is None
