"""The LGG layout: patients and slices, pairs and gaps, stacks."""

import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data.check import check
from autoseg.data.folds import make_folds
from autoseg.data.inputs import find_all_cases, find_cases
from autoseg.data.layouts import lgg, open_dataset
from autoseg.data.references import find_references
from autoseg.errors import AutosegError
from autoseg.imaging.read import read_image, read_labels

REAL = Path(os.environ.get("AUTOSEG_TEST_DATA", "")) / "kaggle_3m"


def write_patient(root: Path, name: str, count: int = 3, *, size: tuple[int, int] = (6, 5)) -> Path:
    """Slices 1 to `count`: colours 10 n, 20 n, 30 n at every pixel, and n pixels marked with 255."""
    folder = root / name
    folder.mkdir(parents=True)
    for number in range(1, count + 1):
        picture = np.broadcast_to(np.array([10, 20, 30], np.uint8) * number, (*size, 3))
        mask = np.zeros(size, np.uint8)
        mask.flat[:number] = 255
        sitk.WriteImage(sitk.GetImageFromArray(np.ascontiguousarray(picture), isVector=True), str(folder / f"{name}_{number}.tif"))
        sitk.WriteImage(sitk.GetImageFromArray(mask), str(folder / f"{name}_{number}_mask.tif"))
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, count in (("TCGA_A_1_2000", 3), ("TCGA_B_2_2001", 11)):
        write_patient(tmp_path / "kaggle_3m", name, count)
    (tmp_path / "kaggle_3m" / "README.md").touch()
    (tmp_path / "kaggle_3m" / "data.csv").touch()
    return tmp_path / "kaggle_3m"


@pytest.mark.parametrize("above", [False, True])
def test_slices_are_cases_and_a_patient_is_their_group(root: Path, above: bool) -> None:
    dataset = open_dataset(root.parent if above else root)
    assert (dataset.layout, dataset.channel_names, dataset.file_ending) == ("lgg", lgg.CHANNELS, ".png")
    assert len(dataset.cases) == 14 and not dataset.problems
    case = next(case for case in dataset.cases if case.name == "TCGA_B_2_2001_10")
    assert case.group == "TCGA_B_2_2001"
    assert [file.name for file in case.files] == ["TCGA_B_2_2001_10.tif", "TCGA_B_2_2001_10_mask.tif"]
    assert read_image(case.channels).array[:, 0, 0, 0].tolist() == [100, 200, 300 - 256]
    assert case.label is not None
    labels = read_labels(case.label)
    assert labels.array.dtype == np.uint8 and labels.array.sum() == 10 and set(labels.array.flat) == {0, 1}


def test_stacked_a_patient_is_a_volume_in_the_order_of_numbers(root: Path) -> None:
    dataset = open_dataset(root, stack=(5.0, 1.0, 0.9))
    assert [case.name for case in dataset.cases] == ["TCGA_A_1_2000", "TCGA_B_2_2001"]
    assert dataset.file_ending == ".nii.gz" and dataset.stack == (5.0, 1.0, 0.9)
    case = dataset.cases[1]
    image = read_image(case.channels)
    assert image.array.shape == (3, 11, 6, 5) and image.geometry.spacing == (5.0, 1.0, 0.9) and not image.geometry.flat
    assert image.array[0, :, 0, 0].tolist() == [10 * number for number in range(1, 12)]
    assert case.label is not None
    assert read_labels(case.label).array.sum((1, 2)).tolist() == list(range(1, 12))


def test_folds_never_part_a_patient(root: Path) -> None:
    for name in "CDE":
        write_patient(root, f"TCGA_{name}_3_2002")
    cases = open_dataset(root).cases
    for fold in make_folds(cases, seed=0).validation:
        assert len({case.group for case in cases if case.name in fold}) == 1


def test_slices_without_masks_and_masks_without_slices_are_all_named(root: Path) -> None:
    (root / "TCGA_A_1_2000" / "TCGA_A_1_2000_2_mask.tif").unlink()
    (root / "TCGA_B_2_2001" / "TCGA_B_2_2001_7.tif").unlink()
    problems = {finding.case: finding.problem for finding in open_dataset(root).problems}
    assert problems == {
        "TCGA_A_1_2000_2": "a slice without a mask: there is no TCGA_A_1_2000_2_mask.tif",
        "TCGA_B_2_2001_7": "a mask without a slice: there is no TCGA_B_2_2001_7.tif",
    }
    stacked = open_dataset(root, stack=(1.0, 1.0, 1.0)).problems
    assert [finding.problem for finding in stacked if finding.severity == "warning"] == [
        "slice 2 is missing between 1 and 3: the volume would be too short",
        "slice 7 is missing between 1 and 11: the volume would be too short",
    ]


