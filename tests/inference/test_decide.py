"""What is decided from logits, against the slow obvious way on whole arrays; probabilities that never contradict it."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from autoseg.errors import AutosegError
from autoseg.imaging.image import Geometry
from autoseg.imaging.resample import Planes, resample
from autoseg.inference.decide import Prediction, decide
from autoseg.inference.logits import Logits, in_memory, on_disk
from autoseg.planning.plan import Plan
from autoseg.preprocessing.placement import Placement, logits_to_scan_shape

Plans, Shape = Callable[..., Plan], tuple[int, int, int]
REGIONS: dict[str, Any] = {"regions": {"WT": [1, 2, 4], "TC": [1, 4], "ET": [4]}, "region_order": [2, 1, 4]}
VALUES = np.array([0, 1, 2, 4])


def placed(shape: Shape, transpose: Shape = (0, 1, 2), ready: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Placement:
    """A crop that begins at (1, 2, 3) of a larger scan."""
    sizes = np.array(shape)[np.argsort(transpose)]
    z, y, x = (slice(start, start + int(size)) for start, size in zip((1, 2, 3), sizes, strict=True))
    return Placement(Geometry.of((z.stop + 2, y.stop + 1, x.stop)), (z, y, x), transpose, shape, (1.0, 1.0, 1.0), ready)


def noise(channels: int, shape: Shape, seed: int, scale: float = 3.0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, scale, (channels, *shape)).astype(np.float32))


def logits_of(x: Tensor, where: Placement, plan: Plan, folds: Sequence[Tensor] = (), disk: Path | None = None) -> Logits:
    rules = plan.configuration("small")
    made = [on_disk(one, where, rules, disk) if disk else in_memory(one, where, rules) for one in (x, *folds)]
    return Logits(made[0], tuple(made[1:]) or (made[0],), where, f"model {x.shape}")


def slowly(members: Sequence[Tensor], where: Placement, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities on the scan's own grid, from whole arrays."""
    shape, nearest = logits_to_scan_shape(where, plan.configuration("small"))
    whole = [resample(x, shape, order=plan.configuration("small").resampling.logits_order, nearest_axis=nearest).double() for x in members]
    soft = torch.stack([x.sigmoid() if plan.learns_regions else x.softmax(0) for x in whole]).mean(0).numpy()
    if plan.learns_regions:
        classes = np.zeros(shape, int)
        for p, painted in zip(soft, plan.labels.painted_classes, strict=True):
            classes[p > 0.5] = painted
    else:
        classes = soft.argmax(0)
    back = np.argsort(where.transpose)
    labels, full = np.zeros(where.geometry.shape, int), np.zeros((len(soft), *where.geometry.shape))
    if not plan.learns_regions:
        full[0] = 1
    labels[where.box] = VALUES[classes].transpose(back)
    full[(slice(None), *where.box)] = soft.transpose(0, *(1 + axis for axis in back))
    return labels, full


def soft_of(found: Prediction) -> np.ndarray:
    assert found.probabilities is not None
    return np.stack(list(found.probabilities))


def decided_by(soft: np.ndarray, plan: Plan) -> np.ndarray:
    """The labels that a reader of the file makes of it."""
    if not plan.learns_regions:
        return VALUES[soft.argmax(0)]
    labels = np.zeros(soft.shape[1:], int)
    for p, value in zip(soft, (2, 1, 4), strict=True):
        labels[p > 0.5] = value
    return labels


GRIDS = [
    ((9, 8, 7), (9, 8, 7), (0, 1, 2), (1.0, 1.0, 1.0)),
    ((9, 8, 7), (12, 9, 11), (0, 1, 2), (1.3, 1.1, 1.6)),
    ((14, 8, 7), (9, 11, 7), (2, 0, 1), (0.6, 1.4, 1.0)),
    ((5, 9, 10), (20, 9, 10), (1, 2, 0), (4.0, 1.0, 1.0)),  # along Z by the nearest
]


