"""What is wrong in a user's hands: one clear message that names the file, exit code 1, no traceback, nothing changed on the disk."""

import gzip
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from autoseg.imaging.image import Geometry, LabelMap
from autoseg.imaging.read import read_labels
from autoseg.imaging.write import write_labels
from tests.cli.conftest import DATASET, Shell, tree

CASE = "BraTS20_Training_002"
LABEL = f"raw_data/{DATASET}/{CASE}/{CASE}_seg.nii.gz"


def case_file(workspace: Path, part: str) -> Path:
    return workspace / "raw_data" / DATASET / CASE / f"{CASE}_{part}.nii.gz"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def relabel(path: Path, value: int) -> None:
    labels = read_labels(path)
    array = labels.array.copy()
    array[3, 3, 3] = value
    write_labels(LabelMap(array, labels.geometry), path)


@pytest.mark.parametrize("command", ["plan", "check"])
def test_damaged_data_is_reported_all_at_once_before_any_work(shell: Shell, workspace: Path, command: str) -> None:
    truncate(case_file(workspace, "t1ce"))
    relabel(case_file(workspace, "seg"), 7)
    other = case_file(workspace, "seg").parents[1] / "BraTS20_Training_004" / "BraTS20_Training_004_seg.nii.gz"
    write_labels(LabelMap(np.zeros((24, 28, 23), np.uint8), Geometry.of((24, 28, 23))), other)
    missing = case_file(workspace, "seg").parents[1] / "BraTS20_Training_001" / "BraTS20_Training_001_t1.nii.gz"
    missing.unlink()
    message = shell.fails(command, "Phantom", cwd=workspace)
    assert message.count("Error:") == 1
    for said in (str(case_file(workspace, "t1ce")), str(case_file(workspace, "seg")), "7", str(other), "BraTS20_Training_001", "t1"):
        assert said in message
    assert "24" in message and "23" in message
    assert not (workspace / "plans").exists()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (lambda path: truncate(path("flair")), "flair.nii.gz"),
        (lambda path: path("flair").write_bytes(b""), "flair.nii.gz"),
        (lambda path: path("flair").write_bytes(b"this is no image" * 100), "flair.nii.gz"),
        (lambda path: path("flair").write_bytes(gzip.compress(b"neither is this" * 100)), "flair.nii.gz"),
        (lambda path: relabel(path("seg"), 7), "seg.nii.gz"),
        (lambda path: truncate(path("seg")), "seg.nii.gz"),
        (lambda path: path("t2").unlink(), "missing T2"),
    ],
    ids=["truncated", "empty", "no image", "no image in gzip", "label 7", "truncated label", "missing modality"],
)
def test_one_fault_of_a_dataset_is_named(shell: Shell, workspace: Path, fault: object, said: str) -> None:
    assert callable(fault)
    fault(lambda part: case_file(workspace, part))
    message = shell.fails("plan", "Phantom", "--preset", "cpu", cwd=workspace)
    assert CASE in message and said in message


@pytest.mark.parametrize("command", [["plan", "Empty"], ["check", "Empty"]], ids=" ".join)
def test_an_empty_dataset_is_named(shell: Shell, workspace: Path, command: list[str]) -> None:
    (workspace / "raw_data" / "Empty").mkdir()
    assert str(workspace / "raw_data" / "Empty") in shell.fails(*command, cwd=workspace)


