"""A configuration that classifies: what goes together, and what is refused in words."""

import json
from typing import Any

import pytest

from autoseg.data.dataset import Case, Dataset, Labels
from autoseg.errors import PlanError
from autoseg.planning.fingerprint import describe_dataset
from autoseg.planning.move import move_plan
from autoseg.planning.plan import Plan, validate_plan

PRESENCE = {"target": "presence"}
GRADE = {"target": "grade", "classes": ["LGG", "HGG"]}
UNET = {
    "family": "plain_unet", "features_per_stage": [4, 8], "strides": [[1, 1], [2, 2]], "kernel_sizes": [[3, 3]] * 2, "blocks_per_stage": [1, 1],
    "convs_per_stage_decoder": [1],
}  # fmt: skip
RECIPE = {"optimizer": "adamw", "learning_rate": 1e-3, "augmentation": {}}


def content(**changes: Any) -> dict[str, Any]:
    """A plan with the configuration `one`, which classifies, and `other`, which segments; changes are to the first, those of training within."""
    rules = {"batch_dice": False, "deep_supervision": False, "loss": "ce", "recipes": {"default": RECIPE}} | changes.pop("training", {})
    one = {
        "task": "classification", "classification": PRESENCE, "dimensions": 2, "spacing": [1, 1], "median_shape": [32, 32], "patch_size": [32, 32],
        "batch_size": 2, "normalization": [{"channel": "a", "scheme": "none"}], "network": UNET, "training": rules,
    }  # fmt: skip
    dataset = {
        "name": "D", "layout": "brats", "channel_names": ["a"], "labels": {"names": ["background", "x", "y"], "values": [0, 1, 2]}, "num_cases": 2,
        "file_ending": ".nii.gz", "attributes": {"grade": ["HGG", "LGG"]},
    }  # fmt: skip
    other = {key: value for key, value in one.items() if key not in ("task", "classification")}
    own = json.loads(json.dumps({key: value for key, value in (one | changes).items() if value is not None}))
    other["training"] = {key: value for key, value in rules.items() if key != "class_weights"}
    return {
        "dataset": dataset, "preset": "cpu", "gpu_memory_gb": 1.0, "transpose_forward": [0, 1, 2],
        "configurations": {"one": own, "other": other},
    }  # fmt: skip


def plan(**changes: Any) -> Plan:
    return validate_plan(content(**changes), "the plan")


def test_a_network_has_an_output_for_each_class() -> None:
    made = plan()
    assert made.network_outputs("one") == 2 and made.network_outputs("other") == made.output_channels == 3
    block = made.configuration("one").classification
    assert block is not None and block.classes == ("absent", "present") and block.of_presence
    assert plan(classification=GRADE, training={"class_weights": [0.8, 0.2]}).configuration("one").training.class_weights == (0.8, 0.2)
    assert made.configuration("other").task == "segmentation"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"classification": None}, 'configurations.one.classification: is missing: say of what, such as {"target": "presence"}'),
        ({"task": "sorting"}, "configurations.one.task: must be 'segmentation', 'classification', 'anomaly' or 'denoising' (found: 'sorting')"),
        (
            {"classification": {"target": "garde"}},
            "classification.target: the dataset has no such attribute (found: 'garde'); did you mean 'grade'? choose from presence, grade",
        ),
        (
            {"classification": {"target": "grade", "classes": ["low", "high"]}},
            'classification.classes: must be the values of grade, the positive one last: HGG, LGG (found: ["low", "high"])',
        ),
        ({"classification": {"target": "presence", "classes": ["a", "b", "c"]}}, "presence has two: what it is called where there is no foreground"),
        ({"classification": {"target": "grade", "classes": ["HGG", "HGG"]}}, "must tell the classes apart"),
        ({"training": {"loss": "dice_ce"}}, "training.loss: a class of the whole image is learned by ce, focal or both (found: 'dice_ce')"),
        ({"training": {"deep_supervision": True}}, "training.deep_supervision: must be false: a class of the whole image has one resolution"),
        ({"training": {"slices": "with_foreground"}}, "training.slices: leaves no slice without foreground to tell apart"),
        ({"training": {"class_weights": [1, 1, 1]}}, "training.class_weights: needs 2 numbers, one a class: absent, present"),
        (
            {"network": {"family": "unet", "encoder": "resnet18"}},
            "network.family: is a decoder, which a classification has no use for (found: 'unet')",
        ),
        (
            {"network": {"family": "segresnet", "width": 8, "stages": 3}},
            "network.family: has no encoder that a head can stand on (found: 'segresnet')",
        ),
        (
            {"task": "segmentation", "classification": None, "network": {"family": "encoder", "encoder": "resnet18"}},
            "network.family: 'encoder' has no decoder: it is for task 'classification'",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_in_words(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(PlanError) as error:
        plan(**changes)
    assert line in str(error.value) and len(str(error.value).splitlines()) == 2, error.value


def test_a_segmentation_may_have_a_head_too() -> None:
    made = plan(task="segmentation", training={"loss": "dice_ce", "class_weights": [1, 2, 3], "deep_supervision": True})
    assert made.network_outputs("one") == 3
    block = made.configuration("one").classification
    assert block is not None and block.weight == 1
    with pytest.raises(PlanError, match="choose from plain_unet, residual_unet, unet, unetplusplus, deeplabv3plus"):
        plan(task="segmentation", network={"family": "segresnet", "width": 8, "stages": 3})
    with pytest.raises(PlanError, match="must be above 0"):
        plan(task="segmentation", classification={"target": "presence", "weight": 0})


def test_a_classifier_comes_before_no_cascade() -> None:
    made = content(
        dimensions=3, spacing=[1] * 3, median_shape=[32] * 3, patch_size=[32] * 3,
        network=UNET | {"strides": [[1] * 3, [2] * 3], "kernel_sizes": [[3] * 3] * 2},
    )  # fmt: skip
    second = {key: value for key, value in made["configurations"]["one"].items() if key not in ("task", "classification")}
    made["configurations"] = {"one": made["configurations"]["one"], "second": second | {"previous_stage": "one"}}
    with pytest.raises(PlanError, match=r"previous_stage: must segment, and its task is classification \(found: 'one'\)"):
        validate_plan(made, "the plan")


def test_slices_of_grades_may_be_those_with_foreground() -> None:
    assert plan(classification=GRADE, training={"slices": "with_foreground"}).configuration("one").training.slices == "with_foreground"


def test_a_plan_is_moved_without_what_the_other_dataset_does_not_know() -> None:
    made = plan(classification=GRADE)
    block = made.dataset.model_copy(update={"name": "E", "attributes": None})
    moved = move_plan(made, block)
    assert list(moved.configurations) == ["other"]
    assert moved.why["one"] == "Not taken over: the cases of E have no such attribute as it classifies."
    assert list(move_plan(made, made.dataset.model_copy(update={"name": "E"})).configurations) == ["one", "other"]


def test_cases_without_attributes_leave_no_trace_in_a_plan(tmp_path: Any) -> None:
    labels = Labels(("background", "x"), (0, 1))
    dataset = Dataset("D", tmp_path, "nnunet", ("a",), labels, (Case("c", (tmp_path / "c.nii",), None, "c"),), ".nii.gz")
    assert "attributes" not in describe_dataset(dataset).model_dump(exclude_none=True)
