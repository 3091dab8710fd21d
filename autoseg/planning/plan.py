"""The plan: every decision, in one JSON file made for people to read and edit.

- Everything after planning reads the plan and nothing but the plan.
- Strict: an unknown key or a bad value is an error that names the key, the value and what is allowed.
- Axis order Z, Y, X, after `transpose_forward` has been applied; 2D configurations keep their lists at two numbers (Y, X).
- Its smaller blocks are described in `blocks.py`, and offered here too.
"""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from autoseg.data.dataset import Labels
from autoseg.errors import PlanError
from autoseg.files import read_json, write_text
from autoseg.planning.blocks import (
    Augmentation,
    AxisCounts,
    Block,
    Count,
    DatasetBlock,
    Inference,
    LabelsBlock,
    Name,
    NetworkPlan,
    Normalization,
    Positive,
    Range,
    Recipe,
    Resampling,
    Training,
    Transform,
)

__all__ = [
    "Augmentation", "Configuration", "DatasetBlock", "Inference", "LabelsBlock", "NetworkPlan", "Normalization", "Plan", "Range", "Recipe",
    "Resampling", "Training", "Transform", "read_plan", "validate_plan", "write_plan",
]  # fmt: skip

SCHEMA_VERSION: Literal[1] = 1


class Configuration(Block):
    """One network on one resolution of the data.

    With `inherits` the file holds only what differs from another configuration; in memory every configuration is whole.
    With `previous_stage` the network also sees the segmentation of another configuration, one channel a class.
    """

    inherits: Name | None = None
    previous_stage: Name | None = None
    dimensions: Literal[2, 3]
    spacing: tuple[Positive, ...]
    median_shape: tuple[Positive, ...]
    patch_size: AxisCounts
    batch_size: Count
    normalization: tuple[Normalization, ...]
    resampling: Resampling = Resampling()
    network: NetworkPlan
    training: Training
    inference: Inference = Inference()
    why: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _patch_fits_network(self) -> "Configuration":
        if len(self.patch_size) != self.dimensions or len(self.spacing) != self.dimensions:
            raise ValueError(f"patch_size and spacing need {self.dimensions} numbers")
        if any(len(counts) != self.dimensions for counts in (*self.network.strides, *self.network.kernel_sizes)):
            raise ValueError(f"every entry of network.strides and network.kernel_sizes needs {self.dimensions} numbers")
        for axis, size in enumerate(self.patch_size):
            divisor = 1
            for stride in self.network.strides:
                divisor *= stride[axis]
            if size % divisor:
                nearest = max(divisor, round(size / divisor) * divisor)
                raise ValueError(
                    f"patch_size {list(self.patch_size)}: {size} on axis {axis} is not divisible by {divisor}, the product of the strides there;"
                    f" the nearest valid size is {nearest}"
                )
        return self

    @model_validator(mode="after")
    def _mirrored_axes_exist(self) -> "Configuration":
        if any(axis >= self.dimensions for axis in self.inference.mirror_axes):
            raise ValueError(f"inference.mirror_axes {list(self.inference.mirror_axes)}: there are only {self.dimensions} axes, counted from 0")
        for name, recipe in self.training.recipes.items():
            if any(axis >= self.dimensions for axis in recipe.augmentation.mirror_axes):
                raise ValueError(f"training.recipes.{name}.augmentation.mirror_axes: slices have the axes 0 and 1 only")
        return self


class Plan(Block):
    """All decisions about one dataset; `plans/<dataset>.json`."""

    schema_version: Literal[1] = SCHEMA_VERSION
    dataset: DatasetBlock
    preset: str
    gpu_memory_gb: Positive
    seed: int = 12345
    transpose_forward: tuple[Literal[0, 1, 2], Literal[0, 1, 2], Literal[0, 1, 2]]
    configurations: dict[Name, Configuration]
    why: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _configurations_fit_dataset(self) -> "Plan":
        if sorted(self.transpose_forward) != [0, 1, 2]:
            raise ValueError(f"transpose_forward {list(self.transpose_forward)} must hold each of 0, 1 and 2 once")
        for name, configuration in self.configurations.items():
            channels = tuple(rule.channel for rule in configuration.normalization)
            if channels != self.dataset.channel_names:
                raise ValueError(
                    f"configurations.{name}.normalization is for the channels {', '.join(channels)}, dataset.channel_names are"
                    f" {', '.join(self.dataset.channel_names)}: one entry for each, in that order"
                )
        return self

    @property
    def labels(self) -> Labels:
        """What the label values mean."""
        return self.dataset.labels.to_labels()

    def input_channels(self, name: str) -> int:
        """Channels that the network of a configuration takes: the image's, and one a class of the previous stage's segmentation."""
        classes = len(self.dataset.labels.values) - 1 if self.configuration(name).previous_stage else 0
        return len(self.dataset.channel_names) + classes

    def configuration(self, name: str) -> Configuration:
        """The configuration of that name.

        Raises
        ------
        PlanError
            the plan has none; the text lists those it has
        """
        if name not in self.configurations:
            raise PlanError(f"The plan of {self.dataset.name} has no configuration '{name}'. It has: {', '.join(self.configurations)}.")
        return self.configurations[name]


def read_plan(path: Path) -> Plan:
    """Read and validate a plan.

    Raises
    ------
    PlanError
        a key is unknown or a value is impossible; all of them are named
    AutosegError
        the file is missing or not JSON
    """
    return validate_plan(read_json(path), str(path))


def validate_plan(content: Any, source: str) -> Plan:
    """Make a plan of decoded JSON; `source` names it in errors."""
    try:
        return Plan.model_validate(content)
    except ValidationError as error:
        raise PlanError("\n".join([f"{source} is not a valid plan:", *map(_problem, error.errors())])) from None


def write_plan(plan: Plan, path: Path) -> None:
    """Write a plan with short lists on one line, whole or not at all."""
    write_text(path, _readable(plan.model_dump(mode="json", exclude_none=True)) + "\n")


def _problem(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"  {key}: unknown key"
    message = error["msg"].removeprefix("Value error, ")
    value = error.get("input")
    shown = "" if isinstance(value, dict | BaseModel) else f" (found: {value!r})"
    return f"  {key}: {message}{shown}"


def _readable(value: Any, indent: str = "") -> str:
    """JSON in which an object or list stands on one line where it fits."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or len(flat) + len(indent) <= 110:
        return flat
    deeper = indent + "  "
    if isinstance(value, dict):
        parts = [f"{json.dumps(key, ensure_ascii=False)}: {_readable(item, deeper)}" for key, item in value.items()]
    else:
        parts = [_readable(item, deeper) for item in value]
    brackets = "{}" if isinstance(value, dict) else "[]"
    return brackets[0] + "\n" + ",\n".join(deeper + part for part in parts) + "\n" + indent + brackets[1]
