"""BraTS as downloaded: every naming trap of 2017 to 2024."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from autoseg.data.dataset import Dataset
from autoseg.data.layouts import brats, open_dataset
from autoseg.errors import AutosegError

OLD = ("_flair", "_t1", "_t1ce", "_t2", "_seg")
NEW = ("-t2f", "-t1n", "-t1c", "-t2w", "-seg")


def case(root: Path, folder: str, endings: Iterable[str] = OLD, *, suffix: str = ".nii.gz", prefix: str | None = None) -> Path:
    where = root / folder
    where.mkdir(parents=True)
    for ending in endings:
        (where / f"{where.name if prefix is None else prefix}{ending}{suffix}").touch()
    return where


def names(dataset: Dataset) -> list[str]:
    return [one.name for one in dataset.cases]


def problems(dataset: Dataset) -> list[str]:
    return [f"{finding.case}: {finding.problem}" for finding in dataset.problems]


@pytest.mark.parametrize("above", ["", "MICCAI_BraTS2020_TrainingData", "HGG", "BraTS2021_Training_Data", "MICCAI_BraTS_2018_Data_Training/LGG"])
def test_case_folders_lie_up_to_three_levels_below(tmp_path: Path, above: str) -> None:
    for number in (2, 1):
        case(tmp_path / above, f"BraTS20_Training_00{number}")
    (tmp_path / above / "name_mapping.csv").touch()
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, dataset.file_ending, dataset.channel_names) == ("brats", ".nii.gz", ("FLAIR", "T1", "T1ce", "T2"))
    assert names(dataset) == ["BraTS20_Training_001", "BraTS20_Training_002"]
    folder = tmp_path / above / "BraTS20_Training_001"
    assert dataset.cases[0].channels == tuple(folder / f"BraTS20_Training_001{ending}.nii.gz" for ending in OLD[:4])
    assert dataset.cases[0].label == folder / "BraTS20_Training_001_seg.nii.gz"
    assert dataset.problems == dataset.notes == ()


def test_both_grades_and_mixed_endings(tmp_path: Path) -> None:
    case(tmp_path, "HGG/Brats18_2013_2_1")
    case(tmp_path, "LGG/Brats18_TCIA09_141_1", suffix=".nii")
    where = case(tmp_path, "LGG/Brats18_TCIA09_177_1", ("_flair", "_t1", "_seg"), suffix=".nii")
    for ending in ("_t1ce", "_t2"):
        (where / f"{where.name}{ending}.nii.gz").touch()
    dataset = open_dataset(tmp_path)
    assert len(dataset.cases) == 3 and dataset.problems == () and dataset.file_ending == ".nii.gz"
    assert [path.suffix for path in dataset.cases[2].channels] == [".nii", ".nii", ".gz", ".gz"]


def test_case_355(tmp_path: Path) -> None:
    case(tmp_path, "BraTS20_Training_354", suffix=".nii")
    where = case(tmp_path, "BraTS20_Training_355", OLD[:4], suffix=".nii")
    (where / "W39_1998.09.19_Segm.nii").touch()
    dataset = open_dataset(tmp_path)
    assert dataset.cases[1].label == where / "W39_1998.09.19_Segm.nii" and dataset.problems == ()
    assert len(dataset.notes) == 1 and "BraTS20_Training_355: W39_1998.09.19_Segm.nii is taken as the segmentation" in dataset.notes[0]


def test_two_candidates_are_ambiguous(tmp_path: Path) -> None:
    case(tmp_path, "BraTS20_Training_001")
    case(tmp_path, "BraTS20_Training_002", (*OLD[:4], "_mask", "_brain"))
    dataset = open_dataset(tmp_path)
    assert names(dataset) == ["BraTS20_Training_001"]
    assert len(dataset.problems) == 1 and "_brain.nii.gz, BraTS20_Training_002_mask.nii.gz" in dataset.problems[0].problem


def test_a_named_segmentation_wins_over_other_files(tmp_path: Path) -> None:
    where = case(tmp_path, "BraTS20_Training_001", (*OLD, "_brainmask"))
    dataset = open_dataset(tmp_path)
    assert dataset.cases[0].label == where / "BraTS20_Training_001_seg.nii.gz" and dataset.problems == dataset.notes == ()


def test_macos_files_do_not_exist(tmp_path: Path) -> None:
    where = case(tmp_path, "BraTS20_Training_001", OLD[:4])
    (where / "._BraTS20_Training_001_seg.nii.gz").touch()
    (where / "W.nii").touch()
    case(tmp_path, "__MACOSX/BraTS20_Training_001")
    dataset = open_dataset(tmp_path)
    assert names(dataset) == ["BraTS20_Training_001"] and dataset.cases[0].label == where / "W.nii" and dataset.problems == ()


def test_modalities_in_any_case_and_order(tmp_path: Path) -> None:
    where = case(tmp_path, "BraTS-GLI-00008-100", ("-t1C", "-t2W", "-T1N", "-t2f", "-SEG"))
    assert [path.name for path in open_dataset(tmp_path).cases[0].channels] == [
        f"{where.name}{ending}.nii.gz" for ending in ("-t2f", "-T1N", "-t1C", "-t2W")
    ]


def test_t1gd_is_t1ce(tmp_path: Path) -> None:
    case(tmp_path, "BraTS2021_00001", ("_flair", "_t1", "_t1gd", "_t2", "_seg"))
    assert open_dataset(tmp_path).cases[0].channels[2].name == "BraTS2021_00001_t1gd.nii.gz"


@pytest.mark.parametrize("name", ["Brats17_2013_2_1", "Brats18_CBICA_AAB_1", "BraTS19_CBICA_AAB_1", "BraTS20_Training_001", "BraTS2021_00000"])
def test_label_4_is_the_enhancing_tumour_to_2022(tmp_path: Path, name: str) -> None:
    case(tmp_path, name)
    labels = open_dataset(tmp_path).labels
    assert dict(zip(labels.names, labels.values, strict=True)) == {"background": 0, "necrotic": 1, "edema": 2, "enhancing": 4}
    assert labels.regions == {"WT": (1, 2, 4), "TC": (1, 4), "ET": (4,)} and labels.optional == ()
    assert (labels.region_order, labels.region_classes, labels.painted_classes) == ((2, 1, 4), ((1, 2, 3), (1, 3), (3,)), (2, 1, 3))


@pytest.mark.parametrize("name", ["BraTS-GLI-00000-000", "BraTS-MEN-00004-000", "BraTS-MET-00001-000", "BraTS-SSA-00002-000", "BraTS-GoAT-00001"])
def test_label_4_is_the_cavity_since_2023(tmp_path: Path, name: str) -> None:
    case(tmp_path, name, NEW)
    dataset = open_dataset(tmp_path)
    assert dict(zip(dataset.labels.names, dataset.labels.values, strict=True))["enhancing"] == 3
    assert dataset.labels.values == (0, 1, 2, 3, 4) and dataset.labels.optional == (4,)
    assert dataset.labels.regions == {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,), "RC": (4,)} and dataset.problems == dataset.notes == ()
    without = dataset.labels.settled({0, 1, 2, 3})
    assert (without.regions, without.region_order) == ({"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}, (2, 1, 3))
    assert dataset.labels.settled({0, 1, 2, 3, 4}).region_order == dataset.labels.region_order == (2, 1, 3, 4)


def test_two_meanings_of_the_labels_are_refused(tmp_path: Path) -> None:
    case(tmp_path, "BraTS2021_00001")
    case(tmp_path, "Brats18_2013_2_1")
    case(tmp_path, "BraTS-GLI-00000-000", NEW)
    found = open_dataset(tmp_path).problems
    assert len(found) == 1 and found[0].severity == "error" and "split" in found[0].mend
    assert "BraTS-GLI-00000-000" in found[0].problem and "BraTS2021_00001" in found[0].problem


def test_several_old_styles_share_their_meaning(tmp_path: Path) -> None:
    for name in ("BraTS2021_00001", "Brats18_2013_2_1", "BraTS20_Training_007"):
        case(tmp_path, name)
    dataset = open_dataset(tmp_path)
    assert len(dataset.cases) == 3 and dataset.problems == ()


@pytest.mark.parametrize(("endings", "enhancing"), [(OLD, 4), (NEW, 3)])
def test_own_names_are_told_by_their_spelling(tmp_path: Path, endings: tuple[str, ...], enhancing: int) -> None:
    case(tmp_path, "patient01", endings)
    dataset = open_dataset(tmp_path)
    assert dataset.labels.regions["ET"] == (enhancing,) and dataset.problems == ()
    assert len(dataset.notes) == 1 and "spelling" in dataset.notes[0]


def test_a_release_s_name_counts_more_than_spelling(tmp_path: Path) -> None:
    case(tmp_path, "BraTS20_Training_001", NEW)
    dataset = open_dataset(tmp_path)
    assert dataset.labels.regions["ET"] == (4,) and dataset.problems == dataset.notes == ()


def test_contradictory_spelling_in_one_case(tmp_path: Path) -> None:
    case(tmp_path, "patient01", ("_flair", "_t1n", "_t1c", "_t2w", "_seg"))
    assert "mixes releases" in problems(open_dataset(tmp_path))[0]


def test_contradictory_spelling_between_cases(tmp_path: Path) -> None:
    case(tmp_path, "patient01")
    case(tmp_path, "patient02", NEW)
    found = problems(open_dataset(tmp_path))
    assert len(found) == 1 and "patient01" in found[0] and "patient02" in found[0]


def test_pediatric_labels_are_refused(tmp_path: Path) -> None:
    case(tmp_path, "BraTS-PED-00002-000", NEW)
    found = open_dataset(tmp_path).problems
    assert len(found) == 1 and "BraTS-PED" in found[0].problem and "nnU-Net" in found[0].mend


def test_timepoints_are_grouped_by_patient(tmp_path: Path) -> None:
    for name in ("BraTS-GLI-00005-100", "BraTS-GLI-00005-101", "BraTS-GLI-00006-100"):
        case(tmp_path, name, NEW)
    assert [one.group for one in open_dataset(tmp_path).cases] == ["BraTS-GLI-00005", "BraTS-GLI-00005", "BraTS-GLI-00006"]


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("BraTS-MET-00001-000", "BraTS-MET-00001"),
        ("BraTS-MEN-RT-0003-1", "BraTS-MEN-RT-0003"),
        ("BraTS-GoAT-00001", "BraTS-GoAT-00001"),
        ("Brats18_2013_2_1", "Brats18_2013_2_1"),
        ("BraTS20_Training_001", "BraTS20_Training_001"),
        ("patient-01-02", "patient-01-02"),
    ],
)
def test_patient_of(name: str, patient: str) -> None:
    assert brats.patient_of(name) == patient


def test_same_case_in_both_grades(tmp_path: Path) -> None:
    case(tmp_path, "HGG/Brats18_2013_2_1")
    case(tmp_path, "LGG/Brats18_2013_2_1")
    dataset = open_dataset(tmp_path)
    assert names(dataset) == ["Brats18_2013_2_1"]
    assert len(dataset.problems) == 1 and all(f"{grade}/Brats18_2013_2_1" in dataset.problems[0].problem for grade in ("HGG", "LGG"))


def test_missing_modalities_are_listed(tmp_path: Path) -> None:
    case(tmp_path, "BraTS20_Training_001")
    case(tmp_path, "BraTS20_Training_002", ("_flair", "_t2", "_seg"))
    case(tmp_path, "BraTS20_Training_003", ("_seg",))
    case(tmp_path, "BraTS20_Training_004", ())
    dataset = open_dataset(tmp_path)
    assert names(dataset) == ["BraTS20_Training_001"]
    found = problems(dataset)
    assert any("002: missing T1, T1ce; found are BraTS20_Training_002_flair.nii.gz" in text for text in found)
    assert any("003: missing FLAIR, T1, T1ce, T2; no modality was found" in text for text in found)
    assert any("004: missing FLAIR, T1, T1ce, T2" in text for text in found) and any("004: no segmentation" in text for text in found)


def test_a_modality_twice(tmp_path: Path) -> None:
    case(tmp_path, "BraTS20_Training_001", (*OLD, "_t1c"))
    found = problems(open_dataset(tmp_path))
    assert len(found) == 1 and "2 files for T1ce" in found[0]


def test_one_case_without_segmentation(tmp_path: Path) -> None:
    case(tmp_path, "BraTS20_Training_001")
    case(tmp_path, "BraTS20_Training_002", OLD[:4])
    assert problems(open_dataset(tmp_path)) == ["BraTS20_Training_002: no segmentation"]


def test_validation_data_is_one_finding(tmp_path: Path) -> None:
    for number in range(3):
        case(tmp_path, f"BraTS20_Validation_00{number}", OLD[:4])
    assert problems(open_dataset(tmp_path)) == [": none of the 3 cases has a segmentation"]


def test_folders_named_like_files(tmp_path: Path) -> None:
    where = tmp_path / "Brats17_2013_10_1"
    for ending in OLD:
        inner = where / f"Brats17_2013_10_1{ending}.nii"
        inner.mkdir(parents=True)
        (inner / ("00000057_brain.nii" if ending == "_t1" else inner.name)).touch()
    dataset = open_dataset(tmp_path)
    assert dataset.problems == () and names(dataset) == ["Brats17_2013_10_1"]
    assert dataset.cases[0].channels[1] == where / "Brats17_2013_10_1_t1.nii" / "00000057_brain.nii"
    assert dataset.cases[0].label == where / "Brats17_2013_10_1_seg.nii" / "Brats17_2013_10_1_seg.nii"


def test_foreign_folders_are_noted(tmp_path: Path) -> None:
    case(tmp_path, "BraTS20_Training_001")
    case(tmp_path, "atlas", ("_mean",))
    case(tmp_path, "notes", ())
    dataset = open_dataset(tmp_path)
    assert names(dataset) == ["BraTS20_Training_001"] and dataset.problems == ()
    assert dataset.notes == ("Folders without any modality were passed over: atlas.",)


def test_linked_case_folders(tmp_path: Path) -> None:
    case(tmp_path, "store/BraTS20_Training_001")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "BraTS20_Training_001").symlink_to(tmp_path / "store" / "BraTS20_Training_001")
    assert names(open_dataset(tmp_path / "data")) == ["BraTS20_Training_001"]


def test_folders_of_single_scans_are_not_brats(tmp_path: Path) -> None:
    case(tmp_path, "one", ("_t1",))
    with pytest.raises(AutosegError, match="no layout"):
        open_dataset(tmp_path)


@pytest.mark.skipif("AUTOSEG_TEST_DATA" not in os.environ, reason="needs the real data")
def test_as_downloaded() -> None:
    dataset = open_dataset(Path(os.environ["AUTOSEG_TEST_DATA"]) / "brats_as_downloaded")
    assert (dataset.layout, len(dataset.cases)) == ("brats", 9) and dataset.problems == dataset.notes == ()
    assert dataset.labels == brats.LABELS_TO_2022
