"""Normalisation: properties, and values worked out by hand."""

import sys
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage import exposure

from autoseg.errors import AutosegError
from autoseg.imaging.normalize import Linear, ct, equalize, equalize_locally, percentile_to_0_1, rescale_to_0_1, rgb_to_0_1, zscore


def channel(*values: float) -> np.ndarray:
    return np.array(values, np.float32).reshape(1, 1, -1)


def test_zscore_by_hand() -> None:
    x = channel(1, 3)
    result = zscore(x)(x)
    assert result.dtype == np.float32
    assert result.tolist() == [[[-1, 1]]]


def test_zscore_looks_inside_a_mask() -> None:
    x = channel(1, 3, 500)
    assert zscore(x, np.array([[[True, True, False]]]))(x).tolist() == [[[-1, 1, 498]]]
    assert zscore(x, np.ones((1, 1, 3), bool)) == zscore(x)
    assert zscore(x, np.zeros((1, 1, 3), bool)) == Linear()


def test_zscore_keeps_digits_that_float32_sums_lose() -> None:
    x = np.random.default_rng(0).normal(30_000, 3, (64, 64, 64)).astype(np.float32)
    result = zscore(x)(x).astype(np.float64)
    assert abs(result.mean()) < 1e-3
    assert abs(result.std() - 1) < 1e-4


def test_constants_do_not_divide_by_zero() -> None:
    for normalise in (zscore, rescale_to_0_1):
        assert not normalise(channel(7, 7))(channel(7, 7)).any()
    assert np.isfinite(ct(0, 5, 1, 0)(channel(1, 2))).all()


def test_ct_clips_before_it_scales() -> None:
    assert ct(-100, 300, 100, 50)(channel(-2000, 50, 2000)).tolist() == [[[-4, -1, 4]]]


def test_rescale_reaches_both_ends() -> None:
    assert rescale_to_0_1(channel(-10, 0, 30))(channel(-10, 0, 30)).tolist() == [[[0, 0.25, 1]]]


def test_rgb() -> None:
    assert rgb_to_0_1(channel(0, 51, 255))(channel(0, 51, 255)) == pytest.approx(channel(0, 0.2, 1))
    with pytest.raises(AutosegError, match="4095"):
        rgb_to_0_1(channel(0, 4095))


def test_the_input_is_left_alone() -> None:
    x = channel(1, 2, 3)
    for normalise in (zscore, rescale_to_0_1, rgb_to_0_1, lambda x: ct(0, 2, 1, 1), lambda x: zscore(x, x > 1)):
        normalise(x)(x)
        assert x.tolist() == [[[1, 2, 3]]]


def noise(shape: tuple[int, int, int] = (3, 40, 30), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(2.0, 300.0, shape).astype(np.float32)


def test_percentiles_by_hand() -> None:
    x = np.arange(101, dtype=np.float32).reshape(1, 1, 101)
    rule = percentile_to_0_1(x, 10, 90)
    assert rule == Linear(10, 80, 10, 90)
    assert rule(channel(-5, 10, 30, 50, 90, 1000)).tolist() == [[[0, 0, 0.25, 0.5, 1, 1]]]
    assert percentile_to_0_1(channel(0, 10), 25, 75) == Linear(2.5, 5, 2.5, 7.5)  # between two neighbours
    assert percentile_to_0_1(x, 0, 100)(x) == pytest.approx(rescale_to_0_1(x)(x))


@pytest.mark.parametrize("percentiles", [(0.5, 99.5), (2, 98), (0, 50)])
def test_percentiles_as_scikit_image_has_it(percentiles: tuple[float, float]) -> None:
    x = noise()
    low, high = np.percentile(x, percentiles)
    result = percentile_to_0_1(x, *percentiles)(x)
    assert (result.min(), result.max()) == (0, 1)
    np.testing.assert_allclose(result, exposure.rescale_intensity(x, in_range=(low, high), out_range=(0.0, 1.0)), atol=1e-6)


def test_equalizing_by_hand() -> None:
    """Half of the voxels are darkest, three quarters are no brighter than the middle of bin 64, and one quarter is brightest."""
    assert equalize(channel(0, 64.5, 0, 256)).tolist() == [[[0, 0.5, 0, 1]]]
    assert equalize(channel(9, 7, 7, 7)).tolist() == [[[1, 0, 0, 0]]]


def test_equalizing_a_ramp_changes_nothing() -> None:
    ramp = np.linspace(0, 1, 60 * 64, dtype=np.float32).reshape(1, 60, 64)
    np.testing.assert_allclose(equalize(ramp), ramp, atol=1 / 200)


def test_equalizing_as_scikit_image_does() -> None:
    x = noise()
    whole = exposure.equalize_hist(rescale_to_0_1(x)(x).ravel()).reshape(x.shape)
    result = equalize(x)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, (whole - whole.min()) / (1 - whole.min()), atol=1e-6)
    np.testing.assert_array_equal(equalize(x * 4), result)  # a power of two is no other number to a computer
    np.testing.assert_allclose(np.histogram(result, 16, (0, 1))[0] / x.size, 1 / 16, atol=0.01)


