"""The losses against slow NumPy, by hand, against each other, and at their limits."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from autoseg.errors import AutosegError
from autoseg.training.loss_terms import Emphasis
from autoseg.training.losses import (
    AS_PLANNED,
    at_resolution,
    binary_entropy,
    confusion,
    cross_entropy,
    deep_loss,
    focal,
    log_of_the_rest,
    single_loss,
    soft_dice,
    stage_weights,
    tversky,
)

NAMES = ("dice_ce", "dice", "ce", "dice_focal", "bce", "focal", "tversky", "dice_bce", "tversky_focal", "dice_tversky_focal_bce_ce")
LOWEST = {"dice": -1, "tversky": -1, "ce": 0, "bce": 0, "focal": 0}  # of each term
each_loss = pytest.mark.parametrize("name", NAMES)
both_dice = pytest.mark.parametrize("batch_dice", [False, True])


def random_case(seed: int, shape: tuple[int, ...] = (2, 3, 4, 5, 6), *, lowest: int = -1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(shape, generator=generator)
    return logits, torch.randint(lowest, shape[1], (shape[0], *shape[2:]), generator=generator)


def slow_loss(name: str, logits: NDArray[np.float64], classes: NDArray[np.int64], batch_dice: bool, emphasis: Emphasis = AS_PLANNED) -> float:
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    p = exponents / exponents.sum(1, keepdims=True)
    batch, num_classes = p.shape[:2]
    p, flat = p.reshape(batch, num_classes, -1), classes.reshape(batch, -1)
    known = [(b, i) for b in range(batch) for i in range(flat.shape[1]) if flat[b, i] >= 0]
    right = np.array([p[b, flat[b, i], i] for b, i in known])
    of_class = np.ones(num_classes) if emphasis.weights is None else np.array(emphasis.weights)
    of_voxel = np.array([of_class[flat[b, i]] for b, i in known])
    counted = range(1 if emphasis.weights is None else 0, num_classes)
    value = {"ce": np.average(-np.log(right), weights=of_voxel)}
    value["focal"] = np.average(-((1 - right) ** emphasis.gamma) * np.log(right), weights=of_voxel)
    binary = [[-np.log(p[b, k, i] if flat[b, i] == k else 1 - p[b, k, i]) for b, i in known] for k in counted]
    value["bce"] = np.average(np.mean(binary, axis=1), weights=of_class[counted[0] :])
    groups = [range(batch)] if batch_dice else [[b] for b in range(batch)]
    for term, beta in (("dice", 0.5), ("tversky", emphasis.beta)):
        index = []
        for group in groups:
            for k in counted:
                hits = sum(p[b, k][flat[b] == k].sum() for b in group)
                extra = sum(p[b, k][(flat[b] >= 0) & (flat[b] != k)].sum() for b in group)
                missed = sum((1 - p[b, k][flat[b] == k]).sum() for b in group)
                index.append((hits + 5e-6) / (hits + (1 - beta) * extra + beta * missed + 5e-6))
        value[term] = -np.average(index, weights=np.tile(of_class[counted[0] :], len(groups)))
    return float(sum(value[term] for term in name.split("_")))


def one_pass_dice_ce(logits: Tensor, classes: Tensor, batch_dice: bool) -> Tensor:
    """Cross-entropy minus soft Dice in the operations, and their order, that trainings so far were made with."""
    known = classes >= 0
    log_p = F.log_softmax(logits, dim=1)
    entropy = F.nll_loss(log_p, classes, ignore_index=-1, reduction="sum") / known.sum().clamp_min(1)
    p, known = log_p.exp(), known.unsqueeze(1)
    one_hot = torch.zeros_like(p).scatter_(1, classes.clamp_min(0).unsqueeze(1), 1.0)
    axes = (0, *range(2, p.ndim)) if batch_dice else tuple(range(2, p.ndim))
    predicted, actual = (p * known)[:, 1:], (one_hot * known)[:, 1:]
    overlap = (predicted * actual).sum(axes)
    return entropy - ((2 * overlap + 1e-5) / (predicted.sum(axes) + actual.sum(axes) + 1e-5).clamp_min(1e-8)).mean()


@pytest.mark.parametrize("name", ["dise_ce", "dice_dice", "", "ce_", "dice+ce"])
def test_what_is_no_loss_is_said(name: str) -> None:
    with pytest.raises(AutosegError, match=r"must be made of dice, ce, bce, focal and tversky, joined by _, each at most once"):
        deep_loss(name, [torch.zeros(1, 2, 4, 4)], torch.zeros(1, 4, 4, dtype=torch.long), batch_dice=False)


@given(st.integers(0, 10**6), st.sampled_from(NAMES), st.booleans(), st.sampled_from([(2, 3, 4, 5, 6), (3, 4, 5, 6), (1, 2, 7, 3)]))
@settings(max_examples=60)
def test_equals_the_slow_formula(seed: int, name: str, batch_dice: bool, shape: tuple[int, ...]) -> None:
    logits, classes = random_case(seed, shape)
    expected = slow_loss(name, logits.double().numpy(), classes.numpy(), batch_dice)
    assert single_loss(name, logits, classes, batch_dice=batch_dice).item() == pytest.approx(expected, abs=1e-5)


@both_dice
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dice_ce_is_bit_for_bit_what_it_was(batch_dice: bool, dtype: torch.dtype) -> None:
    full, classes = random_case(11, (2, 4, 8, 8, 8))
    stages = [full, random_case(12, (2, 4, 4, 4, 4))[0], random_case(13, (2, 4, 2, 2, 2))[0]]

    def value_and_gradients(loss_of: Callable[[list[Tensor]], Tensor]) -> list[Tensor]:
        leaves = [stage.to(dtype).requires_grad_() for stage in stages]
        loss = loss_of(leaves)
        return [loss, *torch.autograd.grad(loss, leaves[:2])]

    def as_it_was(leaves: list[Tensor]) -> Tensor:
        first = torch.zeros(()) + 1 / 1.5 * one_pass_dice_ce(leaves[0].float(), classes, batch_dice)
        return first + 0.5 / 1.5 * one_pass_dice_ce(leaves[1].float(), classes[:, 1::2, 1::2, 1::2], batch_dice)

    ours = value_and_gradients(lambda leaves: deep_loss("dice_ce", leaves, classes, batch_dice=batch_dice))
    assert all(torch.equal(one, other) for one, other in zip(ours, value_and_gradients(as_it_was), strict=True))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ce", (math.log(4 / 3) + math.log(2) + math.log(4)) / 3),
        ("dice", -(2 * 0.75 + 2 * 0.25) / (0.75 + 0.5 + 0.25 + 2)),
        ("dice_ce", (math.log(4 / 3) + math.log(2) + math.log(4)) / 3 - 2 / 3.5),
        ("dice_focal", (math.log(4 / 3) / 16 + math.log(2) / 4 + math.log(4) * 9 / 16) / 3 - 2 / 3.5),
        ("bce", (math.log(4 / 3) + math.log(2) + math.log(4)) / 3),  # of two classes it is cross-entropy
        ("tversky", -1 / (1 + 0.3 * 0.5 + 0.7 * (0.25 + 0.75))),
        ("focal", (math.log(4 / 3) / 16 + math.log(2) / 4 + math.log(4) * 9 / 16) / 3),
    ],
)
def test_four_voxels_by_hand(name: str, expected: float) -> None:
    """Foreground with probability 3/4, 1/2, 1/4 where it is there, not there, there; nobody annotated the fourth voxel."""
    p = torch.tensor([[0.75, 0.5], [0.25, 0.9]])
    logits, classes = torch.stack([1 - p, p]).log()[None], torch.tensor([[[1, 0], [1, -1]]])
    assert single_loss(name, logits, classes, batch_dice=False).item() == pytest.approx(expected, abs=1e-5)


def test_losses_are_made_of_their_terms() -> None:
    logits, classes = random_case(8)
    value = {name: single_loss(name, logits, classes, batch_dice=True) for name in NAMES}
    log_p = F.log_softmax(logits, dim=1)
    assert torch.equal(value["ce"], cross_entropy(log_p, classes)) and torch.equal(value["dice"], -soft_dice(log_p.exp(), classes, batch_dice=True))
    assert torch.equal(value["dice_ce"], value["ce"] + value["dice"])
    assert torch.equal(value["dice_focal"], focal(log_p, classes) + value["dice"])
    assert torch.equal(value["dice_ce"], single_loss("ce_dice", logits, classes, batch_dice=True))  # in whatever order
    assert value["dice_tversky_focal_bce_ce"].item() == pytest.approx(sum(value[term].item() for term in LOWEST), abs=1e-5)
    assert value["ce"].item() == pytest.approx(F.cross_entropy(logits, classes, ignore_index=-1).item(), abs=1e-6)


def test_focal_without_focus_is_cross_entropy_and_focus_lowers_what_is_easy() -> None:
    logits, classes = random_case(9)
    log_p = F.log_softmax(logits.requires_grad_(), dim=1)
    entropy, plain = cross_entropy(log_p, classes), focal(log_p, classes, gamma=0)
    assert plain.item() == pytest.approx(entropy.item(), abs=1e-6)
    ours, theirs = torch.autograd.grad(plain, logits, retain_graph=True)[0], torch.autograd.grad(entropy, logits, retain_graph=True)[0]
    torch.testing.assert_close(ours, theirs)
    values = [focal(log_p, classes, gamma=gamma).item() for gamma in (0, 1, 2, 5)]
    assert values == sorted(values, reverse=True) and values[-1] > 0
    easy, hard = torch.tensor([[[5.0], [0.0]]]), torch.tensor([[[0.0], [5.0]]])  # of two classes, the first is right
    share = [(focal(F.log_softmax(x, 1), torch.tensor([[0]])) / cross_entropy(F.log_softmax(x, 1), torch.tensor([[0]]))).item() for x in (easy, hard)]
    assert share[0] < 1e-4 and share[1] > 0.98


@each_loss
@both_dice
@pytest.mark.parametrize("size", [1e4, 1e30])
def test_extreme_logits_have_finite_losses_and_gradients(name: str, batch_dice: bool, size: float) -> None:
    classes = random_case(10)[1]
    for sign in (1, -1):
        logits = (sign * size * F.one_hot(classes.clamp_min(0), 3).movedim(-1, 1).float()).requires_grad_()
        loss = single_loss(name, logits, classes, batch_dice=batch_dice)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert math.isfinite(loss.item()) and gradient.isfinite().all()
        assert loss.item() == pytest.approx(sum(LOWEST[term] for term in name.split("_")), abs=1e-4) or sign < 0
        # only what is surely wrong still pulls; overlaps alone are flat there
        assert (gradient.abs().max() > 1e-3) == (sign < 0 and name not in ("dice", "tversky"))


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


@each_loss
def test_a_class_that_one_sample_lacks_is_told_from_one_that_is_nowhere(name: str) -> None:
    """With batch Dice a false alarm in one sample is shared with the hits of the other; cross-entropy knows no samples."""
    p = torch.tensor([[[0.1, 0.2], [0.9, 0.8]], [[0.5, 0.9], [0.5, 0.1]]])
    classes = torch.tensor([[1, 1], [0, 0]])
    alone, together = (single_loss(name, p.log(), classes, batch_dice=batch_dice).item() for batch_dice in (False, True))
    assert together < alone - 0.2 if "dice" in name or "tversky" in name else together == pytest.approx(alone)


@each_loss
@both_dice
def test_unannotated_voxels_count_in_nothing(name: str, batch_dice: bool) -> None:
    logits, classes = random_case(2)
    unknown = (classes < 0).unsqueeze(1).expand_as(logits)
    assert unknown.any() and not unknown.all()
    logits.requires_grad_(True)
    loss = single_loss(name, logits, classes, batch_dice=batch_dice)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert not gradient[unknown].any() and gradient[~unknown].all()
    changed = torch.where(unknown, 100 * torch.randn(logits.shape), logits.detach())
    assert single_loss(name, changed, classes, batch_dice=batch_dice).item() == pytest.approx(loss.item(), abs=1e-6)
    assert torch.equal(confusion(changed, classes), confusion(logits, classes))


@each_loss
def test_nothing_annotated_at_all_is_finite_without_gradient(name: str) -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = single_loss(name, logits, torch.full((1, 4, 4), -1), batch_dice=False)
    loss.backward()
    assert math.isfinite(loss.item()) and not logits.grad.any()


@each_loss
@both_dice
def test_the_gradient_is_that_of_the_loss(name: str, batch_dice: bool) -> None:
    logits, classes = random_case(3, (2, 3, 2, 3))
    assert torch.autograd.gradcheck(lambda x: single_loss(name, x, classes, batch_dice=batch_dice), logits.double().requires_grad_(True))


@pytest.mark.parametrize("stages", [1, 2, 3, 5])
def test_stage_weights_halve_and_sum_to_one_without_the_lowest(stages: int) -> None:
    weights = stage_weights(stages)
    assert sum(weights) == pytest.approx(1)
    assert stages == 1 or weights[-1] == 0
    assert weights[: max(1, stages - 1)] == pytest.approx([weights[0] / 2**index for index in range(max(1, stages - 1))])


@each_loss
def test_deep_supervision_by_hand(name: str) -> None:
    logits, classes = random_case(4, (1, 3, 8, 8, 8))
    half, quarter = random_case(5, (1, 3, 4, 4, 4))[0], random_case(6, (1, 3, 2, 4, 2))[0]
    whole = single_loss(name, logits, classes, batch_dice=True)
    coarse = single_loss(name, half, classes[:, 1::2, 1::2, 1::2], batch_dice=True)
    assert deep_loss(name, [logits, half, quarter], classes, batch_dice=True).item() == pytest.approx((2 * whole + coarse).item() / 3, abs=1e-6)
    assert deep_loss(name, [logits], classes, batch_dice=True).item() == pytest.approx(whole.item())
    assert deep_loss(name, [logits.bfloat16()], classes, batch_dice=True).dtype == torch.float32


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


WEIGHTED = Emphasis(gamma=1.5, beta=0.8, weights=(0.5, 2.0, 3.0))


@pytest.mark.parametrize("emphasis", [WEIGHTED, Emphasis(gamma=0, beta=0.2), Emphasis(weights=(0, 1, 0))])
@pytest.mark.parametrize("name", [*LOWEST, "dice_ce"])
@both_dice
def test_emphasis_equals_the_slow_formula(name: str, batch_dice: bool, emphasis: Emphasis) -> None:
    logits, classes = random_case(21)
    expected = slow_loss(name, logits.double().numpy(), classes.numpy(), batch_dice, emphasis)
    assert single_loss(name, logits, classes, batch_dice=batch_dice, emphasis=emphasis).item() == pytest.approx(expected, abs=1e-5)
    assert single_loss(name, logits, classes, batch_dice=batch_dice).item() != pytest.approx(expected, abs=1e-3) or emphasis != WEIGHTED


def test_weights_by_hand() -> None:
    """Two voxels, one of each class, each with probability 1/4 of its own class; weights 1 and 3."""
    log_p, classes, weights = torch.tensor([[[0.25, 0.75], [0.75, 0.25]]]).log(), torch.tensor([[0, 1]]), torch.tensor([1.0, 3.0])
    assert cross_entropy(log_p, classes, weights).item() == pytest.approx(math.log(4))
    uneven = torch.tensor([[[0.5, 0.75], [0.5, 0.25]]]).log()
    assert cross_entropy(uneven, classes, weights).item() == pytest.approx((math.log(2) + 3 * math.log(4)) / 4)
    assert focal(uneven, classes, weights).item() == pytest.approx((math.log(2) / 4 + 3 * math.log(4) * 9 / 16) / 4)
    assert binary_entropy(uneven, classes, weights).item() == pytest.approx((math.log(2) + math.log(4)) / 2)
    # background: 1/2 of 1 1/4 predicted, 1 there; foreground: 1/4 of 3/4 predicted, 1 there
    assert soft_dice(uneven.exp(), classes, weights, batch_dice=True).item() == pytest.approx((1 / 2.25 + 3 * 0.5 / 1.75) / 4, rel=1e-4)
    background, foreground = 0.5 / (0.5 + 0.3 * 0.75 + 0.7 * 0.5), 0.25 / (0.25 + 0.3 * 0.5 + 0.7 * 0.75)
    assert tversky(uneven.exp(), classes, weights, batch_dice=True, beta=0.7).item() == pytest.approx((background + 3 * foreground) / 4, rel=1e-4)


def test_cross_entropy_with_weights_is_torchs() -> None:
    logits, classes = random_case(22)
    weights = torch.tensor([0.2, 1.0, 4.0])
    expected = torch.nn.CrossEntropyLoss(weight=weights, ignore_index=-1)(logits, classes)
    assert cross_entropy(F.log_softmax(logits, 1), classes, weights).item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.slow  # its import takes ten seconds
def test_overlaps_are_monais() -> None:
    losses = pytest.importorskip("monai.losses")
    logits, classes = random_case(23, lowest=0)
    p, target = logits.softmax(1), F.one_hot(classes, 3).movedim(-1, 1).float()
    for batch_dice in (False, True):
        shared = {"include_background": False, "batch": batch_dice}
        peer = losses.TverskyLoss(alpha=0.2, beta=0.8, smooth_nr=5e-6, smooth_dr=5e-6, **shared)(p, target)
        assert 1 - tversky(p, classes, batch_dice=batch_dice, beta=0.8).item() == pytest.approx(peer.item(), abs=1e-6)
        peer = losses.DiceLoss(smooth_nr=1e-5, smooth_dr=1e-5, **shared)(p, target)
        assert 1 - soft_dice(p, classes, batch_dice=batch_dice).item() == pytest.approx(peer.item(), abs=1e-6)


def test_a_tversky_index_of_one_half_is_dice() -> None:
    logits, classes = random_case(24)
    even = Emphasis(beta=0.5)
    found = single_loss("tversky", logits, classes, batch_dice=False, emphasis=even)
    assert torch.equal(found, single_loss("dice", logits, classes, batch_dice=False))
    p = torch.tensor([[[0.9, 0.9, 0.9, 0.1], [0.1, 0.1, 0.1, 0.9]]])  # one found, one missed
    missed = [tversky(p, torch.tensor([[0, 0, 1, 1]]), batch_dice=True, beta=beta).item() for beta in (0.3, 0.5, 0.7)]
    assert missed == sorted(missed, reverse=True)


def test_the_log_of_the_rest_is_exact_where_a_class_is_nearly_certain() -> None:
    logits = torch.tensor([[[60.0, 0.0, 3.0], [0.0, 0.0, -2.0], [-5.0, 0.0, 9.0]]])
    exact = logits.double().numpy()
    p = np.exp(exact) / np.exp(exact).sum(1, keepdims=True)
    rest = np.stack([np.log(np.delete(p, k, axis=1).sum(1)) for k in range(3)], axis=1)
    assert np.allclose(log_of_the_rest(F.log_softmax(logits, 1)).numpy(), rest, rtol=1e-6)
    assert log_of_the_rest(torch.tensor([[[0.0], [-1e4]]])).flatten().tolist() == [-1e4, 0]


@pytest.mark.parametrize("gamma", [0, 0.5, 2, 3.5])
@pytest.mark.parametrize("size", [1e4, 1e30])
def test_every_emphasis_has_finite_gradients_at_extreme_logits(gamma: float, size: float) -> None:
    classes = random_case(25)[1]
    emphasis = Emphasis(gamma=gamma, beta=0.9, weights=(0.1, 1.0, 10.0))
    for sign in (1, -1):
        logits = (sign * size * F.one_hot(classes.clamp_min(0), 3).movedim(-1, 1).float()).requires_grad_()
        loss = single_loss("dice_tversky_focal_bce_ce", logits, classes, batch_dice=True, emphasis=emphasis)
        assert math.isfinite(loss.item()) and torch.autograd.grad(loss, logits)[0].isfinite().all()


@pytest.mark.parametrize("name", LOWEST)
def test_nothing_that_weighs_anything_is_finite_without_gradient(name: str) -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = single_loss(name, logits, torch.zeros(1, 4, 4, dtype=torch.long), batch_dice=True, emphasis=Emphasis(weights=(0, 1, 1)))
    loss.backward()
    assert math.isfinite(loss.item()) and logits.grad.isfinite().all()
    assert name not in ("ce", "focal") or not logits.grad.any()  # the voxels are all of a class that weighs nothing
