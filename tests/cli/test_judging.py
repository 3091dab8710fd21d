"""evaluate and compare as they are typed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from autoseg.cli.evaluate import heading
from autoseg.imaging.image import Geometry, LabelMap
from autoseg.imaging.write import write_labels
from tests.cli.conftest import Shell

BOX = (16, 16, 16)


def save(path: Path, *, shift: int = 0, enhancing: int = 4) -> None:
    labels = np.zeros(BOX, np.uint8)
    labels[3:11, 3:11, 3 + shift : 11 + shift] = 2
    labels[5:10, 5:10, 5 + shift : 10 + shift] = enhancing
    labels[6:8, 6:8, 6 + shift : 8 + shift] = 1
    write_labels(LabelMap(labels, Geometry.of(BOX)), path)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for case in ("a", "b", "c"):
        save(tmp_path / "labels" / f"{case}.nii.gz")
        save(tmp_path / "near" / f"{case}.nii.gz", shift=1)
        save(tmp_path / "far" / f"{case}.nii.gz", shift=3)
    (tmp_path / "near" / "c.nii.gz").unlink()
    (tmp_path / "far" / "c.nii.gz").unlink()
    return tmp_path


@pytest.mark.parametrize("regions", [["WT=1,2,4", "TC=1,4", "ET=4"], ["WT=1,2,4 TC=1,4", "--regions", "ET=4"]])
def test_regions_follow_their_option(shell: Shell, place: Path, regions: list[str]) -> None:
    done = shell.run("evaluate", "-p", "near", "-r", "labels", "--regions", *regions, cwd=place)
    assert done.code == 0, done.err
    assert done.headline == "autoseg evaluate: predictions near, references labels, scheme nnunet"
    assert pd.read_csv(place / "near" / "metrics.csv")["target"].tolist() == ["WT", "TC", "ET"] * 2
    assert "Mean Dice over regions: " in done.out
    assert "in no number: 1 of 3 cases: c" in done.err


def test_lesions_are_shown_with_their_scheme(shell: Shell, place: Path) -> None:
    done = shell.run("evaluate", "-p", "near", "-r", "labels", "--regions", "WT=1,2,4", "--scheme", "brats23", "--tumour", "metastasis", cwd=place)
    assert done.code == 0, done.err
    assert done.headline.endswith("scheme brats23, tumour metastasis")
    assert "Lesions (scheme brats23 metastasis)" in done.out
    for head in ("found", "missed", "invented", "too small, dropped"):
        assert head in done.out
    assert set(pd.read_csv(place / "near" / "metrics.csv")["scheme"]) == {"brats23 metastasis"}


def test_words_without_their_option_are_refused(shell: Shell, place: Path) -> None:
    done = shell.run("evaluate", "-p", "near", "-r", "labels", "TC=1,4", cwd=place)
    assert done.code == 2 and "Regions come after --regions" in done.err
    message = shell.fails("evaluate", "-p", "near", "-r", "labels", "--regions", "WT", cwd=place)
    assert "'WT' is no region" in message


def test_compare(shell: Shell, place: Path) -> None:
    done = shell.run("compare", "near", "far", "-r", "labels", "--regions", "WT=1,2,4 ET=4", "--scheme", "brats20", cwd=place)
    assert done.code == 0, done.err
    assert done.headline == "autoseg compare: predictions near far, references labels, scheme brats20"
    for text in ("far - near", "95 % interval", "p (Wilcoxon)", "BraTS ranking", "Compared: 2 of 3 cases with a reference, scheme brats20"):
        assert text in done.out
    assert "in no number: c" in done.err
    table = pd.read_csv(place / "comparison" / "comparison.csv")
    assert (table.loc[table["metric"] == "dice", "difference"] < 0).all()
    assert {path.name for path in (place / "comparison").iterdir()} == {
        "comparison.csv",
        "comparison_cases.csv",
        "comparison.json",
        "comparison.png",
    }


def test_regions_follow_their_option_among_the_folders(shell: Shell, place: Path) -> None:
    done = shell.run("compare", "near", "far", "-r", "labels", "--regions", "WT=1,2,4", "TC=1,4", "ET=4", cwd=place)
    assert done.code == 0, done.err
    assert done.headline == "autoseg compare: predictions near far, references labels, scheme nnunet"
    assert list(dict.fromkeys(pd.read_csv(place / "comparison" / "comparison.csv")["target"])) == ["WT", "TC", "ET"]
    (place / "far").rename(place / "TC=1,4")
    done = shell.run("compare", "near", "TC=1,4", "-r", "labels", "--regions", "WT=1,2,4", "ET=4", cwd=place)
    assert done.code == 0, done.err
    assert done.headline == "autoseg compare: predictions near TC=1,4, references labels, scheme nnunet"
    done = shell.run("compare", "near", "TC=1,4", "ET=4", "-r", "labels", cwd=place)
    assert done.code == 2 and "there is no folder ET=4" in done.err and "--regions" in done.err


def test_one_case_is_no_plural(shell: Shell, place: Path) -> None:
    for folder in ("near", "far", "labels"):
        for case in "bc":
            (place / folder / f"{case}.nii.gz").unlink(missing_ok=True)
    done = shell.run("compare", "near", "far", "-r", "labels", cwd=place)
    assert done.code == 0, done.err
    assert "Compared: 1 of 1 case with a reference" in done.out


def test_compare_names_the_missing_cases(shell: Shell, place: Path) -> None:
    (place / "far" / "b.nii.gz").unlink()
    assert "far lacks b" in shell.fails("compare", "near", "far", "-r", "labels", cwd=place)


@pytest.mark.parametrize(
    ("unit", "named"),
    [
        ("mm", ("HD95 mm", "volume difference mm³", "lesion HD95 mm", "Dice")),
        ("pixels", ("HD95 pixels", "volume difference pixels", "lesion HD95 pixels", "Dice")),
        ("mm or pixels", ("HD95 mm or pixels", "volume difference mm or pixels", "lesion HD95 mm or pixels", "Dice")),
    ],
)
def test_columns_name_the_unit(unit: str, named: tuple[str, ...]) -> None:
    assert tuple(heading(metric, unit) for metric in ("hd95", "volume_difference", "lesion_hd95", "dice")) == named
