"""A classifier: the encoder of a U-Net, or of classification networks, its deepest maps averaged over the image, dropout, and one linear layer.

- The same head may stand beside a decoder: then a network gives logits of voxels, of the image, or both, as it is told.
- The encoder is that of the network block: with the same names and starts as where it segments.
- The head's weights start small (standard deviation 0.01) and its biases at 0, so that a training begins from even odds.
"""

from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

from autoseg.planning.plan import Configuration, EncoderNetworkPlan, NetworkPlan

HEAD_DEVIATION = 0.01


class Head(nn.Module):
    """Takes maps (B, F, *size), gives logits (B, K); `dropout`: chance that a feature is left out before the last layer, in training."""

    def __init__(self, features: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(features, num_classes)
        nn.init.normal_(self.linear.weight, std=HEAD_DEVIATION)
        nn.init.zeros_(self.linear.bias)

    def forward(self, maps: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.dropout(maps.flatten(2).mean(2)))
        return logits


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

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.encoder(x)[-1])
        return logits

    def train(self, mode: bool = True) -> "Classifier":
        super().train(mode)
        if self._frozen:
            self.encoder.eval()
        return self


class Told(NamedTuple):
    """What a network with a head says: logits of voxels, full resolution first where there are several, and of the image (B, K)."""

    voxels: Any
    image: Tensor


class WithHead(nn.Module):
    """A network that segments, with a head on its encoder.

    Parameters
    ----------
    body : has a submodule `encoder`, which gives its maps, the deepest last
    features, num_classes, dropout : of the head
    """

    def __init__(self, body: nn.Module, features: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.body = body
        self.head = Head(features, num_classes, dropout)
        self.gives: Literal["voxels", "image", "both"] = "both"
        self._deepest: Tensor | None = None
        self.encoder.register_forward_hook(self._keep)

    @property
    def encoder(self) -> nn.Module:
        return self.body.get_submodule("encoder")

    def forward(self, x: Tensor) -> Any:
        """`Told`, or the one of the two that it is to give."""
        if self.gives == "image":
            return self.head(self.encoder(x)[-1])
        voxels = self.body(x)
        deepest, self._deepest = self._deepest, None
        return voxels if self.gives == "voxels" else Told(voxels, self.head(deepest))

    def _keep(self, encoder: nn.Module, inputs: Any, maps: Any) -> None:
        self._deepest = maps[-1]


def set_given(network: nn.Module, what: Literal["voxels", "image", "both"]) -> None:
    """Choose what a network with a head gives; others have no choice."""
    if isinstance(network, WithHead):
        network.gives = what


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
    from autoseg.networks import unet

    build = {"plain_unet": unet.plain, "residual_unet": unet.residual}[network.family]
    encoder = build(network, dimensions, in_channels, num_classes).get_submodule("encoder")
    return Classifier(encoder, network.features_per_stage[-1], num_classes, dropout=0.0, frozen=False)
