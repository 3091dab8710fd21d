"""Checkpoints: everything a training needs to go on as if it had never stopped. One safetensors file, no pickle, whole or absent."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from autoseg.errors import AutosegError
from autoseg.networks.weights import load_weights, weights_of, write_tensors

FILE = "checkpoint.safetensors"


@dataclass
class Counters:
    """Where a training stands.

    Attributes
    ----------
    step : optimizer steps done
    elapsed : seconds trained, over all sittings
    epoch_loss, epoch_steps, epoch_start : sum of the losses and number of steps of the unfinished epoch, and `elapsed` when it began
    pseudo_dice : moving average of the objective's overall score (of segmentations the pseudo-Dice), or None before the first
    loss_scale : of mixed precision with float16
    step_seconds : time of the latest step, so that a budget's run ends once and for all
    judged_step : the step at which the loss of an epoch, or of the part that a run ended with, was last taken note of
    best_loss, best_weights : lowest loss of an epoch, or None before the first; fingerprint of its weights where they are kept
    stale_epochs, flat_epochs : epochs since the best one; the same, or since the plateau last lowered the learning rate
    lowered : how often the plateau lowered the learning rate
    stopped : the training ended early
    """

    step: int = 0
    elapsed: float = 0.0
    epoch_loss: float = 0.0
    epoch_steps: int = 0
    epoch_start: float = 0.0
    pseudo_dice: float | None = None
    loss_scale: float = 65536.0
    step_seconds: float = 0.0
    judged_step: int = 0
    best_loss: float | None = None
    best_weights: str | None = None
    stale_epochs: int = 0
    flat_epochs: int = 0
    lowered: int = 0
    stopped: bool = False


SINCE_THE_FIRST = {field.name for field in fields(Counters)[:8]}  # checkpoints of an earlier state have no others


def save(folder: Path, network: nn.Module, average: dict[str, Tensor], optimizer: torch.optim.Optimizer, counters: Counters) -> None:
    """Write a checkpoint."""
    tensors = {f"network.{name}": tensor for name, tensor in weights_of(network).items()}
    tensors |= {f"average.{name}": tensor for name, tensor in average.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    write_tensors(folder / FILE, tensors, {"counters": json.dumps(asdict(counters))})


def read_counters(folder: Path) -> Counters | None:
    """Where a training stood at its last checkpoint, without reading tensors; None where there is none.

    Raises
    ------
    AutosegError
        the file is damaged
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            return _counters(file.metadata())
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise AutosegError(f"{path} is damaged: {error}. Start anew with --restart.") from error


def load(folder: Path, network: nn.Module, average: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> Counters | None:
    """Take up a checkpoint; None where there is none.

    Raises
    ------
    AutosegError
        the file is damaged or belongs to another network
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            counters = _counters(file.metadata())
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        load_weights(network, _part(tensors, "network."))
        averaged = _part(tensors, "average.")
        if averaged.keys() != average.keys():
            raise ValueError("averaged weights are missing, or should be")
        for name, tensor in averaged.items():
            average[name].copy_(tensor)
        _load_optimizer(optimizer, _part(tensors, "optimizer."))
    except (SafetensorError, RuntimeError, OSError, KeyError, IndexError, TypeError, ValueError) as error:
        raise AutosegError(f"{path} is damaged or belongs to another network: {error}. Start anew with --restart.") from error
    return counters


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = _laid_out_like(parameters[int(index)], tensor)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _laid_out_like(parameter: Tensor, tensor: Tensor) -> Tensor:
    """A parameter's state in the parameter's memory format: steps are then as fast as before, and equal to the last bit."""
    return tensor if tensor.ndim == 0 else torch.empty_like(parameter).copy_(tensor)


def _counters(metadata: dict[str, str] | None) -> Counters:
    content = json.loads((metadata or {})["counters"])
    required = {name: content[name] for name in SINCE_THE_FIRST}
    later = {field.name: content[field.name] for field in fields(Counters) if field.name in content and field.name not in SINCE_THE_FIRST}
    return Counters(**{"judged_step": content["step"], **required, **later})
