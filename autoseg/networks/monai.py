"""Networks of MONAI, for slices and volumes.

- The library is imported when a plan names such a network; it belongs to the extra `zoo`.
- Parts that nothing reads, such as heads of coarser stages, are taken out, so that every weight is learned.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from autoseg.networks._operators import declare_missing_operators
from autoseg.networks.convolution import make_faster
from autoseg.networks.extras import importing_zoo
from autoseg.planning.plan import LibraryNetworkPlan

DEPTHS, HEADS = (2, 2, 2, 2), (3, 6, 12, 24)  # of SwinUNETR, as published


class LibraryNetwork(nn.Module):
    """A network of the library: takes (B, C, *patch), gives logits (B, K, *patch)."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        logits = self.body(x)
        result: Tensor = logits[0] if isinstance(logits, list | tuple) else logits
        return result


def build_library_network(network: LibraryNetworkPlan, dimensions: int, in_channels: int, num_classes: int) -> nn.Module:
    """The network with random weights; parameters as for `networks.build`."""
    declare_missing_operators()
    with importing_zoo(network.family):
        from monai.networks import nets
    families: dict[str, Callable[[Any, LibraryNetworkPlan, int, int, int], nn.Module]] = {
        "attention_unet": _attention_unet, "segresnet": _segresnet, "swin_unetr": _swin_unetr, "unetplusplus_monai": _unetplusplus,
    }  # fmt: skip
    return LibraryNetwork(make_faster(families[network.family](nets, network, dimensions, in_channels, num_classes)))


def _attention_unet(nets: Any, network: LibraryNetworkPlan, dimensions: int, in_channels: int, num_classes: int) -> nn.Module:
    channels, strides = _doubling(network.width, network.stages), (2,) * (network.stages - 1)
    body: nn.Module = nets.AttentionUnet(dimensions, in_channels, num_classes, channels, strides, dropout=network.dropout)
    return body


def _segresnet(nets: Any, network: LibraryNetworkPlan, dimensions: int, in_channels: int, num_classes: int) -> nn.Module:
    down = (1, *(2,) * (network.stages - 2), 4) if network.stages > 2 else (1, 4)
    body: nn.Module = nets.SegResNet(
        dimensions, network.width, in_channels, num_classes, dropout_prob=network.dropout or None, blocks_down=down,
        blocks_up=(1,) * (network.stages - 1),
    )  # fmt: skip
    return body


def _swin_unetr(nets: Any, network: LibraryNetworkPlan, dimensions: int, in_channels: int, num_classes: int) -> nn.Module:
    body: nn.Module = nets.SwinUNETR(
        in_channels, num_classes, depths=DEPTHS, num_heads=HEADS, feature_size=network.width, drop_rate=network.dropout, spatial_dims=dimensions
    )
    return body


def _unetplusplus(nets: Any, network: LibraryNetworkPlan, dimensions: int, in_channels: int, num_classes: int) -> nn.Module:
    features = (*_doubling(network.width, network.stages), network.width)
    body: nn.Module = nets.BasicUNetPlusPlus(dimensions, in_channels, num_classes, features=features, dropout=network.dropout)
    for index in range(1, network.stages - 1):
        setattr(body, f"final_conv_0_{index}", nn.Identity())
    return body


def _doubling(width: int, stages: int) -> tuple[int, ...]:
    return tuple(width * 2**stage for stage in range(stages))
