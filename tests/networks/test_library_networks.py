"""Networks of libraries: shapes, gates, frozen encoders, weights, and what a plan says of them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from autoseg.errors import AutosegError, PlanError
from autoseg.networks import build, start_encoder
from autoseg.networks.encoders import AttentionGate, EncoderNetwork
from autoseg.networks.weights import HEADS, load_all_but_other_heads, load_weights, weights_of
from autoseg.planning.plan import Configuration

RECIPE = {"optimizer": "adamw", "learning_rate": 1e-3, "augmentation": {}}


def configuration(
    network: dict[str, Any], dimensions: int = 2, side: int = 64, *, task: str = "segmentation", loss: str = "dice_ce"
) -> Configuration:
    return Configuration.model_validate({
        "dimensions": dimensions, "spacing": [1] * dimensions, "median_shape": [side] * dimensions, "patch_size": [side] * dimensions,
        "batch_size": 2, "normalization": [{"channel": "a", "scheme": "zscore"}], "network": network, "task": task,
        "training": {"batch_dice": True, "deep_supervision": False, "loss": loss, "recipes": {"default": RECIPE}},
    })  # fmt: skip


NETWORKS: dict[str, tuple[dict[str, Any], int]] = {
    "unet": ({"family": "unet", "encoder": "resnet18"}, 2),
    "unet, gates, instance norm": ({"family": "unet", "encoder": "resnet18", "attention_gates": True, "norm": "instance"}, 2),
    "unet, frozen, dropout": ({"family": "unet", "encoder": "efficientnet-b0", "frozen_encoder": True, "dropout": 0.5}, 2),
    "unetplusplus, group norm": ({"family": "unetplusplus", "encoder": "mobilenet_v2", "norm": "group"}, 2),
    "deeplabv3plus": ({"family": "deeplabv3plus", "encoder": "efficientnet-b0"}, 2),
    "attention_unet": ({"family": "attention_unet", "width": 4, "stages": 3}, 2),
    "attention_unet in 3D": ({"family": "attention_unet", "width": 4, "stages": 3, "dropout": 0.1}, 3),
    "segresnet": ({"family": "segresnet", "width": 8, "stages": 3}, 3),
    "swin_unetr": ({"family": "swin_unetr", "width": 12, "stages": 6}, 2),
    "unetplusplus_monai": ({"family": "unetplusplus_monai", "width": 4, "stages": 5}, 3),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_have_the_image_s_size_and_every_weight_learns(name: str) -> None:
    block, dimensions = NETWORKS[name]
    network = build(configuration(block, dimensions, side=64 if dimensions == 2 else 32), in_channels=3, num_classes=5)
    image = torch.randn(2, 3, *(64 if dimensions == 2 else 32,) * dimensions)
    logits = network(image)
    assert logits.shape == (2, 5, *image.shape[2:])
    logits.square().mean().backward()
    for key, parameter in network.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, key
    assert any(not parameter.requires_grad for parameter in network.parameters()) == bool(block.get("frozen_encoder"))


@pytest.mark.parametrize("name", NETWORKS)
def test_heads_are_what_another_number_of_classes_changes(name: str) -> None:
    block, dimensions = NETWORKS[name]
    wide, narrow = (build(configuration(block, dimensions), in_channels=1, num_classes=count) for count in (7, 3))
    shapes = {key: tensor.shape for key, tensor in weights_of(narrow).items()}
    changed = {key for key, tensor in weights_of(wide).items() if tensor.shape != shapes[key]}
    assert changed and all(key.startswith(HEADS) for key in changed)
    assert set(load_all_but_other_heads(wide, weights_of(narrow))) == changed


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_our_own_networks_take_other_norms_and_dropout(norm: str, dimensions: int) -> None:
    block = {
        "family": "plain_unet", "features_per_stage": [4, 6], "strides": [[1] * dimensions, [2] * dimensions], "kernel_sizes": [[3] * dimensions] * 2,
        "blocks_per_stage": [1, 1], "convs_per_stage_decoder": [1], "norm": norm, "dropout": 0.5,
    }  # fmt: skip
    network = build(configuration(block, dimensions, side=8), in_channels=1, num_classes=2)
    kinds = {type(layer).__name__ for layer in network.modules()}
    assert {f"BatchNorm{dimensions}d" if norm == "batch" else "GroupNorm", f"Dropout{dimensions}d"} <= kinds
    assert not any("InstanceNorm" in kind for kind in kinds)
    groups = {layer.num_groups for layer in network.modules() if isinstance(layer, torch.nn.GroupNorm)}
    assert groups == ({4, 2} if norm == "group" else set())


def test_an_attention_gate_by_hand() -> None:
    gate = AttentionGate(1, 2).eval()
    for layer in gate.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.ones_(layer.weight)
    joined = torch.tensor([3.0, 0.5, -4.0]).view(1, 3, 1, 1)  # one gating channel, two of the skip
    with torch.no_grad():
        passed = gate(joined).flatten()
    inner = max(0.0, (3.0 + (0.5 - 4.0)) / (1 + 1e-5) ** 0.5) / (1 + 1e-5) ** 0.5
    assert torch.allclose(passed, torch.tensor([3.0, *(value * torch.sigmoid(torch.tensor(inner)).item() for value in (0.5, -4.0))]), atol=1e-5)


def test_gates_stand_where_there_are_skips() -> None:
    network = build(configuration({"family": "unet", "encoder": "resnet18", "attention_gates": True}), in_channels=1, num_classes=2)
    gates = [layer for layer in network.modules() if isinstance(layer, AttentionGate)]
    assert len(gates) == 4
    with torch.no_grad():
        for gate in gates:  # no skip passes any more: the encoder's shallow maps must not matter
            torch.nn.init.constant_(gate.weight[1].bias, -1e4)
    network.eval()
    with torch.no_grad():
        image = torch.randn(1, 1, 64, 64)
        features = network.get_submodule("body.encoder")(image)
        decoder, head = network.get_submodule("body.decoder"), network.get_submodule("body.segmentation_head")
        noise = [features[0], *(torch.randn_like(one) for one in features[1:-1]), features[-1]]
        assert torch.allclose(network(image), head(decoder(noise)), atol=1e-6)


def test_a_frozen_encoder_stays_as_it_is_in_training() -> None:
    network = build(configuration(NETWORKS["unet, frozen, dropout"][0]), in_channels=1, num_classes=2)
    assert isinstance(network, EncoderNetwork)
    before = {name: tensor.clone() for name, tensor in weights_of(network.encoder).items()}
    assert not network.encoder.training, "as it is built"
    network(torch.randn(2, 1, 64, 64))
    network.train()
    optimizer = torch.optim.SGD([parameter for parameter in network.parameters() if parameter.requires_grad], lr=0.1)
    network(torch.randn(2, 1, 64, 64)).square().mean().backward()
    optimizer.step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights_of(network.encoder).items())
    assert network.get_submodule("body.decoder").training and not network.encoder.training


@pytest.mark.parametrize("channels", [3, 2])
def test_an_encoder_starts_from_a_file(tmp_path: Path, channels: int) -> None:
    plain = build(configuration(NETWORKS["unet"][0]), in_channels=3, num_classes=2)
    assert isinstance(plain, EncoderNetwork)
    path, weights = tmp_path / "encoder.safetensors", plain.encoder.state_dict()
    save_file(weights, path)
    plan = configuration(NETWORKS["unet"][0] | {"weights": str(path)})
    network = build(plan, in_channels=channels, num_classes=2)
    assert isinstance(network, EncoderNetwork)
    assert start_encoder(network, plan, channels) == f"The encoder resnet18 starts from {path}."
    for name, tensor in network.encoder.state_dict().items():
        if tensor.shape == weights[name].shape:
            assert torch.equal(tensor, weights[name]), name
        else:  # the first convolution: of grey images the answer is the same
            assert torch.allclose(tensor.sum(1), weights[name][:, [0, 1]].sum(1) * 3 / 2)


def test_weights_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    other = build(configuration({"family": "unet", "encoder": "resnet34"}), in_channels=3, num_classes=2)
    assert isinstance(other, EncoderNetwork)
    save_file(dict(list(other.encoder.state_dict().items())[:50]), tmp_path / "other.safetensors")
    (tmp_path / "damaged.pth").write_bytes(b"no weights")
    for file, error, text in [
        ("other.safetensors", PlanError, "are those of another encoder: "),
        ("damaged.pth", AutosegError, "holds no weights that can be read"),
        ("missing.pth", AutosegError, "do not exist. Correct the path, or use imagenet or null"),
    ]:
        plan = configuration(NETWORKS["unet"][0] | {"weights": str(tmp_path / file)})
        with pytest.raises(error, match=text):
            start_encoder(build(plan, in_channels=3, num_classes=2), plan, 3)


def test_a_file_of_weights_runs_no_code(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"state_dict": Attack()}, tmp_path / "bad.pth")
    plan = configuration(NETWORKS["unet"][0] | {"weights": str(tmp_path / "bad.pth")})
    with pytest.raises(AutosegError, match=r"holds no weights that can be read .* of a \.pth that you trust, make one with"):
        start_encoder(build(plan, in_channels=3, num_classes=2), plan, 3)
    assert not (tmp_path / "ran").exists()


def test_batch_norms_know_their_statistics_after_few_steps() -> None:
    network = build(configuration({"family": "unet", "encoder": "efficientnet-b0"}), in_channels=1, num_classes=2)
    convolution, norm = network.get_submodule("body.encoder._conv_stem"), network.get_submodule("body.encoder._bn0")
    assert isinstance(norm, torch.nn.BatchNorm2d) and norm.running_mean is not None
    image = 3 + torch.randn(4, 1, 64, 64)
    with torch.no_grad():
        for _ in range(50):
            network(image)
        expected = convolution(image).mean((0, 2, 3))
    assert torch.allclose(norm.running_mean, expected, rtol=0.02, atol=1e-3)  # with the library's own momentum it is 60 % off


def test_weights_go_from_network_to_network() -> None:
    one, two = (build(configuration(NETWORKS["deeplabv3plus"][0]), in_channels=2, num_classes=2).eval() for _ in range(2))
    load_weights(two, weights_of(one))
    image = torch.randn(1, 2, 64, 64)
    with torch.no_grad():
        assert torch.equal(one(image), two(image))


def test_imagenet_without_a_network_says_how_to_provide_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    plan = configuration(NETWORKS["unet"][0] | {"weights": "imagenet"})
    with pytest.raises(AutosegError, match=r"The ImageNet weights of resnet18 cannot be fetched .* copy ~/.cache/huggingface here; or give a file"):
        start_encoder(build(plan, in_channels=3, num_classes=2), plan, 3)


def test_the_plan_holds_what_the_file_said() -> None:
    made = configuration(NETWORKS["unet, gates, instance norm"][0])
    assert Configuration.model_validate_json(json.dumps(made.model_dump(mode="json"))) == made


@pytest.mark.parametrize("dimensions", [2, 3])
def test_an_autoencoder_gives_the_image_s_channels_and_every_weight_learns(dimensions: int) -> None:
    block = {"family": "autoencoder", "width": 4, "stages": 3}
    made = configuration(block, dimensions, side=16, task="anomaly", loss="l1")
    network = build(made, in_channels=3, num_classes=3)
    image = torch.randn(2, 3, *(16,) * dimensions)
    network(image).square().mean().backward()
    assert network(image).shape == image.shape
    assert all(parameter.grad is not None for parameter in network.parameters())
    network.eval()
    assert not torch.allclose(network(image), network(image + 1), atol=1e-3)  # how bright a patch is can be told


def test_an_autoencoder_learns_a_picture_by_heart() -> None:
    torch.manual_seed(0)
    network = build(configuration({"family": "autoencoder", "width": 8, "stages": 2}, task="anomaly", loss="l1"), in_channels=1, num_classes=1)
    image = torch.nn.functional.avg_pool2d(torch.randn(2, 1, 36, 36), 5, 1)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        loss = (network(image) - image).abs().mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.25 * image.abs().mean().item()
