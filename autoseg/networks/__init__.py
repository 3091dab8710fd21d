"""`build(network_plan, ...)` -> nn.Module; a dict literal of families.

- A network takes (B, C, *patch) and gives its logits (B, K, *patch); while training with deep supervision it gives a list, full
  resolution first, each further entry at the next stage's resolution.
- Parameter names and shapes are those of the field's own U-Nets, so weights trained elsewhere on the same topology fit.
"""

import math
from typing import TYPE_CHECKING

from autoseg.errors import PlanError
from autoseg.planning.plan import Configuration

if TYPE_CHECKING:
    from torch import nn


def build(configuration: Configuration, *, in_channels: int, num_classes: int) -> "nn.Module":
    """The untrained network of a configuration, deep-supervision heads included.

    Parameters
    ----------
    configuration : its `network` block and `dimensions` decide
    in_channels : channels of the image
    num_classes : classes with the background

    Raises
    ------
    PlanError
        the `network` block describes no U-Net, or its deepest stage has one voxel; the text names the key and what is allowed
    """
    from autoseg.networks import unet

    _require_unet(configuration)
    _require_voxels(configuration)

    families = {"plain_unet": unet.plain, "residual_unet": unet.residual}
    return families[configuration.network.family](configuration.network, configuration.dimensions, in_channels, num_classes)


def _require_unet(configuration: Configuration) -> None:
    network = configuration.network
    if len(network.features_per_stage) < 2:
        raise PlanError(f"network.features_per_stage has {len(network.features_per_stage)} entry: a U-Net has at least two stages.")
    if configuration.dimensions == 3 and configuration.patch_size[0] == 1:
        raise PlanError(f"patch_size is {list(configuration.patch_size)}: a patch of one slice is for a 2D configuration, with two numbers.")
    even = [list(kernel) for kernel in network.kernel_sizes if any(size % 2 == 0 for size in kernel)]
    if even:
        raise PlanError(f"network.kernel_sizes holds {even[0]}: kernels need a middle, so every size is odd.")
    if any(step != 1 for step in network.strides[0]):
        raise PlanError(f"network.strides begins with {list(network.strides[0])}: the first stage keeps the full resolution, so write ones.")


def _require_voxels(configuration: Configuration) -> None:
    """Instance norm of a single voxel is zero whatever the voxel holds, so such a stage would learn nothing."""
    strides, patch = configuration.network.strides, configuration.patch_size
    divisors = [math.prod(stride[axis] for stride in strides) for axis in range(len(patch))]
    if all(size == divisor for size, divisor in zip(patch, divisors, strict=True)):
        raise PlanError(
            f"patch_size {list(patch)} with these network.strides leaves one voxel in the deepest stage, where instance norm needs two or more:"
            f" use a patch of {[2 * size for size in patch]}, or one stage less."
        )
