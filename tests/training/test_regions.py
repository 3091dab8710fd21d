"""Training on regions: one output a region, columns and progress by their names, and a network that learns them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from autoseg.inference.model_folder import load_model
from autoseg.training.losses import TERMS

QUICK = {"optimizer": "adamw", "learning_rate": 0.02, "momentum": 0.9, "warmup_fraction": 0.05, "clip_gradient_norm": 1, "augmentation": {}}


def test_outputs_columns_and_progress_are_those_of_regions(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    plan, told = make.plan(patch=(8, 8, 8), regions=True), []
    folder = setting.decide(tmp_path / "run", steps=5)
    setting.trainer(plan, folder).train(progress=lambda stage, done, total, note: told.append(note))
    rows = setting.log_of(folder)
    assert [name for name in rows[0] if name.startswith("dice_")] == ["dice_WT", "dice_TC", "dice_ET"]
    assert all(row["train_loss"] == row["train_loss"] for row in rows)
    assert "(WT " in told[-1] and ", ET " in told[-1]
    model = load_model(folder)
    assert model.plan.learns_regions and model.network(torch.zeros(1, 4, 8, 8, 8)).shape[1] == 3


def test_a_killed_run_on_regions_ends_with_the_same_weights(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    plan = make.plan(patch=(8, 8, 8), regions=True)
    setting.train(plan, setting.decide(tmp_path / "whole", steps=4))
    setting.interrupted(plan, setting.decide(tmp_path / "killed", steps=4), 2)
    setting.train(plan, tmp_path / "killed")
    assert setting.same_weights(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.parametrize("loss", [*TERMS, "dice_ce", "dice_focal"])
def test_the_loss_of_regions_falls(make: SimpleNamespace, setting: Any, tmp_path: Path, loss: str) -> None:
    plan = make.plan(patch=(8, 8, 8), recipes={"default": QUICK}, iterations_per_epoch=10, regions=True, loss=loss)
    setting.names = [setting.names[0]] * 4
    setting.train(plan, setting.decide(tmp_path / "run", recipe="default", steps=60, epoch_steps=10))
    losses = [row["train_loss"] for row in setting.log_of(tmp_path / "run")]
    assert losses[-1] < losses[0] - 0.1


def test_a_network_learns_regions(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    plan = make.plan(patch=(16, 16, 16), recipes={"default": QUICK}, iterations_per_epoch=50, regions=True)
    setting.names = [setting.names[0]] * 4
    setting.train(plan, setting.decide(tmp_path / "run", recipe="default", steps=50, epoch_steps=50))
    (row,) = setting.log_of(tmp_path / "run")
    assert row["dice_WT"] > 0.6 and row["pseudo_dice"] > 0.3
