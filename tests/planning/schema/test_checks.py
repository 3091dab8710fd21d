"""Remarks are made of what is doubtful, and of nothing that the planner itself decides."""

from collections.abc import Callable
from typing import Any

import pytest

from autoseg.planning.plan import Plan, file_content, validate_plan
from autoseg.planning.planner import make_plan
from autoseg.planning.schema.checks import remarks


@pytest.fixture(scope="module")
def plan(facts_of: Callable[..., Any]) -> Plan:
    return make_plan(*facts_of([(60, 70, 80)] * 40, [(2.0, 1.0, 1.0)] * 40))


@pytest.mark.parametrize("preset", ["default", "cpu", "resenc_l"])
@pytest.mark.parametrize(
    ("shape", "spacing"), [((60, 70, 80), (2.0, 1.0, 1.0)), ((140, 170, 137), (1.0, 1.0, 1.0)), ((300, 512, 512), (1.0, 0.8, 0.8))]
)
def test_nothing_is_said_of_planned_plans(preset: str, shape: tuple[int, ...], spacing: tuple[float, ...], facts_of: Callable[..., Any]) -> None:
    assert remarks(make_plan(*facts_of([shape] * 30, [spacing] * 30), preset=preset)) == []


@pytest.mark.parametrize(
    ("change", "begins"),
    [
        ({"patch_size": [64, 128, 80]}, ["patch_size: 128 voxels on axis 1, where the median case has 70: 80 would"]),
        ({"batch_size": 1}, ["batch_size: 1"]),
        ({"training": {"recipes": {"fast": {"learning_rate": 3}}}}, ["training.recipes.fast.learning_rate: 3 is far"]),
        ({"training": {"recipes": {"default": {"learning_rate": 1e-7}}}}, ["training.recipes.default.learning_rate: 1e-07 is far"]),
        ({"training": {"recipes": {"fast": {"schedule": "plateau", "stop_after": 5}}}}, ["training.recipes.fast.stop_after: 5 ends the training"]),
        ({"training": {"recipes": {"fast": {"schedule": "plateau", "stop_after": 6}}}}, []),
        ({"training": {"oversample_foreground": 0}}, ["training.oversample_foreground: with 0"]),
        ({"training": {"recipes": {"default": {"augmentation": {"mirror_axes": [1]}}}}}, ["inference.mirror_axes: no recipe mirrors [0, 2]"]),
        ({"previous_stage": "3d_fullres", "spacing": [4, 2, 2], "median_shape": [500] * 3}, ["previous_stage: '3d_fullres' has the finer spacing"]),
        ({"previous_stage": "3d_fullres"}, []),
        ({"previous_stage": "3d_fullres", "spacing": [4, 2, 2], "median_shape": [500] * 3, "resampling": {"resize": [128, 128, 128]}}, []),
        ({"patch_size": [64, 80, 80], "resampling": {"resize": [64, 80, 80]}}, []),
        (
            {"patch_size": [64, 80, 80], "resampling": {"resize": [64, 70, 100]}},
            ["patch_size: 80 voxels on axis 1, where resampling.resize gives every image 70: the rest"],
        ),
        ({"patch_size": [64, 80, 80]}, []),
        ({"batch_size": 4000}, ["patch_size, batch_size or network: training is predicted to need"]),
    ],
)
def test_what_is_doubtful_is_said(change: dict[str, Any], begins: list[str], plan: Plan) -> None:
    content = file_content(plan)
    content["configurations"]["mine"] = {"inherits": "3d_fullres"} | change
    said = remarks(validate_plan(content, "x"))
    assert len(said) == len(begins)
    assert all(one.startswith(f"configurations.mine.{begin}") for one, begin in zip(said, begins, strict=True))


@pytest.mark.parametrize(
    ("regions", "order", "said"),
    [
        ({"whole": [1, 2], "core": [2]}, [1, 2], []),
        ({"core": [2], "whole": [1, 2]}, [2, 1], ["dataset.labels.region_order: what is class 2 (2) is written as 1"]),
        ({"whole": [1, 2]}, [2], ["dataset.labels.region_order: what is class 1 (1) is written as 2"]),
        ({"core": [2]}, [2], ["dataset.labels.regions: class 1 (1) is in none of them"]),
    ],
)
def test_classes_that_regions_do_not_give_back(regions: dict[str, list[int]], order: list[int], said: list[str], plan: Plan) -> None:
    content = file_content(plan)
    content["dataset"]["labels"] |= {"regions": regions, "region_order": order, "trained": "regions"}
    found = remarks(validate_plan(content, "a plan"))
    assert len(found) == len(said) and all(line.startswith(text) for line, text in zip(found, said, strict=True))
    content["dataset"]["labels"]["trained"] = "classes"
    assert remarks(validate_plan(content, "a plan")) == []
