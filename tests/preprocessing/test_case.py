"""A case made ready: shapes by formula, normalisation by hand, and the way back to the scan."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg.errors import AutosegError, PlanError
from autoseg.imaging import normalize
from autoseg.imaging.image import Geometry, Image, LabelMap
from autoseg.imaging.resample import resample
from autoseg.planning.plan import Plan
from autoseg.preprocessing.case import logits_to_scan_shape, prepare

Plans = Callable[..., Plan]
BOX = (slice(2, 9), slice(1, 11), slice(3, 12))
ORDERS = list(itertools.permutations(range(3)))


def scan(shape: tuple[int, int, int] = (10, 12, 13), spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> tuple[Image, LabelMap]:
    """Two channels that are zero outside `BOX` and nowhere within, and labels 0, 1, 2, 4 in it."""
    rng = np.random.default_rng(0)
    array, labels = np.zeros((2, *shape), np.float32), np.zeros(shape, np.uint8)
    array[(slice(None), *BOX)] = rng.uniform(1, 200, array[(slice(None), *BOX)].shape)
    labels[BOX] = rng.choice([0, 1, 2, 4], labels[BOX].shape)
    geometry = Geometry.of(shape, spacing)
    return Image(array, geometry), LabelMap(labels, geometry)


@pytest.mark.parametrize("order", ORDERS)
def test_the_way_back_is_exact(order: tuple[int, int, int], small_plan: Plans) -> None:
    image, labels = scan()
    plan = small_plan(transpose=order)
    ready = prepare(image, labels, plan, plan.configuration("small"))
    assert ready.classes is not None
    assert ready.image.dtype == np.float32 and ready.classes.dtype == np.int16
    assert ready.image.shape[1:] == ready.classes.shape == tuple((7, 10, 9)[axis] for axis in order)
    np.testing.assert_array_equal(plan.labels.to_values(ready.placement.restore(ready.classes)), labels.array)


@pytest.mark.parametrize("order", ORDERS)
def test_voxels_are_cropped_then_transposed(order: tuple[int, int, int], small_plan: Plans) -> None:
    image, _ = scan()
    plan = small_plan(transpose=order, scheme="none")
    ready = prepare(image, None, plan, plan.configuration("small"))
    assert ready.classes is None
    np.testing.assert_array_equal(ready.image, image.array[(slice(None), *BOX)].transpose(0, *(axis + 1 for axis in order)))


@settings(max_examples=30, deadline=None)
@given(old=st.tuples(*[st.floats(0.4, 4)] * 3), new=st.tuples(*[st.floats(0.4, 4)] * 3), order=st.sampled_from(ORDERS))
def test_ready_shape(old: tuple[float, float, float], new: tuple[float, float, float], order: tuple[int, int, int], small_plan: Plans) -> None:
    image, labels = scan(spacing=old)
    plan = small_plan(spacing=new, transpose=order)
    ready = prepare(image, labels, plan, plan.configuration("small"))
    assert ready.classes is not None
    expected = tuple(max(1, round((7, 10, 9)[axis] * old[axis] / target)) for axis, target in zip(order, new, strict=True))
    assert ready.image.shape == (2, *expected) and ready.classes.shape == expected
    assert logits_to_scan_shape(ready.placement, plan.configuration("small"))[0] == tuple((7, 10, 9)[axis] for axis in order)


def test_slices_of_a_2d_configuration_stay_where_they_are(small_plan: Plans) -> None:
    image, labels = scan(spacing=(7.0, 1.0, 1.0))
    plan = small_plan(patch=(16, 16), spacing=(0.5, 2.0))
    ready = prepare(image, labels, plan, plan.configuration("small"))
    assert ready.image.shape == (2, 7, 20, round(9 / 2))
    assert ready.placement.ready_spacing == (7.0, 0.5, 2.0)


@pytest.mark.parametrize(
    ("spacing", "target", "axis"),
    [((1, 1, 1), (2, 1, 1), None), ((5, 1, 1), (5, 0.8, 0.8), 0), ((1, 1, 1), (1, 1, 4), 2), ((1, 5, 1), (1, 1, 1), 1)],
)
def test_the_coarse_axis_is_not_interpolated(
    spacing: tuple[float, float, float], target: tuple[float, float, float], axis: int | None, small_plan: Plans
) -> None:
    image, _ = scan(spacing=spacing)
    plan = small_plan(spacing=target, scheme="none")
    ready = prepare(image, None, plan, plan.configuration("small"))
    cropped = torch.from_numpy(np.ascontiguousarray(image.array[(slice(None), *BOX)]))
    expected = resample(cropped, ready.image.shape[1:], order=3, nearest_axis=axis)  # type: ignore[arg-type]
    np.testing.assert_array_equal(ready.image, expected.numpy())
    assert logits_to_scan_shape(ready.placement, plan.configuration("small"))[1] == axis


@pytest.mark.parametrize("scheme", ["zscore", "ct", "rescale_to_0_1", "rgb_to_0_1", "none"])
def test_normalisation_follows_the_plan(scheme: str, small_plan: Plans) -> None:
    image, _ = scan()
    plan = small_plan(scheme=scheme)
    rules: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "zscore": lambda x: (x - x.mean()) / x.std(),
        "ct": lambda x: (np.clip(x, -1.0, 2.0) - 0.5) / 0.25,
        "rescale_to_0_1": lambda x: (x - x.min()) / (x.max() - x.min()),
        "rgb_to_0_1": lambda x: x / 255,
        "none": lambda x: x,
    }
    ready = prepare(image, None, plan, plan.configuration("small"))
    for channel, raw in zip(ready.image, image.array, strict=True):
        np.testing.assert_allclose(channel, rules[scheme](raw[BOX].astype(float)), rtol=1e-4, atol=1e-5)


def test_with_a_mask_only_what_is_inside_counts_and_holes_are_inside(small_plan: Plans) -> None:
    image, _ = scan()
    image.array[:, 2, 1, 3:7] = 0  # at the border of the box: outside
    image.array[:, 5, 5, 5] = 0  # a hole
    plan = small_plan(use_mask=True)
    ready = prepare(image, None, plan, plan.configuration("small"))
    inside = np.ones((7, 10, 9), bool)
    inside[0, 0, :4] = False
    for channel, raw in zip(ready.image, image.array, strict=True):
        assert (channel[~inside] == 0).all()
        np.testing.assert_array_equal(channel, np.where(inside, normalize.zscore(raw[BOX], inside)(raw[BOX]), 0))
        assert channel[3, 4, 2] < -1  # the hole is dark, not left out


def test_nobody_knows_stays_nobody_knows(small_plan: Plans) -> None:
    image, labels = scan()
    labels.array[2:5, 1:4, 3:9] = 9
    plan = small_plan(ignore=9, spacing=(0.5, 0.5, 0.5))
    ready = prepare(image, labels, plan, plan.configuration("small"))
    assert ready.classes is not None
    assert (ready.classes[:5, :5, :11] == -1).all()
    assert set(np.unique(ready.classes)) == {-1, 0, 1, 2, 3}


def test_an_empty_scan_is_kept_whole(small_plan: Plans) -> None:
    plan = small_plan()
    geometry = Geometry.of((5, 6, 7))
    ready = prepare(Image(np.zeros((2, 5, 6, 7), np.float32), geometry), None, plan, plan.configuration("small"))
    assert ready.image.shape == (2, 5, 6, 7) and not ready.image.any()


def test_faults_are_named(small_plan: Plans) -> None:
    image, _ = scan()
    one = small_plan(channels=("t1",))
    with pytest.raises(PlanError, match=r"The scan has 2 channels, the plan wants 1: t1\."):
        prepare(image, None, one, one.configuration("small"))
    rgb = small_plan(scheme="rgb_to_0_1")
    with pytest.raises(AutosegError, match="0 to 255, found"):
        prepare(Image(image.array * 9, image.geometry), None, rgb, rgb.configuration("small"))


def test_a_spacing_that_no_computer_can_hold_is_refused(small_plan: Plans) -> None:
    image, _ = scan()
    plan = small_plan(spacing=(0.001, 0.001, 0.001))
    with pytest.raises(PlanError, match=r"0\.001 x 0\.001 x 0\.001 mm it would have 6\.3e\+11 voxels.*its own is 1 x 1 x 1 mm"):
        prepare(image, None, plan, plan.configuration("small"))
