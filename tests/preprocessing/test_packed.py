"""16 bits a voxel: whole numbers come back as normalising gives them, others within the promised error, and what fits neither is refused."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg.data.dataset import Case
from autoseg.imaging.image import Geometry, Image, LabelMap
from autoseg.imaging.normalize import Linear
from autoseg.planning.plan import Plan
from autoseg.preprocessing.case import crop_case, pack, prepare
from autoseg.preprocessing.packed import HIGHEST, LOWEST, Packed, pack_steps, pack_whole_numbers
from autoseg.preprocessing.store import CaseStore

Plans = Callable[..., Plan]
SCHEMES = ["zscore", "ct", "rescale_to_0_1", "rgb_to_0_1", "none", "percentile_to_0_1"]
EQUALIZED = ["histogram_equalization", "clahe"]


def scan(shape: tuple[int, int, int], low: int, high: int, empty: float, seed: int, fraction: float = 0.0) -> Image:
    """Two channels of numbers from `low` to `high`, both ends included, with zeros sprinkled over a share of the voxels."""
    rng = np.random.default_rng(seed)
    array = rng.integers(low, high, (2, *shape), endpoint=True).astype(np.float32) + np.float32(fraction)
    array[:, rng.random(shape) < empty] = 0
    array[:, 0, 0, 0], array[:, -1, -1, -1] = low, high
    return Image(array, Geometry.of(shape))


@settings(max_examples=80)
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3), ends=st.tuples(st.integers(LOWEST, HIGHEST), st.integers(LOWEST, HIGHEST)),
    empty=st.sampled_from([0.0, 0.3, 0.9, 1.0]), scheme=st.sampled_from(SCHEMES), use_mask=st.booleans(), seed=st.integers(0, 99),
    order=st.permutations(range(3)),
)  # fmt: skip
def test_whole_numbers_come_back_bit_for_bit(
    shape: tuple[int, int, int], ends: tuple[int, int], empty: float, scheme: str, use_mask: bool, seed: int, order: list[int], small_plan: Plans
) -> None:
    low, high = (0, 255) if scheme == "rgb_to_0_1" else sorted(ends)
    plan = small_plan(scheme=scheme, use_mask=use_mask and scheme == "zscore", transpose=order)
    image, configuration = scan(shape, low, high, empty, seed), plan.configuration("small")
    expected = prepare(image, None, plan, configuration).image
    packed = pack(crop_case(image, None, plan), plan, configuration).image
    assert isinstance(packed, Packed) and packed.voxels.dtype == np.int16
    assert packed.shape == expected.shape and packed.nbytes == expected.nbytes
    assert packed[:].dtype == np.float32
    np.testing.assert_array_equal(packed[:], expected)
    z, y, x = (slice(size // 3, size) for size in packed.shape[1:])
    np.testing.assert_array_equal(packed[..., z, y, x], expected[..., z, y, x])
    np.testing.assert_array_equal(packed[1:, z, y], expected[1:, z, y])


@settings(max_examples=80)
@given(
    middle=st.floats(-3, 3), tail=st.floats(0, 15), seed=st.integers(0, 99), unit=st.sampled_from([1e-3, 1.0, 700.0]), zeros=st.sampled_from([0, 0.5])
)
def test_steps_keep_their_promise(middle: float, tail: float, seed: int, unit: float, zeros: float) -> None:
    rng = np.random.default_rng(seed)
    image = (rng.normal(middle, 1, (2, 12, 13, 14)) * unit).astype(np.float32)
    image[:, rng.random(image.shape[1:]) < zeros] = 0
    image[1, 3, 3, 3] = tail * unit
    packed = pack_steps(image)
    assert packed is not None
    for found, channel in zip(packed[:], image, strict=True):
        assert np.abs(found - channel).max() <= channel.std() / 4000
        assert (found[channel == 0] == 0).all()


@pytest.mark.parametrize(("farthest", "fits"), [(22, True), (40, False)])
def test_a_long_tail_leaves_too_few_steps(farthest: float, fits: bool) -> None:
    image = np.random.default_rng(0).normal(0, 1, (1, 30, 30, 30)).astype(np.float32)
    image[0, 4, 4, 4] = farthest
    assert (pack_steps(image) is not None) == fits


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_a_constant_channel(value: float) -> None:
    packed = pack_steps(np.full((1, 3, 4, 5), value, np.float32))
    assert packed is None if value else packed is not None and not packed[:].any()


def test_what_steps_cannot_tell_apart_stays_in_float32(small_plan: Plans) -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(0, 1, (2, 20, 20, 20)).astype(np.float32)
    image[0, 0, 0, 0] = 1e4  # a range that leaves few steps for the others
    assert pack_steps(image) is None
    assert pack_steps(image[1:] + np.float32(1e6)) is None  # far from 0, where float32 itself is coarse
    assert pack_steps(image[1:] * np.float32(1e14)) is None  # steps so large that no map undoes them
    plan = small_plan(scheme="none")
    stored = pack(crop_case(Image(image, Geometry.of((20, 20, 20))), None, plan), plan, plan.configuration("small")).image
    assert isinstance(stored, np.ndarray)
    np.testing.assert_array_equal(stored, image)


@pytest.mark.parametrize("array", [[0.5, 1], [0, 32_768], [-32_768, 0]])
def test_not_every_number_is_a_whole_one_of_16_bits(array: list[float]) -> None:
    assert pack_whole_numbers([np.array(array, np.float32).reshape(1, 1, 2)], [Linear()], [None]) is None


def test_what_is_clipped_may_lie_beyond() -> None:
    channel = np.array([-1e6, -900.25, 0, 400, 7e5], np.float32).reshape(1, 1, 5)
    linear = Linear(3.5, 2.5, -900.5, 300.5)
    packed = pack_whole_numbers([np.rint(channel)], [linear], [None])
    assert packed is not None
    np.testing.assert_array_equal(packed[:][0], linear(np.rint(channel)))
    assert math.isclose(packed[:][0, 0, 0, 0], (-900.5 - 3.5) / 2.5, rel_tol=1e-6)


@pytest.mark.parametrize("use_mask", [True, False])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 1.1, 1.3)])
@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_the_store_gives_what_was_packed(
    use_mask: bool, spacing: tuple[float, float, float], memory: int, small_plan: Plans, make_case: Callable[..., Case], tmp_path: Path
) -> None:
    plan = small_plan(use_mask=use_mask, spacing=spacing)
    configuration = plan.configuration("small")
    image = scan((20, 21, 22), -7, 900, 0.6, 0)
    labels = LabelMap(np.random.default_rng(0).choice([0, 1, 2, 4], image.geometry.shape), image.geometry)
    packed = pack(crop_case(image, labels, plan), plan, configuration)
    case, store = make_case(), CaseStore(tmp_path / "ready", "settings", memory=memory)
    store.put(case, packed)
    found, expected = store.get(case.name), prepare(image, labels, plan, configuration)
    assert isinstance(found.image, np.ndarray if memory else Packed) and found.image.shape == expected.image.shape
    np.testing.assert_array_equal(found.image[:], packed.image[:])
    np.testing.assert_array_equal(found.image[..., 3:9, :, 2:5], packed.image[:][..., 3:9, :, 2:5])
    np.testing.assert_array_equal(found.classes[:], expected.classes)
    if spacing == (1.0, 1.0, 1.0):
        np.testing.assert_array_equal(found.image[:], expected.image)
    else:
        np.testing.assert_allclose(found.image[:], expected.image, rtol=0, atol=float(expected.image.std(axis=(1, 2, 3)).max()) / 4000)


@settings(max_examples=40)
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3), ends=st.tuples(st.integers(-2000, 2000), st.integers(-2000, 2000)),
    empty=st.sampled_from([0.0, 0.3, 0.9, 1.0]), scheme=st.sampled_from(EQUALIZED), seed=st.integers(0, 99),
    spacing=st.sampled_from([(1.0, 1.0, 1.0), (0.8, 1.1, 1.3)]),
)  # fmt: skip
def test_an_equalized_channel_keeps_the_promise_of_steps(
    shape: tuple[int, int, int], ends: tuple[int, int], empty: float, scheme: str, seed: int, spacing: tuple[float, float, float], small_plan: Plans
) -> None:
    plan, image = small_plan(scheme=scheme, spacing=spacing), scan(shape, *sorted(ends), empty, seed)
    expected = prepare(image, None, plan, plan.configuration("small")).image
    packed = pack(crop_case(image, None, plan), plan, plan.configuration("small")).image
    for found, channel in zip(packed[:], expected, strict=True):
        assert np.abs(found - channel).max() <= channel.std() / 4000
        assert (found[channel == 0] == 0).all()


def test_one_channel_that_is_equalized_does_not_spoil_the_others(small_plan: Plans) -> None:
    plan = small_plan(scheme="zscore")
    first, second = plan.configuration("small").normalization
    rules = (first, second.model_copy(update={"scheme": "histogram_equalization"}))
    configuration = plan.configuration("small").model_copy(update={"normalization": rules})
    image = scan((12, 13, 14), 0, 900, 0.3, 0)
    expected = prepare(image, None, plan, configuration).image
    np.testing.assert_array_equal(expected[0], prepare(image, None, plan, plan.configuration("small")).image[0])
    packed = pack(crop_case(image, None, plan), plan, configuration).image
    assert isinstance(packed, Packed)
    for found, channel in zip(packed[:], expected, strict=True):
        assert np.abs(found - channel).max() <= channel.std() / 4000
