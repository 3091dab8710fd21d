"""From a recipe and a plan to a configuration."""

from collections.abc import Callable
from typing import Any

import pytest

from autoseg.errors import AutosegError, PlanError
from autoseg.planning.plan import EncoderNetworkPlan, Plan, file_content, validate_plan
from autoseg.planning.planner import make_plan
from autoseg.planning.zoo.make import with_recipe
from autoseg.planning.zoo.recipes import own_recipes

RECIPES = own_recipes()
CHANNELS = ("FLAIR", "T1", "T1ce", "T2")


@pytest.fixture(scope="module")
def volumes(facts_of: Callable[..., Any]) -> Plan:
    return make_plan(*facts_of(shapes=[(155, 240, 240)] * 10, spacings=[(1.0, 1.0, 1.0)] * 10, channels=CHANNELS))


@pytest.fixture(scope="module")
def pictures(facts_of: Callable[..., Any]) -> Plan:
    return make_plan(*facts_of(shapes=[(1, 640, 640)] * 50, spacings=[(1.0, 1.0, 1.0)] * 50, channels=("grey",)))


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe.task == "segmentation"])
def test_a_recipe_is_one_configuration_more(name: str, volumes: Plan) -> None:
    made = with_recipe(volumes, RECIPES[name])
    assert made.configurations.keys() == volumes.configurations.keys() | {name}
    assert {key: one for key, one in made.configurations.items() if key != name} == volumes.configurations
    one = made.configuration(name)
    assert one.recipe == name and one.why["recipe"].startswith(RECIPES[name].title)
    assert one.training.recipes.keys() == {"default"} and not one.training.deep_supervision
    assert validate_plan(file_content(made), "it") == made
    assert made.model_copy(update={"configurations": volumes.configurations}) == volumes


def test_what_the_recipe_says_and_what_the_dataset_says(volumes: Plan) -> None:
    made = with_recipe(volumes, RECIPES["resnet50_unet_2d"])
    one = made.configuration("resnet50_unet_2d")
    assert [rule.channel for rule in one.normalization] == ["FLAIR", "T1ce"] and made.input_channels("resnet50_unet_2d") == 2
    assert {rule.scheme for rule in one.normalization} == {"rescale_to_0_1"}
    assert (one.patch_size, one.resampling.resize, one.batch_size) == ((128, 128), (128, 128), 16)
    assert one.spacing == volumes.configuration("2d").spacing
    assert one.network == EncoderNetworkPlan(family="unet", encoder="resnet50", weights="imagenet")
    rules = one.training.recipes["default"]
    assert (rules.optimizer, rules.learning_rate, rules.schedule, rules.stop_after, rules.keep) == ("adam", 1e-3, "plateau", 5, "best")
    assert one.training.iterations_per_epoch == 78  # 8 of 10 patients with 155 slices each, 16 a step


def test_an_epoch_is_a_pass_over_the_training_cases(pictures: Plan) -> None:
    assert with_recipe(pictures, RECIPES["effb0_unet_2d"]).configuration("effb0_unet_2d").training.iterations_per_epoch == 3  # 40 of 50, 16 a step


def test_class_weights_follow_the_number_of_classes(volumes: Plan, facts_of: Callable[..., Any]) -> None:
    one = with_recipe(volumes, RECIPES["resnet50_unet_2d"]).configuration("resnet50_unet_2d")  # two classes and the background
    assert one.training.class_weights == (0.1, 0.45, 0.45) and "Its authors had 4 classes (0.1, 0.3, 0.3, 0.3)" in one.why["class_weights"]


def test_encoder_weights_may_be_others(volumes: Plan) -> None:
    for given, expected in [(None, "imagenet"), ("none", None), ("w.pth", "w.pth")]:
        network = with_recipe(volumes, RECIPES["effb0_unet_2d"], encoder_weights=given).configuration("effb0_unet_2d").network
        assert isinstance(network, EncoderNetworkPlan) and network.weights == expected
    assert with_recipe(volumes, RECIPES["unet_lgg_2d"], encoder_weights="none").configuration("unet_lgg_2d").recipe == "unet_lgg_2d"


