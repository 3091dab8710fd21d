"""Every kind of plan can be trained: each learns one batch by heart and gives the same logits again from its folder."""

from collections.abc import Sequence
from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from autoseg.inference.execution import Execution, inference
from autoseg.inference.model_folder import load_model, save_weights, start_model_folder
from autoseg.networks import build
from autoseg.networks.unet import set_deep_supervision
from autoseg.planning.fingerprint import Fingerprint, IntensityStatistics
from autoseg.planning.plan import DatasetBlock, LabelsBlock, Plan, validate_plan
from autoseg.planning.planner import make_plan
from autoseg.training.losses import deep_loss
from autoseg.training.optimize import Stepper

CPU = Execution("cpu", "float32", channels_last=True)
CUBE, SLAB = ((24, 28, 24), (1.0, 1.0, 1.0)), ((8, 36, 30), (5.0, 1.0, 1.0))  # voxels and millimetres of each case
STEPS = 12


def planned(name: str, preset: str, cases: tuple[Any, Any] = CUBE, *, batch_size: int = 2, **training: Any) -> Plan:
    """What the planner makes of four such cases, with 4-8-8... features, a small batch and one quick recipe, all under one name."""
    shape, spacing = cases
    statistics = IntensityStatistics(mean=50, median=40, std=120, min=-1000, max=1000, percentile_00_5=-900, percentile_99_5=900)
    channels = ("t1", "t2")
    facts = Fingerprint(
        channel_names=channels, spacings=(spacing,) * 4, shapes_after_crop=(shape,) * 4, median_relative_size_after_crop=1,
        intensities=(statistics,) * 2,
    )  # fmt: skip
    labels = LabelsBlock(names=("background", "a", "b"), values=(0, 1, 2))
    block = DatasetBlock(name="D", layout="nnunet", channel_names=channels, labels=labels, num_cases=4, file_ending=".nii.gz")
    plan = make_plan(facts, block, preset=preset)
    configuration = plan.configuration(name)
    network = configuration.network.model_copy(update={"features_per_stage": (4, *(8,) * (len(configuration.network.strides) - 1))})
    default = configuration.training.recipes["default"]
    recipe = default.model_copy(update={"optimizer": "adamw", "learning_rate": 0.01, "momentum": 0.9, "clip_gradient_norm": 1})
    rules = configuration.training.model_copy(update={"precision": "float32", "recipes": {"default": recipe}} | training)
    small = configuration.model_copy(update={"network": network, "training": rules, "batch_size": batch_size})
    return plan.model_copy(update={"configurations": {"tried": small}})


def deep(patch: Sequence[int], strides: Sequence[Sequence[int]], family: str = "residual_unet", **training: Any) -> Plan:
    """A plan by hand, on the planner's frame: strides after the first stage's, kernels of 3."""
    axes, stages = len(patch), len(strides) + 1
    content = planned("2d" if axes == 2 else "3d_fullres", "resenc_m", **training).model_dump(mode="json", exclude_none=True)
    network = {
        "family": family, "features_per_stage": [4] + [8] * (stages - 1), "strides": [[1] * axes, *strides],
        "kernel_sizes": [[3] * axes] * stages, "blocks_per_stage": [1] * stages, "convs_per_stage_decoder": [1] * (stages - 1),
    }  # fmt: skip
    content["configurations"]["tried"] |= {"patch_size": patch, "network": network}
    return validate_plan(content, "a plan by hand")


KINDS = {
    "residual, 3D": lambda: planned("3d_fullres", "resenc_m"),
    "residual, 2D": lambda: planned("2d", "resenc_m"),
    "residual, anisotropic": lambda: planned("3d_fullres", "resenc_m", SLAB),
    "residual, batch of one": lambda: planned("3d_fullres", "resenc_m", batch_size=1, batch_dice=False),
    "residual, one resolution": lambda: planned("3d_fullres", "resenc_m", deep_supervision=False),
    "plain, anisotropic": lambda: planned("3d_fullres", "default", SLAB),
    "plain, 2D, not square": lambda: planned("2d", "default", SLAB),
    "plain, 2D, batch of one, one resolution": lambda: planned("2d", "default", batch_size=1, batch_dice=False, deep_supervision=False),
    "residual, 4 x 4 x 4 voxels at the bottom": lambda: deep((16, 16, 16), [(2, 2, 2), (2, 2, 2)]),
    "plain, 1 x 4 x 4 voxels at the bottom": lambda: deep((4, 16, 16), [(2, 2, 2), (2, 2, 2)], "plain_unet"),
    "residual, two voxels at the bottom": lambda: deep((8, 4, 4), [(2, 2, 2), (2, 2, 2)], batch_size=1),
}

