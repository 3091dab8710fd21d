"""The Medical Segmentation Decathlon's layout."""

import json
from pathlib import Path
from typing import Any

import pytest

from autoseg.data.dataset import Labels
from autoseg.data.layouts import decathlon, open_dataset
from autoseg.errors import AutosegError


def make(root: Path, *, cases: tuple[str, ...] = ("BRATS_001", "BRATS_002"), lacking: tuple[str, ...] = (), **content: Any) -> Path:
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
        for case in cases:
            if f"{folder}/{case}" not in lacking:
                (root / folder / f"{case}.nii.gz").touch()
            (root / folder / f"._{case}.nii.gz").touch()
    default = {
        "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
        "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
        "numTraining": len(cases),
        "training": [{"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"} for case in reversed(cases)],
    }
    (root / "dataset.json").write_text(json.dumps(default | content))
    return root


def test_sound_dataset(tmp_path: Path) -> None:
    dataset = open_dataset(make(tmp_path))
    assert (dataset.layout, dataset.file_ending, dataset.channel_names) == ("decathlon", ".nii.gz", ("FLAIR", "T1w", "t1gd", "T2w"))
    assert dataset.labels == Labels(("background", "edema", "non-enhancing tumor", "enhancing tumour"), (0, 1, 2, 3))
    assert [case.name for case in dataset.cases] == ["BRATS_001", "BRATS_002"]
    assert dataset.cases[0].channels == (tmp_path / "imagesTr" / "BRATS_001.nii.gz",)
    assert dataset.cases[0].label == tmp_path / "labelsTr" / "BRATS_001.nii.gz"
    assert dataset.notes == dataset.problems == ()


def test_missing_files_are_listed_at_once(tmp_path: Path) -> None:
    dataset = open_dataset(make(tmp_path, lacking=("imagesTr/BRATS_001", "labelsTr/BRATS_002")))
    assert {(finding.case, finding.file) for finding in dataset.problems} == {
        ("BRATS_001", tmp_path / "imagesTr" / "BRATS_001.nii.gz"),
        ("BRATS_002", tmp_path / "labelsTr" / "BRATS_002.nii.gz"),
    }
    assert dataset.cases == () and "announces 2" in dataset.notes[0]


def test_case_listed_twice(tmp_path: Path) -> None:
    dataset = open_dataset(make(tmp_path, cases=("x", "x")))
    assert [finding.problem for finding in dataset.problems] == ["the case is listed twice under 'training'"]


@pytest.mark.parametrize("path", ["../x.nii.gz", "/etc/x.nii.gz", "./imagesTr/../../x.nii.gz"])
def test_paths_may_not_leave_the_folder(tmp_path: Path, path: str) -> None:
    with pytest.raises(AutosegError, match="leads out of the dataset's folder"):
        open_dataset(make(tmp_path, training=[{"image": path, "label": "./labelsTr/BRATS_001.nii.gz"}]))


def test_entry_without_label(tmp_path: Path) -> None:
    with pytest.raises(AutosegError, match="needs the keys 'image' and 'label'"):
        open_dataset(make(tmp_path, training=[{"image": "./imagesTr/BRATS_001.nii.gz"}]))


def test_numbered_files_are_of_nnunet(tmp_path: Path) -> None:
    make(tmp_path)
    for file in (tmp_path / "imagesTr").glob("B*"):
        file.rename(file.with_name(file.name.replace(".nii.gz", "_0000.nii.gz")))
    assert not decathlon.recognises(tmp_path)