@pytest.mark.parametrize("kind", [{}, REGIONS])
@pytest.mark.parametrize(("ready", "cropped", "transpose", "spacing"), GRIDS)
@pytest.mark.parametrize("thickness", [1, 5, 100])
@pytest.mark.parametrize("members", [1, 2, 3])
def test_whole_arrays_give_the_same(
    members: int, thickness: int, ready: Shape, cropped: Shape, transpose: Shape, spacing: Any, kind: dict[str, Any], small_plan: Plans,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setattr(Planes, "thickness", lambda planes, together=1: thickness)
    plan, where = small_plan(**kind), placed(cropped, transpose, spacing)
    arrays = [noise(plan.output_channels, ready, seed) for seed in range(members)]
    labels, soft = slowly(arrays, where, plan)
    for disk in (None, tmp_path):
        given_logits = [logits_of(x, where, plan, disk=disk) for x in arrays]
        plain = decide(given_logits, plan)
        assert plain.probabilities is None and plain.uncertainty is None
        np.testing.assert_array_equal(plain.labels.array, labels)
        found = decide(given_logits, plan, probabilities=True, uncertainty=True, folder=tmp_path)
        np.testing.assert_array_equal(found.labels.array, labels)
        read = soft_of(found)
        assert read.dtype == np.float16 and found.probabilities is not None and found.probabilities.shape == where.geometry.shape
        off = np.abs(read.astype(float) - soft)
        assert off.max() <= 1.51 / 256 and (off > 0.501 / 256).mean() < 0.01, "more than ties were moved"
        np.testing.assert_array_equal(read * 256, np.rint(read * 256))
        np.testing.assert_array_equal(decided_by(read, plan), labels)
    outside = np.ones(where.geometry.shape, bool)
    outside[where.box] = False
    certain = np.zeros((plan.output_channels, 1)) if kind else np.eye(plan.output_channels)[:, :1]
    assert (read[:, outside] == certain).all()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [{}, REGIONS])
@pytest.mark.parametrize("seed", range(3))
def test_one_configuration_twice_is_that_configuration(seed: int, kind: dict[str, Any], small_plan: Plans) -> None:
    plan, where = small_plan(**kind), placed((12, 9, 11), ready=(1.3, 1.1, 1.6))
    one = logits_of(noise(plan.output_channels, (9, 8, 7), seed), where, plan)
    alone, twice = (decide([one] * times, plan, probabilities=True, uncertainty=True) for times in (1, 2))
    np.testing.assert_array_equal(alone.labels.array, twice.labels.array)
    np.testing.assert_array_equal(soft_of(alone), soft_of(twice))
    assert alone.uncertainty is not None and twice.uncertainty is not None
    np.testing.assert_array_equal(alone.uncertainty.entropy, twice.uncertainty.entropy)
    assert (alone.uncertainty.agreement, twice.uncertainty.agreement) == (None, 1.0)
    assert alone.uncertainty.stability == twice.uncertainty.stability
    assert alone.uncertainty.doubt == pytest.approx(2 * twice.uncertainty.doubt), "twins agree, and half of the doubt is theirs"


@given(st.integers(0, 10_000), st.sampled_from([0.003, 0.03, 3.0]), st.integers(1, 3), st.booleans())
def test_rounded_probabilities_decide_what_was_decided(small_plan: Plans, seed: int, scale: float, members: int, regions: bool) -> None:
    """Also where nearly all classes round to the same."""
    plan, where = small_plan(**REGIONS if regions else {}), placed((4, 5, 6))
    given_logits = [logits_of(noise(plan.output_channels, (4, 5, 6), seed + k, scale), where, plan) for k in range(members)]
    found = decide(given_logits, plan, probabilities=True)
    np.testing.assert_array_equal(decided_by(soft_of(found), plan), found.labels.array)


def test_a_tie_goes_to_the_smaller_class(small_plan: Plans) -> None:
    plan, where = small_plan(), placed((1, 1, 3))
    a = torch.tensor([[0.0, 1, 5], [0, 3, 0], [0, 3, 0], [0, 1, 5]])[:, None, None]
    for members in (1, 2):
        found = decide([logits_of(a, where, plan)] * members, plan, probabilities=True)
        assert found.labels.array[where.box].ravel().tolist() == [0, 1, 0]
        assert decided_by(soft_of(found), plan)[where.box].ravel().tolist() == [0, 1, 0]


def test_two_that_are_sure_of_the_opposite(small_plan: Plans) -> None:
    """By hand: 0.9 and 0.3 for class 2 against 0.1 and 0.7 for class 0 makes 0.6 to 0.4, whatever the logits' scale."""
    plan, where = small_plan(), placed((1, 1, 1))
    never = float(np.log(1e-9))
    a = torch.tensor([np.log(0.1), never, np.log(0.9), never], dtype=torch.float32)[:, None, None, None]
    b = torch.tensor([np.log(0.7), never, np.log(0.3), never], dtype=torch.float32)[:, None, None, None] + 40
    found = decide([logits_of(a, where, plan), logits_of(b, where, plan)], plan, probabilities=True, uncertainty=True)
    assert found.labels.array[where.box].item() == 2
    inside = (slice(None), *where.box)
    assert soft_of(found)[inside].ravel().tolist() == [round(0.4 * 256) / 256, 0, round(0.6 * 256) / 256, 0]
    assert found.uncertainty is not None and found.uncertainty.disagreement is not None
    assert found.uncertainty.disagreement[where.box].item() == 0.5
    assert found.uncertainty.stability == {"class 1": 1, "class 2": 0, "class 4": 1}, "0.6 is suspected and not sure"
    assert found.uncertainty.agreement == pytest.approx((6 - 1) / 6) and found.uncertainty.doubt == pytest.approx((1 / 3 + 1 / 6) / 2)


