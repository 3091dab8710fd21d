import json
from pathlib import Path
from typing import Any

import pytest

from autoseg.data.description import read_dataset_json
from autoseg.errors import AutosegError

NNUNET = {"channel_names": {"0": "FLAIR", "1": "T1"}, "labels": {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}, "file_ending": ".nrrd"}
DECATHLON = {
    "name": "Hippocampus",
    "modality": {"0": "MRI"},
    "labels": {"0": "background", "1": "Anterior"},
    "numTraining": 2,
    "training": [{"image": "./imagesTr/a.nii", "label": "./labelsTr/a.nii"}],
}


def write(folder: Path, content: Any, name: str = "any name.json") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(content))
    return folder / name


def test_nnunets_file_is_read_without_images(tmp_path: Path) -> None:
    found = read_dataset_json(write(tmp_path / "Dataset007_Brain", NNUNET | {"name": "something else"}))
    assert (found.name, found.layout, found.file_ending, found.num_training) == ("Dataset007_Brain", "nnunet", ".nrrd", None)
    assert found.channel_names == ("FLAIR", "T1")
    assert (found.labels.values, found.labels.regions, found.labels.ignore) == ((0, 1, 2), {"whole": (1, 2), "core": (2,)}, 3)


def test_decathlons_file_is_read_without_images(tmp_path: Path) -> None:
    found = read_dataset_json(write(tmp_path, DECATHLON))
    assert (found.name, found.layout, found.file_ending, found.num_training) == ("Hippocampus", "decathlon", ".nii", 2)
    assert (found.channel_names, found.labels.names) == (("MRI",), ("background", "Anterior"))


def test_listed_cases_are_counted(tmp_path: Path) -> None:
    assert read_dataset_json(write(tmp_path, {key: value for key, value in DECATHLON.items() if key != "numTraining"})).num_training == 1
    assert read_dataset_json(write(tmp_path, NNUNET | {"dataset": {"a": {}, "b": {}, "c": {}}})).num_training == 3


@pytest.mark.parametrize("name", ["../../etc", "a/b", "C:x", ".hidden", " ", 7, None])
def test_a_name_that_cannot_name_a_folder_is_not_taken(name: object, tmp_path: Path) -> None:
    assert read_dataset_json(write(tmp_path / "here", DECATHLON | {"name": name})).name == "here"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"channel_names": ["T1"]}, "'channel_names' must number the channels"),
        ({"channel_names": {"1": "T1"}}, "'channel_names' must number the channels"),
        ({"labels": {"background": 1}}, "'labels' must hold \"background\": 0"),
        ({"labels": {"background": 0, "a": 2.5}}, "label 'a' has the value 2.5"),
        ({"numTraining": 0}, "'numTraining' is 0"),
        ({"numTraining": "12"}, "'numTraining' is '12'"),
        ({"numTraining": True}, "'numTraining' is True"),
        ({"file_ending": ".doc"}, r"'file_ending' is '\.doc'"),
    ],
)
def test_faults_name_file_and_key(changes: dict[str, Any], text: str, tmp_path: Path) -> None:
    with pytest.raises(AutosegError, match=rf"any name\.json: {text}"):
        read_dataset_json(write(tmp_path, NNUNET | changes))


def test_a_file_that_is_no_object_or_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AutosegError, match=r"any name\.json must hold an object"):
        read_dataset_json(write(tmp_path, [1]))
    with pytest.raises(AutosegError, match=r"nowhere\.json does not exist"):
        read_dataset_json(tmp_path / "nowhere.json")
