"""Folds divide every case once, keep patients whole, and say what is wrong with a file edited by hand."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.data.dataset import Case
from autoseg.data.folds import Folds, make_folds, read_folds, split, write_folds
from autoseg.errors import AutosegError


def cases_of(sizes: list[int]) -> list[Case]:
    """One patient for each number: that many cases."""
    return [Case(f"p{patient}s{scan}", (), None, f"p{patient}") for patient, size in enumerate(sizes) for scan in range(size)]


@given(sizes=st.lists(st.integers(1, 4), min_size=2, max_size=25), count=st.integers(2, 7), seed=st.integers(0, 99))
def test_every_case_once_and_no_patient_parted(sizes: list[int], count: int, seed: int) -> None:
    cases = cases_of(sizes)
    folds = make_folds(cases, seed=seed, count=count)

    assert len(folds.validation) == min(count, len(sizes))
    assert sorted(name for fold in folds.validation for name in fold) == sorted(case.name for case in cases)
    for fold in range(len(folds.validation)):
        training, validation = split(folds, fold, [case.name for case in cases])
        assert training and validation
        assert not {name.split("s")[0] for name in training} & {name.split("s")[0] for name in validation}
    lengths = [len(fold) for fold in folds.validation]
    assert max(lengths) - min(lengths) <= max(sizes)


def test_single_scans_are_spread_evenly() -> None:
    folds = make_folds(cases_of([1] * 23), seed=1)
    assert sorted(len(fold) for fold in folds.validation) == [4, 4, 5, 5, 5]


def test_seed_decides_and_order_does_not() -> None:
    cases = cases_of([1] * 20)
    assert make_folds(cases, seed=3) == make_folds(cases[::-1], seed=3)
    assert make_folds(cases, seed=3) != make_folds(cases, seed=4)


@pytest.mark.parametrize("sizes", [[], [1], [6]])
def test_one_patient_cannot_be_divided(sizes: list[int]) -> None:
    with pytest.raises(AutosegError, match="at least 2 patients"):
        make_folds(cases_of(sizes), seed=0)


def test_one_fold_is_no_cross_validation() -> None:
    with pytest.raises(AutosegError, match="at least 2 folds, not 1"):
        make_folds(cases_of([1, 1]), seed=0, count=1)


def test_all_trains_on_every_case() -> None:
    assert split(Folds(validation=(("a",), ("b",))), "all", ["b", "a", "new"]) == (["a", "b", "new"], [])


@pytest.mark.parametrize("fold", [-1, 2])
def test_unknown_fold(fold: int) -> None:
    with pytest.raises(AutosegError, match=f"no fold {fold}: choose one of 0 to 1, or 'all'"):
        split(Folds(validation=(("a",), ("b",))), fold, ["a", "b"])


def test_split_refuses_other_cases() -> None:
    with pytest.raises(AutosegError, match=r"case b in fold 1 does not exist(.|\n)*case c is in no fold"):
        split(Folds(validation=(("a",), ("b",))), 0, ["a", "c"])


def test_written_and_read_again(tmp_path: Path) -> None:
    cases = cases_of([2, 1, 1, 3, 1, 1])
    folds = make_folds(cases, seed=0)
    write_folds(folds, tmp_path / "folds.json")
    assert read_folds(tmp_path / "folds.json", [case.name for case in cases]) == folds
    assert (tmp_path / "folds.json").read_text().count("\n") > len(cases)  # a case a line


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"validation": [["a", "b"], ["b", "c"]]}, "case b is listed 2 times"),
        ({"validation": [["a", "b", "c"], []]}, "fold 1 has no case to validate on"),
        ({"validation": [["a", "b", "c"]]}, "fold 0 has no case to train on"),
        ({"validation": [["a", "b"]]}, "case c is in no fold: add it to one, or delete the file"),
        ({"validation": [["a", "b"], ["c", "d"]]}, "case d in fold 1 does not exist"),
        ({"validation": []}, "there is no fold"),
        ({"validation": [["a"], "b"]}, "one list of case names for each fold"),
        ({"valid": [["a"], ["b"]]}, "valid: "),
        ([["a"], ["b"]], "one list of case names for each fold"),
    ],
)
def test_faults_of_an_edited_file(tmp_path: Path, content: object, complaint: str) -> None:
    path = tmp_path / "folds.json"
    path.write_text(json.dumps(content))
    with pytest.raises(AutosegError) as caught:
        read_folds(path, ["a", "b", "c"])
    assert str(path) in str(caught.value)
    assert complaint in str(caught.value)
