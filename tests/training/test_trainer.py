"""A training that was stopped or killed ends with the weights of one that was not; ends, lengthenings and logs add up."""

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from autoseg.errors import AutosegError
from autoseg.inference.model_folder import load_model
from autoseg.planning.plan import write_plan
from autoseg.preprocessing.store import CaseStore
from autoseg.reporting.curves import draw_progress
from autoseg.training import checkpoint
from autoseg.training.run import read_run
from autoseg.training.schedule import Target

AFTER_KILL = """
import sys
from pathlib import Path
import torch
from autoseg.planning.plan import read_plan
from autoseg.preprocessing.store import CaseStore
from autoseg.training.batches import PatchSource
from autoseg.training.schedule import Target
from autoseg.training.trainer import Trainer
torch.set_num_threads(1)
folder, plan, ready, *names = sys.argv[1:]
plan, store = read_plan(Path(plan)), CaseStore(Path(ready), "tests")
configuration = plan.configuration("tiny")
Trainer(
    plan, "tiny", "0", Path(folder), training=lambda recipe, seed: PatchSource(store, names[:3], configuration, recipe.augmentation, seed),
    validation=PatchSource(store, names[3:], configuration, None, 99), device="cpu", target=Target(steps=12), seed=5,
).train(progress=lambda stage, done, total, note="": print(note.split(",")[0], flush=True))
"""


def weights_in(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "weights.safetensors")


def same_weights(one: Path, other: Path) -> bool:
    first, second = weights_in(one), weights_in(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def log_of(folder: Path) -> list[dict[str, float]]:
    with (folder / "log.csv").open(newline="") as file:
        return [{key: float(value) if value else math.nan for key, value in row.items()} for row in csv.DictReader(file)]


def without_times(rows: list[dict[str, float]]) -> str:
    return str([{key: value for key, value in row.items() if key not in ("elapsed_s", "epoch_s")} for row in rows])


@pytest.mark.parametrize(
    ("decisions", "stops"),
    [
        ({"recipe": "fast"}, [5]),
        ({"recipe": "default"}, [3, 4, 1]),
        ({"recipe": "fast", "channels_last": True}, [6]),
        ({"recipe": "fast", "precision": "bfloat16"}, [6]),
        ({"recipe": "default", "precision": "float16"}, [6]),
    ],
)
def test_stopped_and_resumed_equals_undisturbed(
    make: SimpleNamespace, setting: Any, tmp_path: Path, decisions: dict[str, Any], stops: list[int]
) -> None:
    plan = make.plan(patch=(8, 8, 8))
    straight, broken = (setting.decide(tmp_path / name, **decisions) for name in ("straight", "broken"))
    assert setting.train(plan, straight).steps == 12
    for after in stops:
        setting.interrupted(plan, broken, after)
        assert not (broken / "weights.safetensors").exists()
    assert setting.train(plan, broken).steps == 12
    assert same_weights(straight, broken)
    assert without_times(log_of(straight)) == without_times(log_of(broken))


def test_two_runs_are_equal_and_another_seed_is_not(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    plan = make.plan(patch=(8, 8, 8))
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        setting.train(plan, setting.decide(tmp_path / name, steps=2, seed=seed))
    assert same_weights(tmp_path / "one", tmp_path / "two") and not same_weights(tmp_path / "one", tmp_path / "three")


@pytest.mark.slow
@pytest.mark.parametrize("kill_at", [2, 7])
def test_killed_in_mid_epoch_and_resumed_equals_undisturbed(
    make: SimpleNamespace, setting: Any, tmp_path: Path, store: CaseStore, names: list[str], kill_at: int
) -> None:
    plan = make.plan(patch=(8, 8, 8))
    write_plan(plan, tmp_path / "plan.json")
    straight, killed = (setting.decide(tmp_path / name) for name in ("straight", "killed"))
    setting.train(plan, straight)
    command = [sys.executable, "-c", AFTER_KILL, str(killed), str(tmp_path / "plan.json"), str(store.folder), *names]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}) as process:
        assert process.stdout is not None
        assert any(line.strip() == f"step {kill_at}" for line in process.stdout)
        process.send_signal(signal.SIGKILL)
    assert not (killed / "weights.safetensors").exists()
    assert (killed / checkpoint.FILE).exists() == (kill_at > plan.configuration("tiny").training.iterations_per_epoch)
    setting.train(plan, killed)
    assert same_weights(straight, killed)
    assert without_times(log_of(straight)) == without_times(log_of(killed))


