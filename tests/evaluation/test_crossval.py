"""Folds seen as one: means by hand, the bootstrap against the slow way, and what must not be mixed."""

from math import nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from autoseg.errors import AutosegError
from autoseg.evaluation.crossval import OVER_CLASSES, OVER_REGIONS, bootstrap_means, cross_validate, read_metrics


def table(dice_of: dict[str, dict[str, float]], scheme: str = "nnunet", **columns: object) -> pd.DataFrame:
    rows = [
        {"case": case, "target": target, "region": target.isupper(), "scheme": scheme, "dice": dice, "hd95": 10 * (1 - dice), "hd95_convention": "x"}
        for case, targets in dice_of.items()
        for target, dice in targets.items()
    ]
    return pd.DataFrame(rows).assign(**columns)


FOLDS = {
    "0": table({"a": {"core": 0.8, "rim": 0.6, "WT": 0.1}, "b": {"core": 0.6, "rim": nan, "WT": 0.2}}),
    "2": table({"c": {"core": 0.1, "rim": 0.4, "WT": 0.3}}),
}


def test_means_and_spreads_by_hand() -> None:
    found = cross_validate(FOLDS)
    assert (found.scheme, found.hd95_convention, found.folds) == ("nnunet", "x", {"0": 2, "2": 1})
    core, rim, whole = found.row("core"), found.row("rim"), found.row("WT")
    assert core["mean"] == pytest.approx(0.5)
    assert core["std"] == pytest.approx(np.std([0.8, 0.6, 0.1], ddof=1))
    assert (core["fold_0"], core["fold_2"]) == (pytest.approx(0.7), pytest.approx(0.1))
    assert core["fold_std"] == pytest.approx(np.std([0.7, 0.1], ddof=1))
    assert (rim["mean"], rim["cases"], rim["without"], bool(rim["region"])) == (pytest.approx(0.5), 2, 1, False)
    assert (whole["mean"], bool(whole["region"])) == (pytest.approx(0.2), True)
    over = found.row()
    assert over["mean"] == pytest.approx((0.5 + 0.5) / 2)  # regions play no part
    assert over["std"] == pytest.approx(np.std([0.7, 0.6, 0.25], ddof=1))
    assert (over["fold_0"], over["fold_2"]) == (pytest.approx((0.7 + 0.6) / 2), pytest.approx(0.25))
    assert found.row("rim", "hd95")["mean"] == pytest.approx(5.0)
    assert found.cases["dice"].tolist() == pytest.approx([0.7, 0.6, 0.25])
    assert list(found.summary["target"]) == [OVER_CLASSES, "core", "rim", "WT"] * 2
    with pytest.raises(AutosegError, match=r"no iou of 'core'.*dice of core"):
        found.row("core", "iou")


def test_other_metrics_are_put_together_where_they_are_asked_for() -> None:
    tables = {fold: one.assign(iou=one["dice"] / (2 - one["dice"])) for fold, one in FOLDS.items()}
    found = cross_validate(tables, metrics=("dice", "iou", "nsd"))
    assert found.row("core", "iou")["mean"] == pytest.approx(np.mean([0.8 / 1.2, 0.6 / 1.4, 0.1 / 1.9]))
    dice = cross_validate(FOLDS).summary.query("metric == 'dice'")
    pd.testing.assert_frame_equal(found.summary.query("metric == 'dice'"), dice)  # further metrics change nothing, intervals included
    assert set(found.summary["metric"]) == {"dice", "iou"}


def test_lengths_are_in_the_unit_that_was_measured_in() -> None:
    """Tables of an earlier version do not say it: they are taken for what the others are, or for mm."""
    pictures = {"0": table({"a": {"core": 0.5}}, length_unit="pixels"), "1": table({"b": {"core": 0.7}})}
    assert cross_validate(pictures).length_unit == "pixels" and cross_validate(FOLDS).length_unit == "mm"
    pictures["1"] = pictures["1"].assign(length_unit="mm")
    assert cross_validate(pictures).length_unit == "mm or pixels"


def test_regions_lead_where_there_is_no_class() -> None:
    row = cross_validate({"0": table({"a": {"WT": 0.5, "TC": 0.7}})}).row()
    assert (row["target"], row["mean"]) == (OVER_REGIONS, pytest.approx(0.6))


def test_the_bootstrap_is_the_slow_way() -> None:
    rng = np.random.default_rng(1)
    values = rng.random((7, 3))
    values[:5, 2] = nan
    leading = np.array([True, False, True])
    fast = bootstrap_means(values, leading, seed=3, draws=400)
    times = np.random.default_rng(3)
    for row, drawn in zip(fast, [drawn for part in (250, 150) for drawn in times.multinomial(7, [1 / 7] * 7, size=part)], strict=True):
        resampled = pd.DataFrame(np.repeat(values, drawn, axis=0))
        np.testing.assert_allclose(row, [resampled[[0, 2]].mean().mean(), *resampled.mean()])
    assert np.isnan(fast[:, 3]).any()


