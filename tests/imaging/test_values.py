"""Counting against sorting."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from autoseg.imaging.values import count_values


@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.int16, np.int32]),
        arrays.array_shapes(min_dims=1, max_dims=3, max_side=6),
        elements=st.integers(0, 127),
    ),
    st.sampled_from([0, -3, 100_000]),
)
def test_counting_agrees_with_sorting(array: NDArray, extreme: int) -> None:
    array = array.astype(np.int64)
    array.flat[0] = extreme
    values, counts = np.unique(array, return_counts=True)
    assert count_values(array) == dict(zip(values.tolist(), counts.tolist(), strict=True))
