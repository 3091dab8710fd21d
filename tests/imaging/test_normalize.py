"""Normalisation: properties, and values worked out by hand."""

import numpy as np
import pytest

from autoseg.errors import AutosegError
from autoseg.imaging.normalize import Linear, ct, rescale_to_0_1, rgb_to_0_1, zscore


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
