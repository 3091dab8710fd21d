"""The rehearsal of a training step: what it counts, and that what is measured on a graphics card is a real training."""

from collections.abc import Callable

import live_memory
import pytest
import torch
from live_memory import measured_peak, rehearsed_peak, train

from autoseg.inference.execution import Execution
from autoseg.planning.plan import Plan

Plans = Callable[..., Plan]


def test_counts_a_tensor_once_and_until_nothing_refers_to_it() -> None:
    alive = live_memory._Alive()
    with alive, torch.device("meta"):
        first = torch.zeros(1000)
        view = first.view(10, 100)[2:]
        assert alive.now == 4000
        second = first.half()
        assert alive.now == 6000
        del first
        assert alive.now == 6000  # the view keeps it
        del view
        assert alive.now == 2000
        del second
    assert (alive.now, alive.peak) == (0, 6000)


def test_counts_what_the_way_back_keeps_without_a_name() -> None:
    alive = live_memory._Alive()
    with alive, torch.device("meta"):
        weight = torch.zeros(1000, requires_grad=True)
        result = weight.exp().exp().sum()
        assert alive.now == 3 * 4000 + 4
        result.backward()  # type: ignore[no-untyped-call]
        assert alive.now == 2 * 4000 + 4
        assert alive.peak > 3 * 4000


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_is_measured_trains_every_weight(precision: str, small_plan: Plans) -> None:
    configuration = small_plan(patch=(16, 16, 16)).configuration("small")
    stepper = train(configuration, 2, 4, Execution("cpu", precision, True), "default")
    states = [state for state in stepper.optimizer.state.values() if int(state["step"]) == live_memory.STEPS]
    trained = sum(len(group["params"]) for group in stepper.optimizer.param_groups)
    assert len(states) == trained - 2  # the lowest head, weight and bias, has no say in the loss


def test_half_precision_needs_less(small_plan: Plans) -> None:
    configuration = small_plan(patch=(16, 16, 16)).configuration("small")
    counted = {name: rehearsed_peak(configuration, 2, 4, precision=name, recipe="default") for name in ("float32", "float16", "bfloat16")}
    assert counted["float16"] == counted["bfloat16"] < counted["float32"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics card")
def test_measures_on_the_card(small_plan: Plans) -> None:
    configuration = small_plan(patch=(32, 32, 32)).configuration("small")
    used, reserved = measured_peak(configuration, 2, 4, Execution("cuda", "float16"), "default")
    assert rehearsed_peak(configuration, 2, 4, precision="float16", recipe="default") * 0.8 < used <= reserved