@pytest.mark.parametrize("clip_limit", [0.01, 0.3])
def test_local_equalizing_as_scikit_image_does_it_slice_by_slice(clip_limit: float) -> None:
    x = noise()
    result = equalize_locally(x, clip_limit)
    for found, slice_YX in zip(result, x, strict=True):
        scaled = (slice_YX - slice_YX.min()) / (slice_YX.max() - slice_YX.min())
        np.testing.assert_array_equal(found, exposure.equalize_adapthist(scaled, clip_limit=clip_limit))
    other = np.concatenate([x[:1], noise(seed=1)])
    np.testing.assert_array_equal(equalize_locally(other, clip_limit)[0], result[0])
    assert not np.array_equal(equalize_locally(x, 0.01), equalize_locally(x, 0.3))


SCALED: list[Callable[[np.ndarray], np.ndarray]] = [
    lambda x: percentile_to_0_1(x, 0.5, 99.5)(x),
    equalize,
    partial(equalize_locally, clip_limit=0.01),
]


@pytest.mark.parametrize("normalise", SCALED)
@pytest.mark.parametrize("value", [0.0, 7.0, -3e6, 1e-30])
def test_a_constant_channel_becomes_zero_without_warnings(normalise: Callable[[np.ndarray], np.ndarray], value: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = normalise(np.full((2, 9, 9), value, np.float32))
    assert result.dtype == np.float32 and result.shape == (2, 9, 9) and not result.any()


@pytest.mark.parametrize("normalise", SCALED)
@given(x=hnp.arrays(np.float32, hnp.array_shapes(min_dims=3, max_dims=3, max_side=9), elements=st.floats(-1e6, 1e6, width=32)))
def test_anything_ends_between_0_and_1(normalise: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> None:
    before = x.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = normalise(x)
    assert result.dtype == np.float32 and result.shape == x.shape and result.min() >= 0 and result.max() <= 1
    np.testing.assert_array_equal(x, before)
    if normalise is not SCALED[2]:  # local equalising is about what lies around
        order = np.argsort(x, axis=None, kind="stable")
        assert (np.diff(result.ravel()[order]) >= 0).all()


@pytest.mark.parametrize("normalise", SCALED[1:])
def test_a_package_that_is_missing_is_named(normalise: Callable[[np.ndarray], np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(AutosegError, match=r"needs scikit-image, which is not installed: pip install 'autoseg\[zoo\]'"):
        normalise(channel(1, 2))


@pytest.mark.parametrize("normalise", SCALED[1:])
def test_what_hardly_varies_is_constant(normalise: Callable[[np.ndarray], np.ndarray]) -> None:
    assert not normalise(channel(0, 1e-9, 3e-40)).any()
    assert normalise(channel(0, 1e-7, 0)).any()