BOTTOMS = {
    "residual, 4 x 4 x 4 voxels at the bottom": (4, 4, 4), "plain, 1 x 4 x 4 voxels at the bottom": (1, 4, 4),
    "residual, two voxels at the bottom": (2, 1, 1),
}  # fmt: skip


def fixed_batch(plan: Plan) -> tuple[Tensor, Tensor]:
    """Noise, and classes that can be read off it."""
    generator = torch.Generator().manual_seed(1)
    configuration = plan.configuration("tried")
    images = torch.randn(configuration.batch_size, 2, *configuration.patch_size, generator=generator)
    return images, (images[:, 0] > 0).long() * (1 + (images[:, 1] > 0).long())


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_a_batch_and_comes_back_from_its_folder(kind: str, tmp_path: Path) -> None:
    plan = KINDS[kind]()
    configuration, (images, classes) = plan.configuration("tried"), fixed_batch(plan)
    rules = configuration.training
    torch.manual_seed(0)
    network = build(configuration, in_channels=2, num_classes=3)
    set_deep_supervision(network, rules.deep_supervision)
    network = CPU.place(network, configuration.dimensions)
    stepper = Stepper(network, rules.recipes["default"], CPU)

    def loss() -> Tensor:
        logits = network(CPU.arrange(images))
        assert isinstance(logits, list) == rules.deep_supervision
        return deep_loss(rules.loss, logits if isinstance(logits, list) else [logits], classes, batch_dice=rules.batch_dice)

    losses = [stepper.step(loss, 0.01, number) for number in range(STEPS)]
    assert losses[-1] < losses[STEPS // 2] < losses[0] - 0.1

    start_model_folder(tmp_path, plan, "tried", "0", "default")
    save_weights(tmp_path, stepper.weights())
    set_deep_supervision(network, False)
    model = load_model(tmp_path)
    assert model.plan == plan
    loaded = CPU.place(model.network, configuration.dimensions)
    with inference(network):
        expected, found = network(CPU.arrange(images)), loaded(CPU.arrange(images))
    assert expected.shape == (configuration.batch_size, 3, *configuration.patch_size) and torch.equal(found, expected)


def test_the_kinds_are_what_their_names_say() -> None:
    found = {kind: make().configuration("tried") for kind, make in KINDS.items()}
    for kind, configuration in found.items():
        network = configuration.network
        assert network.family == kind.split(",")[0] + "_unet"
        assert configuration.dimensions == (2 if "2D" in kind else 3)
        if "anisotropic" in kind:
            assert network.strides[1] == network.strides[2] == (1, 2, 2) and network.kernel_sizes[0] == network.kernel_sizes[1] == (1, 3, 3)
            assert network.kernel_sizes[-1] == (3, 3, 3) and network.strides[-1] == (2, 2, 2)
    for kind, lowest in BOTTOMS.items():
        strides = zip(*found[kind].network.strides, strict=True)
        assert tuple(size // prod(along) for size, along in zip(found[kind].patch_size, strides, strict=True)) == lowest
    assert found["plain, 2D, not square"].patch_size == (40, 32)
    assert found["residual, 3D"].network.blocks_per_stage == (1, 3, 4)


@pytest.mark.parametrize(
    ("dimensions", "changes", "rules"),
    [
        (3, {"family": "residual_unet", "blocks_per_stage": [1, 2, 2]}, {}),
        (3, {"strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]], "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]]}, {"batch_size": 1}),
        (2, {"family": "residual_unet"}, {"batch_size": 1, "deep_supervision": False}),
    ],
)
def test_the_trainer_trains_it(
    make: SimpleNamespace, setting: Any, tmp_path: Path, dimensions: int, changes: dict[str, Any], rules: dict[str, Any]
) -> None:
    patch = (16, 8) if dimensions == 2 else (8, 16, 8)
    content = make.plan(dimensions=dimensions, patch=patch, **rules).model_dump(mode="json", exclude_none=True)
    content["configurations"]["tiny"]["network"] |= changes
    plan = validate_plan(content, "a plan of the tests")
    assert setting.train(plan, setting.decide(tmp_path / "run", steps=5)).steps == 5
    (first, last) = setting.log_of(tmp_path / "run")
    assert all(row["train_loss"] == row["train_loss"] and row["validation_loss"] == row["validation_loss"] for row in (first, last))
    model = load_model(tmp_path / "run")
    assert model.configuration.network.family == changes.get("family", "plain_unet")
    assert model.network(torch.randn(1, 4, *patch)).isfinite().all()
