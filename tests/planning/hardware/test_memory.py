"""The memory model against a rehearsal of the real training step, against what PyTorch really keeps, and against a case worked out by hand."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from live_memory import rehearsed_peak
from torch import Tensor

from autoseg.networks import build
from autoseg.planning.hardware.layers import operations
from autoseg.planning.hardware.memory import CONTEXT, LOSS, training_memory
from autoseg.planning.hardware.replay import replay
from autoseg.planning.plan import Configuration, Plan
from autoseg.planning.schema.losses import LOSS_TERMS
from autoseg.training.losses import TERMS

Plans = Callable[..., Plan]
FLAT, CUBE = [1, 3, 3], [3, 3, 3]
ANISOTROPIC = {"kernel_sizes": [FLAT, CUBE, CUBE], "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]]}
RESIDUAL = {"family": "residual_unet", "blocks_per_stage": [1, 3, 4], "convs_per_stage_decoder": [1, 1]}
KINDS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "plain 3D": ((32, 32, 32), {}),
    "plain 2D": ((128, 128), {}),
    "residual 3D": ((32, 32, 32), RESIDUAL),
    "residual 2D": ((128, 128), RESIDUAL),
    "anisotropic": ((8, 64, 64), ANISOTROPIC),
    "wide": ((32, 32, 32), {"features_per_stage": [32, 64, 64]}),
    "residual anisotropic, same width twice": ((8, 64, 64), RESIDUAL | ANISOTROPIC | {"features_per_stage": [16, 16, 32]}),
}


def configuration_of(small_plan: Plans, kind: str, **training: Any) -> Configuration:
    patch, network = KINDS[kind]
    configuration = small_plan(patch=patch, network={"features_per_stage": [16, 32, 64]} | network).configuration("small")
    return configuration.model_copy(update={"training": configuration.training.model_copy(update=training)})


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_a_rehearsal_of_the_real_step(kind: str, precision: Any, small_plan: Plans) -> None:
    configuration = configuration_of(small_plan, kind)
    counted = rehearsed_peak(configuration, 2, 4, precision=precision, recipe="default")
    predicted = training_memory(configuration, 2, 4, precision=precision, workspace=False).allocated
    assert predicted == pytest.approx(counted, rel=0.01)


SUMS = ["dice_ce", "dice_focal", "dice_bce", "tversky_focal", "dice_tversky", "bce_focal", "dice_tversky_focal_bce_ce"]


@pytest.mark.parametrize("loss", [*LOSS, *SUMS])
def test_many_classes_make_the_loss_the_worst_moment(loss: str, small_plan: Plans) -> None:
    configuration = configuration_of(small_plan, "plain 3D", loss=loss)
    estimate = training_memory(configuration, 1, 40, workspace=False)
    assert estimate.loss > 0.5 * estimate.activations
    assert estimate.allocated == pytest.approx(rehearsed_peak(configuration, 1, 40, precision="float16", recipe="default"), rel=0.05)


@pytest.mark.parametrize("loss", [*(term for term in LOSS if term != "bce"), "dice_ce", "dice_focal", "tversky_focal"])
def test_a_few_regions_need_what_as_many_classes_do(loss: str, small_plan: Plans) -> None:
    configuration = configuration_of(small_plan, "plain 3D", loss=loss)
    counted = rehearsed_peak(configuration, 4, 3, precision="float16", recipe="default", regions=True)
    assert training_memory(configuration, 4, 3, workspace=False).allocated == pytest.approx(counted, rel=0.01)


@pytest.mark.parametrize(
    ("optimizer", "momentum", "average", "states"), [("sgd", 0.9, 0.0, 1), ("sgd", 0.0, 0.5, 0), ("adamw", 0.9, 0.9, 2), ("adam", 0.9, 0, 2)]
)
def test_optimizer_and_average(optimizer: str, momentum: float, average: float, states: int, small_plan: Plans) -> None:
    configuration = configuration_of(small_plan, "wide")
    recipe = configuration.training.recipes["default"].model_copy(update={"optimizer": optimizer, "momentum": momentum, "weight_average": average})
    configuration = configuration.model_copy(update={"training": configuration.training.model_copy(update={"recipes": {"fast": recipe}})})
    estimate = training_memory(configuration, 1, 2, workspace=False)
    assert (estimate.optimizer, estimate.average) == (states * estimate.weights, estimate.weights if average else 0)
    assert estimate.allocated == pytest.approx(rehearsed_peak(configuration, 1, 2, precision="float16", recipe="fast"), rel=0.01)


def test_without_deep_supervision(small_plan: Plans) -> None:
    configuration = configuration_of(small_plan, "plain 3D", deep_supervision=False)
    counted = rehearsed_peak(configuration, 2, 4, precision="float16", recipe="default")
    assert training_memory(configuration, 2, 4, workspace=False).allocated == pytest.approx(counted, rel=0.01)


@pytest.mark.parametrize("kind", ["plain 3D", "residual 3D", "anisotropic", "plain 2D"])
def test_kept_feature_maps_are_those_that_pytorch_keeps(kind: str, small_plan: Plans) -> None:
    """Real tensors on this machine: the storages that automatic differentiation holds between forward and backward."""
    configuration = configuration_of(small_plan, kind)
    network = build(configuration, in_channels=2, num_classes=3)
    own = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    image = torch.zeros(1, 2, *configuration.patch_size)
    own.add(image.untyped_storage().data_ptr())
    kept: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        logits = network(image)
    made = operations(configuration, 2, 3)
    moments = list(replay(made, batch=1, value=4, weight=4, image=0, loss=0))
    assert moments[len(made)].features == pytest.approx(sum(kept.values()) + sum(4 * one.numel() for one in logits), rel=0.01)


def test_worked_by_hand(small_plan: Plans) -> None:
    """Two stages of one convolution, 16 and 32 wide, 8^3 voxels; T is a feature map of the first stage in half precision."""
    network = {
        "features_per_stage": [16, 32], "strides": [[1] * 3, [2] * 3], "kernel_sizes": [CUBE] * 2, "blocks_per_stage": [1, 1],
        "convs_per_stage_decoder": [1],
    }  # fmt: skip
    configuration = small_plan(patch=(8, 8, 8), network=network).configuration("small")
    made = operations(configuration, 1, 2)
    full, low, voxels = 2 * 2 * 16 * 8**3, 2 * 2 * 32 * 4**3, 2 * 8**3
    moments = list(replay(made, batch=2, value=2, weight=4, image=2 * voxels, loss=7))
    image, logits = 2 * voxels, 2 * voxels * 2
    of_loss = moments[len(made)]
    assert of_loss.features == image + 2 * full + 2 * low + 2 * full + 2 * full + logits  # encoder, bottleneck, concatenation, decoder
    assert of_loss.loss == 7
    weights = [1 * 16 * 27 + 16, 32, 16 * 32 * 27 + 32, 64, 32 * 16 * 8 + 16, 32 * 16 * 27 + 16, 32, 16 * 2 + 2]
    assert sum(one.weights for one in made) == sum(weights)
    assert of_loss.copies == 2 * (sum(weights) - 32 - 64 - 32)
    # back at the bottleneck's convolution: the whole of the concatenation's gradient (2 T) waits for the skip, and what comes in joins it in a new T
    bottleneck = len(made) + 1 + next(place for place, one in enumerate(reversed(made)) if one.kind == "convolution" and one.channels == 32)
    assert moments[bottleneck].feature_gradients == low + 2 * full + full + full
    assert moments[-1].gradients == 4 * sum(weights[1:])  # all but those of the first convolution, which are being made
    estimate = training_memory(configuration, 1, 2)
    assert estimate.batch == voxels * (4 + 8)
    assert estimate.total == estimate.allocated + CONTEXT


def test_grows_with_batch_and_precision(small_plan: Plans) -> None:
    configuration = configuration_of(small_plan, "residual 3D")
    larger = configuration.model_copy(update={"batch_size": 4})
    half, single = training_memory(configuration, 1, 3), training_memory(configuration, 1, 3, precision="float32")
    assert training_memory(larger, 1, 3).activations == 2 * half.activations
    assert single.activations > 1.8 * half.activations
    assert single.weight_copies == 0


def test_every_loss_has_its_memory() -> None:
    assert tuple(LOSS) == tuple(TERMS) and set(LOSS_TERMS) == set(TERMS)
