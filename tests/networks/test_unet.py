"""U-Nets against the field's own."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from torch import nn

from autoseg.networks import build
from autoseg.networks.unet import set_deep_supervision
from autoseg.planning.fingerprint import Fingerprint, IntensityStatistics
from autoseg.planning.plan import DatasetBlock, LabelsBlock, Plan
from autoseg.planning.planner import make_plan

Plans = Callable[..., Plan]
KINDS = [(family, dimensions) for family in ("plain_unet", "residual_unet") for dimensions in (2, 3)]


def network_of(small_plan: Plans, family: str, dimensions: int) -> nn.Module:
    plan = small_plan(patch=(16,) * dimensions, network={"family": family, "blocks_per_stage": [1, 2, 3], "convs_per_stage_decoder": [1, 2]})
    return build(plan.configuration("small"), in_channels=2, num_classes=3)


def peer_of(family: str, dimensions: int) -> nn.Module:
    ones, twos, threes = [1] * dimensions, [2] * dimensions, [3] * dimensions
    common: dict[str, Any] = {
        "input_channels": 2, "n_stages": 3, "features_per_stage": [4, 8, 16], "conv_op": nn.Conv3d if dimensions == 3 else nn.Conv2d,
        "kernel_sizes": [threes] * 3, "strides": [ones, twos, twos], "num_classes": 3, "n_conv_per_stage_decoder": [1, 2], "conv_bias": True,
        "norm_op": nn.InstanceNorm3d if dimensions == 3 else nn.InstanceNorm2d, "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": nn.LeakyReLU, "nonlin_kwargs": {"inplace": True}, "deep_supervision": True,
    }  # fmt: skip
    if family == "plain_unet":
        return PlainConvUNet(**common, n_conv_per_stage=[1, 2, 3])
    return ResidualEncoderUNet(**common, n_blocks_per_stage=[1, 2, 3])


def resenc_m(shape: tuple[int, int, int], spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Plan:
    """The planner's choice for scans of one shape, with four channels and four classes."""
    statistics = IntensityStatistics(mean=50, median=40, std=120, min=-1000, max=1000, percentile_00_5=-900, percentile_99_5=900)
    channels = ("flair", "t1", "t1ce", "t2")
    facts = Fingerprint(
        channel_names=channels, spacings=(spacing,) * 4, shapes_after_crop=(shape,) * 4, median_relative_size_after_crop=1,
        intensities=(statistics,) * 4,
    )  # fmt: skip
    labels = LabelsBlock(names=("background", "a", "b", "c"), values=(0, 1, 2, 3))
    block = DatasetBlock(name="D", layout="nnunet", channel_names=channels, labels=labels, num_cases=4, file_ending=".nii.gz")
    return make_plan(facts, block, preset="resenc_m")


@pytest.mark.parametrize(("family", "dimensions"), KINDS)
def test_weights_of_the_fields_own_network_fit_and_mean_the_same(family: str, dimensions: int, small_plan: Plans) -> None:
    torch.manual_seed(0)
    network, peer = network_of(small_plan, family, dimensions), peer_of(family, dimensions)
    assert {name: tensor.shape for name, tensor in network.state_dict().items()} == {name: tensor.shape for name, tensor in peer.state_dict().items()}
    network.load_state_dict(peer.state_dict())
    x = torch.randn(2, 2, *(16,) * dimensions)
    last = torch.channels_last if dimensions == 2 else torch.channels_last_3d
    with torch.no_grad():
        expected = peer(x)
        for found in (network(x), network.to(memory_format=last)(x.to(memory_format=last))):  # type: ignore[call-overload]
            for ours, theirs in zip(found, expected, strict=True):
                torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_resenc_m_at_128_cubed_is_nnunets() -> None:
    """What the planner writes for the preset, against nnU-Net's arguments written out; shapes alone, no memory."""
    ones, twos, threes = [1] * 3, [2] * 3, [3] * 3
    with torch.device("meta"):
        peer = ResidualEncoderUNet(
            input_channels=4, n_stages=6, features_per_stage=[32, 64, 128, 256, 320, 320], conv_op=nn.Conv3d, kernel_sizes=[threes] * 6,
            strides=[ones, twos, twos, twos, twos, twos], n_blocks_per_stage=[1, 3, 4, 6, 6, 6], num_classes=4, n_conv_per_stage_decoder=[1] * 5,
            conv_bias=True, norm_op=nn.InstanceNorm3d, norm_op_kwargs={"eps": 1e-5, "affine": True}, dropout_op=None, dropout_op_kwargs=None,
            nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True}, deep_supervision=True,
        )  # fmt: skip
        network = build(resenc_m((128, 128, 128)).configuration("3d_fullres"), in_channels=4, num_classes=4)
    assert {name: tensor.shape for name, tensor in network.state_dict().items()} == {name: tensor.shape for name, tensor in peer.state_dict().items()}
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == sum(parameter.numel() for parameter in peer.parameters()) == 102_353_972  # also by adding up every kernel on paper


