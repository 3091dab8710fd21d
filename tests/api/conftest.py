"""Three small phantoms to plan and train on, with networks that take a moment."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from autoseg.data.phantom import write_phantoms

NAME = "DatasetPhantom20"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with raw data alone."""
    place = tmp_path_factory.mktemp("api")
    write_phantoms(place / "raw_data" / NAME, count=3, seed=5, shape=(24, 24, 24))
    return place


@pytest.fixture(scope="session")
def shrink() -> Callable[[Path], None]:
    """Edit a plan so that an epoch is one step of a tiny network."""
    return shrink_plan


def shrink_plan(plan: Path) -> None:
    content = json.loads(plan.read_text())
    for configuration in content["configurations"].values():
        axes = configuration["dimensions"]
        configuration["patch_size"] = [16] * axes
        configuration["network"] |= {
            "features_per_stage": [4, 8], "strides": [[1] * axes, [2] * axes], "kernel_sizes": [[3] * axes] * 2, "blocks_per_stage": [1, 1],
            "convs_per_stage_decoder": [1],
        }  # fmt: skip
        configuration["training"] |= {"iterations_per_epoch": 1, "validation_iterations": 1, "precision": "float32"}
    plan.write_text(json.dumps(content))
