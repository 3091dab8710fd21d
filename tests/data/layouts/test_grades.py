"""Grades of BraTS's cases: from the table of 2019 and 2020, from folders, and what is said where they are missing or contradict."""

from pathlib import Path

import pytest

from autoseg.data.dataset import Dataset
from autoseg.data.layouts import open_dataset
from autoseg.planning.fingerprint import describe_dataset

ENDINGS = ("_flair", "_t1", "_t1ce", "_t2", "_seg")
HEADER = "Grade,BraTS_2017_subject_ID,BraTS_2018_subject_ID,TCGA_TCIA_subject_ID,BraTS_2019_subject_ID,BraTS_2020_subject_ID"


def case(root: Path, name: str) -> None:
    (root / name).mkdir(parents=True)
    for ending in ENDINGS:
        (root / name / f"{name}{ending}.nii.gz").touch()


def grades(dataset: Dataset) -> dict[str, str]:
    return {one.name: one.attributes["grade"] for one in dataset.cases if "grade" in one.attributes}


@pytest.mark.parametrize("header", [HEADER, HEADER.upper(), "\ufeff" + HEADER.lower().replace(",", " , ")])
@pytest.mark.parametrize("where", ["", "MICCAI_BraTS2020_TrainingData"])
def test_the_table_of_2020(tmp_path: Path, header: str, where: str) -> None:
    for number in (1, 2, 3):
        case(tmp_path / where, f"BraTS20_Training_00{number}")
    rows = ["HGG,Brats17_CBICA_AAB_1,Brats18_CBICA_AAB_1,NA,BraTS19_CBICA_AAB_1,BraTS20_Training_001", "LGG,NA,NA,NA,NA,BraTS20_Training_003"]
    (tmp_path / where / "name_mapping.csv").write_text("\n".join([header, *rows]), encoding="utf-8")
    dataset = open_dataset(tmp_path)
    assert grades(dataset) == {"BraTS20_Training_001": "HGG", "BraTS20_Training_003": "LGG"}
    assert dataset.notes == ("1 case without a grade: BraTS20_Training_002. Classifying grades passes over them.",)
    assert dataset.problems == () and describe_dataset(dataset).attributes == {"grade": ("HGG", "LGG")}


def test_an_older_name_of_a_patient_has_the_grade_too(tmp_path: Path) -> None:
    for name in ("BraTS19_CBICA_AAB_1", "BraTS19_CBICA_AAC_1"):
        case(tmp_path, name)
    (tmp_path / "name_mapping.csv").write_text(HEADER + "\nHGG,a,b,NA,BraTS19_CBICA_AAB_1,BraTS20_Training_001\nLGG,,,,BraTS19_CBICA_AAC_1,\n")
    assert grades(open_dataset(tmp_path)) == {"BraTS19_CBICA_AAB_1": "HGG", "BraTS19_CBICA_AAC_1": "LGG"}


def test_the_folders_of_2018(tmp_path: Path) -> None:
    case(tmp_path / "MICCAI_BraTS_2018_Data_Training" / "HGG", "Brats18_2013_2_1")
    case(tmp_path / "MICCAI_BraTS_2018_Data_Training" / "lgg", "Brats18_2013_0_1")
    dataset = open_dataset(tmp_path)
    assert grades(dataset) == {"Brats18_2013_0_1": "LGG", "Brats18_2013_2_1": "HGG"} and dataset.notes == ()


def test_contradictions_are_found(tmp_path: Path) -> None:
    for name in ("Brats18_1", "Brats18_2"):
        case(tmp_path / "HGG", name)
    (tmp_path / "name_mapping.csv").write_text("grade,name\nLGG,Brats18_1\nHGG,Brats18_2\nLGG,Brats18_2\n")
    dataset = open_dataset(tmp_path)
    assert grades(dataset) == {"Brats18_1": "LGG", "Brats18_2": "HGG"}
    assert [(one.severity, one.case, one.problem) for one in dataset.problems] == [
        ("warning", "Brats18_2", "listed as HGG and as LGG; HGG is taken"),
        ("warning", "Brats18_1", "lies in HGG/, and the table says LGG; the table is taken"),
    ]


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("Name,Age\na,3\n", "name_mapping.csv: no column Grade, so it gives no grades."),
        ("Grade,Name\nII,BraTS20_Training_001\n", "name_mapping.csv: some grades are neither HGG nor LGG (II)."),
        ("", None),
    ],
)
def test_a_table_without_grades_stops_nothing(tmp_path: Path, text: str, note: str | None) -> None:
    case(tmp_path, "BraTS20_Training_001")
    (tmp_path / "name_mapping.csv").write_text(text)
    dataset = open_dataset(tmp_path)
    assert grades(dataset) == {} and dataset.notes == ((note,) if note else ()) and describe_dataset(dataset).attributes is None


def test_a_damaged_table_is_said(tmp_path: Path) -> None:
    case(tmp_path, "BraTS20_Training_001")
    (tmp_path / "name_mapping.csv").write_bytes(b"Grade,\xff\xfe\n")
    (note,) = open_dataset(tmp_path).notes
    assert note.startswith("name_mapping.csv: cannot be read")
