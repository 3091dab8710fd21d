import numpy as np
import pytest

from autoseg.errors import PlanError
from autoseg.planning.move import move_plan
from autoseg.planning.plan import DatasetBlock, LabelsBlock, Plan, file_content, validate_plan
from autoseg.planning.planner import make_plan
from tests.planning.conftest import Facts, make_facts

OTHER_LABELS = LabelsBlock(names=("background", "x"), values=(0, 9), ignore=255)
# the second axis is the coarsest, and patches see too little of the image: transposition and a cascade
SHAPES, SPACINGS = [(400, 160, 380), (420, 170, 400), (390, 150, 380)], [(0.8, 2.0, 0.9), (0.8, 2.2, 0.9), (0.9, 2.0, 0.8)]


def source(channels: tuple[str, ...] = ("CT", "T1")) -> tuple[Plan, Facts]:
    facts = make_facts(SHAPES, SPACINGS, channels=channels, relative_size=0.5)
    return make_plan(*facts), facts


def other(channels: tuple[str, ...] = ("CT", "T1")) -> Facts:
    fingerprint, block = make_facts([(90, 100, 110), (80, 100, 130)], [(2.0, 1.0, 1.5)] * 2, channels=channels)
    return fingerprint, DatasetBlock.model_validate(dict(block) | {"name": "B", "labels": OTHER_LABELS, "num_cases": 2, "file_ending": ".nrrd"})


def test_everything_that_weights_depend_on_stays() -> None:
    plan, _ = source()
    fingerprint, block = other()
    moved = move_plan(plan, block, fingerprint)
    assert moved.dataset == block
    assert (moved.transpose_forward, moved.seed, moved.preset, moved.gpu_memory_gb) == (
        plan.transpose_forward,
        plan.seed,
        plan.preset,
        plan.gpu_memory_gb,
    )
    assert moved.configurations.keys() == plan.configurations.keys() == {"2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"}
    for name, one in plan.configurations.items():
        assert moved.configurations[name].model_dump(exclude={"why", "median_shape"}) == one.model_dump(exclude={"why", "median_shape"})


def test_median_shapes_are_those_of_the_other_dataset() -> None:
    plan, _ = source()
    fingerprint, block = other()
    assert plan.transpose_forward == (1, 0, 2)
    moved = move_plan(plan, block, fingerprint)
    for name, one in plan.configurations.items():
        # by hand, case by case: 100 voxels of 1 mm along Y; 90 and 80 of 2 mm along Z; 110 and 130 of 1.5 mm along X
        coarse, *plane = one.spacing if one.dimensions == 3 else (1.0, *one.spacing)
        y, z, x = [round(100 / coarse)] * 2, [round(180 / plane[0]), round(160 / plane[0])], [round(165 / plane[1]), round(195 / plane[1])]
        expected = [np.median(extents) for extents in (y, z, x)][3 - one.dimensions :]
        assert list(moved.configurations[name].median_shape) == expected
    assert move_plan(plan, block).configurations["3d_fullres"].median_shape == plan.configurations["3d_fullres"].median_shape


def test_moved_to_its_own_dataset_a_plan_decides_the_same() -> None:
    plan, (fingerprint, block) = source()
    moved = move_plan(plan, block, fingerprint)
    for name, one in plan.configurations.items():
        kept = {"why", "median_shape"} if name == "3d_lowres" else {"why"}  # its shape was rounded from that of 3d_fullres
        assert moved.configurations[name].model_dump(exclude=kept) == one.model_dump(exclude=kept)
        assert moved.configurations[name].median_shape == pytest.approx(one.median_shape, abs=1)


def test_channels_are_matched_by_position_and_keep_their_normalisation() -> None:
    plan, _ = source(("CT", "T1"))
    fingerprint, block = other(("MR", "T1"))
    moved = move_plan(plan, block, fingerprint)
    first, second = moved.configurations["2d"].normalization
    assert (first.channel, first.scheme, first.lower) == ("MR", "ct", plan.configurations["2d"].normalization[0].lower)
    assert (second.channel, second.scheme, second.use_mask) == ("T1", "zscore", True)
    assert "CT -> MR" in moved.why["channels"] and "T1 ->" not in moved.why["channels"]


def test_reasons_say_where_the_plan_comes_from() -> None:
    plan, _ = source()
    moved = move_plan(plan, other()[1], other()[0])
    assert moved.why == {"moved": "The plan of Dataset (3 cases, preset default), taken over for B."}
    for one in moved.configurations.values():
        assert one.why.keys() == {"moved"} and "that of the 2 cases of B" in one.why["moved"]


