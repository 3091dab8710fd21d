"""The document of all cases: taken up again as far as it holds, written whole; the table says the same."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from autoseg.errors import AutosegError
from autoseg.evaluation.localisation import localise
from autoseg.evaluation.localisation_file import COLUMNS, LocalisationFile, require_ours
from autoseg.evaluation.result import Target
from autoseg.imaging.image import Geometry, LabelMap
from autoseg.imaging.write import write_labels

TARGETS = (Target("one", (1,)), Target("two", (2,)))


def save(folder: Path, case: str, x: int) -> tuple[Path, LabelMap]:
    array = np.zeros((4, 5, 9), np.uint8)
    array[1, 2, x : x + 2] = 1
    array[3, 0, 0] = 1
    labels = LabelMap(array, Geometry.of(array.shape))
    write_labels(labels, folder / f"{case}.nii.gz")
    return folder / f"{case}.nii.gz", labels


def fill(folder: Path, cases: dict[str, int]) -> None:
    saved = {case: save(folder, case, x) for case, x in cases.items()}
    document = LocalisationFile(folder, TARGETS, {case: path for case, (path, _) in saved.items()})
    for case, (_, labels) in saved.items():
        document.put(case, labels.geometry, localise(labels, TARGETS), measured=True)
    document.finish()


def test_document_and_table_say_the_same(tmp_path: Path) -> None:
    fill(tmp_path, {"b": 3, "a": 6})
    content = json.loads((tmp_path / "localisation.json").read_text())
    assert list(content["cases"]) == ["a", "b"]
    first = content["cases"]["a"]["structures"]["one"]["parts"][0]
    assert first["box"] == {"first": [1, 2, 6], "last": [1, 2, 7]} and first["centroid"] == [1.0, 2.0, 6.5]
    table = pd.read_csv(tmp_path / "localisation.csv")
    assert tuple(table.columns) == COLUMNS
    assert table[["case", "structure", "part"]].values.tolist() == [
        [case, *row] for case in ("a", "b") for row in (["one", 0], ["one", 1], ["one", 2], ["two", 0])
    ]
    assert table["voxels"].tolist() == [3, 2, 1, 0] * 2
    row = table.iloc[1]
    assert [row[f"{end}_{axis}"] for end in ("first", "last") for axis in "zyx"] == [1, 2, 6, 1, 2, 7]
    assert [row[f"{end}_{axis}_mm"] for end in ("centroid", "low", "high") for axis in "ras"] == [6.5, 2, 1, 5.5, 1.5, 0.5, 7.5, 2.5, 1.5]
    assert table.iloc[3, 4:].isna().all()


def test_entries_stay_while_they_hold(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 1, "b": 2})
    files = {case: tmp_path / f"{case}.nii.gz" for case in "ab"}
    again = LocalisationFile(tmp_path, TARGETS, files)
    assert "a" in again and "b" in again
    before = (tmp_path / "localisation.csv").stat().st_mtime_ns
    again.finish()
    assert (tmp_path / "localisation.csv").stat().st_mtime_ns == before
    later = (tmp_path / "localisation.json").stat().st_mtime_ns + 1
    os.utime(files["a"], ns=(later, later))
    changed = LocalisationFile(tmp_path, TARGETS, files)
    assert "a" not in changed and "b" in changed
    assert "b" not in LocalisationFile(tmp_path, TARGETS[:1], files)  # other structures
    assert "b" not in LocalisationFile(tmp_path, TARGETS, files, afresh=True)
    assert "b" not in LocalisationFile(tmp_path, TARGETS, {"b": save(tmp_path / "elsewhere", "b", 4)[0]})
    others = LocalisationFile(tmp_path, TARGETS, {})
    assert "b" in others  # a case that is not asked for stays ...
    files["b"].unlink()
    assert "b" not in LocalisationFile(tmp_path, TARGETS, {})  # ... while its segmentation does


def test_a_table_that_a_kill_left_behind_is_written_anew(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 1})
    (tmp_path / "localisation.csv").write_text("half")
    os.utime(tmp_path / "localisation.csv", ns=(1, 1))
    LocalisationFile(tmp_path, TARGETS, {"a": tmp_path / "a.nii.gz"}).finish()
    assert len(pd.read_csv(tmp_path / "localisation.csv")) == 4


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("localisation.json", "[1]"),
        ("localisation.json", "{}"),
        ("localisation.json", '{"coordinates": {}, "structures": [], "cases": [1]}'),
        ("localisation.csv", "a,b"),
    ],
)
def test_files_of_others_are_refused(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(AutosegError, match="--overwrite"):
        require_ours(tmp_path)
    require_ours(tmp_path, overwrite=True)
    assert (tmp_path / name).read_text() == content


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: entry.pop("segmentation"),
        lambda entry: entry.pop("structures"),
        lambda entry: entry.update(structures=[]),
        lambda entry: entry["structures"].update(one=3),
        lambda entry: entry["structures"]["one"].pop("parts"),
        lambda entry: entry["structures"]["one"]["parts"][1].pop("box"),
        lambda entry: entry["structures"]["one"]["parts"][1].update(box=[1, 2]),
        lambda entry: entry["structures"]["one"].update(centroid=4.0),
    ],
)
def test_a_damaged_entry_is_named(tmp_path: Path, damage: Callable[[dict[str, Any]], object]) -> None:
    fill(tmp_path, {"a": 1, "b": 2})
    path = tmp_path / "localisation.json"
    content = json.loads(path.read_text())
    damage(content["cases"]["b"])
    path.write_text(json.dumps(content))
    for take in (lambda: require_ours(tmp_path), lambda: LocalisationFile(tmp_path, TARGETS, {})):
        with pytest.raises(AutosegError, match=r"localisation\.json is damaged where it speaks of b\. .*--overwrite"):
            take()
    assert "a" not in LocalisationFile(tmp_path, TARGETS, {}, afresh=True)
