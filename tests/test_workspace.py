from pathlib import Path

import pytest

from autoseg.errors import AutosegError
from autoseg.files import write_text
from autoseg.workspace import Workspace


def workspace(root: Path, *datasets: str) -> Workspace:
    for name in datasets:
        (root / "raw_data" / name).mkdir(parents=True)
    return Workspace(root)


def test_the_workspace_is_the_given_one_then_the_environments_then_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, environment, here = (tmp_path / name for name in ("given", "environment", "here"))
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("AUTOSEG_WORKSPACE", str(environment))
    assert Workspace.find(given).root == given
    assert Workspace.find(str(given)).root == given
    assert Workspace.find().root == environment
    monkeypatch.setenv("AUTOSEG_WORKSPACE", "")
    assert Workspace.find().root == here
    monkeypatch.delenv("AUTOSEG_WORKSPACE")
    assert Workspace.find().root == here
    assert Workspace.find("..").root == tmp_path


def test_where_things_lie(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    assert place.raw("D") == tmp_path / "raw_data" / "D"
    assert place.plan("D") == tmp_path / "plans" / "D.json"
    assert place.fingerprint("D") == tmp_path / "plans" / "D.fingerprint.json"
    assert place.folds("D") == tmp_path / "plans" / "D.folds.json"
    assert place.preprocessed("D", "2d") == tmp_path / "preprocessed" / "D" / "2d"
    assert place.fold("D", "2d", "all") == tmp_path / "models" / "D" / "2d" / "fold_all"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("Dataset004_Hippocampus", "Dataset004_Hippocampus"), ("Hippocampus", "Dataset004_Hippocampus"), ("hippocampus", "Dataset004_Hippocampus"),
        ("4", "Dataset004_Hippocampus"), ("004", "Dataset004_Hippocampus"), ("DatasetBraTS20", "DatasetBraTS20"), ("BraTS20", "DatasetBraTS20"),
        ("datasetbrats20", "DatasetBraTS20"), ("my own data", "my own data"), ("Datasetmy own data", "my own data"), ("v1.2", "Dataset040_v1.2"),
        ("40", "Dataset040_v1.2"),
    ],
)  # fmt: skip
def test_a_dataset_answers_to_its_names(tmp_path: Path, typed: str, meant: str) -> None:
    place = workspace(tmp_path, "Dataset004_Hippocampus", "DatasetBraTS20", "my own data", "Dataset040_v1.2")
    assert place.resolve(typed) == meant


def test_a_path_that_a_shell_completed_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = workspace(tmp_path, "Dataset004_Heart")
    monkeypatch.chdir(tmp_path)
    for typed in ("Dataset004_Heart/", "raw_data/Dataset004_Heart", "./raw_data/Dataset004_Heart/", str(tmp_path / "raw_data" / "Dataset004_Heart")):
        assert place.resolve(typed) == "Dataset004_Heart"
    with pytest.raises(AutosegError, match="no dataset 'elsewhere/Dataset004_Heart'"):
        place.resolve("elsewhere/Dataset004_Heart")


def test_an_unknown_dataset_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(AutosegError, match=r"no dataset 'Liver' in .*raw_data.*Known are: DatasetA, DatasetB\..*--workspace"):
        workspace(tmp_path, "DatasetA", "DatasetB").resolve("Liver")
    with pytest.raises(AutosegError, match="No dataset is known yet"):
        Workspace(tmp_path / "empty").resolve("Liver")


def test_a_name_that_is_nearly_known_is_suggested(tmp_path: Path) -> None:
    for name in ("Dataset004_Hippocampus", "DatasetBraTS20"):
        (tmp_path / "raw_data" / name).mkdir(parents=True)
    with pytest.raises(AutosegError, match=r"no dataset 'hipocampus' in .*Did you mean Dataset004_Hippocampus\? "):
        Workspace(tmp_path).resolve("hipocampus")
    with pytest.raises(AutosegError, match=r"no dataset 'Liver' in (?!.*Did you mean)"):
        Workspace(tmp_path).resolve("Liver")


def test_an_ambiguous_name_lists_the_choices_but_a_full_name_is_none(tmp_path: Path) -> None:
    place = workspace(tmp_path, "Dataset001_Heart", "Dataset002_Heart", "Heart")
    with pytest.raises(AutosegError, match="Dataset001_Heart or Dataset002_Heart"):
        place.resolve("heart")
    assert place.resolve("Heart") == "Heart"
    assert place.resolve("2") == "Dataset002_Heart"


def test_datasets_are_known_by_data_plan_or_model(tmp_path: Path) -> None:
    place = workspace(tmp_path, "DatasetRaw", ".hidden")
    for file in ("DatasetPlan.json", "DatasetPlan.fingerprint.json", "DatasetPlan.folds.json", "Dataset_v1.5.json", "README.md", ".current"):
        write_text(tmp_path / "plans" / file, "x")
    (tmp_path / "models" / "DatasetModel" / "2d").mkdir(parents=True)
    write_text(tmp_path / "raw_data" / "README.md", "x")
    assert place.datasets() == ["DatasetModel", "DatasetPlan", "DatasetRaw", "Dataset_v1.5"]


def test_a_link_to_data_is_a_dataset(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "w" / "raw_data").mkdir(parents=True)
    (tmp_path / "w" / "raw_data" / "DatasetLinked").symlink_to(tmp_path / "elsewhere")
    assert Workspace(tmp_path / "w").datasets() == ["DatasetLinked"]
    (tmp_path / "elsewhere").rmdir()  # the layouts say that the link leads nowhere, which helps more than "there is no such dataset"
    assert Workspace(tmp_path / "w").resolve("linked") == "DatasetLinked"


def test_the_current_dataset_is_the_only_one_or_the_last_planned(tmp_path: Path) -> None:
    place = workspace(tmp_path, "DatasetA")
    assert place.current() == "DatasetA"
    workspace(tmp_path, "DatasetB")
    with pytest.raises(AutosegError, match=r"Which dataset\?.*DatasetA, DatasetB. Name one, .*autoseg plan"):
        place.current()
    place.set_current("DatasetB")
    assert place.current() == "DatasetB"
    place.set_current("DatasetA")
    assert Workspace(tmp_path).current() == "DatasetA"


def test_a_current_dataset_that_is_gone_is_said_so(tmp_path: Path) -> None:
    place = workspace(tmp_path, "DatasetA")
    place.set_current("DatasetGone")
    with pytest.raises(AutosegError, match=r"no dataset 'DatasetGone'.*DatasetA"):
        place.current()


def test_no_dataset_at_all(tmp_path: Path) -> None:
    with pytest.raises(AutosegError, match="No dataset is known yet"):
        Workspace(tmp_path).current()
