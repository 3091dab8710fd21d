"""Planning again after cases came: what is kept, what is made anew, and what a run that is trained says."""

from pathlib import Path

import pytest

from autoseg import AutosegError, plan
from autoseg.data.folds import Folds, read_folds, write_folds
from autoseg.data.phantom import write_phantoms
from autoseg.workspace import Workspace

NAME = "DatasetPhantom20"


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    write_phantoms(tmp_path / "raw_data" / NAME, count=3, seed=1, shape=(24, 28, 24))
    plan(NAME, workspace=tmp_path, preset="cpu", preprocess=False)
    return Workspace(tmp_path)


def test_a_division_made_by_hand_is_kept(place: Workspace) -> None:
    names = sorted(name for fold in read_folds(place.folds(NAME)).validation for name in fold)
    mine = Folds(validation=((names[0],), (names[1], names[2])))
    write_folds(mine, place.folds(NAME))
    plan(NAME, workspace=place.root, preset="cpu", preprocess=False)
    plan(NAME, workspace=place.root, preset="cpu", preprocess=False, force=True)
    assert read_folds(place.folds(NAME)) == mine


def test_new_cases_are_divided_anew_when_the_plan_is(place: Workspace) -> None:
    before = place.folds(NAME).read_bytes()
    write_phantoms(place.raw(NAME), count=2, seed=1, first=4, shape=(24, 28, 24))
    with pytest.raises(AutosegError, match=r"--force|no fold"):
        plan(NAME, workspace=place.root, preset="cpu", preprocess=False)
    assert place.folds(NAME).read_bytes() == before
    plan(NAME, workspace=place.root, preset="cpu", preprocess=False, force=True)
    assert sum(len(fold) for fold in read_folds(place.folds(NAME)).validation) == 5
    assert (place.root / "plans" / f"{NAME}.folds.json.bak").read_bytes() == before
    assert place.datasets() == [NAME]