@pytest.mark.parametrize("decisions", [{"steps": 6}, {"steps": None, "seconds": 1.5}])
def test_a_finished_run_is_left_as_it_is(make: SimpleNamespace, setting: Any, tmp_path: Path, decisions: dict[str, Any]) -> None:
    plan = make.plan(patch=(8, 8, 8))
    folder = setting.decide(tmp_path / "run", **decisions)
    first = setting.train(plan, folder)
    before, rows = weights_in(folder), log_of(folder)
    assert setting.train(plan, folder).steps == first.steps and log_of(folder) == rows
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights_in(folder).items())


def test_a_sitting_begins_no_step_that_the_budget_has_no_time_for(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    plan = make.plan(patch=(8, 8, 8))
    folder = setting.decide(tmp_path / "run", steps=None, seconds=1000.0)
    setting.interrupted(plan, folder, 3)
    path = folder / checkpoint.FILE
    with safe_open(path, framework="pt") as file:
        counters = json.loads(file.metadata()["counters"])
    save_file(load_file(path), path, metadata={"counters": json.dumps(counters | {"elapsed": 900.0, "step_seconds": 200.0})})
    outcome = setting.train(plan, folder)
    assert outcome.steps == 3 and 900 < outcome.seconds < 950
    assert [(row["epoch"], row["step"]) for row in log_of(folder)] == [(1, 3)]


def test_epochs_of_a_run_that_is_lengthened(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    """6 steps of 4 an epoch, then 12: the second epoch has a row for its part, then one for the whole."""
    plan = make.plan(patch=(8, 8, 8))
    folder = setting.decide(tmp_path / "run", steps=6)
    setting.train(plan, folder)
    rows = log_of(folder)
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 4), (2, 6)]
    assert rows[-1]["learning_rate"] == 0
    assert setting.train(plan, folder, Target(steps=12)).steps == 12
    longer = log_of(folder)
    assert [(row["epoch"], row["step"]) for row in longer] == [(1, 4), (2, 8), (3, 12)]
    assert longer[0] == rows[0] and longer[1]["learning_rate"] > 0
    assert "6 steps; now it ends after 12 steps" in setting.notes[-1]
    assert read_run(folder).steps == 12
    elapsed = [row["elapsed_s"] for row in longer]
    assert elapsed == sorted(elapsed)


