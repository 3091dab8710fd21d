"""A case made ready: shapes by formula, normalisation by hand, and the way back to the scan."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg.errors import AutosegError, PlanError
from autoseg.imaging import normalize
from autoseg.imaging.image import Geometry, Image, LabelMap
from autoseg.imaging.resample import resample, resample_labels
from autoseg.planning.plan import Plan, validate_plan
from autoseg.preprocessing.case import crop_case, pack, place, prepare, way
from autoseg.preprocessing.placement import logits_to_scan_shape

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


@pytest.mark.parametrize("scheme", ["zscore", "ct", "rescale_to_0_1", "rgb_to_0_1", "none", "percentile_to_0_1", "histogram_equalization", "clahe"])
def test_normalisation_follows_the_plan(scheme: str, small_plan: Plans) -> None:
    image, _ = scan()
    plan = small_plan(scheme=scheme)
    rules: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "zscore": lambda x: (x - x.mean()) / x.std(),
        "ct": lambda x: (np.clip(x, -1.0, 2.0) - 0.5) / 0.25,
        "rescale_to_0_1": lambda x: (x - x.min()) / (x.max() - x.min()),
        "rgb_to_0_1": lambda x: x / 255,
        "none": lambda x: x,
        "percentile_to_0_1": lambda x: np.clip((x - np.percentile(x, 0.5)) / (np.percentile(x, 99.5) - np.percentile(x, 0.5)), 0, 1),
        "histogram_equalization": lambda x: normalize.equalize(x.astype(np.float32)),
        "clahe": lambda x: normalize.equalize_locally(x.astype(np.float32), 0.01),
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


def test_clahe_works_on_the_slices_of_the_plans_order(small_plan: Plans) -> None:
    image, _ = scan()
    plan = small_plan(scheme="clahe", transpose=(2, 0, 1))
    ready = prepare(image, None, plan, plan.configuration("small"))
    cropped = np.ascontiguousarray(image.array[0][BOX].transpose(2, 0, 1))
    np.testing.assert_array_equal(ready.image[0], normalize.equalize_locally(cropped, 0.01))


def seeing(plan: Plan, *channels: str) -> Plan:
    """The plan, whose configuration sees only these channels."""
    content = plan.model_dump(mode="json", exclude_none=True)
    configuration = content["configurations"]["small"]
    configuration["normalization"] = [rule for rule in configuration["normalization"] if rule["channel"] in channels]
    return validate_plan(content, "a plan that sees some channels")


@pytest.mark.parametrize("scheme", ["zscore", "none", "clahe"])
@pytest.mark.parametrize(("channels", "indices"), [(("t1",), [0]), (("t2",), [1]), (("t1", "t3"), [0, 2])])
@pytest.mark.parametrize("settings", [{}, {"spacing": (1.3, 0.9, 1.0), "transpose": (2, 0, 1)}, {"resampling": {"resize": (8, 9, 10)}}])
def test_some_channels_are_as_a_dataset_that_has_no_others(
    scheme: str, channels: Sequence[str], indices: list[int], settings: dict[str, Any], small_plan: Plans
) -> None:
    image, labels = scan()
    image = Image(np.concatenate([image.array, np.round(image.array[:1] * 7)]), image.geometry)
    plan = seeing(small_plan(channels=("t1", "t2", "t3"), scheme=scheme, **settings), *channels)
    alone = small_plan(channels=channels, scheme=scheme, **settings)
    own = Image(image.array[indices], image.geometry)
    found, expected = prepare(image, labels, plan, plan.configuration("small")), prepare(own, labels, alone, alone.configuration("small"))
    np.testing.assert_array_equal(found.image, expected.image)
    np.testing.assert_array_equal(found.classes, expected.classes)  # type: ignore[arg-type]
    packed = pack(crop_case(image, labels, plan, whole="resampling" in settings), plan, plan.configuration("small"))
    assert packed.image.shape == found.image.shape and len(found.image) == plan.input_channels("small") == len(channels)


def test_the_crop_is_that_of_all_channels(small_plan: Plans) -> None:
    image, _ = scan()
    image.array[1] = 1
    plan = seeing(small_plan(), "t1")
    assert prepare(image, None, plan, plan.configuration("small")).image.shape == (1, *image.geometry.shape)


def test_channels_of_one_name_are_taken_in_turn(small_plan: Plans) -> None:
    """As nnU-Net names the colours of a picture."""
    image, _ = scan()
    plan = small_plan(channels=("rgb", "rgb"), scheme="none")
    ready = prepare(image, None, plan, plan.configuration("small"))
    np.testing.assert_array_equal(ready.image, image.array[(slice(None), *BOX)])


def resized(*sizes: int, **settings: Any) -> dict[str, Any]:
    return {"patch": (16,) * len(sizes), "resampling": {"resize": sizes} | settings}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("sizes", [(11, 17, 14), (17, 14)])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.3, 2.5, 1.7)])
def test_the_whole_scan_is_resized_whatever_its_spacing(
    order: tuple[int, int, int], sizes: tuple[int, ...], spacing: tuple[float, float, float], small_plan: Plans
) -> None:
    image, labels = scan(spacing=spacing)
    plan = small_plan(transpose=order, scheme="none", **resized(*sizes, separate_axis_above=100.0))
    configuration = plan.configuration("small")
    ready = prepare(image, labels, plan, configuration)
    shape = tuple(image.geometry.shape[axis] for axis in order)
    expected = (*shape[: 3 - len(sizes)], *sizes)  # slices stay where they are
    turned = torch.from_numpy(np.ascontiguousarray(image.array.transpose(0, *(axis + 1 for axis in order))))
    np.testing.assert_array_equal(ready.image, resample(turned, expected, order=3).numpy())  # type: ignore[arg-type]
    classes = torch.from_numpy(np.ascontiguousarray(plan.labels.to_classes(labels.array).transpose(order)))
    np.testing.assert_array_equal(ready.classes, resample_labels(classes, expected, 4, order=1).numpy())  # type: ignore[arg-type]
    assert place(image, plan, configuration) == (ready.placement, expected)
    assert logits_to_scan_shape(ready.placement, configuration) == (shape, None)
    extents = [spacing[axis] * image.geometry.shape[axis] for axis in order]
    assert ready.placement.ready_spacing == pytest.approx([extent / size for extent, size in zip(extents, expected, strict=True)])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("use_mask", [True, False])
@pytest.mark.parametrize("flat", [True, False])
def test_resized_to_its_own_shape_a_scan_without_a_margin_is_as_it_was(
    order: tuple[int, int, int], use_mask: bool, flat: bool, small_plan: Plans
) -> None:
    image, labels = scan(spacing=(2.0, 1.0, 0.5))
    image = Image(image.array + 1, image.geometry)
    image.array[:, 0, 0, :4] = 0  # outside the mask
    sizes = tuple(image.geometry.shape[axis] for axis in order)[1 if flat else 0 :]
    spacing = tuple((2.0, 1.0, 0.5)[axis] for axis in order)[1 if flat else 0 :]
    plan = small_plan(transpose=order, use_mask=use_mask, **resized(*sizes))
    plain = small_plan(transpose=order, use_mask=use_mask, patch=(16,) * len(sizes), spacing=spacing)
    found, expected = (prepare(image, labels, one, one.configuration("small")) for one in (plan, plain))
    np.testing.assert_array_equal(found.image, expected.image)
    np.testing.assert_array_equal(found.classes, expected.classes)  # type: ignore[arg-type]
    assert found.placement == expected.placement
    cases = [crop_case(image, labels, one, whole=whole) for one, whole in ((plan, True), (plain, False))]
    assert way(cases[0], plan.configuration("small")) == way(cases[1], plain.configuration("small"))


def test_labels_resized_to_twice_the_size_come_back_as_they_were(small_plan: Plans) -> None:
    image, labels = scan()
    plan = small_plan(transpose=(1, 2, 0), **resized(24, 26, 20, label_order=0))
    ready = prepare(image, labels, plan, plan.configuration("small"))
    assert ready.classes is not None
    shape, nearest = logits_to_scan_shape(ready.placement, plan.configuration("small"))
    back = resample_labels(torch.from_numpy(ready.classes), shape, 4, order=1, nearest_axis=nearest)
    np.testing.assert_array_equal(plan.labels.to_values(ready.placement.restore(back.numpy())), labels.array)


def test_a_resized_scan_has_its_mask_but_no_crop(small_plan: Plans) -> None:
    image, _ = scan()
    plan = small_plan(use_mask=True, **resized(10, 12, 13))
    ready = prepare(image, None, plan, plan.configuration("small"))
    for channel, raw in zip(ready.image, image.array, strict=True):
        expected = np.zeros_like(raw)
        expected[BOX] = normalize.zscore(raw[BOX])(raw[BOX])
        np.testing.assert_array_equal(channel, expected)


def test_a_cropped_scan_is_not_resized(small_plan: Plans) -> None:
    image, _ = scan()
    plan = small_plan(**resized(10, 12, 13))
    with pytest.raises(ValueError, match="this was cropped"):
        pack(crop_case(image, None, plan), plan, plan.configuration("small"))


def test_slices_that_no_computer_can_hold_are_refused(small_plan: Plans) -> None:
    image, _ = scan()
    plan = small_plan(**resized(60_000, 60_000))
    with pytest.raises(PlanError, match=r"every slice resized to 60000 x 60000 it would have 3\.6e\+10 voxels.*resampling\.resize"):
        prepare(image, None, plan, plan.configuration("small"))
