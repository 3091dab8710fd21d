"""Label files to evaluate against."""

import json
import os
from pathlib import Path

import pytest

from autoseg.data.references import find_references
from autoseg.errors import AutosegError


def touch(root: Path, *files: str) -> Path:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def found(source: Path) -> dict[str, str]:
    return {name: path.name for name, path in find_references(source).items()}


def test_folder_of_label_files(tmp_path: Path) -> None:
    touch(tmp_path, "b.nii.gz", "a.nrrd", "._a.nrrd", "metrics.json")
    assert list(found(tmp_path).items()) == [("a", "a.nrrd"), ("b", "b.nii.gz")]


def test_folder_of_files_called_seg(tmp_path: Path) -> None:
    assert found(touch(tmp_path, "a_seg.nii.gz", "b-SEG.nii.gz")) == {"a": "a_seg.nii.gz", "b": "b-SEG.nii.gz"}


def test_loose_brats_files(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{case}_{one}.nii" for case in "ab" for one in ("flair", "t1", "t1ce", "t2", "seg")))
    assert found(tmp_path) == {"a": "a_seg.nii", "b": "b_seg.nii"}


def test_same_case_twice(tmp_path: Path) -> None:
    with pytest.raises(AutosegError, match=r"Two label files are for the case a"):
        find_references(touch(tmp_path, "a.nii", "a.nii.gz"))


def test_nnunet_dataset(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")
    (tmp_path / "dataset.json").write_text(json.dumps({"channel_names": {"0": "CT"}, "labels": {"background": 0, "x": 1}}))
    assert find_references(tmp_path) == {"a": tmp_path / "labelsTr" / "a.nii.gz"}
    assert find_references(tmp_path / "labelsTr") == {"a": tmp_path / "labelsTr" / "a.nii.gz"}


def test_brats_folders(tmp_path: Path) -> None:
    touch(tmp_path / "HGG/Brats18_A_1", *(f"Brats18_A_1_{one}.nii.gz" for one in ("flair", "t1", "t1ce", "t2", "seg")))
    touch(tmp_path / "HGG/Brats18_B_1", *(f"Brats18_B_1_{one}.nii" for one in ("flair", "t1", "t1ce", "t2")), "W39_1998.09.19_Segm.nii")
    touch(tmp_path / "LGG/Brats18_C_1", "Brats18_C_1_seg.nii.gz")
    touch(tmp_path / "LGG/Brats18_D_1", "Brats18_D_1_flair.nii.gz")
    assert found(tmp_path) == {
        "Brats18_A_1": "Brats18_A_1_seg.nii.gz",
        "Brats18_B_1": "W39_1998.09.19_Segm.nii",
        "Brats18_C_1": "Brats18_C_1_seg.nii.gz",
    }
    assert found(tmp_path / "HGG" / "Brats18_B_1") == {"Brats18_B_1": "W39_1998.09.19_Segm.nii"}


def test_ambiguous_segmentation(tmp_path: Path) -> None:
    touch(tmp_path / "BraTS20_Training_001", "BraTS20_Training_001_flair.nii", "one.nii", "two.nii")
    with pytest.raises(AutosegError, match=r"BraTS20_Training_001: one.nii, two.nii"):
        find_references(tmp_path)


def test_same_case_in_both_grades(tmp_path: Path) -> None:
    touch(tmp_path, "HGG/Brats18_1/Brats18_1_seg.nii", "LGG/Brats18_1/Brats18_1_seg.nii")
    with pytest.raises(AutosegError, match="Two label files are for the case Brats18_1"):
        find_references(tmp_path)


def test_one_file(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii.gz", "b_seg.nii.gz", "c.txt")
    assert found(tmp_path / "a.nii.gz") == {"a": "a.nii.gz"}
    assert found(tmp_path / "b_seg.nii.gz") == {"b": "b_seg.nii.gz"}
    with pytest.raises(AutosegError, match=r"c.txt is no image"):
        find_references(tmp_path / "c.txt")


def test_nothing(tmp_path: Path) -> None:
    with pytest.raises(AutosegError, match="does not exist"):
        find_references(tmp_path / "gone")
    with pytest.raises(AutosegError, match=r"holds no label files: the folder is empty"):
        find_references(tmp_path)
    with pytest.raises(AutosegError, match=r"holds no label files: found are a.txt"):
        find_references(touch(tmp_path, "a.txt"))


@pytest.mark.skipif("AUTOSEG_TEST_DATA" not in os.environ, reason="needs the real data")
def test_real_folders() -> None:
    data = Path(os.environ["AUTOSEG_TEST_DATA"])
    assert len(find_references(data / "Dataset004_Hippocampus")) == 200
    assert len(find_references(data / "Dataset004_Hippocampus" / "labelsTr")) == 200
    assert len(find_references(data / "brats_as_downloaded")) == 9
