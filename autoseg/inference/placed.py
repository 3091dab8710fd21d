"""Trained networks of one configuration on a device, with the settings that prediction goes by, whatever it predicts."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from autoseg.errors import AutosegError
from autoseg.inference.execution import Execution, candidates, choose, enough_memory, inference
from autoseg.inference.model_folder import Model
from autoseg.planning.plan import Configuration, Plan

TOO_LARGE = "Close other programs that use it, or predict with --device cpu."


@dataclass(frozen=True)
class Placed:
    """Networks that are ready to predict.

    Attributes
    ----------
    plan, name, configuration : what they were trained for
    step : distance of windows as a part of the patch, above 0 and at most 1
    mirror_axes : of the patch, along which images are mirrored too, in order; those that all models know mirrored, none if that is not wished
    execution : how they run
    networks : one a fold
    """

    plan: Plan
    name: str
    configuration: Configuration
    step: float
    mirror_axes: tuple[int, ...]
    execution: Execution
    networks: tuple[nn.Module, ...]


def place_models(models: Sequence[Model], device: str, *, step: float | None, mirror: bool) -> Placed:
    """Place the folds of one configuration on a device, in the way that runs fastest there.

    Parameters
    ----------
    models : at least one
    device : as `pick_device` gives it
    step, mirror : see `Placed`; None: the plan's step

    Raises
    ------
    AutosegError
        there is no model, the step is not possible, or the device's memory is full
    """
    if not models:
        raise AutosegError("There is no trained network to predict with.")
    first = models[0]
    configuration = first.configuration
    step = require_step(configuration.inference.step if step is None else step)
    axes = set.intersection(*(set(model.mirror_axes) for model in models)) if mirror else ()
    with enough_memory(device, TOO_LARGE):
        execution = _fastest(first, device)
        networks = tuple(execution.place(model.network, configuration.dimensions) for model in models)
    return Placed(first.plan, first.configuration_name, configuration, step, tuple(sorted(axes)), execution, networks)


def require_step(step: float) -> float:
    """A distance of windows that is possible.

    Raises
    ------
    AutosegError
        it is not
    """
    if not 0 < step <= 1:
        raise AutosegError(f"The step {step} is not possible: it is the distance of windows as a part of the patch, above 0 and at most 1.")
    return step


def not_a_number(execution: Execution) -> AutosegError:
    """What to raise where a network's output is not a number."""
    return AutosegError(
        f"The network's output is not a number ({execution.describe()})."
        " Write precision float32 under training in the model folder's plan.json, or train the model again."
    )


def _fastest(model: Model, device: str) -> Execution:
    """How a network runs fastest on windows of the patch's size."""
    configuration = model.configuration
    window = torch.randn(1, model.plan.input_channels(model.configuration_name), *configuration.patch_size)

    def run(option: Execution) -> None:
        network = option.place(model.network, configuration.dimensions)
        with inference(network), option.autocast():
            network(option.arrange(window))

    return choose(candidates(device, configuration.training.precision), run)
