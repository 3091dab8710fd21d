"""plan, train, predict, evaluate as they are typed."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from autoseg.imaging.image import Geometry, Image, LabelMap
from autoseg.imaging.read import read_image, read_labels
from autoseg.imaging.write import write_image, write_labels
from tests.cli.conftest import DATASET, ENVIRONMENT, Shell, shrink, tree

MODEL = Path("models") / DATASET / "3d_fullres"


def typed(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own from the very beginning."""
    command = [str(Path(sys.executable).with_name("autoseg")), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=os.environ | ENVIRONMENT, check=False)


def validation_case(workspace: Path, fold: int = 0) -> str:
    name: str = json.loads((workspace / MODEL / f"fold_{fold}" / "cases.json").read_text())["validation"][0]
    return name


def masks(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: read_labels(path).array for path in sorted(folder.glob("*.nii.gz"))}


def test_a_plan_edited_by_hand_is_what_is_trained(trained: Path) -> None:
    for fold in (0, 1):
        folder = trained / MODEL / f"fold_{fold}"
        plan = json.loads((folder / "plan.json").read_text())
        assert plan["configurations"]["3d_fullres"]["network"]["features_per_stage"] == [4, 8]
        assert plan["configurations"]["3d_fullres"]["patch_size"] == [16, 16, 16]
        assert pd.read_csv(folder / "log.csv")["step"].tolist() == [2, 4]
        for file in ("weights.safetensors", "metrics.csv", "metrics.json", "progress.png", "validation.png", "scores.png", "model.json"):
            assert (folder / file).stat().st_size > 0
    assert not [path for path in tree(trained) if ".autoseg-" in path]


def test_predicting_and_judging_the_validation_cases_repeats_the_validation(shell: Shell, trained: Path, tmp_path: Path) -> None:
    case = validation_case(trained)
    predicted = typed("predict", "-i", trained / "raw_data" / DATASET / case, "-o", tmp_path / "out", "-f", 0, cwd=trained)  # one case's folder
    assert predicted.returncode == 0, predicted.stderr
    assert predicted.stderr.splitlines()[0].startswith(f"autoseg predict: dataset {DATASET}, configuration 3d_fullres, fold 0, device cpu, input ")
    assert re.fullmatch(r"1 case segmented in \d+ s, 0 were there already: .*out\n", predicted.stdout)
    judged = typed("evaluate", "-p", "out", "-r", trained / "raw_data" / DATASET, cwd=tmp_path)
    assert judged.returncode == 0, judged.stderr
    assert judged.stderr.startswith("autoseg evaluate: predictions out, references ")
    for heading in ("Dice", "IoU", "precision", "sensitivity", "specificity", "accuracy", "HD95 mm", "WT", "TC", "ET", "edema"):
        assert heading in judged.stdout
    again, before = (pd.read_csv(folder / "metrics.csv") for folder in (tmp_path / "out", trained / MODEL / "fold_0"))
    pd.testing.assert_frame_equal(again[again["region"]].reset_index(drop=True), before)  # networks that learn regions are judged by those alone
    both, regions = (json.loads((folder / "metrics.json").read_text()) for folder in (tmp_path / "out", trained / MODEL / "fold_0"))
    assert both["region_mean"] == regions["foreground_mean"] == regions["region_mean"]
    assert f"over regions: {both['region_mean']['dice']:.4f}" in judged.stdout
    assert "Without a prediction, and in no number: 3 of 4 cases: BraTS20" in judged.stderr


def test_predictions_hold_the_users_values_on_the_images_grid(shell: Shell, trained: Path, unseen: Path, tmp_path: Path) -> None:
    done = shell.run("predict", "-i", unseen, "-o", tmp_path / "out", "--json", cwd=trained)
    assert done.code == 0, done.err
    assert done.headline.startswith(f"autoseg predict: dataset {DATASET}, configuration 3d_fullres, fold 0 + 1, device cpu")
    said = json.loads(done.out)
    assert (said["dataset"], said["configuration"]) == (DATASET, "3d_fullres")
    assert said["folds"] == ["0", "1"]
    assert said["skipped"] == []
    assert sorted(said["files"]) == ["BraTS20_Training_009", "BraTS20_Training_010"]
    for case, file in said["files"].items():
        labels, image = read_labels(Path(file)), read_image([unseen / case / f"{case}_t1.nii.gz"])
        assert set(np.unique(labels.array)) <= {0, 1, 2, 4}
        assert labels.array.shape == image.array.shape[1:]
        assert labels.geometry.spacing == image.geometry.spacing
        np.testing.assert_array_equal(labels.geometry.affine, image.geometry.affine)
    assert 4 in {value for labels in masks(tmp_path / "out").values() for value in np.unique(labels)}

    before = tree(tmp_path / "out")
    again = shell.run("predict", "-i", unseen, "-o", tmp_path / "out", "--json", cwd=trained)
    assert json.loads(again.out)["skipped"] == ["BraTS20_Training_009", "BraTS20_Training_010"]
    assert tree(tmp_path / "out") == before
    (tmp_path / "out" / "BraTS20_Training_009.nii.gz").unlink()
    again = shell.run("predict", "-i", unseen, "-o", tmp_path / "out", "--json", cwd=trained)
    assert json.loads(again.out)["skipped"] == ["BraTS20_Training_010"]


