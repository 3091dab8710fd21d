"""Uncertainty against the obvious formulas on whole arrays, and cases worked out by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autoseg.imaging.image import Geometry
from autoseg.inference.uncertainty import GENEROUS, STRICT, Gauge, Uncertainty, binary_entropy, entropy
from autoseg.planning.plan import Plan
from autoseg.preprocessing.placement import Placement

Plans = Callable[..., Plan]
REGIONS: dict[str, Any] = {"regions": {"WT": [1, 2, 4], "TC": [1, 4], "ET": [4]}, "region_order": [2, 1, 4]}
SHAPE = (6, 5, 4)


def placement(shape: tuple[int, int, int] = SHAPE, transpose: tuple[int, int, int] = (0, 1, 2)) -> Placement:
    """A crop that begins at (1, 2, 3) of a larger scan."""
    sizes = np.array(shape)[np.argsort(transpose)]
    z, y, x = (slice(start, start + int(size)) for start, size in zip((1, 2, 3), sizes, strict=True))
    geometry = Geometry.of((z.stop + 2, y.stop + 1, x.stop))
    return Placement(geometry, (z, y, x), transpose, shape, (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))


def gathered(plan: Plan, soft: np.ndarray, classes: np.ndarray, own: list[np.ndarray], thickness: int, where: Placement) -> Uncertainty:
    shape = (soft.shape[1], soft.shape[2], soft.shape[3])
    gauge = Gauge(plan, len(own), shape)
    for start in range(0, shape[0], thickness):
        planes = slice(start, min(start + thickness, shape[0]))
        tensors = [torch.from_numpy(one[planes]) for one in own]
        gauge.add(planes, torch.from_numpy(soft[:, planes]), torch.from_numpy(classes[planes]), tensors)
    return gauge.result(where)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 1.0 if not a.any() and not b.any() else 2 * float((a & b).sum()) / float(a.sum() + b.sum())


@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize("thickness", [1, 4, 9])
@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1)])
def test_what_the_formulas_give_on_whole_arrays(regions: bool, thickness: int, transpose: tuple[int, int, int], small_plan: Plans) -> None:
    plan = small_plan(**REGIONS if regions else {})
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(0, 3, (plan.output_channels, *SHAPE)).astype(np.float32))
    soft = (logits.sigmoid() if regions else logits.softmax(0)).numpy()
    classes, own = rng.integers(0, 4, SHAPE), [rng.integers(0, 3, SHAPE) for _ in range(3)]
    where = placement(SHAPE, transpose)
    found = gathered(plan, soft, classes, own, thickness, where)

    p = soft.astype(np.float64)
    if regions:
        entropy_ZYX = (-(p * np.log2(p) + (1 - p) * np.log2(1 - p))).max(0)
        probability = dict(zip(("WT", "TC", "ET"), p, strict=True))
        masks = {"WT": lambda x: np.isin(x, (1, 2, 3)), "TC": lambda x: np.isin(x, (1, 3)), "ET": lambda x: x == 3}
    else:
        entropy_ZYX = -(p * np.log(p)).sum(0) / np.log(4)
        probability = {f"class {value}": p[k] for k, value in enumerate((0, 1, 2, 4)) if k}
        masks = {"class 1": lambda x: x == 1, "class 2": lambda x: x == 2, "class 4": lambda x: x == 3}
    stability = {name: dice(p > 0.25, p > 0.75) for name, p in probability.items()}
    agreement = np.mean([dice(mask(one), mask(classes)) for one in own for mask in masks.values()])
    assert found.stability.keys() == set(plan.structure_names) and min(stability.values()) < max(stability.values())
    assert found.stability == pytest.approx(stability, abs=1e-9)
    assert found.doubt == pytest.approx(((1 - np.mean(list(stability.values()))) + (1 - agreement)) / 2, abs=1e-9)
    assert found.foreground_entropy == pytest.approx(entropy_ZYX[classes > 0].mean(), abs=1e-5)
    assert found.agreement == pytest.approx(agreement, abs=1e-9)
    assert found.disagreement is not None
    differing = np.mean([one != classes for one in own], axis=0)
    for result, slow in ((found.entropy, entropy_ZYX), (found.disagreement, differing)):
        full = np.zeros(where.geometry.shape)
        full[where.box] = slow.transpose(np.argsort(transpose))
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, full, atol=1e-5)


def test_one_member_neither_agrees_nor_disagrees(small_plan: Plans) -> None:
    soft = np.full((4, *SHAPE), 0.25, np.float32)
    found = gathered(small_plan(), soft, np.zeros(SHAPE, int), [np.zeros(SHAPE, int)], 2, placement())
    assert found.disagreement is None and found.agreement is None
    assert found.stability == {"class 1": 1.0, "class 2": 1.0, "class 4": 1.0} and found.doubt == 0, "one quarter is not above one quarter"


def test_stability_by_hand(small_plan: Plans) -> None:
    """Class 1: 0.9 is sure, 0.7 and 0.3 are suspected only, so 2 x 1 / (1 + 3). Class 2 is suspected once and nowhere sure, class 4 is nowhere."""
    soft = np.zeros((4, *SHAPE), np.float32)
    soft[0] = 1
    soft[:, 0, 0, 0] = 0.1, 0.9, 0.0, 0.0
    soft[:, 3, 2, 1] = 0.3, 0.7, 0.0, 0.0
    soft[:, 5, 4, 3] = 0.2, 0.3, 0.4, 0.1
    classes = soft.argmax(0)
    alone = gathered(small_plan(), soft, classes, [classes], 2, placement())
    assert alone.stability == {"class 1": 0.5, "class 2": 0.0, "class 4": 1.0}
    assert alone.doubt == pytest.approx(0.5)
    nowhere = np.zeros(SHAPE, int)
    two = gathered(small_plan(), soft, classes, [classes, nowhere], 2, placement())
    assert two.stability == alone.stability and two.agreement == pytest.approx((1 + 1 + 1 + 0 + 0 + 1) / 6)
    assert two.doubt == pytest.approx((0.5 + 1 / 3) / 2)


def test_where_nothing_is_found_and_something_suspected_all_is_in_doubt(small_plan: Plans) -> None:
    soft = np.zeros((4, *SHAPE), np.float32)
    soft[0] = 1
    soft[:, 3, 2, 1] = 0.6, 0.3, 0.1, 0.0
    nowhere = np.zeros(SHAPE, int)
    found = gathered(small_plan(), soft, nowhere, [nowhere], 1, placement())
    assert found.stability == {"class 1": 0.0, "class 2": 1.0, "class 4": 1.0}
    assert found.doubt == pytest.approx(1 / 3) and found.foreground_entropy is None


def test_tiny_probabilities_far_away_raise_no_doubt(small_plan: Plans) -> None:
    """In sums over all voxels they would weigh as much as a structure."""
    soft = np.full((4, *SHAPE), 0.05, np.float32)
    soft[0] = 0.85
    soft[:, 3, 2, 1] = 0.0, 1.0, 0.0, 0.0
    classes = soft.argmax(0)
    assert gathered(small_plan(), soft, classes, [classes], 1, placement()).doubt == 0


def test_the_map_may_hide_a_region_that_is_sure(small_plan: Plans) -> None:
    """TC is paint over WT, and ET over both; each is as sure as its own probability says."""
    soft = np.full((3, *SHAPE), 0.9, np.float32)
    classes = np.full(SHAPE, 1)  # painted as if WT alone were there
    found = gathered(small_plan(**REGIONS), soft, classes, [classes], 3, placement())
    assert found.stability == {"WT": 1.0, "TC": 1.0, "ET": 1.0} and found.doubt == 0


@given(st.integers(0, 10_000), st.integers(0, 2))
def test_sharper_probabilities_are_more_stable(small_plan: Plans, seed: int, others: int) -> None:
    """And doubt stays within 0 and 1, whatever the members say."""
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(0, 2, (4, *SHAPE)))
    classes, own = logits.argmax(0).numpy(), [rng.integers(0, 4, SHAPE) for _ in range(others)]
    plain, sharper = (
        gathered(small_plan(), soft.numpy(), classes, [classes, *own], 2, placement()) for soft in ((logits * k).softmax(0) for k in (1, 50))
    )
    assert GENEROUS < STRICT and 0 <= plain.doubt <= 1
    assert np.mean(list(sharper.stability.values())) >= np.mean(list(plain.stability.values()))


def test_certainty_and_ignorance(small_plan: Plans) -> None:
    classes = np.random.default_rng(0).integers(0, 4, SHAPE)
    certain = np.eye(4, dtype=np.float32)[classes].transpose(3, 0, 1, 2)
    found = gathered(small_plan(), np.ascontiguousarray(certain), classes, [classes] * 2, 2, placement())
    assert found.entropy.max() == 0 and found.doubt == 0 and found.agreement == 1 and found.disagreement is not None and not found.disagreement.any()
    assert entropy(torch.full((5, 2, 2, 2), 0.2)).flatten().tolist() == pytest.approx([1.0] * 8)
    assert binary_entropy(torch.tensor([0.0, 0.5, 1.0, 0.25])).tolist() == pytest.approx([0, 1, 0, 0.8112781])
