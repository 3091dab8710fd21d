"""NIfTI: compression, scaling, headers as nibabel understands them, damage."""

import gzip
import struct
from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import DTypeLike

from autoseg.errors import UnreadableFile
from autoseg.imaging.read import read_geometry, read_image


def save(path: Path, voxels_XYZ: np.ndarray, affine: np.ndarray | None = None, **header: int) -> Path:
    image = nib.Nifti1Image(voxels_XYZ, np.diag([2.0, 3, 4, 1]) if affine is None else affine)
    for name, value in header.items():
        image.header[name] = value
    image.to_filename(path)
    return path


def numbers(shape: tuple[int, ...], dtype: DTypeLike = np.int16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 120, shape).astype(dtype)


def test_compression_is_seen_from_the_content(tmp_path: Path) -> None:
    plain = save(tmp_path / "a.nii", numbers((4, 5, 6)))
    misnamed = tmp_path / "b.nii.gz"
    misnamed.write_bytes(plain.read_bytes())
    assert np.array_equal(read_image([misnamed]).array, read_image([plain]).array)
    parts = tmp_path / "c.nii.gz"  # several gzip members in a row are one file
    parts.write_bytes(gzip.compress(plain.read_bytes()[:500]) + gzip.compress(plain.read_bytes()[500:]))
    assert np.array_equal(read_image([parts]).array, read_image([plain]).array)


