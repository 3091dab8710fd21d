import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoseg.errors import AutosegError, PlanError
from autoseg.planning.plan import Plan, file_content, read_plan, validate_plan, write_plan
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


def faults(content: Any) -> list[str]:
    """What is said of a plan that is wrong, line by line."""
    with pytest.raises(PlanError) as caught:
        validate_plan(content, "plans/x.json")
    first, *lines = str(caught.value).splitlines()
    assert first == "plans/x.json is not a valid plan:"
    assert all(line.startswith("  ") for line in lines)
    return [line[2:] for line in lines]


FAST = "configurations.3d_fullres.training.recipes.fast"


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("configurations.2d.pach_size", [64, 64], "configurations.2d.pach_size: unknown key; did you mean patch_size?"),
        ("configurations.2d.network.Kernel_Size", 3, "configurations.2d.network.Kernel_Size: unknown key; did you mean kernel_sizes?"),
        ("colour", "red", "colour: unknown key; choose from $schema, schema_version, dataset, preset, gpu_memory_gb, seed, transpose_forward,"
         " configurations, why"),
        (f"{FAST}.learning_rate", -1, f"{FAST}.learning_rate: must be above 0 (found: -1)"),
        (f"{FAST}.momentum", 1.0, f"{FAST}.momentum: must be below 1 (found: 1.0)"),
        ("configurations.2d.training.loss", "dice_c", "configurations.2d.training.loss: must be made of dice, ce, bce, focal and tversky,"
         " joined by _, each at most once (found: 'dice_c'); nearest valid: 'dice_ce'"),
        ("configurations.2d.training.loss", "focal_dice_focl", "configurations.2d.training.loss: must be made of dice, ce, bce, focal and tversky,"
         " joined by _, each at most once (found: 'focal_dice_focl'); nearest valid: 'focal_dice'"),
        ("configurations.2d.training.class_weights", [0, 0, 0], "configurations.2d.training.class_weights: must have a number above 0: with these"
         " weights nothing would be learned (found: [0, 0, 0])"),
        ("configurations.2d.training.class_weights", [1, 2], "configurations.2d.training.class_weights: needs 3 numbers, one a class, the background"
         " first: class 0, class 1, class 2 (found: [1.0, 2.0])"),
        ("configurations.3d_fullres.training.slices", "with_foreground", "configurations.3d_fullres.training.slices: only a 2D configuration learns"
         " from slices (found: 'with_foreground'); nearest valid: 'all'"),
        (f"{FAST}.schedule", "one_cycle", f"{FAST}.warmup_fraction: one_cycle has a warm-up of its own (found: 0.03); nearest valid: 0"),
        (f"{FAST}.smallest_learning_rate", 1, f"{FAST}.smallest_learning_rate: must not be above learning_rate, which is 0.001 (found: 1)"),
        (f"{FAST}.schedule", "polly", f"{FAST}.schedule: must be 'poly', 'plateau', 'cosine', 'one_cycle' or 'constant' (found: 'polly'); did you"
         " mean 'poly'?"),
        ("configurations.2d.resampling.image_order", 2, "configurations.2d.resampling.image_order: must be 0, 1 or 3 (found: 2); did you mean 1?"),
        ("configurations.2d.training.recipes.fats", {"colour": 1},
         "configurations.2d.training.recipes.fats: unknown key; did you mean fast? choose from default, fast"),
        ("configurations.2d.batch_size", 2.5, "configurations.2d.batch_size: must be a whole number (found: 2.5)"),
        ("configurations.2d.batch_size", None, "configurations.2d.batch_size: must be a whole number (found: null)"),
        ("configurations.2d.batch_size", "2", "configurations.2d.batch_size: must be a whole number (found: '2')"),
        ("configurations.2d.batch_size", True, "configurations.2d.batch_size: must be a whole number (found: true)"),
        ("gpu_memory_gb", "8", "gpu_memory_gb: must be a number (found: '8')"),
        ("configurations", {}, "configurations: must have at least 1 entries"),
        (f"{FAST}.augmentation.scaling.range", [1, 1e9],
         f"{FAST}.augmentation.scaling.range: must not be above 10, which makes patches of nothing (found: [1.0, 1000000000.0])"),
        ("dataset.labels.names", ["background", "a", "a"],
         "dataset.labels.names: must tell the classes apart, but one is there twice (found: [\"background\", \"a\", \"a\"])"),
        ("configurations.2d.patch_size", 64, "configurations.2d.patch_size: must be a list in [ ] (found: 64)"),
        ("configurations.2d.network", "U-Net", "configurations.2d.network: must be an object in { } (found: 'U-Net')"),
        ("configurations.2d.normalization.0.mean", None, "configurations.2d.normalization.0.mean: scheme 'ct' needs a number (found: null)"),
        ("configurations.2d.normalization.0.channel", "T1", "configurations.2d.normalization.0.channel: the dataset has no such channel (found:"
         " 'T1'); did you mean 'CT'? choose from CT"),
        ("configurations.2d.normalization", [], "configurations.2d.normalization: must have at least 1 entries (found: [])"),
        ("configurations.2d.normalization", 2 * [{"channel": "CT", "scheme": "none"}],
         "configurations.2d.normalization.1.channel: has an entry already (found: 'CT')"),
        ("configurations.2d.normalization", [{"channel": "CT", "scheme": "percentile"}],
         "configurations.2d.normalization.0.scheme: must be 'zscore', 'ct', 'none', 'rescale_to_0_1', 'rgb_to_0_1', 'percentile_to_0_1',"
         " 'histogram_equalization' or 'clahe' (found: 'percentile'); did you mean 'percentile_to_0_1'?"),
        ("configurations.2d.normalization", [{"channel": "CT", "scheme": "percentile_to_0_1", "percentiles": [99, 1]}],
         "configurations.2d.normalization.0.percentiles: must rise (found: [99, 1])"),
        ("configurations.2d.normalization", [{"channel": "CT", "scheme": "percentile_to_0_1", "percentiles": [5, 101]}],
         "configurations.2d.normalization.0.percentiles.1: must be at most 100 (found: 101)"),
        ("configurations.2d.normalization", [{"channel": "CT", "scheme": "zscore", "percentiles": [1, 99]}],
         "configurations.2d.normalization.0.percentiles: is for the scheme 'percentile_to_0_1' alone (found: [1, 99])"),
        ("configurations.2d.normalization", [{"channel": "CT", "scheme": "clahe", "clip_limit": 0}],
         "configurations.2d.normalization.0.clip_limit: must be above 0 (found: 0)"),
        ("configurations.2d.normalization", [{"channel": "CT", "scheme": "clahe", "clip_limit": 1.5}],
         "configurations.2d.normalization.0.clip_limit: must be at most 1 (found: 1.5)"),
        ("configurations.2d.normalization", [{"channel": "CT", "scheme": "none", "clip_limit": 0.5}],
         "configurations.2d.normalization.0.clip_limit: is for the scheme 'clahe' alone (found: 0.5)"),
        ("configurations.2d.resampling.resize", [8, 64, 64],
         "configurations.2d.resampling.resize: needs 2 numbers, because dimensions is 2 (found: [8, 64, 64])"),
        ("configurations.3d_fullres.resampling.resize", [64, 64],
         "configurations.3d_fullres.resampling.resize: needs 3 numbers, because dimensions is 3 (found: [64, 64])"),
        ("configurations.2d.resampling.resize", [64, 0], "configurations.2d.resampling.resize.1: must be at least 1 (found: 0)"),
        ("configurations.2d.resampling.resize", 64, "configurations.2d.resampling.resize: must be a list in [ ] (found: 64)"),
        ("configurations.2d.resampling.resize", [100_000, 100_000],
         "configurations.2d.resampling.resize: makes 1e+10 voxels, more than any computer can hold (found: [100000, 100000])"),
        ("configurations.a/b", {}, "configurations.a/b: must be made of letters, digits and _ . + - and begin with a letter or digit"),
        ("transpose_forward", [0, 0, 1], "transpose_forward: must hold each of 0, 1 and 2 once (found: [0, 0, 1])"),
        ("dataset.labels.values", [1, 2, 3], "dataset.labels.values: must begin with 0, the background, and increase (found: [1, 2, 3])"),
        ("dataset.labels.regions", {"WT": [1, 7]}, "dataset.labels.regions.WT: must unite some of [1, 2] (found: [1, 7])"),
        ("dataset.labels.trained", "regions", "dataset.labels.trained: needs region_order, the value that each region is written as"
         " (found: 'regions')"),
        ("configurations.2d.training.recipes", {}, "configurations.2d.training.recipes: is empty: a plan needs the recipe default, the recipe fast,"
         " or both"),
        (f"{FAST}.augmentation.scaling.range", [1.4, 0.7],
         f"{FAST}.augmentation.scaling.range: must rise (found: [1.4, 0.7]); nearest valid: [0.7, 1.4]"),
        (f"{FAST}.augmentation.scaling.range", [0, 0.7], f"{FAST}.augmentation.scaling.range: must be above 0 (found: [0.0, 0.7])"),
        (f"{FAST}.augmentation.scaling.range", [1, 2, 3], f"{FAST}.augmentation.scaling.range: may have at most 2 entries (found: [1, 2, 3])"),
        (f"{FAST}.augmentation.scaling.range", [1], f"{FAST}.augmentation.scaling.range.1: is missing"),
        ("gpu_memory_gb", float("inf"), "gpu_memory_gb: must be a finite number (found: Infinity)"),
    ],
)  # fmt: skip
def test_a_fault_names_key_value_and_choice(path: str, value: object, line: str, plan: Plan) -> None:
    assert faults(broken(plan, path, value)) in ([line], [f"{line} (found: {json.dumps(value)})"])


