"""A training that was stopped or killed ends with the weights of one that was not; lengthenings, logs and times add up."""

import json
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

from autoseg.inference.model_folder import load_model
from autoseg.planning.plan import file_content, validate_plan, write_plan
from autoseg.preprocessing.store import CaseStore
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
    assert setting.same_weights(straight, broken)
    assert without_times(setting.log_of(straight)) == without_times(setting.log_of(broken))


@pytest.mark.parametrize(
    ("network", "recipe"),
    [
        ({"norm": "batch", "dropout": 0.3}, "fast"),
        ({"family": "unet", "encoder": "resnet18", "dropout": 0.3}, "default"),
        ({"family": "unet", "encoder": "resnet18", "frozen_encoder": True}, "fast"),
    ],
)
def test_statistics_and_dropout_resume_too(make: SimpleNamespace, setting: Any, tmp_path: Path, network: dict[str, Any], recipe: str) -> None:
    plan = make.plan(dimensions=2, patch=(32, 64), deep_supervision=False)
    content = file_content(plan)
    block = content["configurations"]["tiny"]["network"]
    content["configurations"]["tiny"]["network"] = network if "family" in network else block | network
    plan = validate_plan(content, "it")
    straight, broken = (setting.decide(tmp_path / name, recipe=recipe) for name in ("straight", "broken"))
    assert setting.train(plan, straight).steps == 12
    for after in (3, 4):
        setting.interrupted(plan, broken, after)
    assert setting.train(plan, broken).steps == 12
    assert setting.same_weights(straight, broken)
    assert without_times(setting.log_of(straight)) == without_times(setting.log_of(broken))


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
    assert setting.same_weights(straight, killed)
    assert without_times(setting.log_of(straight)) == without_times(setting.log_of(killed))


@pytest.mark.parametrize("decisions", [{"steps": 6}, {"steps": None, "seconds": 1.5}])
def test_a_finished_run_is_left_as_it_is(make: SimpleNamespace, setting: Any, tmp_path: Path, decisions: dict[str, Any]) -> None:
    plan = make.plan(patch=(8, 8, 8))
    folder = setting.decide(tmp_path / "run", **decisions)
    first = setting.train(plan, folder)
    before, rows = setting.weights_in(folder), setting.log_of(folder)
    assert setting.train(plan, folder).steps == first.steps and setting.log_of(folder) == rows
    assert all(torch.equal(tensor, before[name]) for name, tensor in setting.weights_in(folder).items())


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
    assert [(row["epoch"], row["step"]) for row in setting.log_of(folder)] == [(1, 3)]


def test_epochs_of_a_run_that_is_lengthened(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    """6 steps of 4 an epoch, then 12: the second epoch has a row for its part, then one for the whole."""
    plan = make.plan(patch=(8, 8, 8))
    folder = setting.decide(tmp_path / "run", steps=6)
    setting.train(plan, folder)
    rows = setting.log_of(folder)
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 4), (2, 6)]
    assert rows[-1]["learning_rate"] == 0
    assert setting.train(plan, folder, Target(steps=12)).steps == 12
    longer = setting.log_of(folder)
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
    assert [(row["epoch"], row["step"]) for row in setting.log_of(folder)] == [(1, 4), (2, 6)]
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
    assert setting.same_weights(straight, other)


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
    rows = setting.log_of(folder)
    assert sum(row["epoch_s"] for row in rows) == pytest.approx(rows[-1]["elapsed_s"], abs=0.05)
