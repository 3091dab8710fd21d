"""Ensembles against the slow obvious way, against SimpleITK, and by hand."""

import weakref
from typing import ClassVar

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from autoseg.inference.ensembling import majority, mean_argmax, mean_regions, patterns, staple


def softmax(rng: np.random.Generator, members: int, classes: int) -> NDArray[np.float16]:
    logits = rng.normal(size=(members, classes, 5, 6, 7))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return shares.astype(np.float16)


def blobs(rng: np.random.Generator, members: int, values: tuple[int, ...] = (0, 1, 2, 4), noise: float = 0.4) -> list[NDArray[np.int16]]:
    """Label maps of one smooth truth, each member with errors of its own, the first with the fewest."""
    truth = ndimage.gaussian_filter(rng.normal(size=(12, 14, 16)), 2.0)
    cuts = np.quantile(truth, np.linspace(0, 1, len(values) + 1)[1:-1])
    scale = truth.std() * noise
    maps = []
    for member in range(members):
        seen = truth + scale * (1 + member) / members * ndimage.gaussian_filter(rng.normal(size=truth.shape), 0.7) * 4
        maps.append(np.array(values, np.int16)[np.digitize(seen, cuts)])
    return maps


@pytest.mark.parametrize(("members", "classes"), [(1, 2), (2, 4), (5, 3)])
def test_the_mean_is_the_argmax_of_the_stacked_mean(members: int, classes: int) -> None:
    stack = softmax(np.random.default_rng(members), members, classes)
    np.testing.assert_array_equal(mean_argmax(list(stack)), stack.astype(np.float64).mean(axis=0).argmax(axis=0))


def test_a_tie_of_means_goes_to_the_smaller_class() -> None:
    one, other = np.zeros((3, 1, 1, 2)), np.zeros((3, 1, 1, 2))
    one[1], other[2] = 1, 1
    one[:, 0, 0, 1], other[:, 0, 0, 1] = (0.2, 0.2, 0.6), (0.2, 0.5, 0.3)
    assert mean_argmax([one, other]).tolist() == mean_argmax([other, one]).tolist() == [[[1, 2]]]


class Watched:
    """A member that makes sure, whenever a channel is asked for, that every earlier one of any member is gone."""

    given: ClassVar[list[weakref.ref[NDArray[np.float32]]]] = []

    def __init__(self) -> None:
        self.shares = iter((0.2, 0.5, 0.3))

    def __iter__(self) -> "Watched":
        return self

    def __next__(self) -> NDArray[np.float32]:
        assert all(channel() is None for channel in self.given)
        channel = np.full((1, 1, 1), next(self.shares), np.float32)
        self.given.append(weakref.ref(channel))
        return channel


def test_the_mean_holds_one_channel_of_one_member() -> None:
    assert mean_argmax([Watched(), Watched(), Watched()]).item() == 1
    assert len(Watched.given) == 9


def test_regions_are_painted_in_their_order() -> None:
    soft = np.random.default_rng(4).random((3, 3, 5, 6, 7))
    expected = np.zeros((5, 6, 7), int)
    for place in np.ndindex(5, 6, 7):
        for region, value in enumerate((2, 1, 3)):
            if soft[(slice(None), region, *place)].mean() > 0.5:
                expected[place] = value
    np.testing.assert_array_equal(mean_regions(list(soft), (2, 1, 3)), expected)
    assert mean_regions([np.full((1, 1, 1, 1), 0.5)], (3,)).item() == 0
    with pytest.raises(ValueError, match="zip"):
        mean_regions(list(soft), (2, 1))


def test_what_cannot_be_averaged() -> None:
    ones = np.ones((2, 1, 1, 1))
    with pytest.raises(ValueError, match="channel 1 holds what is not a number"):
        mean_argmax([ones, np.array([1, np.nan]).reshape(2, 1, 1, 1)])
    with pytest.raises(ValueError, match="1 of 2 members have no channel 2"):
        mean_argmax([ones, np.ones((3, 1, 1, 1))])
    with pytest.raises(ValueError, match="no member"):
        mean_argmax([])
    with pytest.raises(ValueError, match="no member"):
        patterns([])


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_patterns_hold_all_that_the_maps_held(seed: int, members: int) -> None:
    rng = np.random.default_rng(seed)
    maps = [rng.choice([-1, 0, 3, 500], size=(2, 3, 4)).astype(np.int16) for _ in range(members)]
    found = patterns(iter(maps))
    for member, labels in enumerate(maps):
        np.testing.assert_array_equal(found.answers[found.index, member], labels)
    assert len(np.unique(found.answers, axis=0)) == len(found.answers)
    np.testing.assert_array_equal(np.bincount(found.index.ravel()), found.counts)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_the_vote_is_the_most_frequent_value_and_the_smallest_of_a_tie(seed: int, members: int) -> None:
    maps = [np.random.default_rng(seed + k).choice([0, 1, 2, 4], size=(2, 3, 4)) for k in range(members)]
    stack = np.stack(maps)
    expected = np.apply_along_axis(lambda votes: min(set(votes), key=lambda value: (-list(votes).count(value), value)), 0, stack)
    np.testing.assert_array_equal(majority(patterns(maps)), expected)
    np.testing.assert_array_equal(majority(patterns(maps[::-1])), expected)


@pytest.mark.parametrize("seed", range(3))
def test_staple_of_one_structure_is_simpleitks(seed: int) -> None:
    """Its filter gives the probability of the foreground; the prior is the mean share of foreground there too."""
    maps = blobs(np.random.default_rng(seed), 4, (0, 1))
    images = [sitk.GetImageFromArray(labels) for labels in maps]
    soft = sitk.GetArrayFromImage(sitk.STAPLE(images, 1.0))
    clear = np.abs(soft - 0.5) > 1e-3
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(staple(patterns(maps))[clear], soft[clear] > 0.5)
    assert (staple(patterns(maps)) != majority(patterns(maps))).any()  # else the test would say nothing


@pytest.mark.parametrize("seed", range(3))
def test_staple_of_several_labels_is_simpleitks(seed: int) -> None:
    maps = blobs(np.random.default_rng(seed), 4)
    answer = sitk.GetArrayFromImage(sitk.MultiLabelSTAPLE([sitk.GetImageFromArray(labels.astype(np.uint8)) for labels in maps], 255))
    np.testing.assert_array_equal(staple(patterns(maps)), answer)
    assert (answer != majority(patterns(maps))).any()


def test_staple_trusts_the_member_that_is_right() -> None:
    """Three who agree nearly always are right against a fourth and a fifth, who find everything."""
    good = blobs(np.random.default_rng(7), 3, (0, 3), noise=0.1)
    maps = patterns([*good, *[np.full((12, 14, 16), 3, np.int16)] * 2])
    truth = majority(patterns(good))
    assert (staple(maps) != truth).sum() < 0.2 * (majority(maps) != truth).sum()
    np.testing.assert_array_equal(staple(patterns(good[:1])), good[0])
