"""A small plan for the tests of every room that works with one. Tests that run side by side share the processor's cores."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import settings

from autoseg.planning.plan import Plan, validate_plan

if side_by_side := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // side_by_side))  # read when torch is first imported

# The same examples in every run, so that what landed once lands again; look for new ones with --hypothesis-profile=explore.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None)
settings.load_profile("steady")


@pytest.fixture(scope="session")
def small_plan() -> Callable[..., Plan]:
    """A plan with the one configuration "small"; see `make_small_plan`."""
    return make_small_plan


def make_small_plan(
    *,
    patch: Sequence[int] = (16, 16, 16),
    spacing: Sequence[float] | None = None,
    channels: Sequence[str] = ("t1", "t2"),
    values: Sequence[int] = (0, 1, 2, 4),
    ignore: int | None = None,
    transpose: Sequence[int] = (0, 1, 2),
    scheme: str = "zscore",
    use_mask: bool = False,
    ending: str = ".nii.gz",
    resampling: dict[str, Any] | None = None,
    inference: dict[str, Any] | None = None,
    network: dict[str, Any] | None = None,
    precision: str = "float32",
    learned_mirroring: Sequence[int] | None = None,
    regions: dict[str, Sequence[int]] | None = None,
    region_order: Sequence[int] = (),
) -> Plan:
    dimensions = len(patch)
    ones, twos, threes = [1] * dimensions, [2] * dimensions, [3] * dimensions
    statistics = {"lower": -1.0, "upper": 2.0, "mean": 0.5, "std": 0.25} if scheme == "ct" else {}
    unet = {
        "family": "plain_unet",
        "features_per_stage": [4, 8, 16],
        "strides": [ones, twos, twos],
        "kernel_sizes": [threes] * 3,
        "blocks_per_stage": [2, 2, 2],
        "convs_per_stage_decoder": [2, 2],
    }
    recipe = {
        "optimizer": "adamw",
        "learning_rate": 0.001,
        "momentum": 0.9,
        "augmentation": {"mirror_axes": list(range(dimensions) if learned_mirroring is None else learned_mirroring)},
    }
    configuration = {
        "dimensions": dimensions,
        "spacing": list(spacing or [1.0] * dimensions),
        "median_shape": [24.0] * dimensions,
        "patch_size": list(patch),
        "batch_size": 2,
        "normalization": [{"channel": name, "scheme": scheme, "use_mask": use_mask, **statistics} for name in channels],
        "resampling": resampling or {},
        "network": unet | (network or {}),
        "training": {"batch_dice": False, "precision": precision, "recipes": {"default": recipe}},
        "inference": {"mirror_axes": list(range(dimensions))} | (inference or {}),
    }
    labels: dict[str, Any] = {"names": [f"class {value}" for value in values], "values": list(values), "ignore": ignore}
    if regions:
        labels |= {"regions": regions, "region_order": list(region_order), "trained": "regions"}
    dataset = {
        "name": "Dataset001_Small", "layout": "nnunet", "channel_names": list(channels), "labels": labels, "num_cases": 4, "file_ending": ending,
    }  # fmt: skip
    return validate_plan(
        {
            "dataset": dataset, "preset": "default", "gpu_memory_gb": 8.0, "transpose_forward": list(transpose),
            "configurations": {"small": configuration},
        },
        "small plan",
    )  # fmt: skip
