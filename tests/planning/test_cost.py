import pytest
from torch import nn

from autoseg.planning.cost import estimate

CUBE = ((1, 1, 1),) + ((2, 2, 2),) * 5
FEATURES = (32, 64, 128, 256, 320, 320)


def test_residual_check_value() -> None:
    assert estimate("residual_unet", (128, 128, 128), CUBE, FEATURES, (1, 3, 4, 6, 6, 6), (1,) * 5, 3) == 557_420_544


def test_plain_worked_by_hand() -> None:
    """Encoder 2 x 2 x 64 + 2 x 4 x 16, decoder 3 x 2 x 64, output 3 x 64."""
    assert estimate("plain_unet", (8, 8), ((1, 1), (2, 2)), (2, 4), (2, 2), (2,), 3) == 384 + 384 + 192


def test_one_stage_has_no_decoder() -> None:
    assert estimate("plain_unet", (5, 5, 5), ((1, 1, 1),), (16,), (2,), (), 2) == 125 * (2 * 16 + 2)


def test_residual_shortcut_is_projected_where_only_resolution_changes() -> None:
    same = estimate("residual_unet", (8, 8), ((1, 1), (1, 1)), (4, 4), (1, 1), (1,), 2)
    strided = estimate("residual_unet", (8, 8), ((1, 1), (2, 2)), (4, 4), (1, 1), (1,), 2)
    assert same == 64 * (4 + 8 + 8 + 8 + 2)
    assert strided == 64 * (4 + 8 + 8 + 2) + 16 * (8 + 4)


@pytest.mark.parametrize("strides", [((1, 1, 1), (2, 2, 2), (1, 2, 2)), ((1, 1, 1), (1, 2, 2), (2, 2, 2))])
@pytest.mark.parametrize("family", ["plain_unet", "residual_unet"])
def test_counts_what_the_real_network_says(family: str, strides: tuple[tuple[int, ...], ...]) -> None:
    """The networks' own count, for a width whose last two stages have the same channels."""
    from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet

    build, blocks, convs = (PlainConvUNet, (2, 2, 2), (2, 2)) if family == "plain_unet" else (ResidualEncoderUNet, (1, 3, 4), (1, 1))
    network = build(2, 3, (4, 8, 8), nn.Conv3d, 3, strides, blocks, 5, convs, True, nn.InstanceNorm3d, {}, None, None, nn.ReLU, {})
    patch = (8, 16, 24)
    assert estimate(family, patch, strides, (4, 8, 8), blocks, convs, 5) == network.compute_conv_feature_map_size(patch)
