"""Which files are judged, by whose labels: nothing is passed over in silence."""

from pathlib import Path

import numpy as np
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
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in "abc":
        save(tmp_path / "r" / f"{name}.nii.gz", 1, 1, 2)
    save(tmp_path / "p" / "b.nii.gz", 1, 2, 2)
    return tmp_path / "p", tmp_path / "r"


def test_values_are_judged_as_they_are_where_no_dataset_is_known(folders: tuple[Path, Path]) -> None:
    notes: list[str] = []
    found = autoseg.evaluate(*folders, notify=notes.append).evaluation
    assert notes == ["No dataset is known: judging the values 1, 2 as they are. Name one with -d."]
    assert found.missing == ("a", "c")
    assert found.table["dice"].tolist() == [pytest.approx(2 / 3)] * 2
    assert (folders[0] / "metrics.csv").is_file()


def test_two_files_of_one_case_are_refused(folders: tuple[Path, Path]) -> None:
    save(folders[0] / "b.nii", 1)
    with pytest.raises(AutosegError, match=r"Two files for the case b: .*b\.nii.*b\.nii\.gz"):
        autoseg.evaluate(*folders)
    assert not (folders[0] / "metrics.csv").exists()


def test_two_files_are_compared_whatever_they_are_called(folders: tuple[Path, Path]) -> None:
    found = autoseg.evaluate(folders[0] / "b.nii.gz", folders[1] / "a.nii.gz", output=folders[0] / "m").evaluation
    assert set(found.table["case"]) == {"a"} and found.missing == ()


def test_a_folder_without_segmentations_is_said_so(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(AutosegError, match="holds no segmentations"):
        autoseg.evaluate(tmp_path / "empty", folders[1])
    with pytest.raises(AutosegError, match="does not exist"):
        autoseg.evaluate(tmp_path / "none", folders[1])


def test_a_class_that_a_release_lacks_is_not_judged(tmp_path: Path) -> None:
    """BraTS 2024 added the resection cavity (4); in 2023's cases nobody found it, and nobody missed it."""
    name = "BraTS-GLI-00001-000"
    for modality in ("t1n", "t1c", "t2w", "t2f"):
        save(tmp_path / "r" / name / f"{name}-{modality}.nii.gz", 5, 5)
    save(tmp_path / "r" / name / f"{name}-seg.nii.gz", 1, 2, 3)
    save(tmp_path / "p" / f"{name}.nii.gz", 1, 2, 3)
    targets = autoseg.evaluate(tmp_path / "p", tmp_path / "r", scheme="brats20").evaluation.targets
    assert {target.name for target in targets} == {"necrotic", "edema", "enhancing", "WT", "TC", "ET"}
    save(tmp_path / "p" / f"{name}.nii.gz", 1, 2, 4)
    targets = autoseg.evaluate(tmp_path / "p", tmp_path / "r", scheme="brats20").evaluation.targets
    assert "cavity" in {target.name for target in targets}
