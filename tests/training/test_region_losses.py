"""Region losses: the same as those of classes where regions are classes, slow NumPy, masks, and limits."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from autoseg.errors import AutosegError
from autoseg.training.loss_terms import Emphasis
from autoseg.training.losses import AS_PLANNED, TERMS, confusion, deep_loss, single_loss
from autoseg.training.region_losses import REGION_TERMS, binary_entropy, membership, region_confusion, regions_of

each_loss = pytest.mark.parametrize("name", [*TERMS, "dice_ce", "dice_focal", "tversky_bce"])
both_dice = pytest.mark.parametrize("batch_dice", [False, True])
TUMOUR = membership([(1, 2, 3), (1, 3), (3,)], 4)


def random_case(seed: int, *, regions: int = 3, classes: int = 4, lowest: int = -1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn((2, regions, 4, 5, 6), generator=generator)
    return logits, torch.randint(lowest, classes, (2, 4, 5, 6), generator=generator)


def slow_loss(name: str, logits: Tensor, classes: Tensor, table: Tensor, batch_dice: bool, emphasis: Emphasis = AS_PLANNED) -> float:
    p = 1 / (1 + np.exp(-logits.double().numpy()))
    entropies, focals, weights, shares = [], [], [], []
    of_region = emphasis.weights or (1.0,) * p.shape[1]
    for b in range(len(p)):
        for r in range(p.shape[1]):
            predicted = actual = overlap = 0.0
            for place in np.ndindex(classes.shape[1:]):
                label = int(classes[(b, *place)])
                if label < 0:
                    continue
                inside, said = bool(table[r, label]), p[(b, r, *place)]
                right = said if inside else 1 - said
                entropies.append(-math.log(right))
                focals.append(-((1 - right) ** emphasis.gamma) * math.log(right))
                weights.append(of_region[r])
                predicted, actual, overlap = predicted + said, actual + inside, overlap + said * inside
            shares.append((predicted, actual, overlap))
    sums = np.array(shares).reshape(len(p), p.shape[1], 3)
    sums = sums.sum(0, keepdims=True) if batch_dice else sums
    value = {"ce": np.average(entropies, weights=weights), "focal": np.average(focals, weights=weights)}
    value["bce"] = value["ce"]
    predicted, actual, hits = np.moveaxis(sums, -1, 0)
    for term, beta in (("dice", 0.5), ("tversky", emphasis.beta)):
        index = (hits + 5e-6) / (hits + (1 - beta) * (predicted - hits) + beta * (actual - hits) + 5e-6)
        value[term] = -np.average(index, axis=-1, weights=of_region).mean()
    return float(sum(value[term] for term in name.split("_")))


def test_every_loss_has_a_form_for_regions() -> None:
    assert tuple(REGION_TERMS) == tuple(TERMS)
    logits, classes = random_case(0)
    with pytest.raises(AutosegError, match=r"'ec' must be.*dice, ce"):
        single_loss("ec", logits, classes, batch_dice=True, regions_RK=TUMOUR)


@each_loss
@both_dice
@pytest.mark.parametrize("lowest", [-1, 0])
def test_equals_the_slow_obvious_way(name: str, batch_dice: bool, lowest: int) -> None:
    logits, classes = random_case(1, lowest=lowest)
    found = single_loss(name, logits, classes, batch_dice=batch_dice, regions_RK=TUMOUR)
    assert float(found) == pytest.approx(slow_loss(name, logits, classes, TUMOUR, batch_dice), abs=2e-6)


@each_loss
@both_dice
def test_one_region_against_the_background_is_one_class(name: str, batch_dice: bool) -> None:
    """The sigmoid of a difference of two logits is their softmax."""
    logits, classes = random_case(2, regions=2, classes=2)
    one_region = (logits[:, 1] - logits[:, 0]).unsqueeze(1)
    found = single_loss(name, one_region, classes, batch_dice=batch_dice, regions_RK=membership([(1,)], 2))
    assert float(found) == pytest.approx(float(single_loss(name, logits, classes, batch_dice=batch_dice)), abs=1e-6)


@each_loss
def test_what_nobody_annotated_counts_in_nothing(name: str) -> None:
    logits, classes = random_case(3)
    logits.requires_grad_()
    found = single_loss(name, logits, classes, batch_dice=True, regions_RK=TUMOUR)
    found.backward()
    unknown = (classes < 0).unsqueeze(1).expand_as(logits)
    assert unknown.any() and (logits.grad[unknown] == 0).all() and (logits.grad[~unknown] != 0).any()
    other = torch.where(unknown, 7.0, logits.detach())
    assert float(single_loss(name, other, classes, batch_dice=True, regions_RK=TUMOUR)) == float(found.detach())


@each_loss
def test_limits(name: str) -> None:
    _, classes = random_case(4)
    inside = regions_of(classes, TUMOUR)
    perfect = torch.where(inside, 60.0, -60.0).requires_grad_()
    loss = single_loss(name, perfect, classes, batch_dice=False, regions_RK=TUMOUR)
    loss.backward()
    assert (
        float(loss.detach()) == pytest.approx(-1.0 if "dice" in name or "tversky" in name else 0.0, abs=1e-5) and torch.isfinite(perfect.grad).all()
    )
    for sign in (1e4, -1e4):  # surely wrong, and nobody annotated anything
        assert math.isfinite(float(single_loss(name, sign * (0.5 - inside.float()), classes, batch_dice=True, regions_RK=TUMOUR)))
        nothing = single_loss(name, torch.full((1, 3, 2, 2, 2), sign), torch.full((1, 2, 2, 2), -1), batch_dice=True, regions_RK=TUMOUR)
        assert math.isfinite(float(nothing))


def test_voxels_are_in_the_regions_of_their_class() -> None:
    inside = regions_of(torch.tensor([[-1, 0, 1, 2, 3]]), TUMOUR)
    expected = [[False, False, True, True, True], [False, False, True, False, True], [False, False, False, False, True]]
    assert inside[0].tolist() == expected
    # two voxels known, three regions: the mean is over six
    entropy = binary_entropy(torch.zeros(1, 3, 5), inside, torch.tensor([[[False, True, True, False, False]]]))
    assert float(entropy) == pytest.approx(math.log(2))


def test_counts_of_regions_are_their_own() -> None:
    logits, classes = random_case(5)
    found = confusion(logits, classes, TUMOUR)
    assert torch.equal(found, region_confusion(logits, classes, TUMOUR)) and found.shape == (3, 3)
    known = classes >= 0
    for region, row in enumerate(TUMOUR):
        inside, decided = row[classes.clamp_min(0)][known], (logits[:, region] > 0)[known]
        counts = [(inside & decided).sum(), (~inside & decided).sum(), (inside & ~decided).sum()]
        assert found[:, region].tolist() == [int(count) for count in counts]


def test_every_resolution_sees_its_own_voxels() -> None:
    logits, classes = random_case(6)
    classes = classes[:, :, :4, :4]
    fine, coarse, lowest = logits[:, :, :, :4, :4], logits[:, :, :2, :2, :2], logits[:, :, :1, :1, :1]
    found = deep_loss("dice_ce", [fine, coarse, lowest], classes, batch_dice=True, regions_RK=TUMOUR)
    expected = (
        2 * single_loss("dice_ce", fine, classes, batch_dice=True, regions_RK=TUMOUR)
        + single_loss("dice_ce", coarse, classes[:, 1::2, 1::2, 1::2], batch_dice=True, regions_RK=TUMOUR)
    ) / 3  # fmt: skip
    assert float(found) == pytest.approx(float(expected))


@pytest.mark.parametrize("name", TERMS)
@both_dice
def test_weights_of_regions_equal_the_slow_obvious_way(name: str, batch_dice: bool) -> None:
    logits, classes = random_case(7)
    emphasis = Emphasis(gamma=1.0, beta=0.9, weights=(1.0, 0.0, 5.0))
    found = float(single_loss(name, logits, classes, batch_dice=batch_dice, emphasis=emphasis, regions_RK=TUMOUR))
    assert found == pytest.approx(slow_loss(name, logits, classes, TUMOUR, batch_dice, emphasis), abs=2e-6)
    assert abs(found - float(single_loss(name, logits, classes, batch_dice=batch_dice, regions_RK=TUMOUR))) > 1e-3


def test_the_focal_loss_of_a_sigmoid_by_formula() -> None:
    logits, classes = random_case(8, lowest=0)
    p, inside = logits.double().sigmoid(), regions_of(classes, TUMOUR)
    right = torch.where(inside, p, 1 - p)
    expected = (-((1 - right) ** 3) * right.log()).mean()
    found = single_loss("focal", logits, classes, batch_dice=True, emphasis=Emphasis(gamma=3), regions_RK=TUMOUR)
    assert float(found) == pytest.approx(float(expected), abs=1e-6)
