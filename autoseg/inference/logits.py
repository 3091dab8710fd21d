"""What the networks of one configuration say about a scan, before anything is decided.

- Logits stay on the configuration's ready grid and are resampled to the scan's a few planes at a time, by whoever looks at them.
- Those that must outlive the work of another configuration, or are kept for each fold, wait on disk.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from autoseg.imaging.resample import Planes, limits_of
from autoseg.inference.scratch import Waiting
from autoseg.planning.plan import Configuration
from autoseg.preprocessing.placement import Placement, logits_to_scan_shape


@dataclass(frozen=True)
class Logits:
    """The logits of one configuration.

    Attributes
    ----------
    mean : over the folds, on the way from the ready grid to the cropped, transposed scan: (channels, *placement.cropped_shape)
    folds : each fold's own, in the same way; empty where not asked for
    placement : how the cropped, transposed scan lies in the scan
    made_by : the model, for messages
    """

    mean: Planes
    folds: tuple[Planes, ...]
    placement: Placement
    made_by: str


def in_memory(logits_CZYX: Tensor, placement: Placement, configuration: Configuration) -> Planes:
    """Logits on the ready grid, float32 (C, Z, Y, X), on their way to the scan's."""
    shape, nearest = logits_to_scan_shape(placement, configuration)
    return Planes.of(logits_CZYX, shape, order=configuration.resampling.logits_order, nearest_axis=nearest)


def on_disk(logits_CZYX: Tensor, placement: Placement, configuration: Configuration, folder: Path | None) -> Planes:
    """The same, waiting in `folder` (None: among the system's temporary files); read back to the device that they came from.

    Raises
    ------
    AutosegError
        the folder cannot be written, or the disk is full
    """
    channels, z, y, x = logits_CZYX.shape
    device = logits_CZYX.device
    waiting = Waiting(folder, channels, (z, y, x), np.float32)
    for plane in range(z):  # a whole copy on the host would be as much again
        waiting.write(slice(plane, plane + 1), logits_CZYX[:, plane : plane + 1].cpu().numpy())
    shape, nearest = logits_to_scan_shape(placement, configuration)
    order = configuration.resampling.logits_order
    return Planes(
        lambda channel, band: torch.from_numpy(waiting.planes(channel, band)).to(device),
        (channels, z, y, x),
        limits_of(logits_CZYX, order),
        shape,
        order,
        nearest,
        device,
    )
