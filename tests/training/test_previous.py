"""Damage to the previous stage's segmentation against SciPy's morphology with an explicit ball, and a plain search for components."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from autoseg.training.draws import KINDS, Operation, Removal
from autoseg.training.previous import damaged, dilated, eroded, reshaped, without_components

SHAPE = (20, 22, 24)


def blobs(seed: int, shape: tuple[int, ...] = SHAPE, share: float = 0.2) -> NDArray[np.int16]:
    """Smooth regions of three classes that touch each other and the borders."""
    rng = np.random.default_rng(seed)
    fields = np.stack([ndimage.gaussian_filter(rng.normal(size=shape), 1.5) for _ in range(3)])
    classes = fields.argmax(0) + 1
    classes[fields.max(0) < np.quantile(fields.max(0), 1 - share)] = 0
    return classes.astype(np.int16)


def ball(radius: float) -> NDArray[np.bool_]:
    reach = int(radius)
    offsets = np.indices((2 * reach + 1,) * 3) - reach
    return np.asarray((offsets**2).sum(0) <= radius**2)


def slow_operation(kind: str, mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    structure = ball(radius)

    def grow(x: NDArray[np.bool_]) -> Any:
        return ndimage.binary_dilation(x, structure)

    def shrink(x: NDArray[np.bool_]) -> Any:
        return ndimage.binary_erosion(x, structure, border_value=1)

    steps = {"dilation": [grow], "erosion": [shrink], "opening": [shrink, grow], "closing": [grow, shrink]}
    for step in steps[kind]:
        mask = step(mask)
    return mask


def slow_reshaped(operation: Operation, classes: NDArray[np.int16]) -> NDArray[np.int16]:
    channels = {label: classes == label for label in (1, 2, 3)}
    before = channels[operation.label]
    after = slow_operation(operation.kind, before, operation.radius)
    channels = {label: mask & ~(after & ~before) for label, mask in channels.items()}
    channels[operation.label] = after
    assert sum(mask.astype(int) for mask in channels.values()).max() <= 1  # type: ignore[union-attr]
    return np.sum([label * mask for label, mask in channels.items()], axis=0).astype(np.int16)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000), kind=st.sampled_from(KINDS), radius=st.floats(0, 8), label=st.integers(1, 3), share=st.sampled_from([0.01, 0.2, 0.9])
)
def test_each_operation_equals_the_explicit_ball(seed: int, kind: Any, radius: float, label: int, share: float) -> None:
    classes = blobs(seed, share=share)
    operation = Operation(label, kind, radius)
    found = reshaped(operation, torch.from_numpy(classes.copy()))
    assert found.dtype == torch.int16
    np.testing.assert_array_equal(found.numpy(), slow_reshaped(operation, classes))


def test_a_ball_by_hand() -> None:
    mask = torch.zeros(9, 9, 9, dtype=torch.bool)
    mask[4, 4, 4] = True
    assert [int(dilated(mask, radius).sum()) for radius in (0, 0.9, 1, 1.4, 1.5, 2, 3)] == [1, 1, 7, 7, 19, 33, 123]
    assert torch.equal(eroded(dilated(mask, 2.0), 2.0), mask)
    assert dilated(mask, 500.0).all()  # far beyond the patch


def test_a_cube_in_the_open_is_closed_already() -> None:
    """Its faces are wide: what the dilation adds must not survive for want of a view beyond it."""
    classes = torch.zeros(24, 24, 24, dtype=torch.int8)
    classes[7:16, 7:16, 7:16] = 2
    for radius in (1.0, 2.5, 3.0, 6.0):
        assert torch.equal(reshaped(Operation(2, "closing", radius), classes), classes)


def test_the_border_of_the_patch_is_no_edge() -> None:
    classes = torch.ones(6, 6, 6, dtype=torch.int8)
    assert torch.equal(reshaped(Operation(1, "erosion", 2.0), classes), classes)
    classes[:, :, 3:] = 0
    expected = torch.zeros_like(classes)
    expected[:, :, :1] = 1
    assert torch.equal(reshaped(Operation(1, "erosion", 2.0), classes), expected)


def test_gains_are_taken_from_others_and_losses_become_background() -> None:
    classes = torch.zeros(1, 1, 9, dtype=torch.int8)
    classes[0, 0] = torch.tensor([0, 1, 1, 1, 2, 2, 2, 2, 0])
    assert reshaped(Operation(1, "dilation", 2.0), classes)[0, 0].tolist() == [1, 1, 1, 1, 1, 1, 2, 2, 0]
    assert reshaped(Operation(2, "erosion", 1.0), classes)[0, 0].tolist() == [0, 1, 1, 1, 0, 2, 2, 0, 0]
    assert reshaped(Operation(3, "dilation", 2.0), classes) is classes
    assert classes[0, 0].tolist() == [0, 1, 1, 1, 2, 2, 2, 2, 0]  # the sample itself is left alone


def components_of(mask: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    parts, count = ndimage.label(mask, np.ones((3, 3, 3)))
    return [parts == index for index in range(1, count + 1)]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000), picks=st.tuples(*[st.floats(0, 1, exclude_max=True)] * 3),
    low=st.sampled_from([0.0, 0.001, 0.01]), high=st.sampled_from([0.0, 0.005, 0.15, 1.0]),
)  # fmt: skip
def test_one_component_of_the_right_size_goes(seed: int, picks: tuple[float, ...], low: float, high: float) -> None:
    classes = blobs(seed)
    found = without_components(Removal(picks, (low, high)), torch.from_numpy(classes)).numpy()
    assert found.dtype == np.int16
    for label in (1, 2, 3):
        candidates = [part for part in components_of(classes == label) if low <= part.mean() < high]
        gone = (classes == label) & (found != label)
        assert (found[gone] == 0).all()
        assert any(np.array_equal(gone, part) for part in candidates) if candidates else not gone.any()
    assert np.array_equal(found[classes == 0], classes[classes == 0])


def test_every_component_may_be_picked() -> None:
    classes = torch.zeros(4, 4, 12, dtype=torch.int8)
    for start in (0, 3, 6, 9):
        classes[:2, :2, start : start + 2] = 1
    outcomes = [without_components(Removal((pick,), (0.0, 0.15)), classes) for pick in (0.0, 0.26, 0.5, 0.999)]
    assert len({bytes(one.numpy()) for one in outcomes}) == 4
    assert all(int((one == 1).sum()) == 3 * 8 for one in outcomes)


@pytest.mark.parametrize(("limits", "goes"), [((0.0, 0.125), False), ((0.0, 0.126), True), ((0.125, 1.0), True), ((0.126, 1.0), False)])
def test_the_share_lies_from_the_first_to_below_the_second(limits: tuple[float, float], goes: bool) -> None:
    classes = torch.zeros(4, 4, 4, dtype=torch.int8)
    classes[:2, :2, :2] = 1
    assert bool(without_components(Removal((0.5,), limits), classes).any()) != goes


def test_corners_connect() -> None:
    classes = torch.zeros(4, 4, 4, dtype=torch.int8)
    classes[0, 0, 0] = classes[1, 1, 1] = 1
    assert not without_components(Removal((0.9,), (0.0, 0.5)), classes).any()


def test_a_draw_is_replayed_and_flips_change_nothing(make: SimpleNamespace) -> None:
    rules = make.augmentation(previous_morphology={"probability": 1, "range": [1, 5]}, previous_removal={"probability": 1, "range": [0, 0.15]})
    classes = torch.from_numpy(blobs(3))
    for one in make.draws(rules, 5, previous_classes=3):
        assert len(one.morphology) == 3 and one.removal is not None
        first = damaged(one, classes)
        assert torch.equal(first, damaged(one, classes)) and not torch.equal(first, classes)
        step: Tensor = classes
        for operation in one.morphology:  # in the order drawn, and components last
            step = reshaped(operation, step)
        assert torch.equal(first, without_components(one.removal, step))
        turned = classes.flip([0, 2])
        for operation in one.morphology:
            turned = reshaped(operation, turned)
        assert torch.equal(turned.flip([0, 2]), step)


def test_nothing_drawn_nothing_done(make: SimpleNamespace) -> None:
    classes = torch.from_numpy(blobs(3))
    assert damaged(make.draw(), classes) is classes
