"""Folders side by side: which are compared, what is written."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import autoseg
from autoseg.errors import AutosegError
from autoseg.imaging.image import Geometry, LabelMap
from autoseg.imaging.write import write_labels


def save(path: Path, *values: int) -> None:
    array = np.zeros((4, 5, 6), np.uint8)
    array.flat[: len(values)] = values
    write_labels(LabelMap(array, Geometry.of((4, 5, 6))), path)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    for name in "abc":
        save(tmp_path / "labels" / f"{name}.nii.gz", 1, 1, 2, 2)
    for name in "ab":
        save(tmp_path / "good" / f"{name}.nii.gz", 1, 1, 2, 2)
        save(tmp_path / "bad" / f"{name}.nii.gz", 1, 2, 1, 2)
    return tmp_path / "good", tmp_path / "bad", tmp_path / "labels"


@pytest.mark.parametrize("scheme", ["nnunet", "brats20", "brats23", "brats25"])
def test_every_scheme_compares(folders: tuple[Path, Path, Path], tmp_path: Path, scheme: str) -> None:
    done = autoseg.compare(folders[:2], folders[2], output=tmp_path / "out", scheme=scheme)
    found = done.comparison
    assert found.contestants == ("good", "bad") and found.cases == ("a", "b") and found.missing == ("c",)
    assert found.ranking["contestant"].tolist()[0] == "good"
    assert set(pd.read_csv(done.csv)["scheme"]) == {scheme} == {json.loads(done.json.read_text())["scheme"]}
    assert done.picture.stat().st_size > 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "comparison.csv",
        "comparison.json",
        "comparison.png",
        "comparison_cases.csv",
    ]


def test_it_says_what_evaluate_says(folders: tuple[Path, Path, Path], tmp_path: Path) -> None:
    regions = {"WT": (1, 2), "ET": (2,)}
    values = autoseg.compare(folders[:2], folders[2], output=tmp_path / "out", regions=regions).comparison.values
    for folder in folders[:2]:
        table = autoseg.evaluate(folder, folders[2], output=tmp_path / "m", regions=regions).evaluation.table
        for metric in ("dice", "hd95", "nsd"):
            assert values[values["metric"] == metric][folder.name].tolist() == pytest.approx(table[metric].tolist())


def test_folders_of_one_name_are_told_apart(folders: tuple[Path, Path, Path], tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    other = (tmp_path / "x" / "good").resolve()
    (tmp_path / "bad").rename(other)
    found = autoseg.compare([folders[0], other], folders[2], output=tmp_path / "out").comparison
    assert found.contestants == (str(folders[0]), str(other))


def test_missing_cases_are_said_before_any_work(folders: tuple[Path, Path, Path], tmp_path: Path) -> None:
    (folders[1] / "b.nii.gz").unlink()
    (folders[0] / "a.nii.gz").write_bytes(b"no image")
    with pytest.raises(AutosegError, match="bad lacks b"):
        autoseg.compare(folders[:2], folders[2], output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_folder_is_no_comparison(folders: tuple[Path, Path, Path]) -> None:
    for given in ([folders[0]], [folders[0], folders[0].parent / "bad" / ".." / "good"]):
        with pytest.raises(AutosegError, match="two different folders"):
            autoseg.compare(given, folders[2])


def test_another_grid_names_both_files(folders: tuple[Path, Path, Path], tmp_path: Path) -> None:
    write_labels(LabelMap(np.ones((4, 5, 7), np.uint8), Geometry.of((4, 5, 7))), folders[1] / "b.nii.gz")
    with pytest.raises(AutosegError) as caught:
        autoseg.compare(folders[:2], folders[2], output=tmp_path / "out")
    assert str(folders[1] / "b.nii.gz") in str(caught.value) and str(folders[2] / "b.nii.gz") in str(caught.value)