def test_a_patch_is_not_larger_than_the_images(facts_of: Callable[..., Any]) -> None:
    small = make_plan(*facts_of(shapes=[(40, 60, 150)] * 10, spacings=[(1.0, 1.0, 1.0)] * 10, channels=CHANNELS))
    one = with_recipe(small, RECIPES["unet3d_brats"]).configuration("unet3d_brats")
    assert one.patch_size == (48, 64, 128)
    assert one.why["patch_size"] == "Its authors took 128 x 128 x 128, and the median image is 40 x 60 x 150: 48 x 64 x 128."


def test_what_the_dataset_lacks(pictures: Plan) -> None:
    with pytest.raises(AutosegError, match=r"attention_unet_2d needs the channels FLAIR, T1ce; .* has grey\. For others copy it"):
        with_recipe(pictures, RECIPES["attention_unet_2d"])
    with pytest.raises(AutosegError, match=r"unet3d_brats is for 3D, which .* has no plan for: Not made: the median image is a single slice"):
        with_recipe(pictures, RECIPES["unet3d_brats"])


def test_what_learns_otherwise_is_told(volumes: Plan) -> None:
    one = with_recipe(volumes, RECIPES["unet3d_regions"]).configuration("unet3d_regions")
    assert one.why["labels"] == "Its authors learned regions; this plan learns classes (--labels regions changes that)."
    assert "labels" not in with_recipe(volumes, RECIPES["unet3d_brats"]).configuration("unet3d_brats").why


def test_a_recipe_of_ones_own_is_validated(volumes: Plan) -> None:
    bad = RECIPES["effb0_unet_2d"].model_copy(update={"configuration": RECIPES["effb0_unet_2d"].configuration | {"batch_sise": 3}})
    with pytest.raises(
        PlanError,
        match=r"The recipe effb0_unet_2d, as planned for .*\n  configurations\.effb0_unet_2d\.batch_sise: unknown key; did you mean batch_size",
    ):
        with_recipe(volumes, bad)


def test_a_recipe_takes_no_planned_configurations_place(volumes: Plan) -> None:
    with pytest.raises(AutosegError, match="has a configuration '2d' that is no recipe"):
        with_recipe(volumes, RECIPES["unet_lgg_2d"].model_copy(update={"name": "2d"}))


def test_a_batch_of_one_is_too_few_for_deeplab(volumes: Plan) -> None:
    content = file_content(with_recipe(volumes, RECIPES["deeplabv3plus_effb0_2d"]))
    content["configurations"]["deeplabv3plus_effb0_2d"]["batch_size"] = 1
    with pytest.raises(PlanError, match=r"batch_size: must be above 1 for deeplabv3plus"):
        validate_plan(content, "it")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"batch_size": 0}, r"unet_lgg_2d\.batch_size: must be at least 1"),
        ({"batch_size": "16"}, r"unet_lgg_2d\.batch_size: must be a whole number"),
        ({"training": {"class_weights": "x"}}, r"unet_lgg_2d\.training\.class_weights: must be a list"),
        ({"training": {"class_weights": [1, "a"]}}, r"unet_lgg_2d\.training\.class_weights\.1: must be a number"),
        ({"training": []}, "configuration.training must be an object"),
        ({"resampling": None}, "configuration.resampling must be an object"),
        ({"network": None}, "configuration.network must be an object"),
    ],
)
def test_mistakes_of_any_kind_are_named(change: dict[str, Any], text: str, pictures: Plan) -> None:
    recipe = RECIPES["unet_lgg_2d"]
    with pytest.raises(PlanError, match=text):
        with_recipe(pictures, recipe.model_copy(update={"configuration": recipe.configuration | change}))
