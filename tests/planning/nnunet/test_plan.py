"""Plans of nnU-Net's, published and made from the vectors: what is read is what our own planner decides for the same fingerprint."""

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from autoseg.errors import AutosegError, PlanError
from autoseg.planning.nnunet.plan import NEVER_SEPARATE, convert_nnunet_plan, is_nnunet_plan
from autoseg.planning.plan import Plan, file_content, read_plan, write_plan
from autoseg.planning.planner import make_plan
from tests.planning.conftest import make_facts
from tests.planning.nnunet_files import genuine, inputs, plan_file
from tests.planning.parity import Vector, vectors

VECTORS = [*vectors("planner_vectors"), *vectors("peer_vectors")]
CASCADED = next(vector for vector in VECTORS if "3d_cascade_fullres" in vector.configurations)
FULL = "3d_fullres"
Edit = Callable[[dict[str, Any]], None]


def decisions(plan: Plan, *without: str) -> dict[str, Any]:
    return plan.model_dump(exclude={"why": True, "configurations": {"__all__": {"why"}}} | dict.fromkeys(without, True))


@pytest.mark.parametrize("modern", [True, False], ids=["architecture", "flat keys"])
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_the_plan_read_is_the_plan_that_we_make(vector: Vector, modern: bool, tmp_path: Path) -> None:
    facts = inputs(tmp_path, vector.dataset, vector.fingerprint)
    ours = make_plan(*facts, preset=vector.preset, gpu_memory_gb=vector.gpu_memory_gb, spacing=vector.spacing)
    read = convert_nnunet_plan(plan_file(vector, modern=modern), facts[1], "plans.json")
    assert decisions(read, "gpu_memory_gb") == decisions(ours, "gpu_memory_gb")
    assert vector.gpu_memory_gb is not None or read.gpu_memory_gb == ours.gpu_memory_gb


@pytest.mark.parametrize("name", ["lung006", "liver_ivim"])
def test_a_published_plan_is_the_plan_that_we_make(name: str, tmp_path: Path) -> None:
    content = genuine(name)
    facts = inputs(tmp_path, content["dataset"], content["fingerprint"])
    read = convert_nnunet_plan(content["plan"], facts[1], "nnUNetPlans.json")
    assert decisions(read) == decisions(make_plan(*facts))
    full = read.configurations[FULL]
    assert full.why["spacing"] == "Read from nnU-Net's plan nnUNetPlans."
    assert full.why.keys() == make_plan(*facts).configurations[FULL].why.keys()


def test_a_cascade_keeps_its_links_and_is_written_as_what_differs(tmp_path: Path) -> None:
    read = cascaded()
    cascade = read.configurations["3d_cascade_fullres"]
    assert (cascade.inherits, cascade.previous_stage) == (FULL, "3d_lowres")
    assert cascade.training.recipes["default"].augmentation.previous_removal is not None
    write_plan(read, tmp_path / "plan.json")
    assert read_plan(tmp_path / "plan.json") == read
    assert "network" not in file_content(read)["configurations"]["3d_cascade_fullres"]


def test_an_inherited_configuration_replaces_whole_values() -> None:
    def add(content: dict[str, Any]) -> None:
        content["configurations"]["bs7"] = {"inherits_from": "3d_cascade_fullres", "batch_size": 7}

    read = cascaded(add)
    child, parent = read.configurations["bs7"], read.configurations["3d_cascade_fullres"]
    assert (child.batch_size, child.previous_stage, child.inherits) == (7, "3d_lowres", "3d_cascade_fullres")
    assert child.network == parent.network and child.patch_size == parent.patch_size


def test_resampling_is_read() -> None:
    def edit(content: dict[str, Any]) -> None:
        full = content["configurations"][FULL]
        full["resampling_fn_data_kwargs"]["order"] = 1
        full["resampling_fn_seg_kwargs"]["order"] = 0
        full["resampling_fn_probabilities_kwargs"]["order"] = 3
        for key in ("data", "seg", "probabilities"):
            full[f"resampling_fn_{key}_kwargs"]["separate_z_anisotropy_threshold"] = 4.5

    rule = cascaded(edit).configurations[FULL].resampling
    assert (rule.image_order, rule.label_order, rule.logits_order, rule.separate_axis_above) == (1, 0, 3, 4.5)


