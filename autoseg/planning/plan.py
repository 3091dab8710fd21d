"""The plan: every decision, in one JSON file made for people to read and edit.

- Everything after planning reads the plan and nothing but the plan.
- Strict: an unknown key or a bad value is an error that names the key, the value and what is allowed.
- Axis order Z, Y, X, after `transpose_forward` has been applied; 2D configurations keep their lists at two numbers (Y, X).
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from autoseg.data.dataset import Labels
from autoseg.errors import PlanError
from autoseg.files import read_json, write_text

SCHEMA_VERSION: Literal[1] = 1

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Range = tuple[float, float]
AxisCounts = tuple[Count, ...]


class Block(BaseModel):
    """A part of the plan."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LabelsBlock(Block):
    """What the label values mean: class k is called `names[k]` and is `values[k]` in the user's files."""

    names: tuple[str, ...]
    values: tuple[int, ...]
    regions: dict[str, tuple[int, ...]] = {}
    ignore: int | None = None

    def to_labels(self) -> Labels:
        return Labels(self.names, self.values, self.regions, self.ignore)


class DatasetBlock(Block):
    """Facts about the dataset that prediction needs again."""

    name: str
    layout: str
    channel_names: tuple[str, ...]
    labels: LabelsBlock
    num_cases: Count
    file_ending: str


class Normalization(Block):
    """How one channel's intensities are scaled; statistics are given for `ct` only.

    `zscore`: subtract mean, divide by standard deviation of the image (inside the non-zero mask with `use_mask`);
    `ct`: clip to [lower, upper], subtract `mean`, divide by `std`; `rescale_to_0_1`: by the image's own range; `rgb_to_0_1`: divide by 255.
    """

    channel: str
    scheme: Literal["zscore", "ct", "none", "rescale_to_0_1", "rgb_to_0_1"]
    use_mask: bool = False
    lower: float | None = None
    upper: float | None = None
    mean: float | None = None
    std: float | None = None

    @model_validator(mode="after")
    def _ct_has_statistics(self) -> "Normalization":
        if self.scheme == "ct" and None in (self.lower, self.upper, self.mean, self.std):
            raise ValueError("scheme 'ct' needs lower, upper, mean and std")
        return self


class Resampling(Block):
    """Spline orders, and the ratio of spacings above which the coarse axis is resampled on its own (nearest)."""

    image_order: Literal[0, 1, 3] = 3
    label_order: Literal[0, 1] = 1
    logits_order: Literal[0, 1, 3] = 1
    separate_axis_above: Positive = 3.0


class NetworkPlan(Block):
    """A U-Net: one entry a stage from full resolution down; the decoder has one stage less.

    `blocks_per_stage` counts convolutions (`plain_unet`) or residual blocks (`residual_unet`).
    """

    family: Literal["plain_unet", "residual_unet"]
    features_per_stage: tuple[Count, ...]
    strides: tuple[AxisCounts, ...]
    kernel_sizes: tuple[AxisCounts, ...]
    blocks_per_stage: tuple[Count, ...]
    convs_per_stage_decoder: tuple[Count, ...]

    @model_validator(mode="after")
    def _stages_agree(self) -> "NetworkPlan":
        stages = len(self.features_per_stage)
        for key in ("strides", "kernel_sizes", "blocks_per_stage"):
            if len(getattr(self, key)) != stages:
                raise ValueError(f"{key} has {len(getattr(self, key))} entries, features_per_stage has {stages}: one for each stage")
        if len(self.convs_per_stage_decoder) != stages - 1:
            raise ValueError(f"convs_per_stage_decoder has {len(self.convs_per_stage_decoder)} entries instead of {stages - 1}")
        return self


class Transform(Block):
    """A random change with the chance that a sample gets it and the range its strength is drawn from (uniformly)."""

    probability: Probability
    range: Range


class Augmentation(Block):
    """Random changes of a training patch; `null` leaves one out. Drawn for each sample; see docs/training.md."""

    slice_wise: bool = Field(False, description="spatial changes act on slices: for patches that are much coarser along Z")
    rotation: Transform | None = Field(None, description="degrees about each axis")
    scaling: Transform | None = Field(None, description="factor, the same for all axes")
    noise: Transform | None = Field(None, description="standard deviation of Gaussian noise is drawn from this range")
    blur: Transform | None = Field(None, description="sigma of the Gaussian in voxels; each channel with chance 0.5")
    brightness: Transform | None = Field(None, description="factor, for each channel; below and above 1 with equal chance")
    contrast: Transform | None = Field(None, description="factor about the channel's mean, range kept; below and above 1 with equal chance")
    low_resolution: Transform | None = Field(None, description="scale; each channel with chance 0.5")
    gamma_inverted: Transform | None = Field(
        None, description="exponent on the inverted image, mean and std kept; below and above 1 with equal chance"
    )
    gamma: Transform | None = Field(None, description="exponent, mean and std kept; below and above 1 with equal chance")
    mirror_axes: tuple[Literal[0, 1, 2], ...] = Field((), description="each flipped with chance 0.5")


class Recipe(Block):
    """How weights are learned.

    The learning rate rises linearly over `warmup_fraction` of the training and then falls as `(1 - progress) ** 0.9`;
    progress is that of the steps, or of the clock where a budget is given.
    """

    optimizer: Literal["sgd", "adamw"]
    learning_rate: Positive
    momentum: Probability = Field(0.99, description="sgd: Nesterov momentum; adamw: decay of the gradient's average (beta 1)")
    weight_decay: Annotated[float, Field(ge=0)] = 3e-5
    warmup_fraction: Probability = 0.0
    clip_gradient_norm: Positive | None = Field(None, description="largest norm of the gradient; absent: not clipped")
    weight_average: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="decay of the moving average of the weights; 0: none")
    augmentation: Augmentation


class Training(Block):
    """What the trainer does."""

    epochs: Count = 1000
    iterations_per_epoch: Count = 250
    validation_iterations: Count = 50
    loss: Literal["dice_ce"] = "dice_ce"
    batch_dice: bool
    deep_supervision: bool = True
    oversample_foreground: Probability = 0.33
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    fast_below_steps: int = Field(20_000, description="shorter trainings use recipe `fast`, longer ones recipe `default`")
    recipes: dict[Literal["default", "fast"], Recipe]


class Inference(Block):
    """What the predictor does: overlap of windows as a fraction of the patch, Gaussian weight, test-time mirroring."""

    step: Annotated[float, Field(gt=0, le=1)] = 0.5
    gaussian_sigma: Positive = 0.125
    mirror_axes: tuple[Literal[0, 1, 2], ...] = Field((), description="as far as the recipe mirrored them in training")


class Configuration(Block):
    """One network on one resolution of the data."""

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
    why: dict[str, str] = {}

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
    configurations: dict[str, Configuration]
    why: dict[str, str] = {}

    @property
    def labels(self) -> Labels:
        return self.dataset.labels.to_labels()

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
