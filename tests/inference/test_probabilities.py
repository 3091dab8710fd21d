"""Probabilities come from a file channel by channel, whole, or not at all."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from autoseg.errors import AutosegError, UnreadableFile
from autoseg.inference.probabilities import ProbabilityFile, write_probabilities


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ">f8"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_channels_come_back_as_they_were_written(tmp_path: Path, save: object, dtype: object) -> None:
    array = np.random.default_rng(0).random((3, 4, 5, 6)).astype(dtype)
    save(tmp_path / "a.npz", probabilities=array, names=np.array(["x", "y", "z"]))  # type: ignore[operator]
    file = ProbabilityFile.open(tmp_path / "a.npz")
    assert (file.channels, file.shape, file.dtype) == (3, (4, 5, 6), array.dtype)
    assert file.names == ("x", "y", "z")
    for _ in range(2):
        np.testing.assert_array_equal(list(file), array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"softmax": np.ones((1, 1, 1, 1))}, "no array 'probabilities', but softmax"),
        ({"probabilities": np.ones((2, 3, 4))}, r"float64 of shape \(2, 3, 4\).*\(K, Z, Y, X\)"),
        ({"probabilities": np.ones((2, 3, 4, 5), int)}, "holds int64"),
        ({"probabilities": np.asfortranarray(np.ones((2, 3, 4, 5)))}, "Fortran's order"),
        ({"probabilities": np.array([[[[None]]]], object)}, "holds object"),
        ({"probabilities": np.ones((1, 1, 1, 1)), "names": np.array([None])}, r"a\.npz cannot be read: Object arrays"),
    ],
)
def test_other_content_is_refused(tmp_path: Path, content: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "a.npz", **content)  # type: ignore[arg-type]
    with pytest.raises(AutosegError, match=message):
        ProbabilityFile.open(tmp_path / "a.npz")


def test_damage_is_found_and_named(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(UnreadableFile, match=r"a\.npz cannot be read: it does not exist"):
        ProbabilityFile.open(path)
    np.savez(path, probabilities=np.random.default_rng(0).random((2, 8, 8, 8)))
    whole = path.read_bytes()
    assert ProbabilityFile.open(path).names is None
    path.write_bytes(whole[:-100])
    with pytest.raises(UnreadableFile, match=r"a\.npz cannot be read"):
        ProbabilityFile.open(path)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1  # a bit within the numbers
    path.write_bytes(flipped)
    file = ProbabilityFile.open(path)
    with pytest.raises(UnreadableFile, match=r"a\.npz cannot be read: Bad CRC"):
        list(file)


def test_what_is_written_channel_by_channel_is_what_numpy_reads(tmp_path: Path) -> None:
    array = (np.random.default_rng(0).integers(0, 257, (3, 4, 5, 6)) / 256).astype(np.float16)
    drawn = []

    def channels() -> Iterator[np.ndarray]:
        for channel in array.transpose(0, 3, 2, 1):  # as they lie after a scan's axes were exchanged
            drawn.append(len(drawn))
            yield channel

    for name in ("a.npz", "b.npz"):
        write_probabilities(tmp_path / name, channels(), (6, 5, 4), ("x", "y", "z"))
    assert drawn == list(range(6))
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert archive.files == ["probabilities", "names"]
        assert archive["probabilities"].dtype == np.float16 and archive["probabilities"].flags.c_contiguous
        np.testing.assert_array_equal(archive["probabilities"], array.transpose(0, 3, 2, 1))
        assert archive["names"].tolist() == ["x", "y", "z"]
    file = ProbabilityFile.open(tmp_path / "a.npz")
    assert (file.channels, file.shape, file.names) == (3, (6, 5, 4), ("x", "y", "z"))
    np.testing.assert_array_equal(list(file), array.transpose(0, 3, 2, 1))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("channels", [[(2, 2, 2)], [(2, 2, 2)] * 3, [(2, 2, 2), (2, 2, 3)]])
def test_channels_that_do_not_fit_leave_no_file(tmp_path: Path, channels: list[tuple[int, int, int]]) -> None:
    with pytest.raises(ValueError, match=r"argument|shape"):
        write_probabilities(tmp_path / "a.npz", [np.zeros(shape, np.float16) for shape in channels], (2, 2, 2), ("x", "y"))
    assert list(tmp_path.iterdir()) == []
