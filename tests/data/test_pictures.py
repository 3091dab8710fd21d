"""Sheets of pictures are no segmentations and no scans; a case that is called like one stays a case."""

from pathlib import Path

import numpy as np
import pytest

from autoseg.data.inputs import find_cases
from autoseg.data.pictures import is_sheet, picture_of, require_apart, sheet
from autoseg.errors import AutosegError
from autoseg.evaluation.evaluate import label_files
from autoseg.imaging.image import Geometry, LabelMap
from autoseg.imaging.write import write_labels


def save(path: Path) -> None:
    write_labels(LabelMap(np.ones((1, 4, 4), np.uint8), Geometry.of((1, 4, 4), flat=True)), path)


def test_names_of_sheets(tmp_path: Path) -> None:
    (tmp_path / "overlays").mkdir()
    assert [sheet(tmp_path, number).name for number in (1, 2, 12)] == ["overlays.png", "overlays_2.png", "overlays_12.png"]
    assert all(is_sheet(sheet(tmp_path, number)) for number in (1, 2, 9, 10, 123))
    for name in ("overlays_1.png", "overlays_0.png", "overlays_02.png", "overlays.nii.gz", "my_overlays.png"):
        assert not is_sheet(tmp_path / name)
    assert picture_of(tmp_path, "a") == tmp_path / "overlays" / "a.png"


def test_sheets_are_neither_segmentations_nor_scans(tmp_path: Path) -> None:
    for name in ("a.png", "overlays.png", "overlays_2.png"):
        save(tmp_path / name)
    assert list(label_files(tmp_path)) == ["a", "overlays", "overlays_2"]  # nothing says that they are sheets
    (tmp_path / "overlays").mkdir()
    assert list(label_files(tmp_path)) == ["a"]
    assert [case.name for case in find_cases(tmp_path, ["grey"])] == ["a"]


def test_a_segmentation_is_not_to_take_the_name_of_a_sheet(tmp_path: Path) -> None:
    require_apart(tmp_path / "overlays.nii.gz")
    with pytest.raises(AutosegError, match=r"overlays_3\.png has the name of a sheet"):
        require_apart(tmp_path / "overlays_3.png")