def test_resenc_m_in_slices_of_thick_scans_is_nnunets() -> None:
    """First stages with strides and kernels of 1 along z, and the 2D network of the same scans."""
    plan = resenc_m((16, 128, 128), (5.0, 1.0, 1.0))
    for name, convolution, norm in (("3d_fullres", nn.Conv3d, nn.InstanceNorm3d), ("2d", nn.Conv2d, nn.InstanceNorm2d)):
        configuration = plan.configuration(name)
        topology = configuration.network
        with torch.device("meta"):
            peer = ResidualEncoderUNet(
                4, len(topology.strides), list(topology.features_per_stage), convolution, [list(kernel) for kernel in topology.kernel_sizes],
                [list(stride) for stride in topology.strides], [1, 3, 4, 6, 6, 6, 6][: len(topology.strides)], 4, [1] * (len(topology.strides) - 1),
                conv_bias=True, norm_op=norm, norm_op_kwargs={"eps": 1e-5, "affine": True}, nonlin=nn.LeakyReLU, deep_supervision=True,
            )  # fmt: skip
            network = build(configuration, in_channels=4, num_classes=4)
        ours, theirs = network.state_dict(), peer.state_dict()
        assert {key: tensor.shape for key, tensor in ours.items()} == {key: tensor.shape for key, tensor in theirs.items()}
        assert any(tensor.shape[2:] == (1, 3, 3) for tensor in ours.values()) == (name == "3d_fullres")


@pytest.mark.parametrize(("family", "dimensions"), KINDS)
def test_logits_of_every_stage_or_of_the_full_resolution_alone(family: str, dimensions: int, small_plan: Plans) -> None:
    network = network_of(small_plan, family, dimensions)
    x = torch.randn(1, 2, *(16,) * dimensions)
    with torch.no_grad():
        stages = network(x)
        assert [tuple(logits.shape) for logits in stages] == [(1, 3, *(size,) * dimensions) for size in (16, 8)]
        set_deep_supervision(network, False)
        assert torch.equal(network(x), stages[0])
        set_deep_supervision(network, True)
        assert len(network(x)) == 2


@pytest.mark.parametrize(("family", "dimensions"), KINDS)
def test_weights_start_by_the_rule(family: str, dimensions: int, small_plan: Plans) -> None:
    torch.manual_seed(0)
    network = network_of(small_plan, family, dimensions)
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1 and parameter.numel() > 1000:
            fan_in = parameter[0].numel()
            expected = math.sqrt(2 / (1 + 0.01**2) / fan_in)
            assert abs(float(parameter.detach().std()) / expected - 1) < 0.1, name
        elif name.endswith("bias"):
            assert not parameter.any(), name
    silent = [name for name, parameter in network.named_parameters() if name.endswith("norm.weight") and not parameter.any()]
    assert len(silent) == (6 if family == "residual_unet" else 0)  # one for each residual block
    assert all(".conv2." in name for name in silent)
