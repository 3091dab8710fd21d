"""Learning rates, ends and budgets worked out by hand."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autoseg.errors import AutosegError
from autoseg.planning.plan import Augmentation, Recipe
from autoseg.training.schedule import Target, learning_rate, parse_budget


def recipe(warmup: float, **changes: Any) -> Recipe:
    return Recipe(optimizer="sgd", learning_rate=0.01, warmup_fraction=warmup, augmentation=Augmentation(), **changes)


def torchs(kind: type[Any], steps: int, **options: Any) -> list[float]:
    """The rates of one of PyTorch's schedules, one a step."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.01)
    schedule, rates = kind(optimizer, **options), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_polynomial_decay_by_hand() -> None:
    assert learning_rate(recipe(0), 0) == 0.01
    assert learning_rate(recipe(0), 0.5) == pytest.approx(0.01 * 0.5**0.9)
    assert learning_rate(recipe(0), 1) == 0


def test_warm_up_is_linear_and_continuous() -> None:
    warm = recipe(0.1)
    assert learning_rate(warm, 0.05) == pytest.approx(0.005)
    assert learning_rate(warm, 0.1) == pytest.approx(0.01)
    assert learning_rate(warm, 0.1 - 1e-9) == pytest.approx(0.01)
    assert learning_rate(warm, 0.55) == pytest.approx(0.01 * 0.5**0.9)
    assert 0 < learning_rate(warm, 0) <= 0.0002  # the first step is not lost
    assert learning_rate(recipe(1), 0.5) == pytest.approx(0.005)
    assert learning_rate(recipe(1), 1) == 0


@given(st.floats(0, 0.9), st.floats(0, 1), st.floats(0, 1))
def test_up_during_the_warm_up_then_down_to_zero(warmup: float, one: float, other: float) -> None:
    low, high = sorted((one, other))
    first, second = (learning_rate(recipe(warmup), at) for at in (low, high))
    assert 0 <= first <= 0.01 + 1e-12 and learning_rate(recipe(warmup), 1) == 0
    if high < warmup:
        assert first <= second
    if low >= warmup:
        assert first >= second


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("20m", 1200), ("1.5h", 5400), ("1h30m", 5400), ("2d", 172800), (" 5M ", 300), ("1d2h3m4s", 93784), ("0.5s", 0.5), ("0h5m", 300)],
)
def test_budgets(text: str, seconds: float) -> None:
    assert parse_budget(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "20", "m", "h20", "1h 30m", "-5m", "20 m", "1e3s", "5min", "1,5h", ".5h", "5.h", "0s", "0m0s", "٣m", "inf"])
def test_texts_that_are_no_time(text: str) -> None:
    with pytest.raises(AutosegError, match="1h30m"):
        parse_budget(text)


def test_a_target_of_steps_ends_after_them_whatever_the_clock_says() -> None:
    target = Target(steps=10)
    assert [target.reached(step, 1e9, 1e9) for step in (0, 9, 10, 11)] == [False, False, True, True]
    assert [target.progress(step, 1e9) for step in (0, 5, 10, 20)] == [0, 0.5, 1, 1]
    assert target.describe() == "10 steps"


def test_a_target_of_seconds_ends_before_a_step_that_would_pass_it() -> None:
    target = Target(seconds=60)
    assert not target.reached(10**9, 59, 1)
    assert target.reached(0, 59.5, 1) and target.reached(0, 61, 0)
    assert [target.progress(10**9, seconds) for seconds in (0, 30, 60, 90)] == [0, 0.5, 1, 1]
    assert target.describe() == "60 s"


def test_poly_can_end_above_zero() -> None:
    floored = recipe(0, smallest_learning_rate=0.002)
    assert [learning_rate(floored, at) for at in (0, 1)] == [0.01, 0.002]
    assert learning_rate(floored, 0.5) == pytest.approx(0.002 + 0.008 * 0.5**0.9)


def test_half_a_cosine_is_pytorchs() -> None:
    ours = recipe(0, schedule="cosine", smallest_learning_rate=0.001)
    expected = torchs(torch.optim.lr_scheduler.CosineAnnealingLR, 21, T_max=20, eta_min=0.001)
    assert [learning_rate(ours, step / 20) for step in range(21)] == pytest.approx(expected)
    warm = recipe(0.2, schedule="cosine")
    assert learning_rate(warm, 0.1) == pytest.approx(0.005) and learning_rate(warm, 0.2) == 0.01
    assert learning_rate(warm, 0.6) == pytest.approx(0.005)


def test_one_cycle_is_pytorchs() -> None:
    """PyTorch's cycle begins at step 0, is highest at step 0.3 T - 1 and ends at step T - 1."""
    steps, top = 40, 11.0
    expected = torchs(torch.optim.lr_scheduler.OneCycleLR, steps, max_lr=0.01, total_steps=steps)
    progress = [0.3 * step / top if step <= top else 0.3 + 0.7 * (step - top) / (steps - 1 - top) for step in range(steps)]
    assert [learning_rate(recipe(0, schedule="one_cycle"), at) for at in progress] == pytest.approx(expected, rel=1e-6)
    assert expected[0] == pytest.approx(0.01 / 25) and expected[-1] == pytest.approx(0.01 / 25e4)
    assert learning_rate(recipe(0, schedule="one_cycle", smallest_learning_rate=0.001), 1) == 0.001


def test_constant_after_the_warm_up() -> None:
    rates = [learning_rate(recipe(0.1, schedule="constant"), at) for at in (0.05, 0.1, 0.5, 1)]
    assert rates == pytest.approx([0.005, 0.01, 0.01, 0.01])


def test_a_plateau_lowers_by_its_factor_down_to_the_smallest() -> None:
    ours = recipe(0.1, schedule="plateau", plateau_factor=0.5, smallest_learning_rate=0.002)
    assert [learning_rate(ours, 0.9, lowered) for lowered in range(5)] == pytest.approx([0.01, 0.005, 0.0025, 0.002, 0.002])
    assert learning_rate(ours, 0.05, 1) == pytest.approx(0.0025)  # in the warm-up too
    assert learning_rate(recipe(0), 0.5, 3) == learning_rate(recipe(0), 0.5)  # no other schedule knows of it
