"""The blocks of the plan: normalisation, resampling, training, inference; networks are in `networks.py`, the whole in `planning/plan.py`.

- What one block can say about itself is checked here, what several must agree on in the block that holds them.
- Every check belongs to a field and looks only at fields before it, so that one fault does not hide another.
- Descriptions are what editors show, by way of the JSON Schema; docs/plan.md says the same at more length.
"""

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from autoseg.planning.schema.faults import Fault, raise_if_any, shown
from autoseg.planning.schema.losses import LOSS_PATTERN, loss_fault

T = TypeVar("T")
Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]
Percent = Annotated[float, Field(ge=0, le=100)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Range = tuple[float, float]
AxisCounts = tuple[Count, ...]
MOST_SCALING = 10.0
PERCENTILES, CLIP_LIMIT = (0.5, 99.5), 0.01  # of the schemes that take them, unless the plan says otherwise
# names a folder too, so it must be one that cannot lead anywhere else
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=64)]


class Block(BaseModel):
    """A part of the plan."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Normalization(Block):
    """How one channel's intensities are scaled; statistics are given for `ct` only.

    `zscore`: subtract mean, divide by standard deviation of the image (inside the non-zero mask with `use_mask`);
    `ct`: clip to [lower, upper], subtract `mean`, divide by `std`; `rescale_to_0_1`: by the image's own range; `rgb_to_0_1`: divide by 255;
    `percentile_to_0_1`: clip to two percentiles of the image, which become 0 and 1; `histogram_equalization`: all intensities become about equally
    frequent; `clahe`: the same around each voxel of a slice, with limited contrast. The last two end at 0 and 1 and need the extra `zoo`.
    """

    channel: str = Field(description="its name in dataset.channel_names")
    scheme: Literal[
        "zscore", "ct", "none", "rescale_to_0_1", "rgb_to_0_1", "percentile_to_0_1", "histogram_equalization", "clahe"
    ] = Field(description="how intensities are scaled")  # fmt: skip
    use_mask: bool = Field(False, description="zscore: statistics come from the voxels that are not zero, and outside becomes 0")
    lower: float | None = Field(None, validate_default=True, description="ct: 0.5 percentile of the dataset's foreground")
    upper: float | None = Field(None, validate_default=True, description="ct: 99.5 percentile of the dataset's foreground")
    mean: float | None = Field(None, validate_default=True, description="ct: mean of the dataset's foreground")
    std: float | None = Field(None, validate_default=True, description="ct: standard deviation of the dataset's foreground")
    percentiles: tuple[Percent, Percent] | None = Field(
        None, validate_default=True, description=f"percentile_to_0_1: those of the image that become 0 and 1; {list(PERCENTILES)} unless given"
    )
    clip_limit: Share | None = Field(
        None, validate_default=True, description=f"clahe: more means more contrast, 1 is no limit; {CLIP_LIMIT} unless given"
    )

    @field_validator("use_mask")
    @classmethod
    def _mask_is_for_zscore(cls, use_mask: bool, info: ValidationInfo) -> bool:
        if use_mask and info.data.get("scheme", "zscore") != "zscore":
            raise ValueError("is for the scheme 'zscore' alone")
        return use_mask

    @field_validator("lower", "upper", "mean", "std")
    @classmethod
    def _ct_has_statistics(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is None and info.data.get("scheme") == "ct":
            raise ValueError("scheme 'ct' needs a number")
        return value

    @field_validator("percentiles")
    @classmethod
    def _percentiles_rise(cls, value: Range | None, info: ValidationInfo) -> Range | None:
        if info.data.get("scheme") != "percentile_to_0_1":
            return _only_for("percentile_to_0_1", value, info)
        value = PERCENTILES if value is None else value
        if not value[0] < value[1]:
            raise ValueError("must rise")
        return value

    @field_validator("clip_limit")
    @classmethod
    def _contrast_is_limited(cls, value: float | None, info: ValidationInfo) -> float | None:
        if info.data.get("scheme") != "clahe":
            return _only_for("clahe", value, info)
        return CLIP_LIMIT if value is None else value


class Resampling(Block):
    """Spline orders, the ratio of spacings above which the coarse axis is resampled on its own (nearest), and one size for all images."""

    image_order: Literal[0, 1, 3] = Field(3, description="spline order for images: 0 nearest, 1 linear, 3 cubic")
    label_order: Literal[0, 1] = Field(1, description="for label maps, as one channel a class")
    logits_order: Literal[0, 1, 3] = Field(1, description="for the network's output on the way back to the scan's grid")
    separate_axis_above: Positive = Field(3.0, description="ratio of spacings above which the one coarse axis is resampled on its own")
    resize: AxisCounts | None = Field(
        None, description="voxels an axis that every whole image is resampled to, uncropped and whatever its spacing; absent: to the spacing"
    )


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
        " bce (binary cross-entropy of each class against the rest), focal (focal loss); for the tasks anomaly and denoising mse (mean squared"
        " difference) or l1 (mean absolute difference)",
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
    slices: Literal["all", "with_foreground", "without_foreground"] = Field(
        "all",
        description="with_foreground: only slices that hold some class above 0 are drawn, each as often as any other of its case; 2D only."
        " without_foreground: only slices, or in 3D patches, that hold nothing but background",
    )
    noise: Range | None = Field(
        None, description="denoising: standard deviation of the Gaussian noise, of normalised intensities, is drawn from this range for each patch"
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

    @field_validator("slices")
    @classmethod
    def _nothing_is_forced(cls, slices: str, info: ValidationInfo) -> str:
        share = info.data.get("oversample_foreground")
        if slices == "without_foreground" and share:
            text = f"must be 0 where slices is {slices}: no patch can be centred on foreground and hold none{shown(share)}"
            raise_if_any([Fault(("oversample_foreground",), text)])
        return slices

    @field_validator("noise")
    @classmethod
    def _noise_rises(cls, noise: Range | None) -> Range | None:
        if noise is not None and not (0 <= noise[0] <= noise[1] and noise[1] > 0):
            raise ValueError("must rise, from 0 or more to something above 0")
        return noise

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
    smoothing: NotNegative = Field(0.0, description="anomaly: sigma in mm of the Gaussian that smooths the map; 0: not smoothed")


def _only_for(scheme: str, value: T | None, info: ValidationInfo) -> T | None:
    if value is not None and "scheme" in info.data:
        raise ValueError(f"is for the scheme '{scheme}' alone")
    return value


def _found(fault: str, value: str) -> str:
    """A fault with what was found before what would be right."""
    what, _, right = fault.partition("; ")
    return f"{what}{shown(value)}; {right}" if right else what + shown(value)