def test_names_that_differ_in_case_only_would_share_a_folder(plan: Plan) -> None:
    content = file_content(plan)
    content["configurations"]["3D_FULLRES"] = {"inherits": "3d_fullres"}
    assert any("in the case of letters only" in line for line in faults(content))


def test_all_faults_are_named_at_once(plan: Plan) -> None:
    """Those that stand in one block, those that several blocks cause together, and those of sound configurations beside unsound ones."""
    content = broken(plan, "configurations.2d.batch_size", 0)
    full = content["configurations"]["3d_fullres"]
    content["configurations"]["2d"]["patch_size"] = [65, 64]
    content["configurations"]["other"] = full | {"normalization": [{"channel": "T1", "scheme": "none"}], "previous_stage": "2d"}
    content["configurations"]["lost"] = {"inherits": "3d_fulres"}
    content["colour"] = "blue"
    del content["dataset"]["name"]
    content["dataset"]["num_cases"] = "many"
    places = [line.split(": ")[0] for line in faults(content)]
    assert sorted(places) == sorted([
        "configurations.2d.batch_size", "configurations.2d.patch_size", "configurations.lost.inherits", "colour", "dataset.name", "dataset.num_cases",
    ])  # fmt: skip
    content["dataset"] = plan.model_dump(mode="json", exclude_none=True)["dataset"]
    assert "configurations.other.normalization.0.channel" in {line.split(": ")[0] for line in faults(content)}