def test_a_model_folder_needs_no_workspace(shell: Shell, trained: Path, unseen: Path, tmp_path: Path) -> None:
    model = tmp_path / "a model" / "copied"
    shutil.copytree(trained / MODEL, model)
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in unseen.rglob("*009_*.nii.gz"):
        (flat / file.name).symlink_to(file)
    both = shell.run("predict", "-i", flat, "-o", "both", "-m", model, cwd=tmp_path)  # a folder of files
    one = shell.run("predict", "-i", flat, "-o", "one", "-m", model / "fold_1", cwd=tmp_path)
    same = shell.run("predict", "-i", flat, "-o", "same", "-m", model, "-f", "1", "-f", "1", cwd=tmp_path)
    for done, folds in ((both, "0 + 1"), (one, "1"), (same, "1")):
        assert done.code == 0, done.err
        assert f"dataset {DATASET}, configuration 3d_fullres, fold {folds}, device cpu" in done.headline
    assert masks(tmp_path / "one").keys() == {"BraTS20_Training_009.nii.gz"}
    np.testing.assert_equal(masks(tmp_path / "one"), masks(tmp_path / "same"))
    mixed = shell.fails("predict", "-i", flat, "-o", "out", "-m", model, "-c", "3d_fullres", cwd=tmp_path)
    assert "not both" in mixed
    other = shell.fails("predict", "-i", flat, "-o", "one", "-m", model / "fold_0", cwd=tmp_path)
    assert "holds predictions of another model" in other


def test_one_channel_one_file_and_a_name_with_spaces(shell: Shell, tmp_path: Path) -> None:
    """A dataset of one channel in nnU-Net's layout: planned, trained on every case, applied to one file and to a folder of files."""
    name, rng = "My own data", np.random.default_rng(0)
    raw = tmp_path / "raw_data" / name
    for index in range(3):
        image = rng.integers(1, 100, (1, 24, 20, 18)).astype(np.float32)
        truth = np.zeros((24, 20, 18), np.int16)
        truth[6:14, 5:12, 4:11] = 3
        image[0] += 100 * truth
        geometry = Geometry.of(truth.shape, (1.5, 1.0, 1.0))
        write_image(Image(image, geometry), raw / "imagesTr" / f"case{index}_0000.nii.gz")
        write_labels(LabelMap(truth, geometry), raw / "labelsTr" / f"case{index}.nii.gz")
    description = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "organ": 3}, "numTraining": 3, "file_ending": ".nii.gz"}
    (raw / "dataset.json").write_text(json.dumps(description))
    planned = shell.run("plan", "my own data", "--preset", "cpu", cwd=tmp_path)
    assert planned.code == 0, planned.err
    assert planned.headline == f"autoseg plan: dataset {name}, preset cpu"
    shrink(tmp_path / "plans" / f"{name}.json")
    trained = shell.run("train", "3d_fullres", "all", "--epochs", 1, cwd=tmp_path)
    assert trained.code == 0, trained.err
    assert trained.headline == f"autoseg train: dataset {name}, configuration 3d_fullres, fold all, device cpu"
    assert "3 cases to train on, 0 to validate on" in trained.err
    folder = tmp_path / "models" / name / "3d_fullres" / "fold_all"
    assert not (folder / "metrics.csv").exists() and "Mean Dice" not in trained.out
    for source, output in ((raw / "imagesTr" / "case1_0000.nii.gz", "file"), (raw / "imagesTr", "files")):
        done = shell.run("predict", "-i", source, "-o", tmp_path / output, cwd=tmp_path)
        assert done.code == 0, done.err
        assert ", fold all, " in done.headline
    assert masks(tmp_path / "files").keys() == {f"case{index}.nii.gz" for index in range(3)}
    for labels in masks(tmp_path / "files").values():
        assert set(np.unique(labels)) <= {0, 3}
    np.testing.assert_array_equal(masks(tmp_path / "file")["case1.nii.gz"], masks(tmp_path / "files")["case1.nii.gz"])
    one = shell.run("evaluate", "-p", tmp_path / "file" / "case1.nii.gz", "-r", raw / "labelsTr" / "case1.nii.gz", "-o", "m", cwd=tmp_path)
    assert one.code == 0, one.err
    assert "organ" in one.out  # the predictions' own dataset names the classes
    assert pd.read_csv(tmp_path / "m" / "metrics.csv")["case"].tolist() == ["case1"]


