"""Files of the other formats: cut short, altered, or whole."""

import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.errors import UnreadableFile
from autoseg.imaging.read import read_image

NOISE = np.random.default_rng(0).integers(0, 255, (12, 30, 40)).astype(np.int16)


def written(folder: Path, name: str, compressed: bool) -> tuple[Path, Path]:
    suffix = name[name.rindex(".") :]
    array = NOISE if suffix in (".nrrd", ".mha", ".mhd") else NOISE.astype(np.uint8)
    flat = suffix in (".png", ".bmp", ".jpg")
    image = sitk.GetImageFromArray(np.moveaxis(array[:3], 0, -1), isVector=True) if flat else sitk.GetImageFromArray(array)
    sitk.WriteImage(image, str(folder / name), compressed)
    (voxels,) = [path for path in folder.iterdir() if path.suffix != ".mhd"]
    return folder / name, voxels


FORMATS = [("a.nrrd", False), ("a.nrrd", True), ("a.mha", False), ("a.mha", True), ("a.mhd", False), ("a.mhd", True)]
PICTURES = [("a.tif", False), ("a.tif", True), ("a.png", True), ("a.bmp", False), ("a.jpg", True)]


@pytest.mark.parametrize(("name", "compressed"), FORMATS + PICTURES)
@pytest.mark.parametrize("left", [-1, 0.5, 0.9])
def test_a_file_cut_short_is_refused(tmp_path: Path, name: str, compressed: bool, left: float) -> None:
    path, voxels = written(tmp_path, name, compressed)
    read_image([path])
    content = voxels.read_bytes()
    voxels.write_bytes(content[:left] if left == -1 else content[: int(len(content) * left)])
    with pytest.raises(UnreadableFile, match=rf"{name} cannot be read: .*\."):
        read_image([path])


@pytest.mark.parametrize(("name", "compressed"), [format_ for format_ in [*FORMATS, ("a.png", True)] if format_[1]])
@pytest.mark.parametrize("where", [0.5, 0.8, -2])
def test_an_altered_byte_is_noticed_where_there_is_a_checksum(tmp_path: Path, name: str, compressed: bool, where: float) -> None:
    path, voxels = written(tmp_path, name, compressed)
    content = bytearray(voxels.read_bytes())
    content[where if where < 0 else int(len(content) * where)] ^= 0x10
    voxels.write_bytes(content)
    with pytest.raises(UnreadableFile, match=name):
        read_image([path])


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_how_far_it_goes_is_said(tmp_path: Path, suffix: str) -> None:
    path, voxels = written(tmp_path, f"a{suffix}", False)
    voxels.write_bytes(voxels.read_bytes()[:-14_400])
    with pytest.raises(UnreadableFile, match=r"14\.4 of 28\.8 kB|50%"):
        read_image([path])


def test_a_missing_checksum_is_said(tmp_path: Path) -> None:
    path, voxels = written(tmp_path, "a.mha", True)
    voxels.write_bytes(voxels.read_bytes()[:-1])
    with pytest.raises(UnreadableFile, match=r"a\.mha.*checksum"):
        read_image([path])


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_whose_table_comes_first(tmp_path: Path, order: str) -> None:
    path = tmp_path / "a.tif"
    tags = {256: 40, 257: 30, 258: 8, 259: 1, 262: 1, 273: 8 + 2 + 9 * 12 + 4, 277: 1, 278: 30, 279: 1200}
    table = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in tags.items())
    start = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HIH", 42, 8, len(tags))
    content = start + table + bytes(4) + NOISE[0].astype(np.uint8).tobytes()
    path.write_bytes(content)
    assert np.array_equal(read_image([path]).array[0, 0], NOISE[0])
    path.write_bytes(content[:-1])
    with pytest.raises(UnreadableFile, match=r"a\.tif cannot be read: it ends after 1\.321 of 1\.322 kB"):
        read_image([path])


def test_a_header_without_its_voxels(tmp_path: Path) -> None:
    path, voxels = written(tmp_path, "a.mhd", False)
    voxels.unlink()
    with pytest.raises(UnreadableFile, match=r"a\.raw does not exist"):
        read_image([path])


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd", "a.tif", "a.bmp"])
def test_any_damage_to_a_header_is_an_error_of_ours_or_none(tmp_path: Path, name: str) -> None:
    path, voxels = written(tmp_path, name, False)
    whole = voxels.read_bytes()
    rng = np.random.default_rng(0)
    for at in range(0, 200, 2):
        content = bytearray(whole)
        content[at] ^= int(rng.integers(1, 256))
        voxels.write_bytes(content)
        try:
            read_image([path])
        except UnreadableFile as error:
            assert name in str(error)
