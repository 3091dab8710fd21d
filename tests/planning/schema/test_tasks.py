"""What a network is for: combinations that cannot be are refused, with the key that would have to change."""

from collections.abc import Callable
from typing import Any

import pytest

from autoseg.errors import PlanError
from autoseg.planning.plan import Plan, file_content, validate_plan
from autoseg.planning.schema.checks import remarks
from autoseg.planning.zoo.make import with_recipe
from autoseg.planning.zoo.recipes import own_recipes

AUTOENCODER = {"family": "autoencoder", "width": 4, "stages": 3}


def changed(plan: Plan, *, training: dict[str, Any] | None = None, **changes: Any) -> Plan:
    """The plan with a configuration "again" that differs from "small"."""
    content = file_content(plan)
    made = content["configurations"]["small"] | {"network": AUTOENCODER, "task": "anomaly"} | changes
    rules = {"deep_supervision": False, "loss": "l1", "oversample_foreground": 0.0}
    made["training"] = made["training"] | rules | (training or {})
    content["configurations"]["again"] = made
    return validate_plan(content, "the plan")


def test_the_image_s_channels_come_out_where_it_is_reconstructed(small_plan: Callable[..., Plan]) -> None:
    plan = changed(small_plan())
    assert (plan.network_outputs("again"), plan.network_outputs("small"), plan.output_channels) == (2, 4, 4)
    assert validate_plan(file_content(plan), "the plan again") == plan
    assert not [remark for remark in remarks(plan) if "oversample_foreground" in remark and ".again." in remark]


FAULTS = [
    ({"task": "segmentation"}, "again.task: must be anomaly or denoising for the family autoencoder, which gives the image again"),
    ({"network": {"family": "segresnet", "width": 8, "stages": 3}}, "again.network.family: must be autoencoder for the task anomaly"),
    ({"training": {"loss": "dice_ce"}}, "again.training.loss: must be mse or l1 for the task anomaly"),
    ({"training": {"class_weights": [1, 1, 1, 1]}}, "again.training.class_weights: weigh classes or regions"),
    ({"training": {"deep_supervision": True}}, "again.training.deep_supervision: must be false"),
    ({"task": "denoising"}, "again.training.noise: is needed for the task denoising"),
    ({"task": "denoising", "training": {"noise": [0.5, 0.1]}}, "again.training.noise: must rise"),
    ({"previous_stage": "small"}, "again.previous_stage: is for the task segmentation alone"),
    ({"training": {"slices": "without_foreground", "oversample_foreground": 0.5}}, "oversample_foreground: must be 0"),
    ({"task": "nothing"}, "again.task: must be 'segmentation', 'classification', 'anomaly' or 'denoising'"),
]


@pytest.mark.parametrize(("changes", "said"), FAULTS, ids=[said.split(":")[0] for _, said in FAULTS])
def test_what_cannot_be_is_refused_in_words(small_plan: Callable[..., Plan], changes: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanError) as refused:
        changed(small_plan(), **changes)
    assert said in str(refused.value)


def test_nothing_undoes_an_equalised_histogram(small_plan: Callable[..., Plan]) -> None:
    equalised = [{"channel": name, "scheme": "histogram_equalization"} for name in ("t1", "t2")]
    changed(small_plan(), normalization=equalised)
    with pytest.raises(PlanError, match="nothing brings the intensities back"):
        changed(small_plan(), normalization=equalised, task="denoising", training={"noise": [0, 1]})


def test_losses_of_images_are_for_images(small_plan: Callable[..., Plan]) -> None:
    content = file_content(small_plan())
    content["configurations"]["small"]["training"]["loss"] = "mse"
    with pytest.raises(PlanError, match=r"small\.training\.loss: compares images, which the task segmentation does not"):
        validate_plan(content, "the plan")


def test_a_cascade_follows_what_segments(small_plan: Callable[..., Plan]) -> None:
    content = file_content(changed(small_plan()))
    content["configurations"]["after"] = {"inherits": "small", "previous_stage": "again"}
    with pytest.raises(PlanError, match="must segment, and its task is anomaly"):
        validate_plan(content, "the plan")


@pytest.mark.parametrize(("name", "task"), [("autoencoder3d", "anomaly"), ("autoencoder3d_denoising", "denoising")])
def test_recipes_become_configurations_of_their_task(small_plan: Callable[..., Plan], name: str, task: str) -> None:
    made = with_recipe(small_plan(), own_recipes()[name]).configuration(name)
    assert (made.task, made.network.family, made.training.deep_supervision) == (task, "autoencoder", False)
    assert made.training.slices == ("without_foreground" if task == "anomaly" else "all")
