import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoseg.errors import AutosegError, PlanError
from autoseg.planning.plan import Plan, read_plan, validate_plan, write_plan
from autoseg.planning.planner import make_plan


@pytest.fixture(scope="module")
def plan(facts_of: Callable[..., Any]) -> Plan:
    return make_plan(*facts_of([(60, 70, 80)] * 4, [(2.0, 1.0, 1.0)] * 4, channels=("CT",)))


def broken(plan: Plan, path: str, value: object) -> dict[str, Any]:
    content = plan.model_dump(mode="json", exclude_none=True)
    *parents, last = path.split(".")
    part: Any = content
    for key in parents:
        part = part[int(key) if key.isdigit() else key]
    part[last] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("configurations.2d.pach_size", [64, 64], r"configurations\.2d\.pach_size: unknown key"),
        ("speed", "fast", "speed: unknown key"),
        ("configurations.3d_fullres.training.recipes.fast.learning_rate", -1, r"recipes\.fast\.learning_rate: .*greater than 0 \(found: -1\)"),
        ("configurations.3d_fullres.training.loss", "focal", r"training\.loss: .*'dice_focal' \(found: 'focal'\)"),
        ("configurations.3d_fullres.patch_size", [64, 61, 64], r"61 on axis 1 is not divisible by \d+.*nearest valid size is 64"),
        ("configurations.2d.network.blocks_per_stage", [2], "blocks_per_stage has 1 entries"),
        ("configurations.2d.normalization.0.mean", None, "scheme 'ct' needs lower, upper, mean and std"),
        (
            "configurations.2d.normalization.0.channel",
            "T1",
            r"configurations\.2d\.normalization is for the channels T1, dataset\.channel_names are CT",
        ),
        ("dataset.channel_names", ["CT", "PET"], "one entry for each, in that order"),
        ("transpose_forward", [0, 0, 1], r"\[0, 0, 1\] must hold each of 0, 1 and 2 once"),
        ("dataset.labels.names", ["background"], r"dataset\.labels: names has 1 entries, values has"),
        ("dataset.labels.values", [1, 2, 3], r"values \[1, 2, 3\] must begin with 0"),
        ("dataset.labels.values", [0, 0, 1], r"values \[0, 0, 1\] must begin with 0, the background, and increase"),
        ("dataset.labels.ignore", 1, "ignore is 1, which is a class too"),
        ("dataset.labels.regions", {"WT": [1, 7]}, r"region WT unites \[1, 7\]: choose from \[1, 2\]"),
        ("dataset.labels.regions", {"WT": []}, "region WT unites"),
        ("configurations.2d.training.recipes", {}, r"training: recipes is empty: a plan needs the recipe default, the recipe fast, or both"),
        ("configurations.2d.training.recipes.slow", {}, r"recipes\.slow"),
        ("configurations.2d.training.recipes.fast.momentum", 1.0, r"momentum: .*less than 1"),
        ("configurations.2d.training.recipes.fast.augmentation.scaling.range", [1.4, 0.7], r"range \[1\.4, 0\.7\] must rise"),
        ("configurations.2d.training.recipes.fast.augmentation.scaling.range", [0, 0.7], r"scaling\.range \[0\.0, 0\.7\] must be above 0"),
        ("configurations.2d.training.recipes.default.augmentation.noise.range", [-0.1, 0.1], r"noise\.range .* must not be below 0"),
    ],
)
def test_faults_are_named(path: str, value: object, message: str, plan: Plan) -> None:
    with pytest.raises(PlanError, match=message) as caught:
        validate_plan(broken(plan, path, value), "plans/x.json")
    assert str(caught.value).startswith("plans/x.json is not a valid plan:")


@pytest.mark.parametrize("missing", ["default", "fast"])
def test_one_recipe_is_enough(missing: str, plan: Plan) -> None:
    content = plan.model_dump(mode="json", exclude_none=True)
    for configuration in content["configurations"].values():
        del configuration["training"]["recipes"][missing]
    assert missing not in validate_plan(content, "x").configuration("2d").training.recipes


def test_all_faults_are_named_at_once(plan: Plan) -> None:
    content = broken(plan, "configurations.2d.batch_size", 0)
    content["colour"] = "blue"
    with pytest.raises(PlanError) as caught:
        validate_plan(content, "x")
    assert "configurations.2d.batch_size" in str(caught.value)
    assert "colour: unknown key" in str(caught.value)


def test_unclipped_gradients_stay_unclipped(plan: Plan, tmp_path: Path) -> None:
    """What a person switches off is not back after the next writing."""
    edited = validate_plan(broken(plan, "configurations.2d.training.recipes.default.clip_gradient_norm", None), "x")
    write_plan(edited, tmp_path / "plan.json")
    assert read_plan(tmp_path / "plan.json").configuration("2d").training.recipes["default"].clip_gradient_norm is None


def test_file_is_plain_json_with_short_lists_on_one_line(plan: Plan, tmp_path: Path) -> None:
    write_plan(plan, tmp_path / "plan.json")
    text = (tmp_path / "plan.json").read_text()
    assert json.loads(text)["transpose_forward"] == [0, 1, 2]
    assert '"transpose_forward": [0, 1, 2],' in text


def test_missing_configuration_lists_those_there_are(plan: Plan) -> None:
    with pytest.raises(PlanError, match=r"no configuration '3d'\. It has: 2d, 3d_fullres"):
        plan.configuration("3d")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(AutosegError, match="does not exist"):
        read_plan(tmp_path / "none.json")
