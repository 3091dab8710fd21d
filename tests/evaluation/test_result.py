"""Means worked out by hand, and what the files hold."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from autoseg.errors import AutosegError
from autoseg.evaluation.distances import ASSD_POOLED, HD95_POOLED, NSD_POOLED, SURFACE_METRICS
from autoseg.evaluation.metrics import RATIOS, Counts
from autoseg.evaluation.result import VOLUMES, Evaluation, Row, Target, tabulate
from autoseg.evaluation.schemes import SCHEMES

TARGETS = (Target("core", (1,)), Target("rim", (4,)), Target("whole", (1, 4), region=True))
SPACING = (2.0, 1.0, 0.5)  # one voxel is one cubic millimetre


def evaluation(scheme: str = "nnunet", surface: bool = True) -> Evaluation:
    """Three cases; the rim is in no mask of "b", missed in "c"."""
    found = {
        "a": [(Counts(4, 2, 2, 92), 3.0), (Counts(1, 0, 0, 99), 0.0), (Counts(5, 2, 2, 91), 1.0)],
        "b": [(Counts(5, 0, 0, 95), 0.0), (Counts(0, 0, 0, 100), math.nan), (Counts(5, 0, 0, 95), 0.0)],
        "c": [(Counts(0, 3, 3, 94), 9.0), (Counts(0, 0, 6, 94), math.nan), (Counts(0, 3, 9, 88), 9.0)],
    }
    rows = {
        case: [
            Row.of(target, counts, {"hd95": distance, "assd": distance / 2, "nsd": 0.5} if surface else None, SPACING, SCHEMES[scheme])
            for target, (counts, distance) in zip(TARGETS, answers, strict=True)
        ]
        for case, answers in found.items()
    }
    return Evaluation(scheme, TARGETS, tabulate(rows, SCHEMES[scheme]), missing=("d",))


def test_a_row_for_each_case_and_target() -> None:
    table = evaluation().table
    assert list(zip(table["case"], table["target"], strict=True)) == [(case, target.name) for case in "abc" for target in TARGETS]
    metrics = [*RATIOS, *SURFACE_METRICS, *VOLUMES]
    conventions = ["nsd_tolerance", "hd95_convention", "nsd_convention"]
    assert list(table.columns) == ["case", "target", "region", "scheme", *metrics, "tp", "fp", "fn", "tn", *conventions, "length_unit"]
    first = table.iloc[0]
    assert (first["volume_prediction"], first["volume_reference"], first["volume_difference"]) == (6.0, 6.0, 0.0)
    assert table.iloc[7]["volume_difference"] == -6.0
    assert table.iloc[7]["relative_volume_difference"] == -1.0


def test_the_mean_passes_over_what_is_no_number_and_says_so() -> None:
    mean = evaluation().mean()
    assert list(mean.index) == ["core", "rim", "whole"]
    core, rim = mean.loc["core"], mean.loc["rim"]
    assert core["dice"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert core["dice_median"] == pytest.approx(2 / 3)
    assert core["dice_std"] == pytest.approx(0.5091750772)
    assert (core["cases"], core["dice_cases"], core["hd95_cases"]) == (3, 3, 3)
    assert rim["dice"] == 0.5 and rim["dice_cases"] == 2
    assert rim["hd95"] == 0.0 and rim["hd95_cases"] == 1
    assert (rim["cases"], rim["empty_reference"], rim["empty_prediction"], rim["empty_both"]) == (3, 1, 2, 1)


def test_brats20_has_a_number_for_every_case() -> None:
    rim = evaluation("brats20").mean().loc["rim"]
    assert rim["dice"] == pytest.approx((1 + 1 + 0) / 3)
    assert rim["hd95"] == pytest.approx(373.12866 / 3)
    assert rim["dice_cases"] == rim["hd95_cases"] == 3


def test_the_foreground_mean_is_over_classes_without_regions() -> None:
    assert evaluation().foreground_mean() == pytest.approx((5 / 9 + 0.5) / 2)
    assert evaluation().foreground_mean("hd95") == pytest.approx((4.0 + 0.0) / 2)
    with pytest.raises(AutosegError, match=r"'f1'.*dice"):
        evaluation().foreground_mean("f1")


@pytest.mark.parametrize("surface", [True, False])
@pytest.mark.parametrize(("there", "back"), [("nnunet", "brats20"), ("brats20", "nnunet")])
def test_another_scheme_needs_no_voxels(there: str, back: str, surface: bool) -> None:
    start, goal = evaluation(there, surface), evaluation(back, surface)
    pd.testing.assert_frame_equal(start.under(back).table, goal.table)
    assert start.under(back).scheme == back
    pd.testing.assert_frame_equal(start.under(back).under(there).table, start.table)


def test_without_surfaces_there_is_no_hd95() -> None:
    found = evaluation(surface=False)
    assert "hd95" not in found.metrics and "hd95" not in found.table.columns
    assert "dice" in found.metrics
    with pytest.raises(AutosegError, match="'hd95'"):
        found.foreground_mean("hd95")


def test_the_mean_is_over_regions_where_there_is_no_class() -> None:
    found = evaluation()
    regions = Evaluation("nnunet", TARGETS[2:], found.table[found.table["region"]])
    assert regions.foreground_mean() == pytest.approx(found.mean().loc["whole", "dice"])


@pytest.mark.parametrize("scheme", ["brats23", "brats25"])
def test_what_was_measured_otherwise_is_not_converted(scheme: str) -> None:
    with pytest.raises(AutosegError, match=f"nnunet and {scheme} do not measure the same"):
        evaluation().under(scheme)


@pytest.mark.parametrize("scheme", ["nnunet", "brats20"])
def test_files_hold_the_table_and_name_scheme_and_convention(tmp_path: Path, scheme: str) -> None:
    found = evaluation(scheme)
    csv, text = found.write(tmp_path / "new")
    pd.testing.assert_frame_equal(pd.read_csv(csv), found.table, check_dtype=False)
    document = json.loads(text.read_text())
    assert document["scheme"] == scheme
    assert document["conventions"] == {"hd95": HD95_POOLED, "assd": ASSD_POOLED, "nsd": NSD_POOLED}
    assert document["nsd_tolerance"] == 1.0
    assert document["missing"] == ["d"]
    assert document["foreground_mean"]["dice"] == pytest.approx(found.foreground_mean())
    rim = document["targets"][1]
    assert (rim["name"], rim["values"], rim["region"], rim["empty_both"]) == ("rim", [4], False, 1)
    assert rim["dice"]["mean"] == pytest.approx(found.mean().loc["rim", "dice"])
    assert rim["dice"]["cases"] == found.mean().loc["rim", "dice_cases"]
    assert document["cases"]["a"]["core"]["tp"] == 4
    assert document["cases"]["b"]["rim"]["dice"] == (None if scheme == "nnunet" else 1.0)
    assert sorted(path.name for path in csv.parent.iterdir()) == ["metrics.csv", "metrics.json"]


@pytest.mark.parametrize("values", [(), (0,), (0, 1)])
def test_the_background_is_no_target(values: tuple[int, ...]) -> None:
    with pytest.raises(AutosegError, match=r"'tissue'.*background"):
        Target("tissue", values)