@pytest.mark.parametrize("other", ["TCGA_A_1_2000_01.tif", "TCGA_A_1_2000_1.tiff"])
def test_slices_of_one_number_are_an_error(root: Path, other: str) -> None:
    folder = root / "TCGA_A_1_2000"
    (folder / other).write_bytes((folder / "TCGA_A_1_2000_2.tif").read_bytes())
    for stack in (None, (1.0, 1.0, 1.0)):
        (finding,) = open_dataset(root, stack=stack).problems
        assert finding.severity == "error" and isinstance(finding.file, Path)
        assert f"{finding.file.name}: {finding.problem}" in (
            "TCGA_A_1_2000_1.tif: a slice of the same number as TCGA_A_1_2000_01.tif",
            "TCGA_A_1_2000_1.tiff: a slice of the same number as TCGA_A_1_2000_1.tif",
        )
        with pytest.raises(AutosegError, match=r"of another one:\n  - .*TCGA_A_1_2000_1\.tiff?: a slice of the same number"):
            find_cases(root, lgg.CHANNELS, stack=stack)


def test_masks_of_one_number_are_an_error_where_masks_are_needed(root: Path) -> None:
    (root / "TCGA_A_1_2000" / "TCGA_A_1_2000_01_mask.tif").touch()
    (finding,) = open_dataset(root).problems
    assert (finding.severity, finding.case) == ("error", "TCGA_A_1_2000_1")
    assert finding.problem == "a mask of the same number as TCGA_A_1_2000_01_mask.tif"
    assert len(find_cases(root, lgg.CHANNELS)) == 14


def test_slices_of_two_sizes_are_no_volume(root: Path) -> None:
    write_patient(root, "TCGA_C_3_2003", 1, size=(7, 5))
    folder = root / "TCGA_A_1_2000"
    for ending in ("", "_mask"):
        (root / "TCGA_C_3_2003" / f"TCGA_C_3_2003_1{ending}.tif").replace(folder / f"TCGA_A_1_2000_4{ending}.tif")
    (case,) = (case for case in open_dataset(root, stack=(1.0, 1.0, 1.0)).cases if case.name == "TCGA_A_1_2000")
    with pytest.raises(AutosegError, match=r"TCGA_A_1_2000_4\.tif has 7 x 5 pixels .* TCGA_A_1_2000_1\.tif has 6 x 5"):
        read_image(case.channels)


def test_predictions_and_references_are_found(root: Path) -> None:
    assert [case.name for case in find_cases(root, lgg.CHANNELS)][:3] == ["TCGA_A_1_2000_1", "TCGA_A_1_2000_2", "TCGA_A_1_2000_3"]
    assert all(case.label is None and len(case.files) == 1 for case in find_cases(root / "TCGA_A_1_2000", lgg.CHANNELS))
    references = find_references(root)
    assert len(references) == 14 and read_labels(references["TCGA_A_1_2000_3"]).array.sum() == 3


def test_a_model_of_stacks_takes_patients_and_no_loose_slices(root: Path, tmp_path: Path) -> None:
    stack = (5.0, 1.0, 1.0)
    patient = root / "TCGA_A_1_2000"
    assert [case.name for case in find_all_cases([patient, root / "TCGA_B_2_2001"], lgg.CHANNELS, stack=stack)] == [patient.name, "TCGA_B_2_2001"]
    slices = [patient / f"{patient.name}_{number}.tif" for number in (1, 2)]
    loose = tmp_path / "loose"
    loose.mkdir()
    for file in slices:
        (loose / file.name).write_bytes(file.read_bytes())
    for sources in (slices, slices[:1], [loose], [*slices, root / "TCGA_B_2_2001"]):
        with pytest.raises(AutosegError, match=r"TCGA_A_1_2000_1\.tif.* would each be a volume.* Give the patient's folder"):
            find_all_cases(sources, lgg.CHANNELS, stack=stack)
    assert len(find_all_cases(slices, lgg.CHANNELS)) == 2
    volume = loose / "volume.nii.gz"
    volume.touch()
    assert [case.name for case in find_all_cases([volume], lgg.CHANNELS, stack=stack)] == ["volume"]


def test_other_layouts_have_no_slices_to_stack(tmp_path: Path) -> None:
    case = tmp_path / "BraTS20_Training_001"
    case.mkdir()
    for ending in ("flair", "t1", "t1ce", "t2", "seg"):
        (case / f"{case.name}_{ending}.nii.gz").touch()
    with pytest.raises(AutosegError, match=r"layout 'brats', which has no slices .* Leave out --stack"):
        open_dataset(tmp_path, stack=(1.0, 1.0, 1.0))


@pytest.mark.skipif(not REAL.is_dir(), reason="AUTOSEG_TEST_DATA is not set")
def test_real_slices_are_sound() -> None:
    dataset = open_dataset(REAL)
    assert len({case.group for case in dataset.cases}) == 16
    report = check(dataset)
    assert not report.errors
    assert {one.shape for one in report.facts} == {(1, 256, 256)}
