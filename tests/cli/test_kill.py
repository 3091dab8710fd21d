"""A command that was killed or interrupted: the same command goes on and ends as if nothing had happened."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import blosc2
import numpy as np
import pytest

from tests.cli.conftest import DATASET, Shell, link_workspace, shrink, tree

MODEL = Path("models") / DATASET / "3d_fullres"
LONG = ("train", "3d_fullres", "2", "--epochs", "40")  # a few seconds, several checkpoints
ENDLESS = ("train", "3d_fullres", "3", "--epochs", "100000")
HALF_WRITTEN = """
import os, signal, sys
from pathlib import Path
from autoseg.files import atomic
with atomic(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half of a file")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_while_writing(target: Path) -> None:
    """What a kill leaves in the middle of writing a file."""
    subprocess.run([sys.executable, "-c", HALF_WRITTEN, str(target)], check=False)
    assert leftovers(target.parent)


def leftovers(folder: Path) -> list[str]:
    return [path for path in tree(folder) if ".autoseg-" in path]


def log_rows(folder: Path) -> int:
    log = folder / "log.csv"
    return len(log.read_text().splitlines()) - 1 if log.exists() else 0


@pytest.fixture(scope="module")
def undisturbed(shell: Shell, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a fold that was trained in one go."""
    place = link_workspace(trained, tmp_path_factory.mktemp("undisturbed") / "w")
    done = shell.run(*LONG, cwd=place)
    assert done.code == 0, done.err
    return place / MODEL / "fold_2"


def assert_same_training(folder: Path, undisturbed: Path) -> None:
    assert (folder / "weights.safetensors").read_bytes() == (undisturbed / "weights.safetensors").read_bytes()
    assert (folder / "metrics.csv").read_bytes() == (undisturbed / "metrics.csv").read_bytes()
    columns = [np.genfromtxt(path / "log.csv", delimiter=",", names=True) for path in (folder, undisturbed)]
    for name in ("epoch", "step", "learning_rate", "train_loss", "validation_loss", "pseudo_dice"):
        np.testing.assert_array_equal(columns[0][name], columns[1][name])
    assert not leftovers(folder.parent)


def test_training_killed_in_the_middle_ends_with_the_same_weights(shell: Shell, planned: Path, undisturbed: Path) -> None:
    """Killed between two checkpoints, and a checkpoint half-written beside the good one."""
    folder = planned / MODEL / "fold_2"
    running = shell.start(*LONG, cwd=planned)
    running.until(lambda: (folder / "checkpoint.safetensors").exists() and log_rows(folder) > 8)
    running.kill()
    assert not (folder / "weights.safetensors").exists()
    for file in ("checkpoint.safetensors", "weights.safetensors", "log.csv"):
        killed_while_writing(folder / file)
    done = shell.run(*LONG, cwd=planned)
    assert done.code == 0, done.err
    assert "An unfinished run is taken up" in done.err
    assert "Fold 2: 80 steps" in done.out
    assert_same_training(folder, undisturbed)


def test_training_interrupted_says_how_to_go_on_and_does(shell: Shell, planned: Path, undisturbed: Path) -> None:
    folder = planned / MODEL / "fold_2"
    running = shell.start(*LONG, cwd=planned)
    running.until(lambda: log_rows(folder) > 3)
    running.signal(signal.SIGINT)
    stopped = running.wait()
    assert stopped.code == 130
    assert "Traceback" not in stopped.err
    assert "Stopping after this step" in stopped.err
    assert stopped.err.splitlines()[-1].endswith("everything is saved. The same command goes on from there.")
    assert (folder / "checkpoint.safetensors").exists() and not (folder / "weights.safetensors").exists()
    done = shell.run(*LONG, cwd=planned)
    assert done.code == 0, done.err
    assert_same_training(folder, undisturbed)


def test_a_second_training_of_a_fold_is_told_of_the_first(shell: Shell, planned: Path) -> None:
    folder = planned / MODEL / "fold_3"
    first = shell.start(*ENDLESS, cwd=planned)
    first.until(lambda: log_rows(folder) > 0)
    second = shell.run(*ENDLESS, cwd=planned)
    assert second.code == 1
    assert f"Another autoseg is training into {folder} right now. Wait for it, or stop it." in second.err
    assert shell.run(*ENDLESS, "--restart", cwd=planned).code == 1
    assert log_rows(folder) > 0, "it was not removed under the first"
    first.signal(signal.SIGTERM)  # as a cluster does
    stopped = first.wait()
    assert stopped.code == 130
    assert "The same command goes on from there." in stopped.err


def test_prediction_killed_in_the_middle_ends_with_the_same_files(shell: Shell, trained: Path, tmp_path: Path) -> None:
    scans = trained / "raw_data" / DATASET
    command = ("predict", "-i", scans, "--json", "--step", 0.2, "-o")
    undisturbed = shell.run(*command, tmp_path / "whole", cwd=trained)
    assert undisturbed.code == 0, undisturbed.err
    running = shell.start(*command, tmp_path / "out", cwd=trained)
    running.until(lambda: list((tmp_path / "out").glob("BraTS*")))
    running.kill()
    finished = {path.name for path in (tmp_path / "out").glob("BraTS*")}
    assert 0 < len(finished) < 4
    killed_while_writing(tmp_path / "out" / "BraTS20_Training_004.nii.gz")
    again = shell.run(*command, tmp_path / "out", cwd=trained)
    assert again.code == 0, again.err
    assert {f"{case}.nii.gz" for case in json.loads(again.out)["skipped"]} == finished
    assert sorted(tree(tmp_path / "out")) == sorted(tree(tmp_path / "whole"))
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


def test_prediction_interrupted_says_how_to_go_on(shell: Shell, trained: Path, tmp_path: Path) -> None:
    running = shell.start("predict", "-i", trained / "raw_data" / DATASET, "--step", 0.1, "-o", tmp_path / "out", cwd=trained)
    running.until(lambda: (tmp_path / "out" / "predictions.json").exists())
    running.signal(signal.SIGINT)
    stopped = running.wait()
    assert (stopped.code, "Traceback" in stopped.err) == (130, False)
    assert "What was finished is kept; the same command goes on from there." in stopped.err
    assert not leftovers(tmp_path)


def test_preprocessing_killed_in_the_middle_ends_with_the_same_cases(shell: Shell, workspace: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(workspace, whole)
    assert shell.run("plan", "Phantom", "--preset", "cpu", cwd=whole).code == 0
    ready = workspace / "preprocessed" / DATASET / "2d"
    running = shell.start("plan", "Phantom", "--preset", "cpu", cwd=workspace)
    running.until(lambda: ready.exists() and any(ready.iterdir()))
    running.kill()
    assert len(list(ready.parent.rglob("*.json"))) < 8, "it was too late"
    killed_while_writing(ready / "BraTS20_Training_003.image.b2nd")
    done = shell.run("plan", "Phantom", "--preset", "cpu", cwd=workspace)
    assert done.code == 0, done.err
    assert sorted(tree(workspace)) == sorted(tree(whole))
    for path in (whole / "preprocessed").rglob("*"):
        twin = workspace / path.relative_to(whole)
        if path.suffix == ".b2nd":
            np.testing.assert_array_equal(blosc2.open(str(twin))[:], blosc2.open(str(path))[:])
        elif path.suffix == ".npz":
            with np.load(path) as expected, np.load(twin) as found:
                np.testing.assert_equal(dict(found), dict(expected))
    for path in (whole / "plans").iterdir():
        assert (workspace / "plans" / path.name).read_text() == path.read_text()


def test_planning_interrupted_leaves_nothing_half(shell: Shell, workspace: Path) -> None:
    running = shell.start("plan", "Phantom", "--preset", "cpu", cwd=workspace)
    running.until(lambda: "check:" in running.error())
    running.signal(signal.SIGINT)
    stopped = running.wait()
    assert (stopped.code, "Traceback" in stopped.err) == (130, False)
    assert "the same command goes on from there" in stopped.err
    assert not leftovers(workspace)


def test_training_interrupted_while_cases_are_made_ready(shell: Shell, trained: Path, tmp_path: Path) -> None:
    """Not only between steps: a case is finished, then it stops."""
    place = link_workspace(trained, tmp_path / "w")
    shutil.rmtree(place / "preprocessed")
    ready = place / "preprocessed" / DATASET / "3d_fullres"
    running = shell.start("train", "3d_fullres", "2", cwd=place)
    running.until(lambda: ready.exists())
    running.signal(signal.SIGINT)
    stopped = running.wait()
    assert (stopped.code, "Traceback" in stopped.err) == (130, False)
    assert "same command goes on from there" in stopped.err
    assert not leftovers(place)


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(4))
def test_training_killed_at_any_moment_ends_with_the_same_weights(shell: Shell, planned: Path, undisturbed: Path, moment: int) -> None:
    """Again and again, until it has the time to end."""
    folder = planned / MODEL / "fold_2"
    rng = np.random.default_rng(moment)
    for _ in range(5):
        before = tree(planned)
        running = shell.start(*LONG, cwd=planned)
        running.until(lambda before=before: tree(planned) != before)
        wait = rng.integers(0, 30)
        running.until(lambda wait=wait: log_rows(folder) >= wait or (folder / "weights.safetensors").exists())
        running.signal(signal.SIGKILL)
        running.wait()
    done = shell.run(*LONG, cwd=planned)
    assert done.code == 0, done.err
    assert_same_training(folder, undisturbed)


@pytest.mark.slow
def test_cross_validation_killed_goes_on_with_the_fold_it_was_in(shell: Shell, trained: Path, tmp_path: Path) -> None:
    place = link_workspace(trained, tmp_path / "w")
    shrink(place / "plans" / f"{DATASET}.json", epochs=20)
    running = shell.start("train", "3d_fullres", "cv", cwd=place)
    running.until(lambda: log_rows(place / MODEL / "fold_1") > 2)
    running.kill()
    weights = (place / MODEL / "fold_0" / "weights.safetensors").stat().st_mtime_ns
    done = shell.run("train", "3d_fullres", "cv", cwd=place)
    assert done.code == 0, done.err
    assert (place / MODEL / "fold_0" / "weights.safetensors").stat().st_mtime_ns >= weights
    assert [f"Fold {fold}: 40 steps" in done.out for fold in range(4)] == [True] * 4