@pytest.mark.parametrize("cuts", [(), (400,), (1_000_000,), (300_000, 900_000), (300_000, 300_000)])
def test_members_of_any_size_are_one_file(tmp_path: Path, cuts: tuple[int, ...]) -> None:
    voxels = numbers((100, 110, 60))
    plain = save(tmp_path / "a.nii", voxels).read_bytes()
    ends = (0, *cuts, len(plain))
    path = tmp_path / "b.nii.gz"
    members = [gzip.compress(plain[start:end], 1) for start, end in pairwise(ends)]
    path.write_bytes(b"".join(members))
    assert np.array_equal(read_image([path]).array[0], voxels.T)
    for left_out in (1, len(members[-1]) // 2):
        path.write_bytes(b"".join(members)[:-left_out])
        with pytest.raises(UnreadableFile, match="cannot be read"):
            read_image([path])
    path.write_bytes(b"".join(members[:-1]) + members[-1].replace(members[-1][-8:], bytes(8)))  # checksum and length
    with pytest.raises(UnreadableFile, match="compressed data are damaged"):
        read_image([path])


def test_slope_and_intercept(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    image = nib.Nifti1Image(numbers((3, 4, 5)), np.eye(4))
    image.header.set_slope_inter(0.5, -10)
    image.to_filename(path)
    stored = np.frombuffer(path.read_bytes()[352:], np.int16).reshape(5, 4, 3)
    assert np.array_equal(read_image([path]).array[0], stored * np.float32(0.5) - 10)
    assert np.array_equal(read_image([path]).array[0], nib.load(path).get_fdata().T.astype(np.float32))


@pytest.mark.parametrize("sform", [0, 1, 2])
@pytest.mark.parametrize("qform", [0, 1, 4])
def test_nibabel_decides_which_affine_counts(tmp_path: Path, sform: int, qform: int) -> None:
    image = nib.Nifti1Image(numbers((4, 5, 6)), np.diag([2.0, 3, 4, 1]))
    image.set_qform(np.array([[0, -3, 0, 5], [2, 0, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1]]), qform)
    image.set_sform(np.array([[2, 0, 0, 50], [0, 3, 0, 60], [0, 0, 4, 70], [0, 0, 0, 1]]), sform)
    image.header["xyzt_units"] = 10
    path = tmp_path / "a.nii.gz"
    image.to_filename(path)
    geometry = read_geometry(path)
    assert np.allclose(geometry.affine, nib.load(path).affine)
    assert np.allclose(geometry.spacing, (4, 3, 2))
    assert geometry.header == {"sform_code": sform, "qform_code": qform, "xyzt_units": 10}


@pytest.mark.parametrize(("units", "millimetres"), [(0, 1), (1, 1000), (2, 1), (3, 0.001), (11, 0.001)])
def test_units_of_length(tmp_path: Path, units: int, millimetres: float) -> None:
    path = save(tmp_path / "a.nii", numbers((4, 5, 6)), np.diag([1.0, 2, 3, 1]), xyzt_units=units)
    assert np.allclose(read_geometry(path).spacing, np.array([3, 2, 1]) * millimetres)


def test_pixdim_of_zero_sign_is_read_as_the_standard_says(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", numbers((4, 5, 6)), np.diag([1.0, 2, 3, 1]))
    content = bytearray(path.read_bytes())
    content[76:80] = struct.pack("<f", 0)
    content[252:256] = struct.pack("<hh", 1, 0)  # qform only
    path.write_bytes(content)
    assert read_geometry(path).spacing == (3, 2, 1)


def test_a_flat_nifti(tmp_path: Path) -> None:
    voxels = numbers((4, 5))
    image = read_image([save(tmp_path / "a.nii.gz", voxels, np.diag([0.5, 0.25, 1, 1]))])
    assert np.array_equal(image.array, voxels.T[None, None])
    assert image.geometry.flat
    assert image.geometry.spacing == (1, 0.25, 0.5)
    assert not read_geometry(save(tmp_path / "b.nii.gz", voxels[..., None])).flat


def test_truncated_nifti_says_how_far_it_goes(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableFile, match=r"a\.nii cannot be read: it ends after 0\.1282 of 0\.2564 MB\. Copy or download it again\."):
        read_image([path])
    packed = tmp_path / "a.nii.gz"
    packed.write_bytes(gzip.compress(whole)[:-120_000])
    with pytest.raises(UnreadableFile, match=r"a\.nii\.gz cannot be read: it ends after 0\.1\d* of 0\.2564 MB"):
        read_image([packed])


@pytest.mark.parametrize("left_out", [1, 4, 8, 9, 50])
def test_every_last_byte_counts(tmp_path: Path, left_out: int) -> None:
    path = save(tmp_path / "a.nii.gz", numbers((20, 20, 20)))
    path.write_bytes(path.read_bytes()[:-left_out])
    with pytest.raises(UnreadableFile, match=r"a\.nii\.gz"):
        read_image([path])


@pytest.mark.parametrize("where", [-1, -5, -8, 0.5, 0.9])
def test_altered_bytes_are_noticed(tmp_path: Path, where: float) -> None:
    path = save(tmp_path / "a.nii.gz", numbers((20, 20, 20)))
    content = bytearray(path.read_bytes())
    content[where if isinstance(where, int) else int(len(content) * where)] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(UnreadableFile, match=r"damaged|ends"):
        read_image([path])


def test_garbage_behind_the_end_is_noticed(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", numbers((20, 20, 20)))
    path.write_bytes(path.read_bytes() + b"<html>")
    with pytest.raises(UnreadableFile, match="foreign"):
        read_image([path])


def test_any_damage_to_a_header_is_an_error_of_ours_or_none(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", numbers((5, 6, 7)))
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for at in range(352):
        content = bytearray(whole)
        content[at] ^= int(rng.integers(1, 256))
        path.write_bytes(content)
        try:
            read_image([path])
            read_geometry(path)
        except UnreadableFile as error:
            refused += 1
            assert str(path) in str(error)
    assert refused > 10


def test_headers_without_sense(tmp_path: Path) -> None:
    path = save(tmp_path / "pair.nii", numbers((5, 6, 7)))
    path.write_bytes(path.read_bytes().replace(b"n+1\0", b"ni1\0", 1))
    with pytest.raises(UnreadableFile, match=r"pair\.nii.*\.hdr"):
        read_image([path])
    with pytest.raises(UnreadableFile, match=r"size is \(3, 4, 5, 2, 2\)"):
        read_image([save(tmp_path / "five.nii", numbers((3, 4, 5, 2, 2)))])
    path = save(tmp_path / "zero.nii", numbers((3, 4, 5)), np.eye(4))
    content = bytearray(path.read_bytes())
    content[84:88] = content[252:256] = bytes(4)  # pixdim along y, both codes
    path.write_bytes(content)
    with pytest.raises(UnreadableFile, match=r"zero\.nii.*voxel size is 1 x 0 x 1 mm"):
        read_image([path])
    with pytest.raises(UnreadableFile, match="complex"):
        read_image([save(tmp_path / "complex.nii", numbers((3, 4, 5), np.complex64))])