@pytest.mark.parametrize(
    ("in_the_way", "command"),
    [
        ("plans", ["plan", "Phantom"]),
        ("preprocessed", ["plan", "Phantom"]),
        ("preprocessed", ["train", "3d_fullres", "2"]),
        ("models", ["train", "3d_fullres", "2"]),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_workspace_that_cannot_be_written_is_named_before_any_work(
    shell: Shell, trained: Path, tmp_path: Path, in_the_way: str, command: list[str]
) -> None:
    (tmp_path / "raw_data").symlink_to(trained / "raw_data")
    shutil.copytree(trained / "plans", tmp_path / "plans")
    shutil.rmtree(tmp_path / in_the_way, ignore_errors=True)
    (tmp_path / in_the_way).write_text("a file stands here")
    message = shell.fails(*command, cwd=tmp_path)
    assert f"Cannot write into {tmp_path / in_the_way}" in message and "Not a directory" in message


def test_an_output_that_cannot_be_written_is_named(shell: Shell, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file stands here")
    case = trained / "raw_data" / DATASET / CASE
    message = shell.fails("predict", "-i", case, "-o", "out/deeper", "-m", trained / "models" / DATASET / "3d_fullres", cwd=tmp_path)
    assert "Cannot write into out/deeper: out: Not a directory" in message
    label = case / f"{CASE}_seg.nii.gz"
    message = shell.fails("evaluate", "-p", label, "-r", label, "-o", "out", cwd=tmp_path)
    assert "Cannot write into out: Not a directory" in message


@pytest.mark.parametrize("part", ["truncated", "missing", "empty folder"])
def test_scans_that_cannot_be_predicted_are_named(shell: Shell, trained: Path, unseen: Path, tmp_path: Path, part: str) -> None:
    scans = shutil.copytree(unseen, tmp_path / "scans")
    bad = scans / "BraTS20_Training_010" / "BraTS20_Training_010_t1ce.nii.gz"
    if part == "truncated":
        truncate(bad)
    elif part == "missing":
        bad.unlink()
    else:
        shutil.rmtree(scans)
        scans.mkdir()
    command = ("predict", "-i", scans, "-o", tmp_path / "out", "-m", trained / "models" / DATASET / "3d_fullres")
    message = shell.fails(*command, cwd=tmp_path, changes=part == "truncated")
    assert str(bad if part == "truncated" else scans) in message
    if part != "empty folder":
        assert "BraTS20_Training_010" in message and "t1ce" in message.lower()
    assert not list(tmp_path.glob("out/*010*"))


def test_predictions_that_cannot_be_judged_are_named(shell: Shell, trained: Path, tmp_path: Path) -> None:
    truth = trained / "raw_data" / DATASET
    (tmp_path / "p").mkdir()
    file = tmp_path / "p" / f"{CASE}.nii.gz"
    command = ("evaluate", "-p", "p", "-r", truth, "-o", "m")
    assert "p holds no segmentations" in shell.fails(*command, cwd=tmp_path)
    shutil.copy(truth / CASE / f"{CASE}_seg.nii.gz", file)
    truncate(file)
    assert f"p/{CASE}.nii.gz" in shell.fails(*command, cwd=tmp_path)
    write_labels(LabelMap(np.zeros((24, 28, 23), np.uint8), Geometry.of((24, 28, 23))), file)
    assert f"p/{CASE}.nii.gz" in shell.fails(*command, cwd=tmp_path)
    shutil.copy(truth / CASE / f"{CASE}_seg.nii.gz", file)
    relabel(file, 7)
    message = shell.fails(*command, cwd=tmp_path)
    assert f"p/{CASE}.nii.gz" in message and "7" in message
    file.rename(tmp_path / "p" / "stranger.nii.gz")
    assert "stranger" in shell.fails(*command, cwd=tmp_path)


@pytest.mark.parametrize(
    ("command", "limit", "target"),
    [
        (["plan", "Phantom", "--preset", "cpu", "--force"], 1_500, "plans"),
        (["plan", "Phantom", "--preset", "cpu", "--force"], 20_000, "preprocessed"),
        (["train", "3d_fullres", "2"], 8_000, "preprocessed"),
        (["predict", "-i", f"raw_data/{DATASET}", "-o", "out"], 300, "out"),
        (["evaluate", "-p", LABEL, "-r", LABEL, "-o", "m"], 500, "m"),
    ],
    ids=["plan", "ready case", "ready case in training", "segmentation", "metrics"],
)
def test_a_full_disk_is_said_and_leaves_no_half_file(
    shell: Shell, trained: Path, tmp_path: Path, command: list[str], limit: int, target: str
) -> None:
    """Files may not grow beyond a limit: writing fails in the middle, as on a full disk."""
    place = shutil.copytree(trained, tmp_path / "w")
    if target == "preprocessed":
        shutil.rmtree(place / "preprocessed")
    before = tree(place)
    message = shell.fails(*command, cwd=place, changes=True, file_size=limit)
    assert f"{target}/" in message and "Free the disk" in message
    for path, state in tree(place).items():
        if state != before.get(path) and state != (0, 0):
            assert state[0] <= limit, "whole files only"
            assert state[0] < limit, f"{path} was cut"


def test_a_full_disk_while_a_checkpoint_is_written_leaves_none(shell: Shell, planned: Path) -> None:
    plan = planned / "plans" / f"{DATASET}.json"
    plan.write_text(re.sub(r"4,\s*8\s*\]", "16, 32]", plan.read_text()))  # larger than any picture
    message = shell.fails("train", "3d_fullres", "2", cwd=planned, changes=True, file_size=200_000)
    folder = planned / "models" / DATASET / "3d_fullres" / "fold_2"
    assert f"Cannot write {folder / 'checkpoint.safetensors'}" in message
    assert not (folder / "checkpoint.safetensors").exists() and (folder / "log.csv").exists()
    done = shell.run("train", "3d_fullres", "2", cwd=planned)
    assert done.code == 0, done.err
    assert (folder / "checkpoint.safetensors").stat().st_size > 200_000


def test_a_damaged_model_is_named(shell: Shell, trained: Path, unseen: Path, tmp_path: Path) -> None:
    model = shutil.copytree(trained / "models" / DATASET / "3d_fullres" / "fold_0", tmp_path / "fold_0")
    for file, damage in (("weights.safetensors", b"short"), ("plan.json", b"{"), ("model.json", b"[]")):
        whole = (model / file).read_bytes()
        (model / file).write_bytes(damage)
        message = shell.fails("predict", "-i", unseen, "-o", "out", "-m", "fold_0", cwd=tmp_path)
        assert f"fold_0/{file}" in message
        (model / file).write_bytes(whole)
