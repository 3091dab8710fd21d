"""The weights of a network by name, each once: libraries list a shared tensor under every path that leads to it; and tensors to files."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from autoseg.errors import AutosegError
from autoseg.files import atomic

HEADS = (  # the layers that give the logits: of our own U-Nets one a decoder stage, then of networks of libraries, then of classifiers
    "decoder.seg_layers.", "body.segmentation_head.", "body.model.2.", "body.conv_final.2.", "body.out.", "body.final_conv_0_4.",
    "head.",
)  # fmt: skip


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


def load_all_but_other_heads(network: nn.Module, weights: Mapping[str, Tensor], *, keep_heads: bool = False) -> list[str]:
    """Copy weights into a network whose output may have other channels: heads that are not copied stay as they are; the names of their tensors.

    Parameters
    ----------
    network : takes the weights
    weights : of another network
    keep_heads : leave heads of the same shape as they are too, because their channels mean something else

    Raises
    ------
    ValueError
        anything else does not fit; nothing was copied then
    """
    own = weights_of(network)
    heads = [name for name in own if name.startswith(HEADS) and name in weights]
    left = [name for name in heads if keep_heads or weights[name].shape != own[name].shape]
    load_weights(network, {**weights, **{name: own[name] for name in left}})
    return left


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors of any device as safetensors, whole or not at all.

    Raises
    ------
    AutosegError
        the folder cannot be written, or the disk is full
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic(path) as temporary:
        try:
            save_file(plain, temporary, metadata=metadata)
        except SafetensorError as error:  # what the library makes of a full disk
            raise AutosegError(f"Cannot write {path}: {error}. Free the disk or choose a folder you may write to.") from error
