"""A head that tells the class of a whole image: the deepest maps averaged over the image, dropout, and one linear layer.

- It may stand beside a decoder: then a network gives logits of voxels, of the image, or both, as it is told.
- Its weights start small (standard deviation 0.01) and its biases at 0, so that a training begins from even odds.
"""

from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

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