@pytest.mark.parametrize("content", [None, [], "plan", {"configurations": []}, {"configurations": {"a": 5, "b": {"inherits": "a"}}}])
def test_what_is_no_plan_at_all(content: object) -> None:
    with pytest.raises(PlanError, match="x is not a valid plan"):
        validate_plan(content, "x")


@pytest.mark.parametrize("missing", ["default", "fast"])
def test_one_recipe_is_enough(missing: str, plan: Plan) -> None:
    content = plan.model_dump(mode="json", exclude_none=True)
    for configuration in content["configurations"].values():
        del configuration["training"]["recipes"][missing]
    assert missing not in validate_plan(content, "x").configuration("2d").training.recipes


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


def inheriting(plan: Plan, **configurations: dict[str, Any]) -> dict[str, Any]:
    """The plan's content with further configurations, which stand before those that they inherit."""
    content = plan.model_dump(mode="json", exclude_none=True)
    return content | {"configurations": configurations | content["configurations"]}


def test_a_configuration_is_made_whole(plan: Plan, tmp_path: Path) -> None:
    wide = {"inherits": "small", "network": {"family": "residual_unet"}, "why": {"network": "to compare"}}
    small = {"inherits": "3d_fullres", "batch_size": 7, "training": {"recipes": {"default": None, "fast": {"clip_gradient_norm": None}}}}
    content = inheriting(plan, wide=wide, small=small)
    read = validate_plan(content, "x")
    full, child, grandchild = read.configuration("3d_fullres"), read.configuration("small"), read.configuration("wide")
    assert child.batch_size == grandchild.batch_size == 7
    assert (child.inherits, grandchild.inherits, full.inherits) == ("3d_fullres", "small", None)
    assert grandchild.network == full.network.model_copy(update={"family": "residual_unet"})
    assert set(child.training.recipes) == {"fast"}
    assert child.training.recipes["fast"].clip_gradient_norm is None
    assert (child.why, grandchild.why) == ({}, {"network": "to compare"})
    assert full == plan.configuration("3d_fullres")
    assert grandchild == child.model_copy(update={"inherits": "small", "network": grandchild.network, "why": grandchild.why})

    write_plan(read, tmp_path / "plan.json")
    assert json.loads((tmp_path / "plan.json").read_text()) == content
    assert read_plan(tmp_path / "plan.json") == read


