"""Foreground locations: all of a few, some of many, the same for the same name."""

import zlib
from pathlib import Path

import numpy as np
import pytest

from autoseg.preprocessing.foreground import annotated_voxels, foreground_locations, read_locations, write_locations


def slow_locations(classes: np.ndarray, label: int) -> set[tuple[int, ...]]:
    return {index for index in np.ndindex(classes.shape) if classes[index] == label}


def test_few_voxels_are_all_kept() -> None:
    classes = np.random.default_rng(0).choice([-1, 0, 0, 1, 3], (9, 8, 7)).astype(np.int16)
    found = foreground_locations(classes, "case")
    assert found.keys() == {1, 3}
    for label, voxels in found.items():
        assert len(voxels) == len(slow_locations(classes, label))
        assert {tuple(voxel) for voxel in voxels.tolist()} == slow_locations(classes, label)


@pytest.mark.parametrize(("voxels", "kept"), [(10_000, 10_000), (10_001, 10_000), (1_000_000, 10_000), (1_000_001, 10_001), (1_150_000, 11_500)])
def test_ten_thousand_but_at_least_one_in_a_hundred(voxels: int, kept: int) -> None:
    classes = np.zeros((2, 1000, 600), np.int8)
    classes.reshape(-1)[-voxels:] = 2
    found = foreground_locations(classes, "case")[2]
    assert len(found) == kept == len(np.unique(found, axis=0))
    assert (classes[tuple(found.T)] == 2).all()


def test_the_draw_follows_from_the_name_alone() -> None:
    classes = np.ones((30, 30, 30), np.int8)
    first, again, other = (foreground_locations(classes, name)[1] for name in ("one", "one", "two"))
    np.testing.assert_array_equal(first, again)
    assert zlib.crc32(first.tobytes()) != zlib.crc32(other.tobytes())
    assert abs(first.mean() - 14.5) < 0.2  # from everywhere


def test_no_foreground_no_locations() -> None:
    assert foreground_locations(np.full((3, 3, 3), -1, np.int16), "case") == {}


def test_annotated_voxels_are_known_where_some_are_not(tmp_path: Path) -> None:
    classes = np.random.default_rng(0).choice([-1, 0, 2], (9, 8, 7)).astype(np.int16)
    expected = {index for index in np.ndindex(classes.shape) if classes[index] >= 0}
    found = annotated_voxels(classes, "case")
    assert found is not None and {tuple(voxel) for voxel in found.tolist()} == expected and len(found) == len(expected)
    write_locations(tmp_path / "case.npz", classes, "case")
    locations, annotated = read_locations(tmp_path / "case.npz")
    assert locations.keys() == {2} and annotated is not None and np.array_equal(annotated, found)


@pytest.mark.parametrize("value", [-1, 0, 1])
def test_nothing_is_kept_where_all_is_annotated_or_none(value: int, tmp_path: Path) -> None:
    classes = np.full((3, 4, 5), value, np.int16)
    assert annotated_voxels(classes, "case") is None
    write_locations(tmp_path / "case.npz", classes, "case")
    assert read_locations(tmp_path / "case.npz")[1] is None
