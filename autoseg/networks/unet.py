"""Plain and residual-encoder U-Nets from the field's own library, with leaky ReLU and the norm that the plan names.

- Weights start as He's rule for leaky ReLU says (slope 0.01); biases at zero; the last norm of each residual branch at zero.
"""

from typing import Any

from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from dynamic_network_architectures.initialization.weight_init import init_last_bn_before_add_to_0
from torch import nn

from autoseg.networks.convolution import make_faster
from autoseg.networks.head import WithHead
from autoseg.networks.norm import GroupNorm, InstanceNorm2d, InstanceNorm3d
from autoseg.planning.plan import NetworkPlan

NORMS: dict[str, tuple[type[nn.Module], type[nn.Module]]] = {  # in 2D and in 3D
    "instance": (InstanceNorm2d, InstanceNorm3d), "batch": (nn.BatchNorm2d, nn.BatchNorm3d), "group": (GroupNorm, GroupNorm),
}  # fmt: skip


def plain(network: NetworkPlan, dimensions: int, in_channels: int, num_classes: int) -> nn.Module:
    """A U-Net of plain convolutions."""
    module: nn.Module = PlainConvUNet(
        **_common(network, dimensions, in_channels, num_classes),
        n_conv_per_stage=list(network.blocks_per_stage),
    )
    return make_faster(module.apply(_initialise))


def residual(network: NetworkPlan, dimensions: int, in_channels: int, num_classes: int) -> nn.Module:
    """A U-Net with a residual encoder and a plain decoder."""
    module: nn.Module = ResidualEncoderUNet(
        **_common(network, dimensions, in_channels, num_classes),
        n_blocks_per_stage=list(network.blocks_per_stage),
    )
    return make_faster(module.apply(_initialise).apply(init_last_bn_before_add_to_0))


def set_deep_supervision(module: nn.Module, enabled: bool) -> None:
    """Choose between a list of logits (training) and the full-resolution logits alone, which is all that other networks give."""
    if isinstance(module, WithHead):
        module = module.body
    if isinstance(module, PlainConvUNet | ResidualEncoderUNet):
        setattr(module.decoder, "deep_supervision", enabled)  # noqa: B010 - a library attribute that types do not know


def _common(network: NetworkPlan, dimensions: int, in_channels: int, num_classes: int) -> dict[str, Any]:
    convolution = nn.Conv2d if dimensions == 2 else nn.Conv3d
    return {
        "input_channels": in_channels,
        "n_stages": len(network.features_per_stage),
        "features_per_stage": list(network.features_per_stage),
        "conv_op": convolution,
        "kernel_sizes": [list(kernel) for kernel in network.kernel_sizes],
        "strides": [list(stride) for stride in network.strides],
        "num_classes": num_classes,
        "n_conv_per_stage_decoder": list(network.convs_per_stage_decoder),
        "conv_bias": True,
        "norm_op": NORMS[network.norm][dimensions - 2],
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": (nn.Dropout2d if dimensions == 2 else nn.Dropout3d) if network.dropout else None,
        "dropout_op_kwargs": {"p": network.dropout} if network.dropout else None,
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"negative_slope": 0.01, "inplace": True},
        "deep_supervision": True,
    }


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight, a=0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