def test_a_coarse_axis_that_is_never_on_its_own_is_expressed() -> None:
    def edit(content: dict[str, Any]) -> None:
        for key in ("data", "seg", "probabilities"):
            content["configurations"][FULL][f"resampling_fn_{key}_kwargs"]["force_separate_z"] = False

    read = cascaded(edit)
    assert read.configurations[FULL].resampling.separate_axis_above == NEVER_SEPARATE
    assert read.configurations["3d_lowres"].resampling.separate_axis_above == 3


def test_statistics_of_older_files_are_found() -> None:
    vector = next(one for one in VECTORS if "CTNormalization" in one.configurations["2d"]["normalization_schemes"])
    content = plan_file(vector, modern=False)
    content["foreground_intensity_properties_by_modality"] = content.pop("foreground_intensity_properties_per_channel")
    _, block = make_facts([(9, 9, 9)], [(1, 1, 1)], channels=tuple(vector.dataset["channel_names"].values()))
    channel = vector.configurations["2d"]["normalization_schemes"].index("CTNormalization")
    read = convert_nnunet_plan(content, block, "p.json").configurations["2d"].normalization[channel]
    expected = vector.fingerprint["foreground_intensity_properties_per_channel"][str(channel)]
    assert (read.lower, read.upper, read.mean, read.std) == tuple(expected[key] for key in ("percentile_00_5", "percentile_99_5", "mean", "std"))


def test_a_planner_without_a_preset_is_said() -> None:
    read = cascaded(lambda content: content.update(experiment_planner_used="MyPlanner"))
    assert read.preset == "default" and "MyPlanner" in read.why["preset"]


def in_full(key: str, value: Any) -> Edit:
    return lambda content: content["configurations"][FULL].update({key: value})


def kwargs(which: str, **values: Any) -> Edit:
    return lambda content: content["configurations"][FULL][f"resampling_fn_{which}_kwargs"].update(values)


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda content: content.update(colour="red"), r"p\.json: colour is a key that autoseg does not know.*'red'"),
        (lambda content: content.update(label_manager="Mine"), r"label_manager cannot be expressed.*'Mine'"),
        (lambda content: content.update(transpose_forward=[0, 1, 1]), r"transpose_forward must hold.*\[0, 1, 1\]"),
        (lambda content: content.update(transpose_backward=[2, 2, 2]), r"transpose_backward does not undo"),
        (lambda content: content.pop("transpose_forward"), "transpose_forward is missing"),
        (in_full("dropout_rate", 0.5), r"configurations\.3d_fullres\.dropout_rate is a key that autoseg does not know.*0\.5"),
        (in_full("preprocessor_name", "Mine"), r"configurations\.3d_fullres\.preprocessor_name cannot be expressed.*'Mine'"),
        (in_full("inherits_from", "2e"), r"inherits_from names no configuration of this plan: 2d, .*'2e'"),
        (in_full("inherits_from", "3d_cascade_fullres"), "inherits_from leads back"),
        (in_full("previous_stage", "3d_low"), r"previous_stage names no configuration.*'3d_low'"),
        (in_full("next_stage", ["3d_next"]), r"next_stage names no configuration"),
        (in_full("spacing", [1.0]), r"spacing must have 2 or 3 numbers.*\[1\.0\]"),
        (in_full("spacing", [1.0, -1.0, 1.0]), r"configurations\.3d_fullres cannot be read:\n  spacing\.1: .*-1"),
        (in_full("spacing", [1.0, float("nan"), 1.0]), r"configurations\.3d_fullres\.spacing\.1 is nan"),
        (in_full("patch_size", [32, 32]), r"patch_size must have 3 whole numbers"),
        (in_full("patch_size", [100, 100, 99]), r"99"),
        (in_full("batch_size", 0), r"batch_size: .*0"),
        (in_full("normalization_schemes", []), r"normalization_schemes must have one entry for each of the \d channels"),
        (in_full("use_mask_for_norm", True), r"use_mask_for_norm must have one entry"),
        (in_full("resampling_fn_data", "resample_torch_fornnunet"), r"resampling_fn_data cannot be expressed.*resample_torch_fornnunet"),
        (kwargs("data", order=2), r"resampling_fn_data_kwargs\.order cannot be expressed.*2"),
        (kwargs("seg", order=3), r"resampling_fn_seg_kwargs\.order cannot be expressed.*3"),
        (kwargs("data", order_z=1), r"resampling_fn_data_kwargs\.order_z cannot be expressed.*1"),
        (kwargs("seg", is_seg=False), r"resampling_fn_seg_kwargs\.is_seg cannot be expressed"),
        (kwargs("data", force_separate_z=True), r"force_separate_z cannot be expressed.*True"),
        (kwargs("probabilities", force_separate_z=False), r"must be the same in resampling_fn_data"),
        (kwargs("data", mode="fast"), r"resampling_fn_data_kwargs\.mode is a key"),
        (lambda content: content["configurations"].update({"a/b": {"inherits_from": FULL}}), r"a/b"),
    ],
)
def test_what_cannot_be_read_is_named(edit: Edit, text: str) -> None:
    with pytest.raises(PlanError, match=text) as caught:
        cascaded(edit)
    assert str(caught.value).startswith("p.json")


