"""Plateaus, early ends and best weights in a training, also in one that was killed on its way."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from autoseg.errors import AutosegError
from autoseg.planning.plan import Plan
from autoseg.preprocessing.store import CaseStore, StoredCase
from autoseg.training import checkpoint
from autoseg.training.run import has_ended, read_run
from autoseg.training.schedule import Target

WILD = {
    "optimizer": "adam", "learning_rate": 0.2, "momentum": 0.9, "schedule": "plateau", "plateau_factor": 0.5, "plateau_patience": 0,
    "stop_after": 2, "keep": "best", "weight_average": 0.5, "augmentation": {},
}  # fmt: skip


@pytest.fixture
def plan(make: SimpleNamespace) -> Plan:
    """A training whose validation loss soon rises and falls as chance has it."""
    return wild(make)


def wild(make: SimpleNamespace, **changes: Any) -> Plan:
    plan: Plan = make.plan(patch=(8, 8, 8), iterations_per_epoch=2, recipes={"default": WILD | changes}, loss="dice_bce")
    return plan


def decided(setting: Any, folder: Path, **decisions: Any) -> Path:
    folder = setting.decide(folder, **({"recipe": "default", "steps": 60, "epoch_steps": 2} | decisions))
    return folder


def stale(losses: list[float]) -> int:
    """Epochs since the best."""
    return len(losses) - 1 - losses.index(min(losses))


def test_it_stops_where_the_log_says_and_leaves_the_best_epochs_weights(plan: Plan, make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    folder = decided(setting, tmp_path / "run")
    outcome = setting.train(plan, folder)
    losses = [row["validation_loss"] for row in setting.log_of(folder)]
    assert outcome.steps == 2 * len(losses) < 60
    assert stale(losses) == 2 and all(stale(losses[:count]) < 2 for count in range(1, len(losses)))
    assert setting.notes[-1] == (f"The training stopped early after epoch {len(losses)}, because the validation loss had not improved for 2 epochs.")
    best = losses.index(min(losses)) + 1
    short = decided(setting, tmp_path / "short", steps=2 * best)
    setting.train(wild(make, keep="last"), short)
    assert setting.same_weights(folder, short)  # the average's, as they were then
    last, kept = load_file(folder / checkpoint.FILE), setting.weights_in(folder)
    assert not list(folder.glob("best_*")) and not all(torch.equal(last[f"average.{name}"], tensor) for name, tensor in kept.items())


def test_the_log_shows_the_rate_of_each_epoch(plan: Plan, setting: Any, tmp_path: Path) -> None:
    folder = decided(setting, tmp_path / "run")
    setting.train(plan, folder)
    rows, lowered, best = setting.log_of(folder), 0, math.inf
    for row in rows:
        assert row["learning_rate"] == pytest.approx(0.2 * 0.5**lowered)  # lowered from the next epoch on
        lowered += row["validation_loss"] >= best
        best = min(best, row["validation_loss"])
    assert lowered >= 2


def test_a_plateau_lowers_the_rate_of_the_steps_themselves(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    """Lowered to nothing, it leaves the weights as they are."""
    plan = wild(make, plateau_factor=1e-30, stop_after=None, keep="last", weight_average=0)
    long = decided(setting, tmp_path / "long", steps=20)
    setting.train(plan, long)
    losses = [row["validation_loss"] for row in setting.log_of(long)]
    worse = next(count for count in range(1, 10) if stale(losses[:count]) > 0)  # the epoch after which it is lowered
    for steps, same in ((2 * worse - 1, False), (2 * worse, True)):
        setting.train(plan, decided(setting, tmp_path / str(steps), steps=steps))
        assert setting.same_weights(long, tmp_path / str(steps)) == same


def test_interrupted_anywhere_it_ends_the_same(plan: Plan, setting: Any, tmp_path: Path) -> None:
    """Also killed: then what was written after the last checkpoint may lie there."""
    straight = decided(setting, tmp_path / "straight")
    steps = setting.train(plan, straight).steps
    losses = [row["validation_loss"] for row in setting.log_of(straight)]
    best = 2 * (losses.index(min(losses)) + 1)
    for after, killed in ((best, False), (best + 1, False), (steps, False), (best - 1, True), (best, True)):
        broken = decided(setting, tmp_path / f"broken {after} {killed}")
        setting.interrupted(plan, broken, after)
        if killed:
            kept = {path.name: path.read_bytes() for path in broken.glob("*.safetensors")}
            setting.interrupted(plan, broken, 1)
            for name, content in kept.items():
                (broken / name).write_bytes(content)
        assert has_ended(broken, Target(steps=60)) == (after == steps) and not (broken / "weights.safetensors").exists()
        assert setting.train(plan, broken).steps == steps
        assert setting.same_weights(straight, broken) and not list(broken.glob("best_*"))
        assert [row["validation_loss"] for row in setting.log_of(broken)] == losses


def test_a_run_that_stopped_has_ended_whatever_is_asked(plan: Plan, setting: Any, tmp_path: Path) -> None:
    folder = decided(setting, tmp_path / "run")
    steps = setting.train(plan, folder).steps
    before, run, rows = setting.weights_in(folder), read_run(folder), setting.log_of(folder)
    for target in (None, Target(steps=60), Target(steps=500), Target(seconds=1000.0)):
        assert has_ended(folder, target or run.target)
        assert setting.train(plan, folder, target).steps == steps and read_run(folder) == run
    assert setting.log_of(folder) == rows
    assert all(torch.equal(tensor, before[name]) for name, tensor in setting.weights_in(folder).items())


def test_a_lengthened_run_still_has_its_best_weights(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    """One that ends in mid-epoch, too; where nothing better comes, the first best stay."""
    plan = wild(make, stop_after=None, learning_rate=10.0, weight_average=0, schedule="constant")
    folder = decided(setting, tmp_path / "run", steps=5)
    setting.train(plan, folder)
    losses = [row["validation_loss"] for row in setting.log_of(folder)]
    assert len(losses) == 3 and read_counters(folder).best_loss == pytest.approx(min(losses), rel=1e-5)
    before = setting.weights_in(folder)
    setting.train(plan, folder, Target(steps=10))
    later = [row["validation_loss"] for row in setting.log_of(folder)]
    same = all(torch.equal(tensor, before[name]) for name, tensor in setting.weights_in(folder).items())
    assert len(later) == 5 and same == (min(losses) <= min(later[2:]))


def read_counters(folder: Path) -> checkpoint.Counters:
    counters = checkpoint.read_counters(folder)
    assert counters is not None
    return counters


def test_best_weights_that_are_gone_are_missed_at_once(plan: Plan, setting: Any, tmp_path: Path) -> None:
    folder = decided(setting, tmp_path / "run")
    setting.interrupted(plan, folder, 5)
    (best,) = folder.glob("best_*.safetensors")
    best.unlink()
    with pytest.raises(AutosegError, match=rf"best epoch.*{best.name}.*--restart"):
        setting.train(plan, folder)


def test_without_cases_to_validate_on_the_training_loss_decides(plan: Plan, setting: Any, tmp_path: Path) -> None:
    folder = decided(setting, tmp_path / "run", steps=200)
    outcome = setting.train(plan, folder, validate=False)
    losses = [row["train_loss"] for row in setting.log_of(folder)]
    assert outcome.steps == 2 * len(losses) < 200 and stale(losses) == 2
    assert "because the training loss had not improved" in setting.notes[-1]


class WithoutNumbers:
    """Ready cases, the last of which has no numbers in its image."""

    def __init__(self, store: CaseStore, name: str) -> None:
        self.store, self.name = store, name

    def get(self, name: str) -> StoredCase:
        case = self.store.get(name)
        return replace(case, image=np.full_like(case.image, math.nan)) if name == self.name else case


def test_losses_that_are_no_numbers_leave_the_last_weights(plan: Plan, setting: Any, tmp_path: Path) -> None:
    setting.store = WithoutNumbers(setting.store, setting.names[3])
    folder = decided(setting, tmp_path / "run", steps=4)
    setting.train(plan, folder)
    assert setting.notes[-1] == "No epoch had a loss that is a number, so the last weights are kept."
    average = {name: tensor for name, tensor in load_file(folder / checkpoint.FILE).items() if name.startswith("average.")}
    assert all(torch.equal(average[f"average.{name}"], tensor) for name, tensor in setting.weights_in(folder).items())
