"""The cases of a fold: kept once, held to, and with the patients that share cases."""

import json
from pathlib import Path

import pytest

from autoseg.api._fold_cases import FoldCases, keep_cases, read_cases
from autoseg.data.dataset import Case
from autoseg.errors import AutosegError

SCANS = [Case("a_1", {}, None, "a"), Case("a_2", {}, None, "a"), Case("b", {}, None, "b"), Case("c_1", {}, None, "c")]


def test_cases_are_kept_with_the_patients_of_those_to_validate_on(tmp_path: Path) -> None:
    keep_cases(tmp_path, ["c_1"], ["b", "a_2", "a_1"], SCANS)
    assert read_cases(tmp_path) == FoldCases(("c_1",), ("a_1", "a_2", "b"), {"a_1": "a", "a_2": "a"})
    keep_cases(tmp_path, ["c_1"], ["a_1", "a_2", "b"], SCANS)
    with pytest.raises(AutosegError, match=r"cases of this fold changed.*start anew with --restart"):
        keep_cases(tmp_path, ["c_1", "b"], ["a_1", "a_2"], SCANS)


def test_patients_are_added_where_an_earlier_run_did_not_keep_them(tmp_path: Path) -> None:
    path = tmp_path / "cases.json"
    path.write_text(json.dumps({"training": ["b", "c_1"], "validation": ["a_1", "a_2"]}))
    kept = read_cases(tmp_path)
    assert kept is not None and kept.patients is None
    keep_cases(tmp_path, ["b", "c_1"], ["a_1", "a_2"], SCANS)
    assert json.loads(path.read_text())["patients"] == {"a_1": "a", "a_2": "a"}


def test_a_file_that_does_not_say_them_says_nothing(tmp_path: Path) -> None:
    assert read_cases(tmp_path) is None
    (tmp_path / "cases.json").write_text('{"training": ["a"]}')
    assert read_cases(tmp_path) is None
