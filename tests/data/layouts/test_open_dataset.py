"""Which layout a folder has, and what is said about one that has none."""

import json
from pathlib import Path

import pytest

from autoseg.data.layouts import LAYOUTS, open_dataset
from autoseg.errors import AutosegError


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(AutosegError, match=r"nowhere does not exist"):
        open_dataset(tmp_path / "nowhere")


def test_broken_link_says_where_it_points(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(AutosegError, match=r"link to .*gone, which does not exist"):
        open_dataset(tmp_path / "link")


def test_file_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "scan.nii.gz").touch()
    with pytest.raises(AutosegError, match="is a file"):
        open_dataset(tmp_path / "scan.nii.gz")


@pytest.mark.parametrize("hidden", [None, ".DS_Store", "._scan.nii.gz"])
def test_folder_without_visible_files_is_empty(tmp_path: Path, hidden: str | None) -> None:
    if hidden:
        (tmp_path / hidden).touch()
    with pytest.raises(AutosegError, match="is empty"):
        open_dataset(tmp_path)


def test_unknown_layout_tells_what_was_looked_for_and_found(tmp_path: Path) -> None:
    for number in range(7):
        (tmp_path / f"scan{number}.nrrd").touch()
    with pytest.raises(AutosegError) as caught:
        open_dataset(tmp_path)
    text = str(caught.value)
    assert all(layout.looks_like in text for layout in LAYOUTS.values())
    assert "scan0.nrrd" in text and "scan4.nrrd and 2 more" in text and "scan5" not in text


def test_broken_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text('{"labels": ')
    with pytest.raises(AutosegError, match=r"dataset\.json is not valid JSON"):
        open_dataset(tmp_path)


def test_json_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text("[1]")
    with pytest.raises(AutosegError, match="must hold an object"):
        open_dataset(tmp_path)


def test_link_to_a_dataset_is_followed_and_names_it(tmp_path: Path) -> None:
    real = tmp_path / "elsewhere" / "download"
    _decathlon(real)
    (tmp_path / "DatasetHeart").symlink_to(real)
    dataset = open_dataset(tmp_path / "DatasetHeart")
    assert (dataset.name, dataset.layout, len(dataset.cases)) == ("DatasetHeart", "decathlon", 1)


def test_nothing_is_written_into_the_folder(tmp_path: Path) -> None:
    _decathlon(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    open_dataset(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_files_are_not_opened(tmp_path: Path) -> None:
    _decathlon(tmp_path)  # its images are empty files, which nothing could decode
    assert open_dataset(tmp_path).problems == ()


def test_stray_dataset_json_does_not_hide_brats(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text('{"name": "BraTS"}')
    folder = tmp_path / "BraTS20_Training_001"
    folder.mkdir()
    for suffix in ("flair", "t1", "t1ce", "t2", "seg"):
        (folder / f"BraTS20_Training_001_{suffix}.nii").touch()
    assert open_dataset(tmp_path).layout == "brats"


def _decathlon(root: Path) -> None:
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
        (root / folder / "la_003.nii.gz").touch()
    training = [{"image": "./imagesTr/la_003.nii.gz", "label": "./labelsTr/la_003.nii.gz"}]
    content = {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "left atrium"}, "training": training}
    (root / "dataset.json").write_text(json.dumps(content))