def test_a_run_that_is_shortened_below_what_is_done_ends_at_once(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    plan = make.plan(patch=(8, 8, 8))
    folder = setting.decide(tmp_path / "run")
    setting.interrupted(plan, folder, 6)
    outcome = setting.train(plan, folder, Target(steps=4))
    assert outcome.steps == 6 and outcome.run.steps == 4
    assert [(row["epoch"], row["step"]) for row in log_of(folder)] == [(1, 4), (2, 6)]
    load_model(folder)


def test_decisions_of_an_earlier_sitting_hold(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    """Recipe, precision, memory format and seed; another seed at the second call changes nothing."""
    plan = make.plan(patch=(8, 8, 8))
    straight = setting.decide(tmp_path / "straight", recipe="default", channels_last=True, seed=7)
    setting.train(plan, straight, seed=7)
    other = setting.decide(tmp_path / "other", recipe="default", channels_last=True, seed=7)
    setting.interrupted(plan, other, 5, seed=8)
    outcome = setting.train(plan, other, Target(steps=12), seed=9)
    assert outcome.run == read_run(straight)
    assert same_weights(straight, other)


def test_new_decisions_are_written_down_and_told(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    short = setting.train(make.plan(patch=(8, 8, 8), epochs=1), tmp_path / "short")
    assert (short.steps, short.run.recipe, short.run.steps, short.run.seed) == (4, "fast", 4, 5)
    assert short.run == read_run(tmp_path / "short")
    assert "'fast' (fewer than 20,000 steps)" in setting.notes[-1]
    long = setting.trainer(make.plan(patch=(8, 8, 8), fast_below_steps=4), tmp_path / "long", Target(steps=4))
    assert read_run(tmp_path / "long").recipe == "default" and "not fewer" in setting.notes[-1]
    del long


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
    (row,) = log_of(folder)
    assert row["epoch"] == 1 and row["step"] == outcome.steps
    assert row["learning_rate"] < 0.25 * 0.003


def test_a_short_budget_has_a_log_worth_drawing(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    plan = make.plan(patch=(8, 8, 8), iterations_per_epoch=1000, validation_iterations=200)
    outcome = setting.train(plan, tmp_path / "run", Target(seconds=4.0))
    assert 5 <= outcome.run.epoch_steps < 1000
    rows = log_of(tmp_path / "run")
    assert len(rows) == -(-outcome.steps // outcome.run.epoch_steps) > 2
    assert [row["epoch"] for row in rows] == list(range(1, len(rows) + 1))


def test_time_adds_up_over_sittings(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    plan = make.plan(patch=(8, 8, 8))
    folder = setting.decide(tmp_path / "run")
    begun = time.monotonic()
    setting.interrupted(plan, folder, 3)
    first = time.monotonic() - begun
    time.sleep(1)  # does not count
    begun = time.monotonic()
    setting.interrupted(plan, folder, 3)
    second = time.monotonic() - begun
    begun = time.monotonic()
    outcome = setting.train(plan, folder)
    assert outcome.seconds == pytest.approx(first + second + time.monotonic() - begun, abs=0.6)
    rows = log_of(folder)
    assert sum(row["epoch_s"] for row in rows) == pytest.approx(rows[-1]["elapsed_s"], abs=0.05)


def test_the_loss_falls_on_a_single_case(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    recipe = {"optimizer": "adamw", "learning_rate": 0.02, "momentum": 0.9, "warmup_fraction": 0.05, "clip_gradient_norm": 1, "augmentation": {}}
    plan = make.plan(patch=(8, 8, 8), recipes={"default": recipe}, iterations_per_epoch=10)
    setting.names = [setting.names[0]] * 4
    setting.train(plan, setting.decide(tmp_path / "run", recipe="default", steps=60))
    losses = [row["train_loss"] for row in log_of(tmp_path / "run")]
    assert losses[0] > 0.5 and losses[-1] < losses[0] - 0.7


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
    (folder / f".0123abcd.{checkpoint.FILE}").write_bytes(b"left by a kill")
    setting.train(plan, folder, draw=draw_progress)
    assert {path.name for path in folder.iterdir()} == {
        "plan.json", "model.json", "run.json", "log.csv", "progress.png", "checkpoint.safetensors", "weights.safetensors",
    }  # fmt: skip
    model = load_model(folder)
    assert model.plan == plan
    with torch.inference_mode():
        assert model.network(torch.zeros(1, 4, 16, 16, 16)).shape == (1, 4, 16, 16, 16)
    rows = log_of(folder)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    for row in rows:
        dice = [row[f"dice_{name}"] for name in ("necrosis", "edema", "enhancing")]
        known = [value for value in dice if value == value]
        assert row["pseudo_dice"] == pytest.approx(sum(known) / len(known), abs=1e-5)
        assert math.isfinite(row["validation_loss"])


def test_the_average_is_saved_and_validated(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    setting.train(make.plan(patch=(8, 8, 8)), setting.decide(tmp_path / "run"))
    saved = load_file(tmp_path / "run" / checkpoint.FILE)
    for name, tensor in weights_in(tmp_path / "run").items():
        assert torch.equal(tensor, saved[f"average.{name}"])
    assert any(not torch.equal(tensor, saved[f"network.{name}"]) for name, tensor in weights_in(tmp_path / "run").items())


def test_validation_changes_nothing(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    with_it, without = (setting.decide(tmp_path / name) for name in ("with", "without"))
    setting.train(make.plan(patch=(8, 8, 8)), with_it)
    setting.train(make.plan(patch=(8, 8, 8)), without, validate=False)
    assert same_weights(with_it, without)
    assert all(math.isnan(row["validation_loss"]) and math.isnan(row["dice_edema"]) for row in log_of(without))


def test_slices_and_a_single_resolution_can_be_trained(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    plan = make.plan(dimensions=2, batch_dice=True, deep_supervision=False)
    assert setting.train(plan, setting.decide(tmp_path / "run", steps=3)).steps == 3
    assert load_model(tmp_path / "run").network(torch.zeros(1, 4, 16, 16)).shape == (1, 4, 16, 16)


def test_an_error_while_loading_ends_the_training(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    setting.names = ["lost"] * 4
    with pytest.raises(AutosegError, match=r"lost\."):
        setting.train(make.plan(patch=(8, 8, 8)), setting.decide(tmp_path / "run"))
