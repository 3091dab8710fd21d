"""A leaderboard of trained configurations: common cases, recorded times, and validations that are not of the weights that lie there."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.image import imread

import autoseg
from autoseg.errors import AutosegError
from autoseg.inference.timing import read_timing
from autoseg.planning.hardware.layers import operations
from autoseg.planning.plan import read_plan

NAME = "DatasetPhantom20"


@pytest.fixture(scope="module")
def trained(workspace: Path, shrink: Callable[[Path], None]) -> Path:
    """A workspace with two folds of one configuration and one of the other."""
    shrink(autoseg.plan(NAME, workspace=workspace, preset="cpu").path)
    for configuration, fold in (("2d", 0), ("2d", 1), ("3d_fullres", 0)):
        autoseg.train(configuration, fold, workspace=workspace, epochs=1, device="cpu")
    return workspace


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    """One to damage."""
    for name in ("plans", "models", "preprocessed"):
        shutil.copytree(trained / name, tmp_path / name)
    (tmp_path / "raw_data").symlink_to(trained / "raw_data")
    return tmp_path


def test_all_that_is_trained_is_compared_on_the_cases_of_all(trained: Path) -> None:
    said: list[str] = []
    done = autoseg.leaderboard(workspace=trained, notify=said.append)
    board, root = done.leaderboard, trained / "models" / NAME
    assert {one.name for one in board.standings} == {"2d", "3d_fullres"} and board.left_out == {"2d": 1} and board.folds() == "0 (1 case)"
    assert said == ["Compared on the 1 case that all of them validated; left out: 1 of 2d. Intervals of so few say little."]
    means = [one.scores.row()["mean"] for one in board.standings]
    assert means == sorted(means, reverse=True)
    for one in board.standings:
        metrics = pd.read_csv(root / one.name / "fold_0" / "metrics.csv")
        assert one.scores.row()["mean"] == pytest.approx(metrics["dice"].mean())
        assert set(board.metrics) >= {"dice", "iou", "precision", "sensitivity", "specificity", "hd95", "assd", "nsd"}
        assert one.scores.row("ET", "iou")["mean"] == pytest.approx(metrics.set_index("target").loc["ET", "iou"], nan_ok=True)
        plan = read_plan(root / one.name / "fold_0" / "plan.json")
        made = operations(plan.configuration(one.name), plan.input_channels(one.name), plan.output_channels)
        assert (one.costs.parameters, one.costs.window_flops) == (sum(part.weights for part in made), sum(part.flops for part in made))
        assert one.costs.windows and one.costs.case_flops == one.costs.window_flops * one.costs.windows * one.costs.mirrorings
        assert set(one.costs.training_steps.values()) == {1} and (one.costs.fold_seconds or 0) > 0
        timing = read_timing(root / one.name / "fold_0" / "validation" / "timing.json")
        assert timing is not None and list(timing.cases) == json.loads((root / one.name / "fold_0" / "cases.json").read_text())["validation"]
        (time,) = timing.cases.values()
        assert one.costs.case_seconds == time.seconds > 0 and time.elapsed >= time.seconds and one.costs.timed_cases == 1
        assert (one.costs.peak_resident or 0) > 2**20 and one.costs.peak_cuda is None
    assert done.csv == root / "leaderboard.csv" and len(pd.read_csv(done.csv)) > 50
    assert json.loads(done.json.read_text())["dataset"] == NAME and imread(done.picture).shape[0] > 300
    alone = autoseg.leaderboard(NAME, configurations="2d", workspace=trained).leaderboard
    assert len(alone.cases) == 2 and not alone.left_out


def test_a_validation_of_other_weights_does_not_count(copy: Path) -> None:
    root = copy / "models" / NAME
    record = root / "2d" / "fold_0" / "validation" / "predictions.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"weights": ["0123456789abcdef"]}))
    said: list[str] = []
    with pytest.raises(AutosegError, match=r"No case was validated by all of 2d, 3d_fullres \(2d: 1 case of fold 1; 3d_fullres: 1 case of fold 0\)"):
        autoseg.leaderboard(workspace=copy, notify=said.append)
    assert said == [f"2d, fold 0, is not validated with its weights, and its cases do not count. Do it: autoseg train 2d 0 -d {NAME}"]
    (root / "3d_fullres" / "fold_0" / "metrics.csv").unlink()
    said.clear()
    alone = autoseg.leaderboard(workspace=copy, notify=said.append).leaderboard
    assert [one.name for one in alone.standings] == ["2d"] and "3d_fullres: left out, since no fold is validated." in said
    with pytest.raises(AutosegError, match="No fold of 3d_fullres is validated yet"):
        autoseg.leaderboard(workspace=copy, configurations="3d_fullres")


def test_a_validation_that_is_stopped_leaves_no_numbers_of_weights_that_are_no_more(copy: Path) -> None:
    folder = copy / "models" / NAME / "2d" / "fold_0"
    record = folder / "validation" / "predictions.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"weights": ["0123456789abcdef"]}))

    def stop(stage: str, done: int, total: int, note: str = "") -> None:
        if stage == "validate":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        autoseg.train("2d", 0, workspace=copy, device="cpu", progress=stop)
    assert not any((folder / name).exists() for name in ("metrics.csv", "metrics.json", "scores.png", "validation.png"))
    autoseg.train("2d", 0, workspace=copy, device="cpu")
    assert (folder / "metrics.csv").is_file() and (folder / "validation" / "timing.json").is_file()


def test_older_validations_have_empty_cells(copy: Path) -> None:
    for path in copy.glob(f"models/{NAME}/*/fold_*/validation/timing.json"):
        path.unlink()
    (copy / "plans" / f"{NAME}.fingerprint.json").unlink()
    said: list[str] = []
    board = autoseg.leaderboard(workspace=copy, notify=said.append).leaderboard
    costs = {one.name: one.costs for one in board.standings}
    assert all((one.case_seconds, one.peak_resident, one.timed_cases) == (None, None, 0) for one in costs.values())
    assert costs["2d"].case_flops is None and (costs["3d_fullres"].case_flops or 0) > 0
    assert "nobody knows how many slices" in said[0] and any(line.startswith("Prediction was not timed for") for line in said)


def test_nothing_trained_is_an_error(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "raw_data").symlink_to(trained / "raw_data")
    with pytest.raises(AutosegError, match=r"No fold of DatasetPhantom20 is trained yet in .*autoseg train 2d cv"):
        autoseg.leaderboard(NAME, workspace=tmp_path)
    with pytest.raises(AutosegError, match=r"DatasetPhantom20 has no configuration 4d\. There are: .*; trained are 2d, 3d_fullres"):
        autoseg.leaderboard(NAME, configurations=["4d"], workspace=trained)
