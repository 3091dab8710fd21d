"""Arrays on disk: what was written comes back in any pieces, and no file is left anywhere."""

import gc
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from autoseg.errors import AutosegError
from autoseg.inference.scratch import Waiting


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_planes_and_channels_come_back(tmp_path: Path, dtype: type[np.float32]) -> None:
    array = np.random.default_rng(0).random((3, 7, 4, 5)).astype(dtype)
    waiting = Waiting(tmp_path / "new", 3, (7, 4, 5), dtype)
    for planes in (slice(4, 7), slice(0, 1), slice(1, 4)):  # in any order
        waiting.write(planes, array[:, planes])
    for planes in (slice(0, 7), slice(2, 3), slice(5, 7)):
        np.testing.assert_array_equal(np.stack([waiting.planes(channel, planes) for channel in range(3)]), array[:, planes])
    for channel in (2, 0, 1):
        found = waiting.channel(channel)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, array[channel])


def test_voxels_that_do_not_lie_together_are_written_as_they_are_seen(tmp_path: Path) -> None:
    array = np.random.default_rng(0).random((5, 4, 7, 3)).astype(np.float32).transpose(3, 2, 1, 0)
    waiting = Waiting(tmp_path, 3, (7, 4, 5), np.float32)
    waiting.write(slice(0, 7), array)
    np.testing.assert_array_equal(np.stack([waiting.planes(channel, slice(0, 7)) for channel in range(3)]), array)


def test_threads_read_at_once(tmp_path: Path) -> None:
    array = np.random.default_rng(0).random((3, 40, 64, 64)).astype(np.float32)
    waiting = Waiting(tmp_path, 3, (40, 64, 64), np.float32)
    waiting.write(slice(0, 40), array)

    def right(turn: int) -> bool:
        channel, start = turn % 3, turn * 7 % 30
        return bool((waiting.planes(channel, slice(start, start + 10)) == array[channel, start : start + 10]).all())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(right, range(400)))


def open_files() -> int:
    """How many this process has open, where the system tells."""
    told = Path("/proc/self/fd")
    return len(list(told.iterdir())) if told.is_dir() else 0


def test_no_file_is_seen_and_the_room_is_given_back(tmp_path: Path) -> None:
    gc.collect()
    before = open_files()
    waiting = Waiting(tmp_path, 1, (1, 2, 2), np.float32)
    waiting.write(slice(0, 1), np.ones((1, 1, 2, 2), np.float32))
    assert list(tmp_path.iterdir()) == []
    del waiting
    gc.collect()
    assert open_files() == before


def test_what_was_never_written_is_no_number_to_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the last 16 of 16 bytes were never written"):
        Waiting(tmp_path, 1, (1, 2, 2), np.float32).channel(0)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AutosegError, match=r"waits on disk in .*file.* Free the disk or choose"):
        Waiting(tmp_path / "file", 1, (1, 2, 2), np.float32)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_full_disk_is_told_in_words(tmp_path: Path) -> None:
    waiting = Waiting(tmp_path, 1, (64, 64, 64), np.float32)
    with open("/dev/full", "wb", buffering=0) as full:
        os.dup2(full.fileno(), waiting._file.fileno())
    with pytest.raises(AutosegError, match="No space left on device"):
        waiting.write(slice(0, 64), np.ones((1, 64, 64, 64), np.float32))
