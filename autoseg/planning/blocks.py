"""The blocks of the plan: dataset, normalisation, resampling, network, training, inference; see `plan.py` for the whole.

- What one block can say about itself is checked here, what several must agree on in the block that holds them.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from autoseg.data.dataset import Labels

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Range = tuple[float, float]
AxisCounts = tuple[Count, ...]
# names a folder too, so it must be one that cannot lead anywhere else
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=64)]


class Block(BaseModel):
    """A part of the plan."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LabelsBlock(Block):
    """What the label values mean: class k is called `names[k]` and is `values[k]` in the user's files."""

    names: tuple[str, ...]
    values: tuple[int, ...]
    regions: dict[str, tuple[int, ...]] = {}
    ignore: int | None = None

    @model_validator(mode="after")
    def _values_agree(self) -> "LabelsBlock":
        if len(self.names) != len(self.values) or len(self.names) < 2:
            raise ValueError(f"names has {len(self.names)} entries, values has {len(self.values)}: one of each for the background and every class")
        if self.values[0] != 0 or list(self.values) != sorted(set(self.values)):
            raise ValueError(f"values {list(self.values)} must begin with 0, the background, and increase")
        if self.ignore in self.values:
            raise ValueError(f"ignore is {self.ignore}, which is a class too: give it a value of its own")
        for name, values in self.regions.items():
            if not values or not set(values) <= set(self.values[1:]):
                raise ValueError(f"region {name} unites {list(values)}: choose from {list(self.values[1:])}")
        return self

    def to_labels(self) -> Labels:
        """The same for those who know no plan."""
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

    @model_validator(mode="after")
    def _range_rises(self) -> "Transform":
        if not self.range[0] <= self.range[1]:
            raise ValueError(f"range {list(self.range)} must rise")
        return self


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
    previous_morphology: Transform | None = Field(
        None, description="cascade: radius in voxels of a dilation, erosion, opening or closing of each class of the previous stage's segmentation"
    )
    previous_removal: Transform | None = Field(
        None, description="cascade: a component of each class of the previous stage's segmentation is removed if its share of the patch lies in range"
    )

    @model_validator(mode="after")
    def _strengths_are_possible(self) -> "Augmentation":
        for name in ("noise", "blur", "brightness", "contrast", "previous_morphology", "previous_removal"):
            rule = getattr(self, name)
            if rule is not None and rule.range[0] < 0:
                raise ValueError(f"{name}.range {list(rule.range)} must not be below 0")
        for name in ("scaling", "low_resolution", "gamma_inverted", "gamma"):
            rule = getattr(self, name)
            if rule is not None and rule.range[0] <= 0:
                raise ValueError(f"{name}.range {list(rule.range)} must be above 0")
        return self


class Recipe(Block):
    """How weights are learned.

    The learning rate rises linearly over `warmup_fraction` of the training and then falls as `(1 - progress) ** 0.9`;
    progress is that of the steps, or of the clock where a budget is given.
    """

    optimizer: Literal["sgd", "adamw"]
    learning_rate: Positive
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.99, description="sgd: Nesterov momentum; adamw: decay of the gradient's average (beta 1)")
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
    loss: Literal["dice_ce", "dice", "ce", "dice_focal"] = "dice_ce"
    batch_dice: bool
    deep_supervision: bool = True
    oversample_foreground: Probability = 0.33
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    fast_below_steps: int = Field(20_000, description="shorter trainings use recipe `fast`, longer ones recipe `default`")
    recipes: dict[Literal["default", "fast"], Recipe] = Field(description="one or both; the only one is used for trainings of any length")

    @model_validator(mode="after")
    def _there_is_a_recipe(self) -> "Training":
        if not self.recipes:
            raise ValueError("recipes is empty: a plan needs the recipe default, the recipe fast, or both")
        return self


class Inference(Block):
    """What the predictor does: overlap of windows as a fraction of the patch, Gaussian weight, test-time mirroring."""

    step: Annotated[float, Field(gt=0, le=1)] = 0.5
    gaussian_sigma: Positive = 0.125
    mirror_axes: tuple[Literal[0, 1, 2], ...] = Field((), description="as far as the recipe mirrored them in training")
