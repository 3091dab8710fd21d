"""Windows, mirrorings and stages of a typical case."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from autoseg.inference.cost import case_cost
from autoseg.networks.cost import network_cost
from autoseg.planning.plan import Plan


def test_windows_and_mirrorings_by_hand(small_plan: Callable[..., Plan]) -> None:
    """24 voxels, windows of 16 every 8: two an axis; three axes mirrored, and one of two."""
    plan = small_plan()
    network = network_cost(plan.configuration("small"), in_channels=2, num_classes=4)
    cost = case_cost(plan, "small", "default", None)
    assert (cost.windows, cost.mirrorings, cost.previous) == (8, 8, None)
    assert (cost.flops, cost.all_parameters) == (64 * network.window_flops, network.parameters)
    assert case_cost(small_plan(learned_mirroring=(0,)), "small", "default", None).mirrorings == 2
    assert case_cost(small_plan(inference={"step": 1.0, "mirror_axes": []}), "small", "default", None).windows == 8
    assert case_cost(small_plan(patch=(32, 24, 24), network={"features_per_stage": [4, 4, 4]}), "small", "default", None).windows == 1


def test_slices_are_counted_where_they_are_known(small_plan: Callable[..., Plan]) -> None:
    plan = small_plan(patch=(16, 16))
    cost = case_cost(plan, "small", "default", 10)
    assert (cost.windows, cost.mirrorings) == (10 * 4, 4)
    unknown = case_cost(plan, "small", "default", None)
    assert (unknown.windows, unknown.flops, unknown.window_flops) == (None, None, cost.window_flops)


def test_a_previous_stage_counts(small_plan: Callable[..., Plan]) -> None:
    one = case_cost(small_plan(), "small", "default", None)
    both = replace(one, previous=one)
    assert (both.flops, both.all_parameters) == (2 * (one.flops or 0), 2 * one.parameters)
    assert replace(one, previous=replace(one, windows=None)).flops is None


@pytest.mark.parametrize("stage", ["small", "second"])
def test_the_second_stage_sees_the_first_as_channels(stage: str, small_plan: Callable[..., Plan]) -> None:
    plan = small_plan()
    second = plan.configuration("small").model_copy(update={"previous_stage": "small"})
    plan = plan.model_copy(update={"configurations": {"small": plan.configuration("small"), "second": second}})
    cost = case_cost(plan, stage, "default", None)
    assert (cost.previous is None) == (stage == "small")
    assert cost.parameters == network_cost(plan.configuration(stage), in_channels=2 if stage == "small" else 5, num_classes=4).parameters
