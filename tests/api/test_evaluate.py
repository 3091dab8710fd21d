"""Which files are judged, by whose labels: nothing is passed over in silence."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
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


def test_regions_need_no_dataset(folders: tuple[Path, Path]) -> None:
    notes: list[str] = []
    found = autoseg.evaluate(*folders, regions={"WT": (1, 2), "ET": (2,), "never": (7,)}, notify=notes.append).evaluation
    assert notes == []
    assert [(target.name, target.values) for target in found.targets] == [("WT", (1, 2)), ("ET", (2,)), ("never", (7,))]
    assert found.table["dice"].tolist()[:2] == [1.0, pytest.approx(2 / 3)]
    assert found.mean().loc["never", "empty_both"] == 1
    assert found.foreground_mean() == pytest.approx((1 + 2 / 3) / 2)
    assert autoseg.evaluate(*folders, regions={"ET": (2,)}).evaluation.table["tp"].tolist() == [1]  # the value 1 is background here


def test_a_value_that_neither_regions_nor_references_have_is_refused(folders: tuple[Path, Path]) -> None:
    save(folders[0] / "b.nii.gz", 1, 2, 3)  # enhancing tumour by the other convention, perhaps
    with pytest.raises(AutosegError, match=r"b\.nii\.gz holds the value 3"):
        autoseg.evaluate(*folders, regions={"WT": (1, 2, 4), "ET": (4,)})


def test_regions_must_fit_the_dataset_that_is_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    name = "BraTS20_Training_001"
    for modality in ("t1", "t1ce", "t2", "flair"):
        save(tmp_path / "d" / name / f"{name}_{modality}.nii.gz", 5, 5)
    save(tmp_path / "d" / name / f"{name}_seg.nii.gz", 1, 2, 4)
    save(tmp_path / "q" / f"{name}.nii.gz", 1, 2, 1)
    found = autoseg.evaluate(tmp_path / "q", tmp_path / "d", regions={"core": (1, 4)}).evaluation
    assert found.table[["target", "tp"]].values.tolist() == [["core", 2]]
    with pytest.raises(AutosegError, match="regions name the value 3, which the dataset does not declare"):
        autoseg.evaluate(tmp_path / "q", tmp_path / "d", regions={"core": (1, 3)})


@pytest.mark.parametrize("scheme", ["nnunet", "brats20", "brats23", "brats25"])
def test_every_file_names_scheme_and_conventions(folders: tuple[Path, Path], scheme: str) -> None:
    found = autoseg.evaluate(*folders, scheme=scheme, tolerance=2.0)
    assert found.evaluation.scheme == scheme
    table = pd.read_csv(found.csv)
    assert set(table["scheme"]) == {scheme}
    assert set(table["hd95_convention"]) == {found.evaluation.conventions["hd95"]}
    assert set(table["nsd_tolerance"]) == {0.5 if scheme == "brats25" else 2.0}
    assert json.loads(found.json.read_text())["scheme"] == scheme
    assert ("lesion_dice" in table) == (scheme in ("brats23", "brats25"))


def test_what_cannot_be_is_said_before_anything_is_read(folders: tuple[Path, Path]) -> None:
    with pytest.raises(AutosegError, match="no metric scheme 'brats24'"):
        autoseg.evaluate(*folders, scheme="brats24")
    with pytest.raises(AutosegError, match="nnunet has the same rules for every tumour"):
        autoseg.evaluate(*folders, tumour="metastasis")
    with pytest.raises(AutosegError, match=r"tolerance .* is -1; give 0 mm or more"):
        autoseg.evaluate(*folders, tolerance=-1)


def test_dice_alone_loads_only_what_it_needs(folders: tuple[Path, Path]) -> None:
    script = (
        "import sys, autoseg\n"
        "autoseg.evaluate(*sys.argv[1:], regions={'all': (1, 2)}, surface=False)\n"
        "print([name for name in ('torch', 'scipy.ndimage', 'scipy.spatial', 'scipy.optimize', 'pydantic', 'SimpleITK') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script, *map(str, folders)], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr
