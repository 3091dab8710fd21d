"""A configuration: one network on one resolution of the data, with what its blocks must agree on.

- The patch is held to the network's strides; what cannot be built is refused with the nearest patch that can.
"""

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from autoseg.planning.schema.blocks import AxisCounts, Block, Count, Inference, Name, NetworkPlan, Normalization, Positive, Resampling, Training
from autoseg.planning.schema.faults import Fault, raise_if_any, shown

MOST_VOXELS = 2**33  # of a median case: 32 GiB a channel


class Configuration(Block):
    """One network on one resolution of the data.

    With `inherits` the file holds only what differs from another configuration; in memory every configuration is whole.
    With `previous_stage` the network also sees the segmentation of another configuration, one channel a class.
    """

    inherits: Name | None = Field(None, description="the configuration that this one is like: its block holds only what differs")
    previous_stage: Name | None = Field(
        None, description="a cascade: the configuration whose segmentation the network also sees, one channel a class"
    )
    dimensions: Literal[2, 3] = Field(description="2 (Y, X) or 3 (Z, Y, X)")
    spacing: tuple[Positive, ...] = Field(description="millimetres that cases are resampled to; in 2D the in-plane ones, slices stay where they are")
    median_shape: tuple[Positive, ...] = Field(description="voxels of the median case, cropped to what is not zero and at that spacing")
    patch_size: AxisCounts = Field(description="voxels that the network sees at once; each a multiple of the product of the strides along its axis")
    batch_size: Count = Field(description="patches a step")
    normalization: tuple[Normalization, ...] = Field(description="how intensities are scaled: one entry a channel, in the order of the channels")
    resampling: Resampling = Field(Resampling(), description="how cases are brought to the spacing, and predictions back")
    network: NetworkPlan = Field(description="a U-Net: one entry a stage from full resolution down")
    training: Training = Field(description="what the trainer does")
    inference: Inference = Field(Inference(), description="what the predictor does")
    why: dict[str, str] = Field(default_factory=dict, description="decision to reason")

    @field_validator("spacing", "median_shape", "patch_size")
    @classmethod
    def _one_number_an_axis(cls, numbers: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        dimensions = info.data.get("dimensions", len(numbers))
        if len(numbers) != dimensions:
            raise ValueError(f"needs {dimensions} numbers, because dimensions is {dimensions}")
        return numbers

    @field_validator("median_shape")
    @classmethod
    def _can_be_held(cls, shape: tuple[float, ...]) -> tuple[float, ...]:
        if prod(shape) > MOST_VOXELS:
            raise ValueError(f"would have {prod(shape):.2g} voxels at this spacing, more than any computer can hold: give a coarser one")
        return shape

    @field_validator("network")
    @classmethod
    def _patch_fits_network(cls, network: NetworkPlan, info: ValidationInfo) -> NetworkPlan:
        dimensions, patch = info.data.get("dimensions"), info.data.get("patch_size")
        if dimensions is not None:
            raise_if_any(
                Fault(("network", key, stage), f"needs {dimensions} numbers, because dimensions is {dimensions}{shown(entry)}")
                for key in ("strides", "kernel_sizes")
                for stage, entry in enumerate(getattr(network, key))
                if len(entry) != dimensions
            )
            raise_if_any(_patch_faults(patch, network.strides) if patch else ())
        return network

    @field_validator("training")
    @classmethod
    def _fits_the_dimensions(cls, training: Training, info: ValidationInfo) -> Training:
        raise_if_any(
            Fault(("training", "recipes", name, "augmentation", "mirror_axes"), "in 2D there are only 2 axes, 0 and 1" + shown(axes))
            for name, recipe in training.recipes.items()
            if (axes := recipe.augmentation.mirror_axes) and max(axes) >= info.data.get("dimensions", 3)
        )
        if training.slices != "all" and info.data.get("dimensions", 2) != 2:
            text = f"only a 2D configuration learns from slices{shown(training.slices)}; nearest valid: 'all'"
            raise_if_any([Fault(("training", "slices"), text)])
        return training

    @field_validator("inference")
    @classmethod
    def _mirrored_axes_exist(cls, inference: Inference, info: ValidationInfo) -> Inference:
        axes = inference.mirror_axes
        if axes and max(axes) >= info.data.get("dimensions", 3):
            raise_if_any([Fault(("inference", "mirror_axes"), "in 2D there are only 2 axes, 0 and 1" + shown(axes))])
        return inference


def nearest_patch(patch_size: tuple[int, ...], strides: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    """The patch nearest to one that a U-Net of these strides can take.

    Parameters
    ----------
    patch_size : voxels an axis
    strides : one entry a stage, each with one number an axis

    Returns
    -------
    multiples of the product of the strides, of more than one slice in 3D and more than one voxel at the coarsest stage; of two that are
    equally near the smaller, which needs less memory
    """
    divisors = _divisors(strides)
    below = [max(1, size // divisor) * divisor for size, divisor in zip(patch_size, divisors, strict=True)]
    around = product(*(range(first, first + 3 * divisor, divisor) for first, divisor in zip(below, divisors, strict=True)))
    possible = [size for size in around if size != divisors and not (len(size) == 3 and size[0] == 1)]
    return min(possible, key=lambda size: (sum(abs(one - other) for one, other in zip(size, patch_size, strict=True)), prod(size)))


def _patch_faults(patch: tuple[int, ...], strides: tuple[tuple[int, ...], ...]) -> Iterator[Fault]:
    divisors = _divisors(strides)
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
        yield Fault(("patch_size",), f"{'; '.join(wrong)}{shown(patch)}; nearest valid patch_size: {list(nearest_patch(patch, strides))}")


def _divisors(strides: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    return tuple(prod(steps) for steps in zip(*strides, strict=True))
