"""A configuration: one network on one resolution of the data, with what its blocks must agree on.

- Where whole images are resized, `spacing` and `median_shape` are nominal: they say what to expect, and nothing follows from them.
- The patch is held to what the network can take; what cannot be built is refused with the nearest patch that can.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from autoseg.imaging.image import Shape3
from autoseg.planning.schema.blocks import AxisCounts, Block, Count, Inference, Name, Normalization, Positive, Resampling, Training
from autoseg.planning.schema.classification import Classification, loss_of_classes_fault
from autoseg.planning.schema.faults import Fault, raise_if_any, shown
from autoseg.planning.schema.networks import AnyNetwork, NetworkPlan
from autoseg.planning.schema.tasks import RECONSTRUCTIONS, Task, family_faults, loss_faults

MOST_VOXELS = 2**33  # of a median case: 32 GiB a channel
NOT_LINEAR = ("histogram_equalization", "clahe")  # schemes that nothing undoes


class Configuration(Block):
    """One network on one resolution of the data.

    With `inherits` the file holds only what differs from another configuration; in memory every configuration is whole.
    With `previous_stage` the network also sees the segmentation of another configuration, one channel a class.
    With task `classification` only the encoder of the network is built, with a head that gives the classes; a segmentation may have such a head
    too.
    """

    inherits: Name | None = Field(None, description="the configuration that this one is like: its block holds only what differs")
    previous_stage: Name | None = Field(
        None, description="a cascade: the configuration whose segmentation the network also sees, one channel a class"
    )
    recipe: Name | None = Field(None, description="the published approach that it was made after")
    task: Task = Field(
        "segmentation",
        description="what the network is for: segmentation, classification of whole slices or volumes (by the network's encoder with a head),"
        " anomaly (the error of its reconstruction is the prediction) or denoising (noisy in, clean out)",
    )
    classification: Classification | None = Field(
        None, validate_default=True, description="of what, into which classes: for classification, or beside a segmentation"
    )
    dimensions: Literal[2, 3] = Field(description="2 (Y, X) or 3 (Z, Y, X)")
    spacing: tuple[Positive, ...] = Field(
        description="millimetres that cases are resampled to; in 2D the in-plane ones, slices stay where they are; nominal with resampling.resize"
    )
    median_shape: tuple[Positive, ...] = Field(description="voxels of the median case, cropped to what is not zero and at that spacing")
    patch_size: AxisCounts = Field(description="voxels that the network sees at once; each a multiple of the product of the strides along its axis")
    batch_size: Count = Field(description="patches a step")
    normalization: tuple[Normalization, ...] = Field(
        min_length=1, description="how intensities are scaled: one entry for each channel that the network sees, in the order of the channels"
    )
    resampling: Resampling = Field(Resampling(), description="how cases are brought to the spacing, and predictions back")
    network: AnyNetwork = Field(discriminator="family", description="which network; its family decides which keys there are")
    training: Training = Field(description="what the trainer does")
    inference: Inference = Field(Inference(), description="what the predictor does")
    why: dict[str, str] = Field(default_factory=dict, description="decision to reason")

    @property
    def patch_3d(self) -> Shape3:
        """The patch as Z, Y, X; a 2D patch is one slice thick."""
        z, y, x = self.patch_size if self.dimensions == 3 else (1, *self.patch_size)
        return z, y, x

    @property
    def keeps_zero(self) -> bool:
        """Whether voxels outside the head are exactly 0 once they are normalised, and stay so."""
        return any(rule.use_mask for rule in self.normalization)

    @field_validator("task")
    @classmethod
    def _only_segmentations_follow_one(cls, task: str, info: ValidationInfo) -> str:
        previous = info.data.get("previous_stage")
        if task != "segmentation" and previous is not None:
            raise_if_any([Fault(("previous_stage",), f"is for the task segmentation alone, and task is {task}{shown(previous)}")])
        return task

    @field_validator("normalization")
    @classmethod
    def _can_be_undone(cls, rules: tuple[Normalization, ...], info: ValidationInfo) -> tuple[Normalization, ...]:
        if info.data.get("task") == "denoising":
            raise_if_any(
                Fault(("normalization", index, "scheme"), f"nothing brings the intensities back, which denoising needs{shown(rule.scheme)}")
                for index, rule in enumerate(rules)
                if rule.scheme in NOT_LINEAR
            )
        return rules

    @field_validator("spacing", "median_shape", "patch_size")
    @classmethod
    def _one_number_an_axis(cls, numbers: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        dimensions = info.data.get("dimensions", len(numbers))
        if len(numbers) != dimensions:
            raise ValueError(f"needs {dimensions} numbers, because dimensions is {dimensions}")
        return numbers

    @field_validator("classification")
    @classmethod
    def _belongs_to_the_task(cls, block: Classification | None, info: ValidationInfo) -> Classification | None:
        task = info.data.get("task")
        if task == "classification" and block is None:
            raise ValueError('is missing: say of what, such as {"target": "presence"}')
        if block is not None and info.data.get("previous_stage"):
            raise_if_any([Fault(("previous_stage",), f"what classifies has none{shown(info.data['previous_stage'])}")])
        return block

    @field_validator("median_shape")
    @classmethod
    def _can_be_held(cls, shape: tuple[float, ...]) -> tuple[float, ...]:
        if prod(shape) > MOST_VOXELS:
            raise ValueError(f"would have {prod(shape):.2g} voxels at this spacing, more than any computer can hold: give a coarser one")
        return shape

    @field_validator("resampling")
    @classmethod
    def _resize_fits(cls, resampling: Resampling, info: ValidationInfo) -> Resampling:
        dimensions, resize = info.data.get("dimensions"), resampling.resize
        if resize is None:
            return resampling
        if dimensions is not None and len(resize) != dimensions:
            raise_if_any([Fault(("resampling", "resize"), f"needs {dimensions} numbers, because dimensions is {dimensions}{shown(resize)}")])
        if prod(resize) > MOST_VOXELS:
            raise_if_any([Fault(("resampling", "resize"), f"makes {prod(resize):.2g} voxels, more than any computer can hold{shown(resize)}")])
        return resampling

    @field_validator("network")
    @classmethod
    def _network_does_the_task(cls, network: AnyNetwork, info: ValidationInfo) -> AnyNetwork:
        if "task" in info.data:
            raise_if_any(family_faults(info.data["task"], network.family, head=info.data.get("classification") is not None))
        return network

    @field_validator("network")
    @classmethod
    def _patch_fits_network(cls, network: AnyNetwork, info: ValidationInfo) -> AnyNetwork:
        dimensions, patch = info.data.get("dimensions"), info.data.get("patch_size")
        if dimensions is not None:
            raise_if_any(Fault(("network", *fault.place), fault.text) for fault in network.axis_faults(dimensions))
            raise_if_any(_patch_faults(patch, network.divisors(dimensions)) if patch else ())
        if network.family == "deeplabv3plus" and info.data.get("batch_size") == 1:
            raise_if_any(
                [Fault(("batch_size",), "must be above 1 for deeplabv3plus, which normalises a pooled pixel over the batch; nearest valid: 2")]
            )
        return network

    @field_validator("training")
    @classmethod
    def _teaches_the_task(cls, training: Training, info: ValidationInfo) -> Training:
        task = info.data.get("task")
        if task is not None:
            raise_if_any(loss_faults(task, training.loss))
        if task == "denoising" and training.noise is None:
            raise_if_any([Fault(("training", "noise"), "is needed for the task denoising: two standard deviations such as [0.05, 0.5]")])
        if task not in ("denoising", None) and training.noise is not None:
            raise_if_any([Fault(("training", "noise"), f"is for the task denoising alone, and task is {task}{shown(training.noise)}")])
        if task in RECONSTRUCTIONS and training.class_weights is not None:
            raise_if_any([Fault(("training", "class_weights"), f"weigh classes or regions, which the task {task} does not learn")])
        return training

    @field_validator("training")
    @classmethod
    def _network_gives_stages(cls, training: Training, info: ValidationInfo) -> Training:
        network = info.data.get("network")
        if training.deep_supervision and network is not None and not isinstance(network, NetworkPlan):
            text = f"must be false: only plain_unet and residual_unet give logits at coarser stages, and family is {network.family}"
            raise_if_any([Fault(("training", "deep_supervision"), text)])
        return training

    @field_validator("training")
    @classmethod
    def _classes_are_learned(cls, training: Training, info: ValidationInfo) -> Training:
        if info.data.get("task") != "classification":
            return training
        faults = [Fault(("training", "loss"), text)] if (text := loss_of_classes_fault(training.loss)) else []
        if training.slices != "all" and (block := info.data.get("classification")) and block.of_presence:
            faults.append(
                Fault(("training", "slices"), f"leaves no slice without foreground to tell apart{shown(training.slices)}; nearest valid: 'all'")
            )
        if training.deep_supervision:
            faults.append(Fault(("training", "deep_supervision"), "must be false: a class of the whole image has one resolution"))
        raise_if_any(faults)
        return training

    @field_validator("training")
    @classmethod
    def _fits_the_dimensions(cls, training: Training, info: ValidationInfo) -> Training:
        raise_if_any(
            Fault(("training", "recipes", name, "augmentation", "mirror_axes"), "in 2D there are only 2 axes, 0 and 1" + shown(axes))
            for name, recipe in training.recipes.items()
            if (axes := recipe.augmentation.mirror_axes) and max(axes) >= info.data.get("dimensions", 3)
        )
        if training.slices == "with_foreground" and info.data.get("dimensions", 2) != 2:
            text = f"only a 2D configuration learns from slices{shown(training.slices)}; nearest valid: 'all'"
            raise_if_any([Fault(("training", "slices"), text)])
        return training

    @field_validator("inference")
    @classmethod
    def _mirrored_axes_exist(cls, inference: Inference, info: ValidationInfo) -> Inference:
        axes = inference.mirror_axes
        if axes and max(axes) >= info.data.get("dimensions", 3):
            raise_if_any([Fault(("inference", "mirror_axes"), "in 2D there are only 2 axes, 0 and 1" + shown(axes))])
        task = info.data.get("task")
        if inference.smoothing and task not in ("anomaly", None):
            raise_if_any([Fault(("inference", "smoothing"), f"is for the task anomaly alone, and task is {task}{shown(inference.smoothing)}")])
        return inference


def channel_positions(channels: Sequence[str], known: Sequence[str]) -> tuple[int, ...] | None:
    """Where the channels that a configuration sees are among the dataset's.

    Parameters
    ----------
    channels : names, in the order of the dataset
    known : the dataset's; several may have one name, and are then taken in turn

    Returns
    -------
    a position for each, rising; None where one is not there, or not in that order
    """
    rest = iter(range(len(known)))
    found = [next((position for position in rest if known[position] == channel), None) for channel in channels]
    positions = tuple(position for position in found if position is not None)
    return positions if len(positions) == len(channels) else None


def nearest_patch(patch_size: tuple[int, ...], divisors: tuple[int, ...]) -> tuple[int, ...]:
    """The patch nearest to one that a network can take.

    Parameters
    ----------
    patch_size : voxels an axis
    divisors : what the network's patches are multiples of, one number an axis

    Returns
    -------
    multiples of the divisors, of more than one slice in 3D and more than one voxel at the coarsest stage; of two that are
    equally near the smaller, which needs less memory
    """
    below = [max(1, size // divisor) * divisor for size, divisor in zip(patch_size, divisors, strict=True)]
    around = product(*(range(first, first + 3 * divisor, divisor) for first, divisor in zip(below, divisors, strict=True)))
    possible = [size for size in around if size != divisors and not (len(size) == 3 and size[0] == 1)]
    return min(possible, key=lambda size: (sum(abs(one - other) for one, other in zip(size, patch_size, strict=True)), prod(size)))


def _patch_faults(patch: tuple[int, ...], divisors: tuple[int, ...]) -> Iterator[Fault]:
    wrong = [
        f"{size} on axis {axis} is not divisible by {divisor}, the product of the strides there"
        for axis, (size, divisor) in enumerate(zip(patch, divisors, strict=True))
        if size % divisor
    ]
    if len(patch) == 3 and patch[0] == 1:
        wrong.append("a patch of one slice is for a 2D configuration, with two numbers")
    if patch == divisors:
        wrong.append("one voxel is left at the coarsest stage, where normalisation needs more")
    if wrong:
        yield Fault(("patch_size",), f"{'; '.join(wrong)}{shown(patch)}; nearest valid patch_size: {list(nearest_patch(patch, divisors))}")