def test_values_of_any_kind_in_any_place_are_read_or_refused() -> None:
    content: Any = plan_file(CASCADED, modern=True)
    block = cascaded().dataset
    odd: list[Any] = [None, [], {}, "1", [[1]], -1, 2**70, True]
    for place in _places(content):
        for value in odd:
            edited = part = copy.deepcopy(content)
            for key in place[:-1]:
                part = part[key]
            part[place[-1]] = value
            with suppress(AutosegError):  # any other error is a traceback for the user
                convert_nnunet_plan(edited, block, "plans.json")


def test_schemes_that_we_do_not_have_are_named() -> None:
    count = len(CASCADED.dataset["channel_names"])
    with pytest.raises(PlanError, match=r"normalization_schemes cannot be expressed.*Mine"):
        cascaded(in_full("normalization_schemes", ["Mine"] * count))

    def masked(content: dict[str, Any]) -> None:
        content["configurations"][FULL] |= {"normalization_schemes": ["NoNormalization"] * count, "use_mask_for_norm": [True] * count}

    with pytest.raises(PlanError, match=r"use_mask_for_norm cannot be expressed: channel .* has NoNormalization"):
        cascaded(masked)


def test_other_files_are_told_apart() -> None:
    _, block = make_facts([(40, 40, 40)] * 3, [(1, 1, 1)] * 3)
    ours = json.loads(json.dumps(file_content(make_plan(*make_facts([(40, 40, 40)] * 3, [(1, 1, 1)] * 3)))))
    assert is_nnunet_plan(genuine("lung006")["plan"])
    for other in (ours, genuine("lung006")["fingerprint"], [], "plan", None):
        assert not is_nnunet_plan(other)
        with pytest.raises(PlanError, match=r"p\.json is not a plan of nnU-Net's"):
            convert_nnunet_plan(other, block, "p.json")


def _places(content: Any, above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where values stand; of a list only where the first stands."""
    items = content.items() if isinstance(content, dict) else list(enumerate(content))[:1] if isinstance(content, list) else []
    for key, value in items:
        yield (*above, key)
        yield from _places(value, (*above, key))


def cascaded(edit: Edit = lambda content: None) -> Plan:
    """The plan with a cascade, edited and read."""
    content = json.loads(json.dumps(plan_file(CASCADED, modern=True)))
    edit(content)
    _, block = make_facts([(9, 9, 9)], [(1, 1, 1)], channels=tuple(CASCADED.dataset["channel_names"].values()))
    return convert_nnunet_plan(content, block, "p.json")
