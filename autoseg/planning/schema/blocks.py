"""The blocks of the plan: normalisation, resampling, network, training, inference; see `planning/plan.py` for the whole.

- What one block can say about itself is checked here, what several must agree on in the block that holds them.
- Every check belongs to a field and looks only at fields before it, so that one fault does not hide another.
- Descriptions are what editors show, by way of the JSON Schema; docs/plan.md says the same at more length.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from autoseg.planning.schema.faults import Fault, raise_if_any, shown
from autoseg.planning.schema.losses import LOSS_PATTERN, loss_fault

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Range = tuple[float, float]
AxisCounts = tuple[Count, ...]
MOST_SCALING = 10.0
# names a folder too, so it must be one that cannot lead anywhere else
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=64)]


class Block(BaseModel):
    """A part of the plan."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Normalization(Block):
    """How one channel's intensities are scaled; statistics are given for `ct` only.

    `zscore`: subtract mean, divide by standard deviation of the image (inside the non-zero mask with `use_mask`);
    `ct`: clip to [lower, upper], subtract `mean`, divide by `std`; `rescale_to_0_1`: by the image's own range; `rgb_to_0_1`: divide by 255.
    """

    channel: str = Field(description="its name in dataset.channel_names")
    scheme: Literal["zscore", "ct", "none", "rescale_to_0_1", "rgb_to_0_1"] = Field(description="how intensities are scaled")
    use_mask: bool = Field(False, description="zscore: statistics come from the voxels that are not zero, and outside becomes 0")
    lower: float | None = Field(None, validate_default=True, description="ct: 0.5 percentile of the dataset's foreground")
    upper: float | None = Field(None, validate_default=True, description="ct: 99.5 percentile of the dataset's foreground")
    mean: float | None = Field(None, validate_default=True, description="ct: mean of the dataset's foreground")
    std: float | None = Field(None, validate_default=True, description="ct: standard deviation of the dataset's foreground")

    @field_validator("lower", "upper", "mean", "std")
    @classmethod
    def _ct_has_statistics(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is None and info.data.get("scheme") == "ct":
            raise ValueError("scheme 'ct' needs a number")
        return value


class Resampling(Block):
    """Spline orders, and the ratio of spacings above which the coarse axis is resampled on its own (nearest)."""

    image_order: Literal[0, 1, 3] = Field(3, description="spline order for images: 0 nearest, 1 linear, 3 cubic")
    label_order: Literal[0, 1] = Field(1, description="for label maps, as one channel a class")
    logits_order: Literal[0, 1, 3] = Field(1, description="for the network's output on the way back to the scan's grid")
    separate_axis_above: Positive = Field(3.0, description="ratio of spacings above which the one coarse axis is resampled on its own")


class NetworkPlan(Block):
    """A U-Net: one entry a stage from full resolution down; the decoder has one stage less, listed from the deepest up.

    `blocks_per_stage` counts convolutions (`plain_unet`) or residual blocks (`residual_unet`).
    """

    family: Literal["plain_unet", "residual_unet"] = Field(description="residual_unet: residual encoder, plain decoder")
    features_per_stage: tuple[Count, ...] = Field(description="channels of each stage, from full resolution down")
    strides: tuple[AxisCounts, ...] = Field(description="step of each stage an axis; the first is all ones")
    kernel_sizes: tuple[AxisCounts, ...] = Field(description="of each stage an axis, odd numbers")
    blocks_per_stage: tuple[Count, ...] = Field(description="convolutions or residual blocks of each encoder stage")
    convs_per_stage_decoder: tuple[Count, ...] = Field(description="convolutions of each decoder stage, the deepest first; one entry less")

    @field_validator("features_per_stage")
    @classmethod
    def _at_least_two_stages(cls, features: tuple[int, ...]) -> tuple[int, ...]:
        if len(features) < 2:
            raise ValueError(f"a U-Net has at least 2 stages, here {_are(len(features))}; give each list of the network one entry a stage")
        return features

    @field_validator("strides", "kernel_sizes", "blocks_per_stage", "convs_per_stage_decoder")
    @classmethod
    def _one_entry_a_stage(cls, entries: tuple[Any, ...], info: ValidationInfo) -> tuple[Any, ...]:
        stages = len(info.data["features_per_stage"]) if "features_per_stage" in info.data else None
        expected = stages - 1 if stages and info.field_name == "convs_per_stage_decoder" else stages
        if expected is not None and len(entries) != expected:
            less = ", and the decoder has one less" if expected != stages else ""
            raise ValueError(f"has {len(entries)} entries instead of {expected}: features_per_stage has {stages} stages{less}")
        return entries

    @field_validator("strides")
    @classmethod
    def _full_resolution_comes_first(cls, strides: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
        if strides and any(step != 1 for step in strides[0]):
            ones = [1] * len(strides[0])
            raise_if_any([Fault(("strides", 0), f"the first stage keeps the full resolution{shown(strides[0])}; nearest valid: {ones}")])
        return strides

    @field_validator("kernel_sizes")
    @classmethod
    def _kernels_have_a_middle(cls, kernels: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
        raise_if_any(
            Fault(
                ("kernel_sizes", stage), f"kernels have a middle, so every size is odd{shown(kernel)}; nearest valid: {[size | 1 for size in kernel]}"
            )
            for stage, kernel in enumerate(kernels)
            if any(size % 2 == 0 for size in kernel)
        )
        return kernels


class Transform(Block):
    """A random change with the chance that a sample gets it and the range its strength is drawn from (uniformly)."""

    probability: Probability = Field(description="chance that a patch gets it")
    range: Range = Field(description="its strength is drawn from this range, uniformly")

    @field_validator("range")
    @classmethod
    def _range_rises(cls, value: Range) -> Range:
        if not value[0] <= value[1]:
            raise_if_any([Fault(("range",), f"must rise{shown(value)}; nearest valid: {sorted(value)}")])
        return value


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

    @field_validator("noise", "blur", "brightness", "contrast", "previous_morphology", "previous_removal")
    @classmethod
    def _not_negative(cls, rule: Transform | None, info: ValidationInfo) -> Transform | None:
        if rule is not None and rule.range[0] < 0:
            raise_if_any([Fault((str(info.field_name), "range"), f"must not be below 0{shown(rule.range)}")])
        return rule

    @field_validator("scaling", "low_resolution", "gamma_inverted", "gamma")
    @classmethod
    def _above_zero(cls, rule: Transform | None, info: ValidationInfo) -> Transform | None:
        if rule is not None and rule.range[0] <= 0:
            raise_if_any([Fault((str(info.field_name), "range"), f"must be above 0{shown(rule.range)}")])
        if rule is not None and info.field_name == "scaling" and rule.range[1] > MOST_SCALING:
            raise_if_any([Fault(("scaling", "range"), f"must not be above {MOST_SCALING:g}, which makes patches of nothing{shown(rule.range)}")])
        return rule


class Recipe(Block):
    """How weights are learned.

    The learning rate rises linearly over `warmup_fraction` of the training and then follows the schedule; progress is that of the steps, or of the
    clock where a budget is given. What an epoch's loss decides (plateau, stopping, which weights are kept) is decided by the validation loss, or by
    the training loss where no case is held out.
    """

    optimizer: Literal["sgd", "adam", "adamw"] = Field(description="sgd is with Nesterov momentum; adam has its weight decay in the gradient (L2)")
    learning_rate: Positive = Field(description="the largest")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.99, description="sgd: Nesterov momentum; adam, adamw: decay of the gradient's average (beta 1)"
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(3e-5, description="adamw leaves out norms and biases")
    warmup_fraction: Probability = Field(0.0, description="part of the training over which the learning rate rises linearly")
    schedule: Literal["poly", "plateau", "cosine", "one_cycle", "constant"] = Field(
        "poly",
        description="poly: (1 - progress) ** 0.9; plateau: lowered when the loss stops falling; cosine: half a cosine;"
        " one_cycle: a rise over 30 % and a long fall, warm-up included; constant: as it is",
    )
    plateau_factor: Annotated[float, Field(gt=0, lt=1)] = Field(0.1, description="plateau: what the learning rate is multiplied by")
    plateau_patience: Annotated[int, Field(ge=0)] = Field(5, description="plateau: epochs without a better loss that are let pass")
    smallest_learning_rate: NotNegative = Field(0.0, description="poly and cosine end there, plateau and one_cycle never go below")
    stop_after: Count | None = Field(None, description="training stops after so many epochs without a better loss; absent: it does not")
    keep: Literal["last", "best"] = Field("last", description="weights that prediction uses: the last, or those of the epoch with the lowest loss")
    clip_gradient_norm: Positive | None = Field(None, description="largest norm of the gradient; absent: not clipped")
    weight_average: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="decay of the moving average of the weights; 0: none")
    augmentation: Augmentation = Field(description="random changes of a training patch")

    @field_validator("schedule")
    @classmethod
    def _one_warm_up(cls, schedule: str, info: ValidationInfo) -> str:
        warmup = info.data.get("warmup_fraction")
        if schedule == "one_cycle" and warmup:
            raise_if_any([Fault(("warmup_fraction",), f"one_cycle has a warm-up of its own{shown(warmup)}; nearest valid: 0")])
        return schedule

    @field_validator("smallest_learning_rate")
    @classmethod
    def _not_above_the_largest(cls, smallest: float, info: ValidationInfo) -> float:
        largest = info.data.get("learning_rate")
        if largest is not None and smallest > largest:
            raise ValueError(f"must not be above learning_rate, which is {largest:g}")
        return smallest


class Training(Block):
    """What the trainer does."""

    epochs: Count = Field(1000, description="length without --epochs and --budget")
    iterations_per_epoch: Count = Field(250, description="steps an epoch")
    validation_iterations: Count = Field(50, description="batches of random validation patches after each epoch")
    loss: str = Field(
        "dice_ce",
        description="terms joined by _, each at most once, added: dice (minus soft Dice), tversky (minus the Tversky index), ce (cross-entropy),"
        " bce (binary cross-entropy of each class against the rest), focal (focal loss)",
        json_schema_extra={"pattern": LOSS_PATTERN},
    )
    focal_gamma: NotNegative = Field(2.0, description="focal: how much less the voxels count that are nearly right; 0 is cross-entropy")
    tversky_beta: Probability = Field(0.7, description="tversky: weight of missed voxels; false alarms weigh 1 - tversky_beta")
    class_weights: tuple[NotNegative, ...] | None = Field(
        None,
        description="one number a class with the background, or one a region: weights in the loss; absent: all weigh the same, and Dice leaves the"
        " background out",
    )
    batch_dice: bool = Field(description="Dice over the whole batch as one image, instead of one a patch")
    deep_supervision: bool = Field(True, description="loss at the decoder's coarser stages too")
    oversample_foreground: Probability = Field(0.33, description="share of a batch that is centred on foreground")
    patches_per_case: Count = Field(1, description="so many patches of a batch, one after the other, come from the same case")
    slices: Literal["all", "with_foreground"] = Field(
        "all", description="with_foreground: only slices that hold some class above 0 are drawn, each as often as any other of its case; 2D only"
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="of training and of prediction")
    fast_below_steps: int = Field(20_000, description="shorter trainings use recipe `fast`, longer ones recipe `default`")
    recipes: dict[Literal["default", "fast"], Recipe] = Field(description="one or both; the only one is used for trainings of any length")

    @field_validator("loss")
    @classmethod
    def _loss_of_known_terms(cls, loss: str) -> str:
        fault = loss_fault(loss)
        if fault:
            raise_if_any([Fault(("loss",), _found(fault, loss))])
        return loss

    @field_validator("class_weights")
    @classmethod
    def _something_counts(cls, weights: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if weights is not None and not any(weights):
            raise ValueError("must have a number above 0: with these weights nothing would be learned")
        return weights

    @field_validator("recipes")
    @classmethod
    def _there_is_a_recipe(cls, recipes: dict[str, Recipe]) -> dict[str, Recipe]:
        if not recipes:
            raise ValueError("is empty: a plan needs the recipe default, the recipe fast, or both")
        return recipes


class Inference(Block):
    """What the predictor does: overlap of windows as a fraction of the patch, Gaussian weight, test-time mirroring."""

    step: Annotated[float, Field(gt=0, le=1)] = Field(0.5, description="distance of windows as a part of the patch")
    gaussian_sigma: Positive = Field(0.125, description="of the windows' weight, as a part of the patch")
    mirror_axes: tuple[Literal[0, 1, 2], ...] = Field(
        (), description="axes over which predictions are mirrored and averaged, as far as the recipe mirrored them in training"
    )


def _found(fault: str, value: str) -> str:
    """A fault with what was found before what would be right."""
    what, _, right = fault.partition("; ")
    return f"{what}{shown(value)}; {right}" if right else what + shown(value)


def _are(count: int) -> str:
    return "is 1" if count == 1 else f"are {count}"
