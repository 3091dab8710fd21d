"""Classes from channels: the largest wins, or, where channels are regions that may overlap, each in turn paints its class.

- Channels come one after the other and need not be in memory together.
- On a CPU the work is NumPy's, whose comparisons take a quarter of torch's time.
- Nothing is picked or set through a mask: classes change by arithmetic on small integers, which is many times faster and takes as long for any scan.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def largest_channel(channels: Iterable[Tensor]) -> Tensor:
    """The channel of each voxel's largest value, the first of those that tie.

    Parameters
    ----------
    channels : at least one, of one shape and on one device; a tensor (C, ...) is its channels

    Returns
    -------
    tensor of a channel's shape, uint8, or int16 where there are more than 256 channels
    """
    best: Any = None
    winner: Any = None
    for number, channel in enumerate(channels):
        value, library = _array(channel)
        if number == 0:
            best, winner = value, _zeros(channel, 255)
            continue
        won = value > best
        winner = library.maximum(winner, won * _number(number, library, number))  # of two channels the later has the larger number
        best = library.maximum(best, value)
    return torch.as_tensor(winner)


def paint(channels: Iterable[Tensor], painted: Sequence[int], *, above: float) -> Tensor:
    """Let each region, which is where its channel exceeds a threshold, paint its class over those before it.

    Parameters
    ----------
    channels : at least one, of one shape and on one device; a tensor (C, ...) is its channels
    painted : the class of each, 0 to 32767
    above : the threshold

    Returns
    -------
    tensor of a channel's shape, 0 outside of all regions; uint8, or int16 where a class exceeds 255
    """
    classes: Any = None
    for channel, painted_class in zip(channels, painted, strict=True):
        value, library = _array(channel)
        if classes is None:
            classes = _zeros(channel, max(painted))
        classes += (value > above) * (_number(painted_class, library, max(painted)) - classes)  # also where a difference wraps around
    return torch.as_tensor(classes)


def _array(channel: Tensor) -> tuple[Any, Any]:
    """Numbers to compute with, and the library that does it."""
    return (channel.numpy(), np) if channel.device.type == "cpu" else (channel, torch)


def _zeros(channel: Tensor, largest: int) -> Any:
    return _array(torch.zeros(channel.shape, dtype=torch.uint8 if largest <= 255 else torch.int16, device=channel.device))[0]


def _number(value: int, library: Any, largest: int) -> Any:
    """A whole number of the type that also holds `largest`."""
    kind = "uint8" if largest <= 255 else "int16"
    return np.dtype(kind).type(value) if library is np else torch.tensor(value, dtype=getattr(torch, kind))
