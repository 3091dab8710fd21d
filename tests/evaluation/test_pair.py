"""The joint histogram against masks made value by value."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from autoseg.evaluation import pair as pair_module
from autoseg.evaluation.distances import surface_measures
from autoseg.evaluation.metrics import counts
from autoseg.evaluation.pair import pair_up

UNIONS = [(1,), (2,), (4,), (1, 4), (1, 2, 4)]


def hd95(a: np.ndarray, b: np.ndarray, spacing: tuple[float, float, float]) -> float:
    return surface_measures(a, b, spacing, tolerance=1.0)["hd95"]


def label_maps(seed: int, shape: tuple[int, int, int] = (9, 11, 10), values: tuple[int, ...] = (0, 0, 0, 1, 2, 4)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    maps = np.zeros((2, *shape), dtype=np.uint8)
    maps[:, 2:-1, 1:-3, 3:] = rng.choice(values, (2, shape[0] - 3, shape[1] - 4, shape[2] - 3))
    return maps[0], maps[1]


@pytest.mark.parametrize("slab", [1, 100, 1 << 18])
@pytest.mark.parametrize("values", UNIONS)
def test_counts_and_distances_are_those_of_the_masks(values: tuple[int, ...], slab: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_module, "_SLAB", slab)
    prediction, reference = label_maps(0)
    pair = pair_up(prediction, reference, (1, 2, 4))
    masks = np.isin(prediction, values), np.isin(reference, values)
    assert pair.counts(values) == counts(*masks)
    assert hd95(*pair.masks(values, pair.boxes()), (3.0, 1.0, 0.5)) == hd95(*masks, (3.0, 1.0, 0.5))


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.integers(1, 5)] * 3).flatmap(lambda s: st.tuples(*[arrays(np.int16, s, elements=st.sampled_from([0, 1, 2, 4, 9]))] * 2)))
def test_ignored_voxels_count_nowhere(maps: tuple[np.ndarray, np.ndarray]) -> None:
    prediction, reference = maps
    pair = pair_up(prediction, reference, (1, 2, 4), ignore=9)
    kept = reference != 9
    for values in UNIONS:
        a, b = np.isin(prediction, values), np.isin(reference, values)
        assert pair.counts(values) == counts(a[kept], b[kept])
        expected = hd95(a & kept, b & kept, (1.0, 2.0, 3.0))
        assert hd95(*pair.masks(values, pair.boxes()), (1.0, 2.0, 3.0)) == pytest.approx(expected, nan_ok=True)


def test_every_voxel_is_in_the_histogram_once() -> None:
    prediction, reference = label_maps(1)
    pair = pair_up(prediction, reference, (1, 2, 4))
    assert pair.values == (0, 1, 2, 4)
    assert pair.histogram.sum() == prediction.size
    for row, value in enumerate(pair.values):
        for column, other in enumerate(pair.values):
            assert pair.histogram[row, column] == ((prediction == value) & (reference == other)).sum()


@pytest.mark.parametrize("strange", [3, 7, 255, -5, 40_000, -(2**40)])
def test_a_value_that_was_not_named_is_kept_apart(strange: int) -> None:
    prediction, reference = (labels.astype(np.int64) for labels in label_maps(2))
    prediction[3, 2, 4:8] = strange
    pair = pair_up(prediction, reference, (1, 2, 4))
    assert pair.histogram[-1].sum() == 4
    assert pair.histogram[:, -1].sum() == 0
    assert pair.counts((1, 2, 4)) == counts(np.isin(prediction, (1, 2, 4)), np.isin(reference, (1, 2, 4)))


def test_more_values_than_a_byte_holds() -> None:
    rng = np.random.default_rng(3)
    prediction, reference = rng.integers(0, 700, (2, 8, 9, 10))
    prediction[0, 0, :5] = reference[0, 0, :5] = 650
    pair = pair_up(prediction, reference, range(700))
    assert pair.counts((650,)) == counts(prediction == 650, reference == 650)
    assert hd95(*pair.masks((650,), pair.boxes()), (1.0, 1.0, 1.0)) == hd95(prediction == 650, reference == 650, (1.0, 1.0, 1.0))


def test_two_empty_maps() -> None:
    empty = np.zeros((3, 4, 5), dtype=np.uint8)
    pair = pair_up(empty, empty, (1,))
    assert pair.counts((1,)).tn == pair.counts((1,)).total == 60
    assert not any(mask.any() for mask in pair.masks((1,), pair.boxes()))


def test_a_picture_keeps_its_outline() -> None:
    a, b = np.zeros((2, 1, 20, 20), dtype=np.uint8)
    a[0, 3:15, 3:15], b[0, 5:17, 5:17] = 255, 255
    pair = pair_up(a, b, (255,))
    masks = pair.masks((255,), pair.boxes())
    assert masks[0].shape[0] == 1
    assert hd95(*masks, (1.0, 1.0, 1.0)) == hd95(a > 0, b > 0, (1.0, 1.0, 1.0)) > 1
