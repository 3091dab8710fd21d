"""A network that classifies, through the command line: planned, trained, resumed, predicted with, and refused where Dice is asked for."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from autoseg.api._classify import validate_classes
from autoseg.data.dataset import Case
from autoseg.errors import AutosegError

DATASET = "Dataset020_Phantom"
MODEL = Path("models") / DATASET


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def add_classifiers(place: Path) -> None:
    """Tiny classifiers beside the plan's tiny 3d_fullres: in 3D on its encoder, of slices, and of grades."""
    path = place / "plans" / f"{DATASET}.json"
    content = json.loads(path.read_text())
    training = {"loss": "ce", "deep_supervision": False, "oversample_foreground": 0.5}
    content["dataset"]["attributes"] = {"grade": ["HGG", "LGG"]}
    presence = {"inherits": "3d_fullres", "task": "classification", "classification": {"target": "presence"}, "training": training}
    slices = json.loads(json.dumps(content["configurations"]["2d"])) | {"task": "classification", "classification": {"target": "presence"}}
    slices["training"] |= training
    grade = {"inherits": "slices", "classification": {"target": "grade", "classes": ["LGG", "HGG"]}}
    both = {"inherits": "3d_fullres", "classification": {"target": "presence", "weight": 0.5}}
    content["configurations"] |= {"both": both, "volumes": presence, "slices": slices, "grade": grade}
    path.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def classified(shell: Any, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with fold 0 of `3d_fullres` and of two classifiers; not to be changed."""
    place = tmp_path_factory.mktemp("classified") / "work"
    shutil.copytree(trained, place)
    add_classifiers(place)
    names = sorted(folder.name for folder in (place / "raw_data" / DATASET).iterdir() if folder.is_dir())
    table = ["Grade,BraTS_2020_subject_ID", *(f"{'HGG' if index % 2 else 'LGG'},{name}" for index, name in enumerate(names[:-1]))]
    (place / "raw_data" / DATASET / "name_mapping.csv").write_text("\n".join(table))
    for name in ("slices", "volumes", "both"):
        done = shell.run("train", name, 0, cwd=place)
        assert done.code == 0, done.err
    return place


def test_a_fold_of_slices_is_judged_slice_by_slice_and_by_case(classified: Path) -> None:
    fold = classified / MODEL / "slices" / "fold_0"
    held_out = json.loads((fold / "cases.json").read_text())["validation"]
    table = rows(fold / "classification.csv")
    assert list(table[0]) == ["case", "slice", "p_absent", "p_present", "decision", "truth"]
    of_cases = {row["case"]: row for row in table if not row["slice"]}
    assert sorted(of_cases) == held_out
    for name, row in of_cases.items():
        of_slices = [one for one in table if one["case"] == name and one["slice"]]
        assert len(of_slices) > 10 and {one["truth"] for one in of_slices} == {"absent", "present"}
        assert row["p_present"] == max(one["p_present"] for one in of_slices) and row["truth"] == "present"
    scores = json.loads((fold / "metrics.json").read_text())
    assert scores["task"] == "classification" and scores["positive"] == "present" and scores["levels"].keys() == {"slice", "case"}
    assert scores["levels"]["case"]["auroc"]["value"] is None and "Every case is present" in scores["notes"][0]
    assert sum(map(sum, scores["levels"]["slice"]["confusion"])) == len(table) - len(of_cases)
    assert (fold / "classification.png").stat().st_size > 5_000 and not (fold / "scores.png").exists()
    log = rows(fold / "log.csv")
    assert all(0 <= float(row["accuracy"]) <= 1 and row["pseudo_dice"] == "" for row in log)
    assert rows(fold / "metrics.csv")[0]["measure"] == "accuracy"


def test_a_fold_of_volumes_has_a_row_for_each_case(classified: Path) -> None:
    fold = classified / MODEL / "volumes" / "fold_0"
    assert all(not row["slice"] and row["truth"] == "present" for row in rows(fold / "classification.csv"))
    assert json.loads((fold / "metrics.json").read_text())["levels"].keys() == {"case"}


def test_a_segmentation_with_a_head_does_both(shell: Any, classified: Path, unseen: Path, tmp_path: Path) -> None:
    fold = classified / MODEL / "both" / "fold_0"
    assert "dice" in json.loads((fold / "metrics.json").read_text())["foreground_mean"]
    assert json.loads((fold / "class_metrics.json").read_text())["levels"].keys() == {"case"}
    assert {"pseudo_dice", "dice_WT", "accuracy", "auroc"} <= rows(fold / "log.csv")[0].keys() and rows(fold / "log.csv")[0]["pseudo_dice"]
    assert {row["case"] for row in rows(fold / "classification.csv")} == set(json.loads((fold / "cases.json").read_text())["validation"])
    out = tmp_path / "out"
    done = shell.run("predict", "-i", unseen, "-o", out, "-c", "both", cwd=classified)
    assert done.code == 0 and "2 cases segmented" in done.out and f"Classes: {out / 'classification.csv'}" in done.out, done.err
    assert {row["case"] for row in rows(out / "classification.csv")} == {path.name for path in unseen.iterdir()}
    again = shell.run("predict", "-i", unseen, "-o", out, "-c", "both", cwd=classified)
    assert "0 cases segmented" in again.out and "2 were there already" in again.out
    written = shell.run("predict", "-i", unseen, "-o", out, "-c", "both", "--overwrite", "--no-mirror", cwd=classified)
    assert written.code == 0 and "2 cases segmented" in written.out
    third = shell.run("predict", "-i", unseen, "-o", out, "-c", "both", "--no-mirror", cwd=classified)
    assert third.code == 0 and "0 cases segmented" in third.out, third.err


def test_prediction_writes_a_table_and_goes_on_from_it(shell: Any, classified: Path, unseen: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = shell.run("predict", "-i", unseen, "-o", out, "-c", "slices", cwd=classified)
    assert done.code == 0 and "2 cases classified" in done.out
    assert sorted(path.name for path in out.iterdir()) == ["classification.csv", "classification.json", "predictions.json"]
    table = (out / "classification.csv").read_text()
    assert {row["case"] for row in rows(out / "classification.csv")} == {path.name for path in unseen.iterdir()}
    kept = table.splitlines(keepends=True)
    first = kept[1].split(",")[0]
    (out / "classification.csv").write_text("".join([kept[0], *(line for line in kept[1:] if line.startswith(first))]))
    again = shell.run("predict", "-i", unseen, "-o", out, "-c", "slices", cwd=classified)
    assert "1 case classified" in again.out and "1 were there already" in again.out
    assert (out / "classification.csv").read_text() == table
    other = shell.run("predict", "-i", unseen, "-o", out, "-c", "volumes", cwd=classified)
    assert other.code == 1 and "another model" in other.err


def test_a_run_that_ended_is_validated_again_and_lengthened(shell: Any, classified: Path, tmp_path: Path) -> None:
    place = tmp_path / "work"
    shutil.copytree(classified, place)
    fold = place / MODEL / "slices" / "fold_0"
    before = (fold / "classification.csv").read_text()
    (fold / "classification.csv").unlink()
    assert shell.run("train", "slices", 0, cwd=place).code == 0
    assert (fold / "classification.csv").read_text() == before
    longer = shell.run("train", "slices", 0, "--epochs", 3, cwd=place)
    assert longer.code == 0 and len(rows(fold / "log.csv")) == 3
    assert (fold / "classification.csv").read_text() != before


@pytest.mark.parametrize(("name", "metrics"), [("slices", "metrics"), ("both", "class_metrics")])
def test_a_validation_that_breaks_off_leaves_no_numbers_of_other_weights(classified: Path, tmp_path: Path, name: str, metrics: str) -> None:
    fold = tmp_path / name / "fold_0"
    shutil.copytree(classified / MODEL / name / "fold_0", fold)
    record = fold / "validation" / "predictions.json"
    case = Case("gone", (tmp_path / "gone.nii.gz",) * 4, None, "gone")
    files = ["classification.csv", f"{metrics}.csv", f"{metrics}.json"]
    with pytest.raises(AutosegError, match="Case gone"):
        validate_classes(fold, [case], "cpu")
    assert all((fold / file).is_file() for file in files)  # of the weights that lie there
    record.write_text(json.dumps(json.loads(record.read_text()) | {"weights": ["other"]}))
    with pytest.raises(AutosegError, match="Case gone"):
        validate_classes(fold, [case], "cpu")
    assert not any((fold / file).exists() for file in files)


def test_grades_are_learned_of_the_cases_that_have_one(shell: Any, classified: Path, tmp_path: Path) -> None:
    place = tmp_path / "work"
    shutil.copytree(classified, place)
    names = sorted(folder.name for folder in (place / "raw_data" / DATASET).iterdir() if folder.is_dir())
    done = shell.run("train", "grade", "all", cwd=place)
    assert done.code == 0 and "1 case without grade is left out" in done.err
    cases = json.loads((place / MODEL / "grade" / "fold_all" / "cases.json").read_text())
    assert cases["training"] == names[:3]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("crossval", "slices"), "slices makes tables of classes, no segmentations"),
        (("select", "slices"), "slices makes tables of classes, no segmentations"),
        (
            ("predict", "-i", ".", "-o", "out", "-c", "slices", "--uncertainty"),
            "slices makes tables of classes, no segmentations: there are no structures for --uncertainty",
        ),
    ],
)
def test_what_asks_for_dice_is_refused_in_words(shell: Any, classified: Path, unseen: Path, command: tuple[str, ...], said: str) -> None:
    words = [str(unseen) if word == "." else word for word in command]
    done = shell.run(*words, cwd=classified)
    assert done.code == 1 and said in done.err and "Traceback" not in done.err


def test_classifiers_do_not_stand_in_the_way_of_segmentations(shell: Any, classified: Path, unseen: Path, tmp_path: Path) -> None:
    done = shell.run("crossval", cwd=classified)
    assert done.code == 0 and "3d_fullres" in done.out and "slices" not in done.out
    predicted = shell.run("predict", "-i", unseen, "-o", tmp_path / "out", cwd=classified)
    assert predicted.code == 0 and "2 cases segmented" in predicted.out, predicted.err
    assert not (tmp_path / "out" / "classification.csv").exists()


@pytest.mark.parametrize("command", [("evaluate", "-p", "one", "-r"), ("compare", "one", "two", "-r"), ("ensemble", "-i", "one", "two", "-o")])
def test_tables_of_classes_are_no_segmentations(shell: Any, classified: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    for name in ("one", "two"):
        shutil.copytree(classified / MODEL / "slices" / "fold_0" / "validation", tmp_path / name)
    last = tmp_path / "out" if command[0] == "ensemble" else classified / "raw_data" / DATASET
    done = shell.run(*command, last, cwd=tmp_path)
    assert done.code == 1 and "slices of Dataset020_Phantom makes tables of classes, no segmentations" in done.err and "Traceback" not in done.err