def test_an_edit_of_the_parent_changes_what_inherits_from_it(plan: Plan) -> None:
    content = file_content(validate_plan(inheriting(plan, coarse={"inherits": "3d_fullres", "spacing": [2, 2, 2]}), "x"))
    assert content["configurations"]["coarse"] == {"inherits": "3d_fullres", "spacing": [2, 2, 2]}
    content["configurations"]["3d_fullres"] |= {"batch_size": 9, "median_shape": [10, 20, 30], "spacing": [1, 1, 1]}
    coarse = validate_plan(content, "x").configuration("coarse")
    assert coarse.batch_size == 9
    assert coarse.median_shape == (5, 10, 15)


def test_inherited_configurations_of_python_are_written_as_differences(plan: Plan, tmp_path: Path) -> None:
    full = plan.configuration("3d_fullres")
    large = full.model_copy(update={"inherits": "3d_fullres", "previous_stage": "3d_fullres", "batch_size": 5, "why": {}})
    facts = {key: value for key, value in plan if key != "json_schema"}
    made = Plan(**facts | {"configurations": {"large": large, **plan.configurations}})
    write_plan(made, tmp_path / "plan.json")
    written = json.loads((tmp_path / "plan.json").read_text())["configurations"]
    assert written["large"] == {"inherits": "3d_fullres", "previous_stage": "3d_fullres", "batch_size": 5}
    assert read_plan(tmp_path / "plan.json") == made


@pytest.mark.parametrize(
    ("child", "lines"),
    [
        ({"inherits": "3d_fulres"},
         ["inherits: there is no such configuration (found: '3d_fulres'); did you mean '3d_fullres'? choose from 2d, 3d_fullres"]),
        ({"inherits": "child"}, ["inherits: child -> child goes in a circle; one of them must be whole, without inherits"]),
        ({"inherits": 3}, ["inherits: there is no such configuration (found: 3); choose from 2d, 3d_fullres"]),
        ({"inherits": "2d", "batch_sice": 4}, ["batch_sice: unknown key; did you mean batch_size?"]),
        ({"inherits": "2d", "network": {"family": "plain_net"}},
         ["network.family: there is no such choice (found: 'plain_net'); did you mean 'plain_unet'? choose from plain_unet, residual_unet, unet,"
          " unetplusplus, deeplabv3plus, encoder, attention_unet, segresnet, swin_unetr, unetplusplus_monai, autoencoder"]),
        ({"inherits": "2d", "batch_size": None}, ["batch_size: is missing"]),
    ],
)  # fmt: skip
def test_faults_of_a_child_are_named_where_they_are_written(child: dict[str, Any], lines: list[str], plan: Plan) -> None:
    assert faults(inheriting(plan, child=child)) == [f"configurations.child.{line}" for line in lines]


def test_faults_of_a_parent_are_not_said_again_of_its_children(plan: Plan) -> None:
    content = inheriting(plan, child={"inherits": "2d"}, same={"inherits": "2d", "batch_size": 0}, grandchild={"inherits": "child"})
    content["configurations"]["2d"]["batch_size"] = 0
    content["configurations"]["2d"]["pach_size"] = 0
    places = {line.split(": ")[0] for line in faults(content)}
    assert places == {"configurations.2d.batch_size", "configurations.2d.pach_size", "configurations.same.batch_size"}


@pytest.mark.parametrize(
    ("name", "previous", "line"),
    [
        ("3d_fullres", "3d_lores", "there is no such configuration (found: '3d_lores'); did you mean '3d_lowres'? choose from 3d_lowres"),
        ("3d_fullres", "3d_fullres", "is the configuration itself (found: '3d_fullres'); did you mean '3d_lowres'? choose from 3d_lowres"),
        ("3d_fullres", "2d", "must be in 3D, as this one is (found: '2d'); choose from 3d_lowres"),
        ("3d_fullres", "stage", "has a previous stage of its own (found: 'stage'); choose from 3d_lowres"),
        ("2d", "3d_lowres", "only a 3D configuration can have one (found: '3d_lowres')"),
    ],
)
def test_a_previous_stage_is_another_volume(name: str, previous: str, line: str, plan: Plan) -> None:
    content = inheriting(plan, stage={"inherits": "3d_fullres", "previous_stage": "3d_lowres"}, **{"3d_lowres": {"inherits": "3d_fullres"}})
    assert validate_plan(content, "x").input_channels("stage") == 3
    assert validate_plan(content, "x").input_channels("3d_lowres") == 1
    content["configurations"][name]["previous_stage"] = previous
    assert faults(content) == [f"configurations.{name}.previous_stage: {line}"]