def test_cases_of_a_patient_are_drawn_together() -> None:
    """The interval is that of the patients' sums over their numbers, drawn the slow way; one patient has none, however many cases."""
    dice = {"a1": 0.9, "a2": 0.8, "a3": 0.7, "b": 0.2, "c": 0.4}
    patients = {"a1": "a", "a2": "a", "a3": "a"}
    found = cross_validate({"0": table({case: {"core": number} for case, number in dice.items()})}, patients=patients)
    drawn = np.random.default_rng(0)
    times = np.concatenate([drawn.multinomial(3, [1 / 3] * 3, size=250) for _ in range(20)])
    means = [(2.4 * a + 0.2 * b + 0.4 * c) / (3 * a + b + c) for a, b, c in times]
    row = found.row()
    assert found.patients == 3 and row["mean"] == pytest.approx(0.6)
    assert [row["low"], row["high"]] == pytest.approx(np.percentile(means, (2.5, 97.5)))
    alone = cross_validate({"0": table({case: {"core": dice[case]} for case in patients})}, patients=patients)
    assert alone.patients == 1 and np.isnan([alone.row()["low"], alone.row()["high"]]).all()


def test_intervals_hold_what_they_promise() -> None:
    """Of many small studies, about 95 % of intervals hold the true mean; a percentile bootstrap of 30 cases is a little too narrow."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        row = cross_validate({"0": table({str(case): {"core": dice} for case, dice in enumerate(rng.beta(8, 2, 30))})}, draws=300).row()
        held += row["low"] <= 0.8 <= row["high"]
    assert 0.88 <= held / 200 <= 0.99


def test_the_interval_is_the_same_every_time_and_wide_for_few_cases() -> None:
    one, again = (cross_validate(FOLDS).summary for _ in range(2))
    pd.testing.assert_frame_equal(one, again)
    row = cross_validate({"1": table({"a": {"core": 0.2}, "b": {"core": 0.8}})}).row()
    assert (row["low"], row["high"]) == (pytest.approx(0.2), pytest.approx(0.8))
    assert np.isnan(row["fold_std"])


def test_a_single_case_has_no_interval() -> None:
    row = cross_validate({"0": table({"a": {"core": 0.7}})}).row()
    assert row["mean"] == pytest.approx(0.7)
    assert np.isnan([row["low"], row["high"], row["std"]]).all()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (table({"c": {"core": 1.0, "rim": 1.0, "WT": 1.0}}, scheme="brats20"), r"different schemes \(fold 0: nnunet; fold 1: brats20\)"),
        (table({"c": {"core": 1.0, "rim": 1.0, "WT": 1.0}}, hd95_convention="y"), r"different conventions of HD95 \(fold 0: x; fold 1: y\)"),
        (table({"b": {"core": 1.0, "rim": 1.0, "WT": 1.0}}), "b is in the validation of fold 0 and of fold 1"),
        (table({"c": {"core": 1.0, "edge": 1.0, "WT": 1.0}}), "Fold 1 was judged on other structures"),
    ],
)
def test_what_must_not_be_mixed(other: pd.DataFrame, message: str) -> None:
    with pytest.raises(AutosegError, match=message):
        cross_validate({"0": FOLDS["0"], "1": other})


def test_tables_are_read_with_names_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    table({"001": {"NA": 0.5, "rim": nan}}).to_csv(path, index=False)
    found = read_metrics(path)
    assert found["case"].tolist() == ["001", "001"] and found["target"].tolist() == ["NA", "rim"]
    assert found["dice"].isna().tolist() == [False, True]
    for content, message in (
        ("case,dice\n", "lacks the columns target, region, scheme"),
        ("", "cannot be read"),
        (path.read_text().split("\n")[0], "no case"),
    ):
        path.write_text(content)
        with pytest.raises(AutosegError, match=rf"metrics\.csv.*{message}"):
            read_metrics(path)
    with pytest.raises(AutosegError, match="cannot be read"):
        read_metrics(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("column", "value", "said"), [("dice", "0.8x", "no number"), ("hd95", "l", "no number"), ("region", "Falze", "neither True")]
)
def test_a_letter_where_none_belongs_is_named_with_file_and_case(column: str, value: str, said: str, tmp_path: Path) -> None:
    content = FOLDS["0"].astype({column: object})
    content.loc[1, column] = value
    content.to_csv(tmp_path / "metrics.csv", index=False)
    with pytest.raises(AutosegError, match=rf"metrics\.csv: the {column} of rim in case a is '{value}', which is {said}.*validate the fold again"):
        read_metrics(tmp_path / "metrics.csv")
