"""The user's label values and the program's classes, both ways."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.data.dataset import Labels

BRATS = Labels(("background", "necrotic", "edema", "enhancing"), (0, 1, 2, 4), ignore=9)


def test_classes_count_up_and_what_nobody_knows_is_minus_one() -> None:
    values = np.array([[[0, 1, 2], [4, 9, 7]]], np.uint8)
    classes = BRATS.to_classes(values)
    assert classes.tolist() == [[[0, 1, 2], [3, -1, -1]]] and classes.dtype == np.int16
    assert BRATS.allowed == (0, 1, 2, 4, 9)


@given(st.lists(st.integers(1, 32_767), min_size=1, max_size=30, unique=True), st.integers(0, 1000))
def test_there_and_back(values: list[int], seed: int) -> None:
    labels = Labels(("background", *map(str, values)), (0, *sorted(values)))
    classes = np.random.default_rng(seed).integers(0, len(labels.values), (3, 4, 5))
    back = labels.to_values(classes)
    np.testing.assert_array_equal(labels.to_classes(back), classes)
    assert back.dtype == (np.uint8 if max(values) <= 255 else np.int16)


@pytest.mark.parametrize(("values", "dtype"), [((0, 255), np.uint8), ((0, 256), np.int16), ((-3, 0), np.int16)])
def test_the_smallest_type_that_holds_all_values(values: tuple[int, ...], dtype: type) -> None:
    assert Labels(("a", "b"), values).to_values(np.zeros((1, 1, 1), np.int64)).dtype == dtype