def test_all_folds_in_turn(shell: Shell, planned: Path, unseen: Path) -> None:
    """Two folds, edited by hand, of the 2D configuration; then both configurations are there to choose from."""
    folds = planned / "plans" / f"{DATASET}.folds.json"
    content = json.loads(folds.read_text())
    names = [name for fold in content["validation"] for name in fold]
    folds.write_text(json.dumps(content | {"validation": [names[:2], names[2:]]}))
    done = shell.run("train", "2d", "cv", "--epochs", 1, cwd=planned)
    assert done.code == 0, done.err
    assert done.headline == f"autoseg train: dataset {DATASET}, configuration 2d, fold cv, device cpu"
    for fold, held_out in ((0, names[:2]), (1, names[2:])):
        folder = planned / "models" / DATASET / "2d" / f"fold_{fold}"
        assert sorted(set(pd.read_csv(folder / "metrics.csv")["case"])) == sorted(held_out)
        assert f"Fold {fold}: 2 steps" in done.out and f"Validation of fold {fold}" in done.out
    third = shell.fails("train", "2d", "2", cwd=planned)
    assert "There is no fold '2'. Choose 0 to 1, all (every case) or cv (all folds in turn)." in third


def test_the_better_configuration_is_used_unless_one_is_named(shell: Shell, trained: Path, unseen: Path, tmp_path: Path) -> None:
    place = shutil.copytree(trained / "models", tmp_path / "models").parent
    other = shutil.copytree(place / MODEL, place / MODEL.parent / "3d_other")
    for fold, dice in ((0, 0.9), (1, 0.8)):
        folder = other / f"fold_{fold}"
        (folder / "metrics.json").write_text(json.dumps({"foreground_mean": {"dice": dice}}))
        for file in ("plan.json", "model.json"):
            (folder / file).write_text((folder / file).read_text().replace('"3d_fullres"', '"3d_other"'))
    best = shell.run("predict", "-i", unseen, "-o", "best", "-d", "phantom", cwd=place)
    assert best.code == 0, best.err
    assert best.headline.startswith(f"autoseg predict: dataset {DATASET}"), "the first line says what was understood, the second why"
    assert best.err.splitlines()[1].startswith("Using 3d_other, the best by validation Dice (3d_fullres 0.")
    assert "3d_other 0.8500" in best.err
    named = shell.run("predict", "-i", unseen, "-o", "named", "-d", "phantom", "-c", "3d_fullres", "-f", "1", cwd=place)
    assert named.code == 0, named.err
    assert "Using" not in named.err
    assert "fold 1, " in named.headline


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "3d_fullres", "7"], "There is no fold '7'. Choose 0 to 3, all (every case) or cv (all folds in turn)."),
        (["train", "3d_fullres", "²"], "There is no fold '²'"),
        (["train", "3d_huge", "0"], "has no configuration '3d_huge'. It has: 2d, 3d_fullres"),
        (["train", "3d_fullres", "0", "-d", "Liver"], "There is no dataset 'Liver' in"),
        (["train", "3d_fullres", "0", "--device", "tpu"], "There is no device 'tpu'. Choose one of: auto, cpu, cuda, mps."),
        (["train", "3d_fullres", "0", "--epochs", "3", "--budget", "2m"], "Give --epochs or --budget, not both."),
        (["train", "3d_fullres", "0", "--epochs", "0"], "--epochs 0: at least 1 is needed."),
        (["train", "3d_fullres", "0", "--budget", "soon"], "The budget 'soon' is not a time. Write it like 90s, 20m, 2h or 1h30m."),
        (["plan", "Phantom", "--preset", "huge"], "'huge'"),
        (["plan", "Phantom", "--spacing", "1,1"], "--spacing 1,1: three numbers are needed"),
        (["plan", "Phantom", "--spacing", "1,1,0"], "--spacing 1,1,0: millimetres must be above zero."),
        (["plan", "Phantom", "--spacing", "nan,1,1"], "--spacing nan,1,1: millimetres must be above zero."),
        (["plan", "Phantom", "--gpu-memory", "0"], "memory"),
        (["plan", "Phantom", "--gpu-memory", "-4"], "memory"),
        (["predict", "-i", "raw_data", "-o", "out", "-c", "2d"], "'2d' of Dataset020_Phantom is not trained. Trained are: 3d_fullres."),
        (["predict", "-i", "raw_data", "-o", "out", "-f", "3"], "is not trained. Trained are: 0, 1."),
        (["predict", "-i", "raw_data", "-o", "out", "-m", "plans"], "plans holds no trained model"),
        (["predict", "-i", "absent", "-o", "out"], "absent does not exist"),
        (["predict", "-i", f"raw_data/{DATASET}", "-o", "out", "--step", "0"], "step"),
        (["predict", "-i", f"raw_data/{DATASET}", "-o", "out", "--step", "1.5"], "step"),
        (["evaluate", "-p", "absent", "-r", "raw_data"], "absent does not exist"),
        (["evaluate", "-p", "plans", "-r", f"raw_data/{DATASET}"], "plans holds no segmentations"),
        (["check", "Liver"], "There is no dataset 'Liver'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_does_not_exist_is_named_with_the_choices(shell: Shell, trained: Path, arguments: list[str], said: str) -> None:
    assert said in shell.fails(*arguments, cwd=trained)


def test_a_run_does_not_go_on_with_another_plan_or_other_cases(shell: Shell, trained: Path, tmp_path: Path) -> None:
    place = shutil.copytree(trained, tmp_path / "w")
    plan, folds = place / "plans" / f"{DATASET}.json", place / "plans" / f"{DATASET}.folds.json"
    text = plan.read_text()
    plan.write_text(text.replace('"batch_size": 2', '"batch_size": 3'))
    assert "The plan's '3d_fullres' changed since the run in" in shell.fails("train", "3d_fullres", "0", cwd=place, changes=True)
    plan.write_text(text)
    content = json.loads(folds.read_text())
    folds.write_text(json.dumps(content | {"validation": content["validation"][::-1]}))
    assert "The cases of this fold changed since the run in" in shell.fails("train", "3d_fullres", "0", cwd=place)
    again = shell.run("train", "3d_fullres", "0", "--restart", "--epochs", 1, "--seed", 5, cwd=place)
    assert again.code == 0, again.err
    assert pd.read_csv(place / MODEL / "fold_0" / "log.csv")["step"].tolist() == [2]
    assert json.loads((place / MODEL / "fold_0" / "run.json").read_text())["seed"] == 5
    assert [path for path in tree(place) if ".autoseg-" in path] == []


def test_a_trained_fold_is_not_trained_again(shell: Shell, trained: Path, tmp_path: Path) -> None:
    place = shutil.copytree(trained, tmp_path / "w")
    weights = (place / MODEL / "fold_0" / "weights.safetensors").read_bytes()
    done = shell.run("train", "3d_fullres", "00", cwd=place)
    assert done.code == 0, done.err
    assert "fold_0 is trained already" in done.err
    assert (place / MODEL / "fold_0" / "weights.safetensors").read_bytes() == weights
    assert not (place / MODEL / "fold_00").exists()


def test_the_workspace_may_be_elsewhere(shell: Shell, trained: Path, unseen: Path, tmp_path: Path) -> None:
    for how, env in ((["--workspace", trained], {}), (["-w", os.path.relpath(trained, tmp_path)], {}), ([], {"AUTOSEG_WORKSPACE": str(trained)})):
        done = shell.run("check", "phantom", *how, cwd=tmp_path, env=env)
        assert done.code == 0, done.err
        assert done.headline == f"autoseg check: dataset {DATASET}"
        assert "4 cases, layout brats, channels FLAIR, T1, T1ce, T2, labels 0 background, 1 necrotic, 2 edema, 4 enhancing." in done.out
    assert "There is no dataset 'phantom'" in shell.fails("check", "phantom", cwd=tmp_path)


def test_the_dataset_last_planned_is_the_current_one(shell: Shell, trained: Path, tmp_path: Path) -> None:
    place = tmp_path
    shutil.copytree(trained / "plans", place / "plans")
    shutil.copytree(trained / "models", place / "models")
    (place / "raw_data" / "DatasetOther").mkdir(parents=True)
    assert f"'9' in {place / MODEL}" in shell.fails("predict", "-i", ".", "-o", "out", "-f", "9", cwd=place)
    (place / "plans" / ".current").unlink()
    assert "Which dataset?" in shell.fails("predict", "-i", ".", "-o", "out", cwd=place)
    assert "No model of DatasetOther is trained yet" in shell.fails("predict", "-i", ".", "-o", "out", "-d", "other", cwd=place)
    assert "DatasetOther has no plan yet. Make one: autoseg plan DatasetOther" in shell.fails("train", "2d", "0", "-d", "other", cwd=place)