def test_folds_disagree_and_their_mean_decides(small_plan: Plans, tmp_path: Path) -> None:
    """Members are the folds of all configurations, however many each has."""
    plan, where = small_plan(), placed((12, 9, 11), (1, 0, 2), (1.3, 1.1, 1.6))
    folds = [noise(4, (9, 8, 7), seed) for seed in range(3)]
    several = logits_of((folds[0] + folds[1]) / 2, where, plan, folds[:2], tmp_path), logits_of(folds[2], where, plan)
    found = decide(several, plan, uncertainty=True, folder=tmp_path)
    np.testing.assert_array_equal(found.labels.array, decide(several, plan).labels.array)
    own = [slowly([fold], where, plan)[0] for fold in folds]
    assert found.uncertainty is not None and found.uncertainty.disagreement is not None
    np.testing.assert_allclose(found.uncertainty.disagreement, np.mean([one != found.labels.array for one in own], axis=0), atol=1e-6)
    soft = slowly([(folds[0] + folds[1]) / 2, folds[2]], where, plan)[1]
    entropy = -(soft * np.log(np.maximum(soft, 1e-300))).sum(0) / np.log(4)
    np.testing.assert_allclose(found.uncertainty.entropy, entropy, atol=1e-5)
    pairs = [(one == value, found.labels.array == value) for one in own for value in (1, 2, 4)]
    dice = [2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in pairs]
    assert found.uncertainty.agreement == pytest.approx(np.mean(dice), abs=1e-6)


@pytest.mark.parametrize("kind", [{}, REGIONS])
def test_saturated_logits_leave_no_doubt(kind: dict[str, Any], small_plan: Plans) -> None:
    plan, where = small_plan(**kind), placed((6, 7, 8))
    classes = torch.from_numpy(np.random.default_rng(0).integers(0, 4, (6, 7, 8)))
    if kind:
        logits = torch.stack([sum((classes == k).float() for k in region) * 80 - 40 for region in ((1, 2, 3), (1, 3), (3,))])
    else:
        logits = torch.stack([(classes == k).float() * 40 for k in range(4)])
    found = decide([logits_of(logits, where, plan)] * 2, plan, uncertainty=True)
    np.testing.assert_array_equal(found.labels.array[where.box], VALUES[classes.numpy()])
    assert found.uncertainty is not None and found.uncertainty.entropy.max() < 1e-9
    assert found.uncertainty.doubt == 0 and found.uncertainty.agreement == 1


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_share_the_slabs_and_leave_torch_as_it_was(threads: int, small_plan: Plans, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Planes, "thickness", lambda planes, together=1: 1)
    plan, where = small_plan(), placed((40, 9, 11), ready=(1.3, 1.1, 1.6))
    x = noise(plan.output_channels, (30, 8, 7), 0)
    seen: set[int] = set()

    def watched(planes: Planes) -> Planes:
        return replace(planes, read=lambda channel, band: seen.add(torch.get_num_threads()) or planes.read(channel, band))  # type: ignore[func-returns-value]

    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(threads)
    try:
        for disk in (None, tmp_path):  # what waits on disk is read by several at once
            one = logits_of(x, where, plan, disk=disk)
            with torch.inference_mode():
                found = decide([replace(one, mean=watched(one.mean))], plan)
            np.testing.assert_array_equal(found.labels.array, slowly([x], where, plan)[0])
        assert seen == {1}
        with ThreadPoolExecutor(1) as pool:
            assert torch.get_num_threads() == pool.submit(torch.get_num_threads).result() == threads
        assert torch.get_float32_matmul_precision() == before[1]
    finally:
        torch.set_num_threads(before[0])


def test_many_classes_need_a_wider_type(small_plan: Plans) -> None:
    plan, where = small_plan(values=range(300)), placed((2, 3, 4))
    logits = torch.zeros(300, 2, 3, 4)
    logits[299] = 1
    for members in (1, 2):
        assert (decide([logits_of(logits, where, plan)] * members, plan).labels.array[where.box] == 299).all()


def test_scans_that_were_cut_otherwise_have_no_mean(small_plan: Plans) -> None:
    plan, where = small_plan(), placed((4, 4, 4))
    ours = logits_of(noise(4, (4, 4, 4), 0), where, plan)
    for other in (replace(where, transpose=(1, 0, 2)), replace(where, box=(slice(0, 4), *where.box[1:]))):
        with pytest.raises(AutosegError, match=r"model .* and another cut the scan differently"):
            decide([ours, replace(ours, placement=other, made_by="another")], plan)
