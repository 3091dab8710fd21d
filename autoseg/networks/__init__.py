"""`build(network_plan, ...)` -> nn.Module: our own U-Nets, and those of libraries, which are imported when a plan names them.

- A network takes (B, C, *patch) and gives its logits (B, K, *patch); while training with deep supervision it gives a list, full
  resolution first, each further entry at the next stage's resolution.
- Where a configuration classifies, a network is the encoder of that block with a head, and gives logits (B, K).
- Parameter names and shapes of U-Nets are those of the field's own, so weights trained elsewhere on the same topology fit.
"""

from typing import TYPE_CHECKING

from autoseg.planning.plan import Configuration, EncoderNetworkPlan, LibraryNetworkPlan

if TYPE_CHECKING:
    from torch import nn


def start_encoder(network: "nn.Module", configuration: Configuration, in_channels: int) -> str | None:
    """Give a network's encoder the weights that its plan names; what there is to say of it, None where it names none.

    Raises
    ------
    AutosegError
        the weights cannot be fetched or read, or are those of another encoder
    """
    block = configuration.network
    if not isinstance(block, EncoderNetworkPlan) or block.weights is None:
        return None
    from autoseg.networks import encoders

    return encoders.start_encoder(network, block, in_channels)


def build(configuration: Configuration, *, in_channels: int, num_classes: int) -> "nn.Module":
    """The untrained network of a configuration, deep-supervision heads included.

    Parameters
    ----------
    configuration : its `network` block and `dimensions` decide; the plan's schema has seen to it that they describe a network
    in_channels : channels of the image
    num_classes : channels of the output, `Plan.network_outputs`: classes with the background, regions, the image's, or what is classified into

    Raises
    ------
    AutosegError
        a library that the network is from is not installed
    """
    if configuration.task == "classification":
        from autoseg.networks.classifier import build_classifier

        return build_classifier(configuration, in_channels, num_classes)
    network, sizes = configuration.network, (configuration.dimensions, in_channels, num_classes)
    match network:
        case EncoderNetworkPlan():
            from autoseg.networks.encoders import build_encoder_network

            return build_encoder_network(network, *sizes)
        case LibraryNetworkPlan():
            from autoseg.networks.monai import build_library_network

            return build_library_network(network, *sizes)
        case _:
            from autoseg.networks import unet

            families = {"plain_unet": unet.plain, "residual_unet": unet.residual}
            return families[network.family](network, *sizes)
