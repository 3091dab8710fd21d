"""A classifier: the encoder of a U-Net, or of classification networks, its deepest maps averaged over the image, dropout, and one linear layer.

- The encoder is that of the network block: with the same names and starts as where it segments.
- The head's weights start small (standard deviation 0.01) and its biases at 0, so that a training begins from even odds.
"""

from torch import Tensor, nn

from autoseg.planning.plan import Configuration, EncoderNetworkPlan, NetworkPlan

HEAD_DEVIATION = 0.01


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
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features, num_classes)
        nn.init.normal_(self.head.weight, std=HEAD_DEVIATION)
        nn.init.zeros_(self.head.bias)
        self._frozen = frozen
        if frozen:
            self.encoder.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        deepest: Tensor = self.encoder(x)[-1]
        features = deepest.flatten(2).mean(2)
        logits: Tensor = self.head(self.dropout(features))
        return logits

    def train(self, mode: bool = True) -> "Classifier":
        super().train(mode)
        if self._frozen:
            self.encoder.eval()
        return self


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
    from autoseg.networks import unet

    build = {"plain_unet": unet.plain, "residual_unet": unet.residual}[network.family]
    encoder = build(network, dimensions, in_channels, num_classes).get_submodule("encoder")
    return Classifier(encoder, network.features_per_stage[-1], num_classes, dropout=0.0, frozen=False)
