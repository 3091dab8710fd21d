"""The loss against slow NumPy, by hand, and at its limits."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from autoseg.training.losses import at_resolution, confusion, deep_dice_ce, dice_ce, soft_dice, stage_weights


def random_case(seed: int, shape: tuple[int, ...] = (2, 3, 4, 5, 6), *, lowest: int = -1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(shape, generator=generator)
    return logits, torch.randint(lowest, shape[1], (shape[0], *shape[2:]), generator=generator)


def slow_dice_ce(logits: NDArray[np.float64], classes: NDArray[np.int64], batch_dice: bool) -> float:
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    p = exponents / exponents.sum(1, keepdims=True)
    batch, num_classes = p.shape[:2]
    p, flat = p.reshape(batch, num_classes, -1), classes.reshape(batch, -1)
    entropies = [-math.log(p[b, flat[b, i], i]) for b in range(batch) for i in range(flat.shape[1]) if flat[b, i] >= 0]
    groups = [range(batch)] if batch_dice else [[b] for b in range(batch)]
    dice = []
    for group in groups:
        for k in range(1, num_classes):
            overlap = sum(p[b, k][flat[b] == k].sum() for b in group)
            predicted = sum(p[b, k][flat[b] >= 0].sum() for b in group)
            actual = sum((flat[b] == k).sum() for b in group)
            dice.append((2 * overlap + 1e-5) / max(predicted + actual + 1e-5, 1e-8))
    return float(np.mean(entropies) - np.mean(dice))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([(2, 3, 4, 5, 6), (3, 4, 5, 6), (1, 2, 7, 3), (2, 5, 3, 3, 3)]))
def test_equals_the_slow_formula(seed: int, batch_dice: bool, shape: tuple[int, ...]) -> None:
    logits, classes = random_case(seed, shape)
    assert dice_ce(logits, classes, batch_dice=batch_dice).item() == pytest.approx(
        slow_dice_ce(logits.double().numpy(), classes.numpy(), batch_dice), abs=1e-5
    )


@pytest.mark.parametrize("batch_dice", [False, True])
def test_a_perfect_prediction_is_near_minus_one_and_the_opposite_far_above(batch_dice: bool) -> None:
    classes = random_case(1, lowest=0)[1]
    right = 50.0 * F.one_hot(classes, 3).movedim(-1, 1).float()
    assert dice_ce(right, classes, batch_dice=batch_dice).item() == pytest.approx(-1, abs=1e-4)
    assert dice_ce(-right, classes, batch_dice=batch_dice).item() > 10


def test_batch_dice_by_hand() -> None:
    """Two samples of two voxels: one found in full, one with a false alarm on half of the image."""
    probabilities = torch.tensor([[[0.0, 0.0], [1.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]])
    classes = torch.tensor([[1, 1], [0, 0]])
    smooth = 1e-5
    assert soft_dice(probabilities, classes, batch_dice=False).item() == pytest.approx((1 + smooth / (1 + smooth)) / 2, rel=1e-6)
    assert soft_dice(probabilities, classes, batch_dice=True).item() == pytest.approx((4 + smooth) / (3 + 2 + smooth), rel=1e-6)


def test_a_class_that_is_nowhere_counts_as_found() -> None:
    probabilities = torch.tensor([[[0.5, 0.5], [0.5, 0.5], [0.0, 0.0]]])
    classes = torch.tensor([[1, 0]])
    assert soft_dice(probabilities, classes, batch_dice=False).item() == pytest.approx((1 / 2 + 1) / 2, rel=1e-4)


@pytest.mark.parametrize("batch_dice", [False, True])
def test_unannotated_voxels_count_in_nothing(batch_dice: bool) -> None:
    logits, classes = random_case(2)
    unknown = (classes < 0).unsqueeze(1).expand_as(logits)
    assert unknown.any() and not unknown.all()
    logits.requires_grad_(True)
    loss = dice_ce(logits, classes, batch_dice=batch_dice)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert not gradient[unknown].any() and gradient[~unknown].all()
    changed = torch.where(unknown, 100 * torch.randn(logits.shape), logits.detach())
    assert dice_ce(changed, classes, batch_dice=batch_dice).item() == pytest.approx(loss.item(), abs=1e-6)
    assert torch.equal(confusion(changed, classes), confusion(logits, classes))


def test_nothing_annotated_at_all_is_finite_without_gradient() -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = dice_ce(logits, torch.full((1, 4, 4), -1), batch_dice=False)
    loss.backward()
    assert math.isfinite(loss.item()) and not logits.grad.any()


@pytest.mark.parametrize("batch_dice", [False, True])
def test_the_gradient_is_that_of_the_loss(batch_dice: bool) -> None:
    logits, classes = random_case(3, (2, 3, 2, 3))
    assert torch.autograd.gradcheck(lambda x: dice_ce(x, classes, batch_dice=batch_dice), logits.double().requires_grad_(True))


@pytest.mark.parametrize("stages", [1, 2, 3, 5])
def test_stage_weights_halve_and_sum_to_one_without_the_lowest(stages: int) -> None:
    weights = stage_weights(stages)
    assert sum(weights) == pytest.approx(1)
    assert stages == 1 or weights[-1] == 0
    assert weights[: max(1, stages - 1)] == pytest.approx([weights[0] / 2**index for index in range(max(1, stages - 1))])


def test_deep_supervision_by_hand() -> None:
    logits, classes = random_case(4, (1, 3, 8, 8, 8))
    half, quarter = random_case(5, (1, 3, 4, 4, 4))[0], random_case(6, (1, 3, 2, 4, 2))[0]
    whole = dice_ce(logits, classes, batch_dice=True)
    coarse = dice_ce(half, classes[:, 1::2, 1::2, 1::2], batch_dice=True)
    assert deep_dice_ce([logits, half, quarter], classes, batch_dice=True).item() == pytest.approx((2 * whole + coarse).item() / 3, abs=1e-6)
    assert deep_dice_ce([logits], classes, batch_dice=True).item() == pytest.approx(whole.item())
    assert deep_dice_ce([logits.bfloat16()], classes, batch_dice=True).dtype == torch.float32


@pytest.mark.parametrize("shape", [(12, 8, 16), (6, 4, 8), (4, 8, 8), (12, 2, 4), (3, 1, 2), (1, 4, 1)])
def test_coarse_classes_are_those_of_the_nearest_voxel(shape: tuple[int, int, int]) -> None:
    classes = torch.randint(-1, 9, (2, 12, 8, 16))
    expected = F.interpolate(classes[:, None].double(), size=shape, mode="nearest-exact")[:, 0].long()
    assert torch.equal(at_resolution(classes, shape), expected)


def test_confusion_equals_counting() -> None:
    logits, classes = random_case(7, (2, 4, 5, 6, 7))
    decided, known = logits.argmax(1), classes >= 0
    for k in range(1, 4):
        hits = ((decided == k) & (classes == k)).sum()
        extra = ((decided == k) & (classes != k) & known).sum()
        missed = ((decided != k) & (classes == k)).sum()
        assert confusion(logits, classes)[:, k - 1].tolist() == [hits, extra, missed]
