"""`build(network_plan, ...)` -> nn.Module; a dict literal of families.

- A network takes (B, C, *patch) and gives its logits (B, K, *patch); while training with deep supervision it gives a list, full
  resolution first, each further entry at the next stage's resolution.
- Parameter names and shapes are those of the field's own U-Nets, so weights trained elsewhere on the same topology fit.
"""

from typing import TYPE_CHECKING

from autoseg.planning.plan import Configuration

if TYPE_CHECKING:
    from torch import nn


def build(configuration: Configuration, *, in_channels: int, num_classes: int) -> "nn.Module":
    """The untrained network of a configuration, deep-supervision heads included.

    Parameters
    ----------
    configuration : its `network` block and `dimensions` decide; the plan's schema has seen to it that they describe a U-Net
    in_channels : channels of the image
    num_classes : channels of the output, `Plan.output_channels`: classes with the background, or regions
    """
    from autoseg.networks import unet

    families = {"plain_unet": unet.plain, "residual_unet": unet.residual}
    return families[configuration.network.family](configuration.network, configuration.dimensions, in_channels, num_classes)
