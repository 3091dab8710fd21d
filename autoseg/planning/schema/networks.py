"""The network's block: which network, of which size.

- `family` decides which keys there are: our own U-Nets say every stage, networks of libraries an encoder or a width.
- Every kind knows what a patch must be a multiple of, and which numbers of axes it takes.
"""

from collections.abc import Iterator
from math import prod
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from autoseg.planning.schema.blocks import AxisCounts, Block, Count
from autoseg.planning.schema.faults import Fault, raise_if_any, shown
from autoseg.planning.schema.tasks import RECONSTRUCTING

Norm = Literal["instance", "batch", "group"]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Encoder = Literal[
    "resnet18", "resnet34", "resnet50", "resnet101", "resnext50_32x4d", "densenet121", "vgg16_bn", "mobilenet_v2",
    "efficientnet-b0", "efficientnet-b1", "efficientnet-b2", "efficientnet-b3", "efficientnet-b4", "efficientnet-b5", "efficientnet-b6",
    "efficientnet-b7",
]  # fmt: skip
ENCODER_STEP = {"unet": 32, "unetplusplus": 32, "deeplabv3plus": 16, "encoder": 32}
LIBRARY_STAGES = {"swin_unetr": 6, "unetplusplus_monai": 5}  # those whose number of resolutions is fixed
SWIN_WIDTH = 12  # the width of SwinUNETR is a multiple of it


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
    norm: Norm = Field("instance", description="after every convolution; group: 8 groups, or as many as divide the channels")
    dropout: Dropout = Field(0.0, description="chance that a channel is left out after a convolution, in training")

    def divisors(self, dimensions: int) -> tuple[int, ...]:
        """By how much the coarsest stage is coarser than the image, an axis: every patch is a multiple of it."""
        return tuple(prod(steps) for steps in zip(*self.strides, strict=True))

    @property
    def summary(self) -> str:
        return f"{self.family}, {len(self.strides)} stages"

    def axis_faults(self, dimensions: int) -> Iterator[Fault]:
        """What does not have a number for each of so many axes."""
        for key in ("strides", "kernel_sizes"):
            for stage, entry in enumerate(getattr(self, key)):
                if len(entry) != dimensions:
                    yield Fault((key, stage), f"needs {dimensions} numbers, because dimensions is {dimensions}{shown(entry)}")

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


class EncoderNetworkPlan(Block):
    """A decoder on an encoder of classification networks, for slices and pictures, by segmentation-models-pytorch.

    `unet` (Ronneberger et al. 2015), `unetplusplus` (Zhou et al. 2018), `deeplabv3plus` (Chen et al. 2018); `encoder` is without one, for
    classification.
    """

    family: Literal["unet", "unetplusplus", "deeplabv3plus", "encoder"] = Field(description="the decoder, or encoder: none")
    encoder: Encoder = Field(description="the encoder, five resolutions below the image's")
    weights: str | None = Field(
        None, description="what the encoder starts from: imagenet (fetched once), a file of weights (.safetensors), or null: random"
    )
    frozen_encoder: bool = Field(False, description="the encoder keeps its weights, and its batch norms what they know")
    attention_gates: bool = Field(False, description="unet: skips pass through attention gates (Oktay et al. 2018)")
    norm: Norm = Field("batch", description="of the decoder; the encoder's own is batch norm")
    dropout: Dropout = Field(0.0, description="chance that a channel is left out before the last layer, in training")

    def divisors(self, dimensions: int) -> tuple[int, ...]:
        """What sides of a patch are multiples of."""
        return (ENCODER_STEP[self.family],) * dimensions

    @property
    def summary(self) -> str:
        head = self.encoder if self.family == "encoder" else f"{self.family} on {self.encoder}"
        return f"{head}{', frozen' if self.frozen_encoder else ''}{', attention gates' if self.attention_gates else ''}"

    def axis_faults(self, dimensions: int) -> Iterator[Fault]:
        """What cannot work in so many dimensions."""
        if dimensions != 2:
            yield Fault(("family",), f"'{self.family}' has encoders for 2D only, and dimensions is {dimensions}; in 3D choose from {_in_3d()}")

    @field_validator("attention_gates")
    @classmethod
    def _gates_need_skips(cls, gates: bool, info: ValidationInfo) -> bool:
        if gates and info.data.get("family", "unet") != "unet":
            raise ValueError("only family unet has them")
        return gates


class LibraryNetworkPlan(Block):
    """A network of MONAI, in 2D or 3D, described by its width and its number of resolutions; channels double from one to the next.

    `attention_unet` (Oktay et al. 2018; batch norm), `segresnet` (Myronenko 2018; group norm), `swin_unetr` (Hatamizadeh et al. 2022; 6
    resolutions, width a multiple of 12), `unetplusplus_monai` (Zhou et al. 2018; instance norm, 5 resolutions). `autoencoder` has no skips and gives
    the image again (batch norm), for the tasks anomaly and denoising.
    """

    family: Literal["attention_unet", "segresnet", "swin_unetr", "unetplusplus_monai", "autoencoder"] = Field(description="the network")
    width: Count = Field(description="channels at full resolution")
    stages: Annotated[int, Field(ge=2, le=8)] = Field(5, validate_default=True, description="number of resolutions, each half of the one before")
    dropout: Dropout = Field(0.0, description="chance that a value or channel is left out, in training, where the network does so")

    @field_validator("width")
    @classmethod
    def _width_is_possible(cls, width: int, info: ValidationInfo) -> int:
        family = info.data.get("family")
        if family == "swin_unetr" and width % SWIN_WIDTH:
            raise ValueError(f"must be a multiple of {SWIN_WIDTH} for swin_unetr; nearest valid: {max(1, round(width / SWIN_WIDTH)) * SWIN_WIDTH}")
        if family == "segresnet" and width % 8:
            raise ValueError(f"must be a multiple of 8 for segresnet, whose norm has 8 groups; nearest valid: {max(1, round(width / 8)) * 8}")
        return width

    @field_validator("stages")
    @classmethod
    def _stages_are_possible(cls, stages: int, info: ValidationInfo) -> int:
        fixed = LIBRARY_STAGES.get(info.data.get("family", ""))
        if fixed is not None and stages != fixed:
            raise ValueError(f"must be {fixed} for {info.data['family']}")
        return stages

    def divisors(self, dimensions: int) -> tuple[int, ...]:
        """What sides of a patch are multiples of."""
        return (2 ** (self.stages - 1),) * dimensions

    @property
    def summary(self) -> str:
        return f"{self.family}, width {self.width}, {self.stages} resolutions"

    def axis_faults(self, dimensions: int) -> Iterator[Fault]:
        """Nothing: it works in 2D and in 3D."""
        return iter(())


AnyNetwork = NetworkPlan | EncoderNetworkPlan | LibraryNetworkPlan


def _in_3d() -> str:
    library: tuple[str, ...] = LibraryNetworkPlan.model_fields["family"].annotation.__args__  # type: ignore[union-attr]
    return ", ".join(("plain_unet", "residual_unet", *(family for family in library if family != RECONSTRUCTING)))


def _are(count: int) -> str:
    return "is 1" if count == 1 else f"are {count}"
