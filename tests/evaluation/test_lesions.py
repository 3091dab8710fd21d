"""Lesions worked by hand, and against the rule followed literally: lesion by lesion, on the whole grid."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, generate_binary_structure, label

from autoseg.evaluation.distances import hd95_area_weighted
from autoseg.evaluation.lesions import merged_lesions, paired_lesions

Mask = NDArray[np.bool_]
UNIT = (1.0, 1.0, 1.0)
EVERYWHERE = np.ones((3, 3, 3))
MASKS = arrays(bool, (7, 8, 9), elements=st.booleans(), fill=st.just(False))


def cubes(*corners: tuple[int, int, int], side: int = 4, shape: tuple[int, int, int] = (30, 30, 30)) -> Mask:
    mask = np.zeros(shape, dtype=bool)
    for z, y, x in corners:
        mask[z : z + side, y : y + side, x : x + side] = True
    return mask


def glioma(prediction: Mask, reference: Mask, spacing: tuple[float, float, float] = UNIT) -> dict[str, float]:
    return merged_lesions(prediction, reference, spacing, growth=3, floor=50.0, penalty=374.0)


def literal(prediction: Mask, reference: Mask, spacing: tuple[float, float, float], growth: int, floor: float) -> tuple[float, float, int, int, int]:
    """Dice, HD95, found, invented, missed."""
    element = generate_binary_structure(3, 2)
    predicted, n_predicted = label(prediction, EVERYWHERE)
    grown, n = label(binary_dilation(reference, element, iterations=growth), EVERYWHERE)
    matched, scores = set(), []
    for number in range(1, n + 1):
        lesion = reference & (grown == number)
        near = set(predicted[binary_dilation(lesion, element, iterations=growth)]) - {0}
        matched |= near
        if lesion.sum() * math.prod(spacing) > floor:
            union = np.isin(predicted, list(near))
            dice = 2 * (union & lesion).sum() / (union.sum() + lesion.sum())
            scores.append((dice, hd95_area_weighted(union, lesion, spacing) if near else 374.0, bool(near)))
    invented = n_predicted - len(matched)
    total = len(scores) + invented
    found = sum(hit for *_, hit in scores)
    if not total:
        return 1.0, 0.0, 0, 0, 0
    return sum(s[0] for s in scores) / total, (sum(s[1] for s in scores) + 374 * invented) / total, found, invented, len(scores) - found


@settings(max_examples=60, deadline=None)
@given(MASKS, MASKS, st.sampled_from([UNIT, (3.0, 1.0, 0.5)]), st.sampled_from([1, 3]), st.sampled_from([0.0, 2.0, 6.0]))
def test_merged_lesions_follow_the_rule(a: Mask, b: Mask, spacing: tuple[float, float, float], growth: int, floor: float) -> None:
    found = merged_lesions(a, b, spacing, growth=growth, floor=floor, penalty=374.0)
    keys = ("lesion_dice", "lesion_hd95", "lesion_tp", "lesion_fp", "lesion_fn")
    assert tuple(found[key] for key in keys) == pytest.approx(literal(a, b, spacing, growth, floor))


def test_one_found_one_missed_one_invented() -> None:
    reference, prediction = cubes((2, 2, 2), (20, 20, 20)), cubes((2, 2, 3), (2, 20, 2))
    found = glioma(prediction, reference)
    assert found["lesion_dice"] == pytest.approx(0.75 / 3)
    assert found["lesion_hd95"] == pytest.approx((1 + 374 + 374) / 3)
    assert (found["lesion_tp"], found["lesion_fn"], found["lesion_fp"], found["lesion_dropped"]) == (1, 1, 1, 0)


def test_lesions_that_grow_together_are_one() -> None:
    near, far = cubes((2, 2, 2), (2, 2, 12)), cubes((2, 2, 2), (2, 2, 13))  # 6 and 7 voxels between them: growing by 3 bridges the first
    assert glioma(near, near)["lesion_tp"] == 1
    assert glioma(far, far)["lesion_tp"] == 2
    assert merged_lesions(near, near, UNIT, growth=1, floor=50.0, penalty=374.0)["lesion_tp"] == 2


def test_small_lesions_are_dropped_after_matching() -> None:
    reference = cubes((2, 2, 2), side=3) | cubes((20, 20, 20))  # 27 mm³ and 64 mm³
    found = glioma(reference, reference)
    assert (found["lesion_dropped"], found["lesion_tp"], found["lesion_fp"]) == (1, 1, 0)  # what found the small one is no invention
    assert glioma(reference, reference, (2.0, 1.0, 1.0))["lesion_dropped"] == 0
    metastases = merged_lesions(reference, reference, UNIT, growth=1, floor=2.0, penalty=374.0)
    assert metastases["lesion_tp"] == 2


def test_a_lesion_of_exactly_the_floor_is_dropped() -> None:
    slab = np.zeros((9, 9, 9), dtype=bool)
    slab[2:4, 2:7, 2:7] = True  # 50 voxels
    assert glioma(slab, slab)["lesion_dropped"] == 1
    assert (glioma(slab, slab)["lesion_dice"], glioma(slab, slab)["lesion_hd95"]) == (1.0, 0.0)


def test_one_prediction_may_be_matched_to_two_lesions() -> None:
    reference = cubes((2, 2, 2), (2, 2, 16))
    prediction = np.zeros_like(reference)
    prediction[2:6, 2:6, 2:20] = True
    found = glioma(prediction, reference)
    assert (found["lesion_tp"], found["lesion_fp"]) == (2, 0)
    assert found["lesion_dice"] == pytest.approx(2 * 64 / (64 + 288))


@pytest.mark.parametrize("shape", [(0, 0, 0), (4, 5, 6)])
def test_merged_without_any_lesion_is_perfect(shape: tuple[int, int, int]) -> None:
    empty = np.zeros(shape, dtype=bool)
    assert glioma(empty, empty) == dict.fromkeys(("lesion_tp", "lesion_fp", "lesion_fn", "lesion_dropped"), 0.0) | {
        "lesion_dice": 1.0,
        "lesion_hd95": 0.0,
    }


def test_pairs_are_one_to_one_and_best_in_sum() -> None:
    reference = cubes((2, 2, 2), (2, 2, 7))
    prediction = np.zeros_like(reference)
    prediction[2:6, 2:6, 2:8] = True  # all of the first lesion and a slice of the second
    found = paired_lesions(prediction, reference, UNIT, penalty=373.0)
    assert (found["lesion_tp"], found["lesion_fp"], found["lesion_fn"]) == (1, 0, 1)
    assert found["lesion_dice"] == pytest.approx(2 * 64 / (64 + 96))
    assert found["lesion_f1"] == pytest.approx(2 / 3)


@settings(max_examples=40, deadline=None)
@given(MASKS, MASKS)
def test_pairs_have_the_largest_sum_of_dice(a: Mask, b: Mask) -> None:
    predicted, n = label(a, EVERYWHERE)
    expected, m = label(b, EVERYWHERE)
    table = [[2 * ((predicted == i) & (expected == j)).sum() / ((predicted == i).sum() + (expected == j).sum()) for j in range(1, m + 1)]
             for i in range(1, n + 1)]  # fmt: skip
    if n > 5 or m > 5:
        return

    def best(row: int, free: frozenset[int]) -> float:
        if row == n:
            return 0.0
        return max([best(row + 1, free), *(table[row][j] + best(row + 1, free - {j}) for j in free)])

    found = paired_lesions(a, b, UNIT, penalty=373.0)
    if n + m:
        assert found["lesion_dice"] * found["lesion_tp"] == pytest.approx(best(0, frozenset(range(m))))
        assert found["lesion_tp"] + found["lesion_fp"] == n and found["lesion_tp"] + found["lesion_fn"] == m


def test_no_pair_and_no_lesion() -> None:
    some, empty = cubes((2, 2, 2)), cubes()
    for pair in ((some, empty), (empty, some), (some, cubes((20, 20, 20)))):
        found = paired_lesions(*pair, UNIT, penalty=373.0)
        assert [found[key] for key in ("lesion_dice", "lesion_nsd", "lesion_hd95", "lesion_f1")] == [0.0, 0.0, 373.0, 0.0]
    found = paired_lesions(empty, empty, UNIT, penalty=373.0)
    assert all(math.isnan(found[key]) for key in ("lesion_dice", "lesion_nsd", "lesion_hd95", "lesion_f1"))
