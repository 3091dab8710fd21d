"""How long training takes, before any network exists: arithmetic of every layer, divided by what the machine was measured to do.

- Only convolutions multiply much; their time is their arithmetic at the rate measured for their width (the geometric mean of channels in and out).
- What moves more than it multiplies is counted in values: norms with their activations, concatenations and the like, the loss, and thin layers
  (heads, transposed convolutions, a first convolution of few channels) where that takes longer than their arithmetic.
- The way back costs twice the way forward, but nobody asks for the gradient of the image.
- Reading and augmenting patches is not counted: on a graphics card it happens beside the step, on a CPU it takes a few hundredths of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log, prod, sqrt

from autoseg.planning.hardware.layers import IMAGE, Operation, operations
from autoseg.planning.hardware.memory import largest_memory
from autoseg.planning.plan import Configuration, NetworkPlan, Plan
from autoseg.planning.rules.cost import estimate
from autoseg.planning.rules.topology import stage_voxels
from autoseg.planning.training_recipe import mirror_axes

THIN = 8  # channels in or out below which a convolution moves more than it multiplies


@dataclass(frozen=True)
class LayerFlops:
    """Arithmetic of one layer for a whole batch: forward and backward, a multiplication and an addition counted as two."""

    kind: str
    in_channels: int
    out_channels: int
    kernel: tuple[int, ...]
    size: tuple[int, ...]
    flops: int


@dataclass(frozen=True)
class Rates:
    """What a machine does a second in training (forward and backward) with images of one dimensionality.

    Attributes
    ----------
    widths, convolution : channels of the layers that were measured, rising; arithmetic a second for each
    norm : values a second through norm and activation
    thin : values a second through layers that hardly multiply
    loss : values of logits a second
    """

    widths: tuple[int, ...]
    convolution: tuple[float, ...]
    norm: float
    thin: float
    loss: float

    def at_width(self, width: float) -> float:
        """Arithmetic a second at a width, between the measured ones by the logarithm; the nearest one outside."""
        rates = list(zip(self.widths, self.convolution, strict=True))
        for (narrow, low), (wide, high) in pairwise(rates):
            if width <= wide:
                share = max(0.0, log(width / narrow) / log(wide / narrow))
                return float(low ** (1 - share) * high**share)
        return self.convolution[-1]


@dataclass(frozen=True)
class Throughput:
    """What a machine was measured to do.

    Attributes
    ----------
    device : its name
    precision, channels_last : how it was measured: as training runs there
    threads : of a CPU; 0 on a graphics card
    volumes, slices : in 3D and in 2D
    weights : weights that the optimizer changes a second
    """

    device: str
    precision: str
    channels_last: bool
    threads: int
    volumes: Rates
    slices: Rates
    weights: float


def training_flops(configuration: Configuration, in_channels: int, num_classes: int) -> tuple[LayerFlops, ...]:
    """Arithmetic of a training step, layer by layer in the order of the way forward; the total is the sum of `flops`.

    Parameters
    ----------
    configuration : network, patch and batch
    in_channels : channels that the network takes; `Plan.input_channels`
    num_classes : classes with the background
    """
    return tuple(
        LayerFlops(one.kind, one.in_channels, one.channels, one.kernel, one.size, _flops(one, configuration.batch_size))
        for one in operations(configuration, in_channels, num_classes)
        if one.flops
    )


def step_seconds(configuration: Configuration, in_channels: int, num_classes: int, throughput: Throughput) -> float:
    """Seconds of one training step, as predicted from the machine's measured throughput; parameters as in `training_flops`."""
    made, rates = operations(configuration, in_channels, num_classes), _rates(configuration, throughput)
    network = sum(_seconds(one, configuration.batch_size, rates) for one in made)
    return network + _loss_seconds(configuration, num_classes, rates) + sum(one.weights for one in made) / throughput.weights


def validation_step_seconds(configuration: Configuration, in_channels: int, num_classes: int, throughput: Throughput) -> float:
    """Seconds of one batch of validation: the way forward, a third of the arithmetic of a step."""
    made, rates = operations(configuration, in_channels, num_classes), _rates(configuration, throughput)
    network = sum(_seconds(one, configuration.batch_size, rates) for one in made)
    return (network + _loss_seconds(configuration, num_classes, rates)) / 3


def epoch_seconds(configuration: Configuration, in_channels: int, num_classes: int, throughput: Throughput) -> float:
    """Seconds of one epoch with its validation."""
    rules, arguments = configuration.training, (configuration, in_channels, num_classes, throughput)
    return rules.iterations_per_epoch * step_seconds(*arguments) + rules.validation_iterations * validation_step_seconds(*arguments)


def training_seconds(configuration: Configuration, in_channels: int, num_classes: int, throughput: Throughput) -> float:
    """Seconds of all epochs of the plan; the validation of whole cases at the end comes on top."""
    return configuration.training.epochs * epoch_seconds(configuration, in_channels, num_classes, throughput)


