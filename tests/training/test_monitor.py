"""What follows from a series of losses, by hand and as PyTorch's scheduler decides it."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autoseg.planning.plan import Augmentation, Recipe
from autoseg.training.checkpoint import Counters
from autoseg.training.monitor import take_note, why_stopped
from autoseg.training.run import Run
from autoseg.training.schedule import learning_rate


def recipe(**changes: Any) -> Recipe:
    return Recipe(optimizer="sgd", learning_rate=1.0, augmentation=Augmentation(), **changes)


def after(losses: list[float], rules: Recipe) -> Counters:
    counters = Counters()
    for loss in losses:
        counters.step += 4
        take_note(counters, rules, loss, whole=True)
    return counters


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.5, math.nan, math.inf]), max_size=40), st.integers(0, 4))
def test_the_rate_is_that_of_pytorchs_plateau(losses: list[float], patience: int) -> None:
    rules = recipe(schedule="plateau", plateau_factor=0.5, plateau_patience=patience)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    peer = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=patience, threshold=0, threshold_mode="abs")
    counters = Counters()
    for loss in losses:
        take_note(counters, rules, loss, whole=True)
        peer.step(loss)
        expected = optimizer.param_groups[0]["lr"]
        if expected > 1e-6:  # PyTorch makes no steps smaller than 1e-8
            assert learning_rate(rules, 0.5, counters.lowered) == pytest.approx(expected)


def test_a_training_stops_after_so_many_epochs_without_a_better_loss() -> None:
    rules = recipe(stop_after=3)
    losses = [1.0, 0.8, 0.9, 0.8, 0.7, 0.7, math.nan, 0.9]
    assert [after(losses[:count], rules).stopped for count in range(9)] == [False] * 8 + [True]
    assert not after(losses, recipe()).stopped
    counters = after(losses, rules)
    assert (counters.best_loss, counters.stale_epochs, counters.judged_step) == (0.7, 3, 32)
    run = Run("fast", 100, None, 5, "float32", False, 4)
    assert why_stopped(counters, run, validated=True) == ("stopped early after epoch 8, because the validation loss had not improved for 3 epochs")
    assert "the training loss" in why_stopped(counters, run, validated=False)


def test_lowering_the_rate_does_not_hide_that_nothing_improves() -> None:
    counters = after([1.0] + [2.0] * 5, recipe(schedule="plateau", plateau_patience=1, stop_after=5))
    assert (counters.lowered, counters.flat_epochs, counters.stale_epochs, counters.stopped) == (2, 1, 5, True)


def test_a_part_of_an_epoch_may_be_the_best_but_is_no_epoch_without_a_better_loss() -> None:
    rules, counters = recipe(schedule="plateau", plateau_patience=0, stop_after=1), after([1.0], recipe())
    assert not take_note(counters, rules, 2.0, whole=False)
    assert (counters.stale_epochs, counters.lowered, counters.stopped) == (0, 0, False)
    assert take_note(counters, rules, 0.5, whole=False) and counters.best_loss == 0.5


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_what_is_no_number_is_never_the_best(loss: float) -> None:
    counters = Counters()
    assert not take_note(counters, recipe(), loss, whole=True)
    assert counters.best_loss is None and take_note(counters, recipe(), 3.0, whole=True)
