"""Classifiers: any encoder with a head, of which every weight learns; and what does not learn because it is frozen."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from autoseg.networks import build, start_encoder
from autoseg.networks.head import set_given
from autoseg.networks.unet import set_deep_supervision
from autoseg.networks.weights import load_all_but_other_heads, weights_of
from autoseg.planning.plan import Configuration

RECIPE = {"optimizer": "adamw", "learning_rate": 1e-3, "augmentation": {}}


def unet(dimensions: int, family: str = "plain_unet") -> dict[str, Any]:
    return {
        "family": family, "features_per_stage": [4, 8, 8], "strides": [[1] * dimensions, [2] * dimensions, [2] * dimensions],
        "kernel_sizes": [[3] * dimensions] * 3, "blocks_per_stage": [1, 1, 1], "convs_per_stage_decoder": [1, 1],
    }  # fmt: skip


def configuration(network: dict[str, Any], dimensions: int = 2, side: int = 64, **changes: Any) -> Configuration:
    return Configuration.model_validate({
        "task": "classification", "classification": {}, "dimensions": dimensions, "spacing": [1] * dimensions, "median_shape": [side] * dimensions,
        "patch_size": [side] * dimensions, "batch_size": 2, "normalization": [{"channel": "a", "scheme": "zscore"}], "network": network,
        "training": {"batch_dice": True, "deep_supervision": False, "loss": "ce", "recipes": {"default": RECIPE}}, **changes,
    })  # fmt: skip


ENCODERS: dict[str, tuple[dict[str, Any], int, int]] = {
    "resnet18": ({"family": "encoder", "encoder": "resnet18"}, 2, 64),
    "efficientnet, frozen, dropout": ({"family": "encoder", "encoder": "efficientnet-b0", "frozen_encoder": True, "dropout": 0.5}, 2, 64),
    "plain, 2D": (unet(2), 2, 16),
    "plain, 3D": (unet(3), 3, 16),
    "residual, 3D": (unet(3, "residual_unet"), 3, 16),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_an_image_has_one_row_of_logits_and_every_weight_learns(name: str) -> None:
    block, dimensions, side = ENCODERS[name]
    network = build(configuration(block, dimensions, side), in_channels=3, num_classes=5).train()
    before = {key: buffer.clone() for key, buffer in network.named_buffers()}
    logits = network(torch.randn(2, 3, *(side,) * dimensions))
    assert logits.shape == (2, 5)
    logits.square().mean().backward()
    frozen = bool(block.get("frozen_encoder"))
    for key, parameter in network.named_parameters():
        assert (parameter.grad is not None) == (key.startswith("head.") or not frozen), key
    assert not frozen or all(torch.equal(buffer, before[key]) for key, buffer in network.named_buffers())


def test_a_larger_image_is_averaged_as_well() -> None:
    network = build(configuration(unet(2), 2, 16), in_channels=1, num_classes=2).eval()
    image = torch.randn(1, 1, 16, 24)
    deepest = network.get_submodule("encoder")(image)[-1]
    head = network.get_submodule("head.linear")
    assert torch.allclose(network(image), head(deepest.mean((2, 3))))


def test_the_head_is_what_another_number_of_classes_changes() -> None:
    two, three = (build(configuration(unet(3), 3, 16), in_channels=1, num_classes=count) for count in (2, 3))
    assert load_all_but_other_heads(two, weights_of(three)) == ["head.linear.weight", "head.linear.bias"]


def test_the_encoder_has_the_names_of_the_one_that_segments() -> None:
    network, training = unet(3), {"batch_dice": True, "recipes": {"default": RECIPE}}
    segments = configuration(network, 3, 16, task="segmentation", classification=None, training=training)
    of_both = {key for key in weights_of(build(segments, in_channels=1, num_classes=2)) if key.startswith("encoder.")}
    own = weights_of(build(configuration(network, 3, 16), in_channels=1, num_classes=2)).keys()
    assert of_both == own - {"head.linear.weight", "head.linear.bias"} and of_both


BESIDE: dict[str, tuple[dict[str, Any], int, int, bool]] = {
    "plain, 3D": (unet(3), 3, 16, True),
    "residual, 2D": (unet(2, "residual_unet"), 2, 16, True),
    "unet on resnet18": ({"family": "unet", "encoder": "resnet18", "dropout": 0.1}, 2, 64, False),
    "deeplabv3plus": ({"family": "deeplabv3plus", "encoder": "mobilenet_v2"}, 2, 64, False),
}


@pytest.mark.parametrize("name", BESIDE)
def test_a_head_stands_beside_the_segmentation(name: str) -> None:
    block, dimensions, side, deep = BESIDE[name]
    made = configuration(block, dimensions, side, task="segmentation")
    network = build(made, in_channels=2, num_classes=3).train()
    image = torch.randn(2, 2, *(side,) * dimensions)
    set_deep_supervision(network, deep)
    told = network(image)
    assert isinstance(told.voxels, list) == deep and told.image.shape == (2, 2)
    voxels = told.voxels[0] if deep else told.voxels
    (voxels.square().mean() + told.image.square().mean()).backward()
    assert all(parameter.grad is not None for key, parameter in network.named_parameters() if "seg_layers" not in key)
    network.eval()
    set_deep_supervision(network, False)
    with torch.no_grad():
        both = network(image)
        set_given(network, "voxels")
        assert torch.equal(network(image), both.voxels) and both.voxels.shape == (2, 3, *image.shape[2:])
        set_given(network, "image")
        assert torch.allclose(network(image), both.image)


@pytest.mark.parametrize("name", BESIDE)
def test_both_heads_are_what_other_classes_change(name: str) -> None:
    block, dimensions, side, _ = BESIDE[name]
    made = configuration(block, dimensions, side, task="segmentation")
    three = configuration(block, dimensions, side, task="segmentation", classification={"target": "grade", "classes": ["a", "b", "c"]})
    wide, narrow = build(three, in_channels=1, num_classes=5), build(made, in_channels=1, num_classes=2)
    left = load_all_but_other_heads(narrow, weights_of(wide))
    assert left and {name.rsplit(".", 1)[0] for name in left} > {"head.linear"}


def test_an_encoder_starts_from_a_file(tmp_path: Path) -> None:
    block = {"family": "encoder", "encoder": "resnet18", "weights": str(tmp_path / "encoder.safetensors")}
    torch.manual_seed(1)
    source = build(configuration(block), in_channels=3, num_classes=2).get_submodule("encoder")
    save_file({key: tensor.clone() for key, tensor in source.state_dict().items()}, tmp_path / "encoder.safetensors")
    torch.manual_seed(2)
    network = build(configuration(block), in_channels=3, num_classes=2)
    assert str(start_encoder(network, configuration(block), 3)).endswith("encoder.safetensors.")
    assert all(torch.equal(tensor, source.state_dict()[key]) for key, tensor in network.get_submodule("encoder").state_dict().items())
