"""What a training decides, how it ends, and what it leaves; losses that fall, and those that are no numbers."""

import math
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from autoseg.errors import AutosegError
from autoseg.inference.model_folder import load_model
from autoseg.networks.unet import set_deep_supervision
from autoseg.reporting.curves import draw_progress
from autoseg.training import checkpoint
from autoseg.training.batches import PatchSource
from autoseg.training.losses import deep_loss
from autoseg.training.run import read_run
from autoseg.training.schedule import Target


def test_two_runs_are_equal_and_another_seed_is_not(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    plan = make.plan(patch=(8, 8, 8))
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        setting.train(plan, setting.decide(tmp_path / name, steps=2, seed=seed))
    assert setting.same_weights(tmp_path / "one", tmp_path / "two") and not setting.same_weights(tmp_path / "one", tmp_path / "three")


def test_new_decisions_are_written_down_and_told(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    short = setting.train(make.plan(patch=(8, 8, 8), epochs=1), tmp_path / "short")
    assert (short.steps, short.run.recipe, short.run.steps, short.run.seed) == (4, "fast", 4, 5)
    assert short.run == read_run(tmp_path / "short")
    assert "'fast' (fewer than 20,000 steps)" in setting.notes[-1]
    long = setting.trainer(make.plan(patch=(8, 8, 8), fast_below_steps=4), tmp_path / "long", Target(steps=4))
    assert read_run(tmp_path / "long").recipe == "default" and "not fewer" in setting.notes[-1]
    del long


def test_the_size_of_the_network_is_told(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    setting.train(make.plan(patch=(8, 8, 16), batch_size=3), tmp_path / "run", Target(steps=2))
    parameters = sum(tensor.numel() for tensor in setting.weights_in(tmp_path / "run").values())
    (line,) = [note for note in setting.notes if note.startswith("One step takes about")]
    assert f"; {parameters / 1e6:.3g} million parameters, patch 8 x 8 x 16, batch 3): about 2 steps in" in line and 0.001 < parameters / 1e6 < 0.1


def test_a_damaged_run_file_is_named(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    folder = setting.decide(tmp_path / "run", surprise=1)
    with pytest.raises(AutosegError, match=r"run\.json.*--restart"):
        setting.train(make.plan(patch=(8, 8, 8)), folder)


def test_a_budget_ends_in_time_and_annealed(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    plan = make.plan(patch=(8, 8, 8), iterations_per_epoch=1000)
    folder = setting.decide(tmp_path / "run", steps=None, seconds=2.0, epoch_steps=1000)
    begun = time.monotonic()
    outcome = setting.train(plan, folder, Target(seconds=2.0), validate=False)
    assert outcome.steps > 1 and 1.2 < outcome.seconds < 3 and time.monotonic() - begun < 4
    (row,) = setting.log_of(folder)
    assert row["epoch"] == 1 and row["step"] == outcome.steps
    assert row["learning_rate"] < 0.25 * 0.003


def test_a_short_budget_has_a_log_worth_drawing(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    plan = make.plan(patch=(8, 8, 8), iterations_per_epoch=1000, validation_iterations=200)
    outcome = setting.train(plan, tmp_path / "run", Target(seconds=4.0))
    assert 5 <= outcome.run.epoch_steps < 1000
    rows = setting.log_of(tmp_path / "run")
    assert len(rows) == -(-outcome.steps // outcome.run.epoch_steps) > 2
    assert [row["epoch"] for row in rows] == list(range(1, len(rows) + 1))


def test_the_loss_falls_on_a_single_case(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    recipe = {"optimizer": "adamw", "learning_rate": 0.02, "momentum": 0.9, "warmup_fraction": 0.05, "clip_gradient_norm": 1, "augmentation": {}}
    plan = make.plan(patch=(8, 8, 8), recipes={"default": recipe}, iterations_per_epoch=10)
    setting.names = [setting.names[0]] * 4
    setting.train(plan, setting.decide(tmp_path / "run", recipe="default", steps=60))
    losses = [row["train_loss"] for row in setting.log_of(tmp_path / "run")]
    assert losses[0] > 0.5 and losses[-1] < losses[0] - 0.7


@pytest.mark.parametrize("loss", ["dice_ce", "dice", "ce", "dice_focal", "tversky_bce"])
def test_the_plans_loss_is_trained_and_validated(make: SimpleNamespace, setting: Any, tmp_path: Path, loss: str) -> None:
    plan = make.plan(patch=(8, 8, 8), loss=loss)
    setting.train(plan, setting.decide(tmp_path / "run", recipe="default", steps=4))
    (row,) = setting.log_of(tmp_path / "run")
    source = PatchSource(setting.store, setting.names[3:], plan.configuration("tiny"), None, 99)
    batch = source.assemble(source.load(1), "cpu")
    network = load_model(tmp_path / "run").network
    set_deep_supervision(network, True)
    with torch.no_grad():
        expected = deep_loss(loss, network(batch.images), batch.classes, batch_dice=False).item()
    assert row["validation_loss"] == pytest.approx(expected, abs=1e-4)
    low, high = {"dice_ce": (0, 3), "dice": (-1, 0), "ce": (0.5, 4), "dice_focal": (-1, 2), "tversky_bce": (-0.5, 4)}[loss]
    assert low < row["train_loss"] < high and low < expected < high


def test_a_loss_that_is_no_number_keeps_the_last_good_state(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    plan = make.plan(patch=(8, 8, 8))
    folder = setting.decide(tmp_path / "run")
    setting.interrupted(plan, folder, 5)
    before = (folder / checkpoint.FILE).read_bytes()
    wild = {"optimizer": "sgd", "learning_rate": 1e30, "momentum": 0, "augmentation": {}}
    fast = {"optimizer": "adamw", "learning_rate": 1e30, "momentum": 0.9, "weight_average": 0.9, "augmentation": {}}
    with pytest.raises(AutosegError, match="smaller learning_rate"):
        setting.train(make.plan(patch=(8, 8, 8), recipes={"default": wild, "fast": fast}), folder)
    assert (folder / checkpoint.FILE).read_bytes() == before
    assert setting.train(plan, folder).steps == 12


def test_what_is_left(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    """A model that loads, a log that can be drawn, and no temporary file."""
    plan = make.plan(patch=(8, 8, 8))
    folder = setting.decide(tmp_path / "run")
    left = folder / f".autoseg-00000000-1-0123abcd.{checkpoint.FILE}"
    left.write_bytes(b"left by a kill")
    os.utime(left, (0, 0))
    setting.train(plan, folder, draw=draw_progress)
    assert {path.name for path in folder.iterdir()} == {
        "plan.json", "model.json", "run.json", "log.csv", "progress.png", "checkpoint.safetensors", "weights.safetensors",
    }  # fmt: skip
    model = load_model(folder)
    assert model.plan == plan
    with torch.inference_mode():
        assert model.network(torch.zeros(1, 4, 16, 16, 16)).shape == (1, 4, 16, 16, 16)
    rows = setting.log_of(folder)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    for row in rows:
        dice = [row[f"dice_{name}"] for name in ("necrosis", "edema", "enhancing")]
        known = [value for value in dice if value == value]
        assert row["pseudo_dice"] == pytest.approx(sum(known) / len(known), abs=1e-5)
        assert math.isfinite(row["validation_loss"])


def test_the_average_is_saved_and_validated(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    setting.train(make.plan(patch=(8, 8, 8)), setting.decide(tmp_path / "run"))
    saved = load_file(tmp_path / "run" / checkpoint.FILE)
    for name, tensor in setting.weights_in(tmp_path / "run").items():
        assert torch.equal(tensor, saved[f"average.{name}"])
    assert any(not torch.equal(tensor, saved[f"network.{name}"]) for name, tensor in setting.weights_in(tmp_path / "run").items())


def test_validation_changes_nothing(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    with_it, without = (setting.decide(tmp_path / name) for name in ("with", "without"))
    setting.train(make.plan(patch=(8, 8, 8)), with_it)
    setting.train(make.plan(patch=(8, 8, 8)), without, validate=False)
    assert setting.same_weights(with_it, without)
    assert all(math.isnan(row["validation_loss"]) and math.isnan(row["dice_edema"]) for row in setting.log_of(without))


def test_slices_and_a_single_resolution_can_be_trained(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    plan = make.plan(dimensions=2, batch_dice=True, deep_supervision=False)
    assert setting.train(plan, setting.decide(tmp_path / "run", steps=3)).steps == 3
    assert load_model(tmp_path / "run").network(torch.zeros(1, 4, 16, 16)).shape == (1, 4, 16, 16)


def test_an_error_while_loading_ends_the_training(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    setting.names = ["lost"] * 4
    with pytest.raises(AutosegError, match=r"lost\."):
        setting.train(make.plan(patch=(8, 8, 8)), setting.decide(tmp_path / "run"))
