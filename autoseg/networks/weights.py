"""The weights of a network by name, each once: libraries list a shared tensor under every path that leads to it."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers under the first of their names; the tensors themselves, not copies."""
    return dict(network.named_parameters()) | dict(network.named_buffers())


@torch.no_grad()
def load_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy weights into a network: all of them, or none where one does not fit.

    Raises
    ------
    ValueError
        a name is missing or unknown, or a shape differs
    """
    own = weights_of(network)
    if own.keys() != weights.keys():
        raise ValueError(f"{len(own.keys() ^ weights.keys())} names differ, such as {min(own.keys() ^ weights.keys())}")
    for name, tensor in own.items():
        if tensor.shape != weights[name].shape:
            raise ValueError(f"{name} has shape {tuple(weights[name].shape)} instead of {tuple(tensor.shape)}")
    for name, tensor in own.items():
        tensor.copy_(weights[name])