def prediction_flops(plan: Plan, name: str, recipe: str, window_flops: Callable[[str], float]) -> float:
    """Arithmetic of predicting one cubic millimetre with one fold, mirrored images and one fold of a cascade's previous stage included.

    Parameters
    ----------
    plan, name : which configuration
    recipe : that it was trained with, and its previous stage too, where that has it
    window_flops : arithmetic of one window of a configuration

    Images are mirrored along those of the plan's axes that the recipe mirrored in training.

    Windows overlap as the plan's step says; at the borders of a scan they overlap more, which is not counted. Slices of a 2D configuration are as
    thick as in the finest of the plan's 3D configurations, 1 mm where there is none. Where whole images are resized, the
    spacing is that of the median image.
    """
    configuration = plan.configuration(name)
    shape = configuration.resampling.resize or configuration.median_shape
    spacing = [step * before / now for step, before, now in zip(configuration.spacing, configuration.median_shape, shape, strict=True)]
    millimetres = prod(size * step * configuration.inference.step for size, step in zip(configuration.patch_size, spacing, strict=True))
    if configuration.dimensions == 2:
        millimetres *= min((one.spacing[0] for one in plan.configurations.values() if one.dimensions == 3), default=1.0)
    own = window_flops(name) * 2.0 ** len(mirror_axes(configuration, recipe)) / millimetres
    return own + (prediction_flops(plan, configuration.previous_stage, recipe, window_flops) if configuration.previous_stage else 0.0)


@dataclass(frozen=True)
class ConfigurationCost:
    """What training one configuration of a plan takes.

    Attributes
    ----------
    name : of the configuration
    step_values : convolution outputs of one step, the measure that nnU-Net's memory targets are made of
    parameters : weights that are learned
    memory_bytes : of a graphics card, the context of CUDA included
    epoch_seconds, training_seconds : predicted; None where the machine was not measured

    All but the name are None where the network is a library's, of which nothing is known before it is built, or does not segment.
    """

    name: str
    step_values: int | None
    parameters: int | None
    memory_bytes: int | None
    epoch_seconds: float | None
    training_seconds: float | None


def describe_cost(plan: Plan, throughput: Throughput | None) -> list[ConfigurationCost]:
    """Memory and time of every configuration, in the plan's order; memory is that of the recipe that needs most, in the plan's precision."""
    return [_cost(plan, name, throughput) for name in plan.configurations]


def _cost(plan: Plan, name: str, throughput: Throughput | None) -> ConfigurationCost:
    configuration, classes = plan.configuration(name), plan.network_outputs(name)
    network, arguments = configuration.network, (configuration, plan.input_channels(name), classes)
    if not isinstance(network, NetworkPlan) or configuration.task != "segmentation":
        return ConfigurationCost(name, None, None, None, None, None)
    outputs = estimate(
        network.family, configuration.patch_size, network.strides, network.features_per_stage, network.blocks_per_stage,
        network.convs_per_stage_decoder, classes,
    )  # fmt: skip
    return ConfigurationCost(
        name=name,
        step_values=configuration.batch_size * outputs,
        parameters=sum(one.weights for one in operations(*arguments)),
        memory_bytes=largest_memory(*arguments).total,
        epoch_seconds=epoch_seconds(*arguments, throughput) if throughput else None,
        training_seconds=training_seconds(*arguments, throughput) if throughput else None,
    )


def _flops(one: Operation, batch: int) -> int:
    """Forward, gradient of the weights, and gradient of the input where it is no image."""
    return batch * one.flops * (2 if one.inputs[0] == IMAGE else 3)


def _rates(configuration: Configuration, throughput: Throughput) -> Rates:
    return throughput.volumes if configuration.dimensions == 3 else throughput.slices


def _seconds(one: Operation, batch: int, rates: Rates) -> float:
    if one.kind == "activation":
        return 0.0  # measured with its norm
    if not one.flops:
        return batch * one.values / rates.norm
    arithmetic = _flops(one, batch) / rates.at_width(sqrt(one.in_channels * one.channels))
    if one.kind == "convolution" and prod(one.kernel) > 1 and min(one.in_channels, one.channels) >= THIN:
        return arithmetic
    read = one.in_channels * (prod(one.size) if one.kind == "convolution" else prod(one.size) // prod(one.kernel))
    return max(arithmetic, batch * max(one.values, read) / rates.thin)


def _loss_seconds(configuration: Configuration, num_classes: int, rates: Rates) -> float:
    network = configuration.network
    stages: Sequence[int] = stage_voxels(configuration.patch_size, network.strides)[:-1] if isinstance(network, NetworkPlan) else ()
    seen = stages[: max(1, len(stages) - 1)] if configuration.training.deep_supervision else stages[:1]
    return configuration.batch_size * num_classes * sum(seen) / rates.loss
