"""Decisions survive the file; a run has ended when its checkpoint says so; the recipe follows the length and what the plan offers."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autoseg.errors import AutosegError
from autoseg.inference.model_folder import load_model
from autoseg.planning.plan import Plan, Training
from autoseg.training.checkpoint import FILE, read_counters
from autoseg.training.run import RUN, Run, has_ended, read_run, recipe_for, write_run
from autoseg.training.schedule import Target

DECIDED = Run("fast", 12, None, 5, "float32", False, 4)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    assert read_run(tmp_path) is None
    for run in (DECIDED, replace(DECIDED, steps=None, seconds=1.5)):
        write_run(run, tmp_path)
        assert read_run(tmp_path) == run
    assert run.target == Target(seconds=1.5)


@pytest.mark.parametrize("content", ["{}", "[]", '{"recipe": "fast", "speed": 3}', "{"])
def test_damage_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / RUN).write_text(content)
    with pytest.raises(AutosegError, match=RUN):
        read_run(tmp_path)


def test_a_run_has_ended_when_its_checkpoint_says_so(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    """Weights of a shorter run do not make a lengthened one ended."""
    plan = make.plan(patch=(8, 8, 8))
    folder = setting.decide(tmp_path / "run", steps=6)
    assert not has_ended(folder, Target(steps=6)) and read_counters(folder) is None
    setting.train(plan, folder)
    assert has_ended(folder, Target(steps=6)) and has_ended(folder, Target(steps=5))
    assert not has_ended(folder, Target(steps=7))
    setting.interrupted(plan, folder, 2, Target(steps=12))
    assert (folder / "weights.safetensors").is_file()
    assert not has_ended(folder, read_run(folder).target)
    counters = read_counters(folder)
    assert counters is not None and counters.step == 8
    assert has_ended(folder, Target(seconds=counters.elapsed)) and not has_ended(folder, Target(seconds=counters.elapsed + 1000))


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    with pytest.raises(AutosegError, match=rf"{FILE} is damaged.*--restart"):
        read_counters(tmp_path)


def rules_of(plan: Plan, *names: str) -> Training:
    rules = plan.configuration("tiny").training
    recipe = next(iter(rules.recipes.values()))
    return rules.model_copy(update={"recipes": dict.fromkeys(names, recipe), "fast_below_steps": 100})


@pytest.mark.parametrize(
    ("names", "steps", "expected"),
    [
        (("default", "fast"), 99, ("fast", "fewer than 100 steps")),
        (("default", "fast"), 100, ("default", "not fewer than 100 steps")),
        (("fast",), 10**6, ("fast", "the only one in the plan")),
        (("default",), 1, ("default", "the only one in the plan")),
    ],
)
def test_the_recipe_follows_the_length_and_what_there_is(
    names: tuple[str, ...], steps: int, expected: tuple[str, str], make: SimpleNamespace
) -> None:
    assert recipe_for(rules_of(make.plan(), *names), steps) == expected


@pytest.mark.parametrize("name", ["fast", "default"])
def test_a_plan_with_one_recipe_can_be_trained_and_its_model_loaded(name: str, make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    plan = make.plan(patch=(8, 8, 8))
    tiny = plan.configuration("tiny")
    tiny = tiny.model_copy(update={"training": rules_of(plan, name).model_copy(update={"fast_below_steps": 2 if name == "fast" else 10**6})})
    plan = plan.model_copy(update={"configurations": {"tiny": tiny}})
    outcome = setting.train(plan, tmp_path / "run", Target(steps=2))
    assert outcome.run.recipe == load_model(tmp_path / "run").recipe == name
