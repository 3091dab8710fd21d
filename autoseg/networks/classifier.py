"""Networks that classify: the encoder of a U-Net, or of classification networks, with a head, alone or beside the decoder.

- The encoder is that of the network block: with the same names and starts as where it segments.
"""

from torch import Tensor, nn

from autoseg.networks import unet
from autoseg.networks.head import Head, WithHead
from autoseg.planning.plan import Configuration, EncoderNetworkPlan, NetworkPlan


class Classifier(nn.Module):
    """Takes (B, C, *patch), gives logits (B, K).

    Parameters
    ----------
    encoder : gives its maps (B, F, *size), the deepest last
    features : F of the deepest
    num_classes : K
    dropout : chance that a feature is left out before the last layer, in training
    frozen : the encoder keeps its weights, and its batch norms what they know
    """

    def __init__(self, encoder: nn.Module, features: int, num_classes: int, *, dropout: float, frozen: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = Head(features, num_classes, dropout)
        self._frozen = frozen
        if frozen:
            self.encoder.requires_grad_(False)
            self.train()  # networks are born in training mode

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.encoder(x)[-1])
        return logits

    def train(self, mode: bool = True) -> "Classifier":
        super().train(mode)
        if self._frozen:
            self.encoder.eval()
        return self


def with_head(body: nn.Module, configuration: Configuration) -> nn.Module:
    """The network of a configuration that segments, with the head that classifies."""
    network, block = configuration.network, configuration.classification
    if block is None or not isinstance(network, EncoderNetworkPlan | NetworkPlan):
        raise ValueError("a head beside the segmentation needs classes, and an encoder to stand on")  # the plan's schema says so before
    if isinstance(network, NetworkPlan):
        return WithHead(body, network.features_per_stage[-1], len(block.classes), 0.0)
    features: int = body.get_submodule("encoder").out_channels[-1]  # type: ignore[index,assignment]
    return WithHead(body, features, len(block.classes), network.dropout)


def build_classifier(configuration: Configuration, in_channels: int, num_classes: int) -> nn.Module:
    """The classifier of a configuration with random weights.

    Raises
    ------
    AutosegError
        a library that its encoder is from is not installed
    """
    network, dimensions = configuration.network, configuration.dimensions
    if isinstance(network, EncoderNetworkPlan):
        from autoseg.networks.encoders import library_encoder

        encoder, features = library_encoder(network, in_channels)
        return Classifier(encoder, features, num_classes, dropout=network.dropout, frozen=network.frozen_encoder)
    if not isinstance(network, NetworkPlan):
        raise ValueError(f"{network.family} has no encoder that can stand alone")  # the plan's schema says so before
    build = {"plain_unet": unet.plain, "residual_unet": unet.residual}[network.family]
    encoder = build(network, dimensions, in_channels, num_classes).get_submodule("encoder")
    return Classifier(encoder, network.features_per_stage[-1], num_classes, dropout=0.0, frozen=False)