def test_a_previous_stage_that_cannot_be_made_whole_is_there_all_the_same(plan: Plan) -> None:
    content = inheriting(plan, first={"inherits": "3d_fulres"}, second={"inherits": "3d_fullres", "previous_stage": "first"})
    assert [line.split(": ")[0] for line in faults(content)] == ["configurations.first.inherits"]


def test_the_address_of_the_schema_is_kept(plan: Plan, tmp_path: Path) -> None:
    content = {"$schema": "../docs/plan.schema.json"} | plan.model_dump(mode="json", exclude_none=True)
    write_plan(validate_plan(content, "x"), tmp_path / "plan.json")
    assert next(iter(json.loads((tmp_path / "plan.json").read_text()))) == "$schema"
    assert validate_plan(validate_plan(content, "x").model_dump(mode="json"), "x").json_schema == "../docs/plan.schema.json"
    assert "$schema" not in file_content(plan)


def test_validation_takes_milliseconds(plan: Plan) -> None:
    """A few, with inheritance; ten times that is allowed to a busy machine."""
    content = inheriting(plan, **{f"variant_{index}": {"inherits": "3d_fullres", "batch_size": index + 1} for index in range(10)})
    took = []
    for _ in range(5):
        begun = time.perf_counter()
        validate_plan(content, "x")
        took.append(time.perf_counter() - begun)
    assert min(took) < 0.03


def test_a_configuration_may_see_some_channels_in_the_order_of_the_dataset(facts_of: Callable[..., Any]) -> None:
    four = make_plan(*facts_of([(60, 70, 80)] * 4, [(2.0, 1.0, 1.0)] * 4, channels=("flair", "t1", "t1ce", "t2")))

    def seeing(*channels: str) -> dict[str, Any]:
        rules = [{"channel": channel, "scheme": "zscore"} for channel in channels]
        return inheriting(four, few={"inherits": "3d_fullres", "normalization": rules}, after={"inherits": "few", "previous_stage": "3d_fullres"})

    plan = validate_plan(seeing("flair", "t1ce"), "x")
    assert plan.image_channels("few") == plan.image_channels("after") == ("flair", "t1ce")
    assert [plan.input_channels(name) for name in ("3d_fullres", "few", "after")] == [4, 2, 2 + 2]
    assert validate_plan(file_content(plan), "x") == plan
    assert faults(seeing("t1ce", "flair")) == [
        "configurations.few.normalization: must follow the order of dataset.channel_names, here flair, t1ce (found: t1ce, flair)"
    ]
    assert faults(seeing("flair", "T1CE", "t3")) == [
        "configurations.few.normalization.1.channel: the dataset has no such channel (found: 'T1CE'); did you mean 't1ce'?"
        " choose from flair, t1, t1ce, t2",
        "configurations.few.normalization.2.channel: the dataset has no such channel (found: 't3'); did you mean 't2'?"
        " choose from flair, t1, t1ce, t2",
    ]


def test_what_a_scheme_takes_is_written_down(plan: Plan) -> None:
    for rule, told in (
        ({"scheme": "percentile_to_0_1"}, {"percentiles": [0.5, 99.5]}),
        ({"scheme": "percentile_to_0_1", "percentiles": [0, 90]}, {"percentiles": [0.0, 90.0]}),
        ({"scheme": "clahe", "clip_limit": None}, {"clip_limit": 0.01}),
        ({"scheme": "histogram_equalization"}, {}),
    ):
        read = validate_plan(broken(plan, "configurations.2d.normalization", [{"channel": "CT"} | rule]), "x")
        (written,) = file_content(read)["configurations"]["2d"]["normalization"]
        assert written == {"channel": "CT", "scheme": rule["scheme"], "use_mask": False} | told


def test_a_child_takes_the_resize_of_its_parent_back(plan: Plan) -> None:
    content = inheriting(
        plan, child={"inherits": "sized", "resampling": {"resize": None}}, sized={"inherits": "2d", "resampling": {"resize": [64, 64]}}
    )
    read = validate_plan(content, "x")
    assert (read.configuration("sized").resampling.resize, read.configuration("child").resampling.resize) == ((64, 64), None)
    assert file_content(read) == content