def test_a_moved_plan_can_be_written_and_read() -> None:
    moved = move_plan(source()[0], other()[1], other()[0])
    assert validate_plan(file_content(moved), "moved.json") == moved


def test_networks_for_volumes_are_left_out_for_slices() -> None:
    plan, _ = source()
    fingerprint, block = make_facts([(1, 100, 110)] * 3, [(1.0, 1.0, 1.0)] * 3, channels=("CT", "T1"))
    moved = move_plan(plan, block, fingerprint)
    assert moved.configurations.keys() == {"2d"}
    assert "single slices" in moved.why["3d_fullres"]
    only_volumes = plan.model_copy(update={"configurations": {"3d_fullres": plan.configuration("3d_fullres")}})
    with pytest.raises(PlanError, match="the cases of Dataset are single slices"):
        move_plan(only_volumes, block, fingerprint)


def test_another_number_of_channels_is_refused() -> None:
    with pytest.raises(PlanError, match=r"The plan of Dataset is for 2 channels \(CT, T1\), B has 3 \(CT, T1, T2\)"):
        move_plan(source()[0], other(("CT", "T1", "T2"))[1])


def test_a_fingerprint_of_another_dataset_is_refused() -> None:
    with pytest.raises(PlanError, match=r"channels T2, T1, B has CT, T1"):
        move_plan(source()[0], other()[1], other(("T2", "T1"))[0])


def test_some_channels_are_those_at_the_same_positions() -> None:
    content = file_content(source(("CT", "T1", "T1", "T2"))[0])
    rules = content["configurations"]["2d"]["normalization"]
    content["configurations"]["2d"]["normalization"] = [rules[1], rules[2], rules[3]]
    plan = validate_plan(content, "x")
    fingerprint, block = other(("a", "b", "c", "d"))
    moved = move_plan(plan, block, fingerprint)
    assert (moved.image_channels("2d"), moved.image_channels("3d_fullres")) == (("b", "c", "d"), ("a", "b", "c", "d"))
    assert validate_plan(file_content(moved), "moved.json") == moved


def test_the_nominal_shape_of_resized_images_stays() -> None:
    content = file_content(source()[0])
    content["configurations"]["2d"]["resampling"]["resize"] = [96, 128]
    plan = validate_plan(content, "x")
    fingerprint, block = other()
    moved = move_plan(plan, block, fingerprint).configuration("2d")
    assert (moved.median_shape, moved.resampling.resize) == (plan.configuration("2d").median_shape, (96, 128))
    assert moved.why == {"moved": "Taken over from the plan of Dataset, all of it."}


def test_weights_of_classes_stay_where_they_fit() -> None:
    plan, (fingerprint, block) = source()
    content = file_content(plan)
    count = len(plan.output_names)
    content["configurations"]["2d"]["training"]["class_weights"] = [1.0] * (count - 1) + [2.0]
    weighted = validate_plan(content, "a plan of the tests")
    assert move_plan(weighted, block, fingerprint).configurations["2d"].training == weighted.configurations["2d"].training
    fingerprint, block = other()
    assert len(block.labels.names) != count
    moved = move_plan(weighted, block, fingerprint)
    assert moved.configurations["2d"].training.class_weights is None
    assert "class_weights are left out" in moved.configurations["2d"].why["moved"]
    assert validate_plan(file_content(moved), "moved") == moved


def test_what_rests_on_what_is_left_out_is_left_out_too() -> None:
    content = file_content(source(("CT", "T1"))[0])
    whole = content["configurations"]["3d_fullres"]
    content["dataset"]["attributes"] = {"grade": ["HGG", "LGG"]}
    block = {"target": "grade", "classes": ["LGG", "HGG"]}
    content["configurations"] = {
        "graded": whole | {"classification": block}, "later": whole | {"previous_stage": "graded"},
        "child": {"inherits": "graded", "classification": None},
    }  # fmt: skip
    plan = validate_plan(content, "x")
    fingerprint, other_block = other(("a", "b"))
    moved = move_plan(plan, other_block, fingerprint)
    assert moved.configurations.keys() == {"child"} and moved.configuration("child").inherits is None
    assert moved.why["later"] == "Not taken over: neither is its previous stage."
    assert validate_plan(file_content(moved), "moved") == moved
