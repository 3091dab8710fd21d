"""Reading: voxels, axes and places against nibabel and SimpleITK; damaged files; real files."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import DTypeLike

from autoseg.errors import AutosegError, GeometryMismatch, UnreadableFile
from autoseg.imaging.read import SUFFIXES, read_geometry, read_image, read_labels, stem_of, suffix_of
from autoseg.imaging.sources import Absent

REAL = os.environ.get("AUTOSEG_TEST_DATA")
AFFINE = np.array([[0, -0.8, 0.1, 12], [1.2, 0, 0, -30], [0, 0.1, 3, 7], [0, 0, 0, 1]])


def save(path: Path, voxels_XYZ: np.ndarray, affine: np.ndarray = AFFINE, kind: type = nib.Nifti1Image, **header: int) -> Path:
    image = kind(voxels_XYZ, affine)
    for name, value in header.items():
        image.header[name] = value
    image.to_filename(path)
    return path


def numbers(shape: tuple[int, ...], dtype: DTypeLike = np.int16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 120, shape).astype(dtype)


def test_endings() -> None:
    assert list(SUFFIXES) == sorted(SUFFIXES, key=len, reverse=True)
    assert suffix_of(Path("a/b.c.NII.GZ")) == ".nii.gz"
    assert stem_of(Path("a/b.c.NII.GZ")) == "b.c"
    assert suffix_of(Path("b.nii.zip")) is None
    assert stem_of(Path("b.zip")) == "b.zip"
    with pytest.raises(AutosegError, match=r"b\.zip.*\.nii\.gz"):
        read_image([Path("b.zip")])


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64, ">i2"])
def test_nifti_axes_and_place(tmp_path: Path, name: str, kind: type, dtype: DTypeLike) -> None:
    voxels = numbers((4, 5, 6), dtype)
    path = save(tmp_path / name, voxels, kind=kind)
    image = read_image([path])
    assert image.array.dtype == np.float32
    assert image.array.flags.c_contiguous
    assert np.array_equal(image.array[0], voxels.T)
    assert image.geometry.shape == (6, 5, 4)
    assert np.allclose(image.geometry.affine, AFFINE)
    assert np.allclose(image.geometry.spacing[::-1], np.linalg.norm(AFFINE[:3, :3], axis=0))
    assert not image.geometry.flat
    assert read_geometry(path) == image.geometry


def test_channels(tmp_path: Path) -> None:
    voxels = numbers((4, 5, 6, 3))
    path = save(tmp_path / "a.nii.gz", voxels)
    assert np.array_equal(read_image([path]).array, voxels.T)
    other = save(tmp_path / "b.nii.gz", voxels[..., :1])  # a fourth axis of one is no axis
    both = read_image([path, other])
    assert both.array.shape == (4, 6, 5, 4)
    assert np.array_equal(both.array[3], voxels[..., 0].T)
    vectors = save(tmp_path / "c.nii.gz", voxels[:, :, :, None, :])
    assert np.array_equal(read_image([vectors]).array, voxels.T)
    colours = np.zeros((4, 5, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    colours["G"] = numbers((4, 5, 6), np.uint8)
    assert np.array_equal(read_image([save(tmp_path / "d.nii", colours)]).array, np.stack([colours[c].T for c in "RGB"]))


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd"])
@pytest.mark.parametrize("compressed", [False, True])
def test_itk_formats_lie_where_nifti_lies(tmp_path: Path, suffix: str, compressed: bool) -> None:
    voxels = numbers((6, 5, 4))
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((0.5, 0.75, 4))
    image.SetOrigin((10, -20, 30))
    image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(image, str(path), compressed)
    found = read_image([path])
    assert np.array_equal(found.array[0], voxels)
    assert found.geometry.spacing == (4, 0.75, 0.5)
    sitk.WriteImage(image, str(tmp_path / "a.nii.gz"))
    assert np.allclose(found.geometry.affine, nib.load(tmp_path / "a.nii.gz").affine, atol=1e-5)
    assert read_geometry(path) == found.geometry


def test_vectors_and_fourth_axes_of_nrrd(tmp_path: Path) -> None:
    voxels = numbers((2, 6, 5, 4))
    sitk.WriteImage(sitk.GetImageFromArray(np.moveaxis(voxels, 0, -1), isVector=True), str(tmp_path / "a.nrrd"))
    sitk.WriteImage(sitk.GetImageFromArray(voxels, isVector=False), str(tmp_path / "b.nrrd"))
    for name in ("a.nrrd", "b.nrrd"):
        image = read_image([tmp_path / name])
        assert np.array_equal(image.array, voxels)
        assert image.geometry.shape == (6, 5, 4)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg"])
def test_pictures(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    for channels in (1, 3):
        colours = np.repeat(np.repeat(numbers((3, 4, channels), np.uint8), 8, 0), 8, 1)
        sitk.WriteImage(sitk.GetImageFromArray(colours.squeeze(), isVector=channels > 1), str(path))
        image = read_image([path])
        assert image.array.shape == (channels, 1, 24, 32)
        assert image.geometry.flat
        assert image.geometry.spacing == (1, 1, 1)
        assert read_geometry(path) == image.geometry
        if "j" not in suffix:
            assert np.array_equal(image.array[:, 0], np.moveaxis(colours, -1, 0))


def test_alpha_is_dropped_and_depth_is_kept(tmp_path: Path) -> None:
    colours = numbers((7, 8, 4), np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(colours, isVector=True), str(tmp_path / "a.png"))
    assert np.array_equal(read_image([tmp_path / "a.png"]).array[:, 0], np.moveaxis(colours, -1, 0)[:3])
    deep = numbers((7, 8), np.uint16) * 500
    sitk.WriteImage(sitk.GetImageFromArray(deep), str(tmp_path / "b.png"))
    assert np.array_equal(read_image([tmp_path / "b.png"]).array[0, 0], deep)


def test_pages_of_a_tiff_are_slices(tmp_path: Path) -> None:
    stack = numbers((5, 6, 7), np.uint16)
    sitk.WriteImage(sitk.GetImageFromArray(stack), str(tmp_path / "a.tif"))
    image = read_image([tmp_path / "a.tif"])
    assert np.array_equal(image.array[0], stack)
    assert not image.geometry.flat


def test_an_absent_channel_is_zero(tmp_path: Path) -> None:
    voxels = numbers((4, 3, 2))
    path = save(tmp_path / "a.nii.gz", voxels)
    array = read_image([Absent(), path, Absent(), path]).array
    assert array.shape == (4, 2, 3, 4) and not array[[0, 2]].any() and (array[[1, 3]] == voxels.T).all()
    with pytest.raises(AutosegError, match="at least one file"):
        read_image([Absent()])


def test_channels_of_two_grids(tmp_path: Path) -> None:
    first = save(tmp_path / "first.nii", numbers((4, 5, 6)))
    for other in (save(tmp_path / "second.nii", numbers((4, 5, 7))), save(tmp_path / "third.nii", numbers((4, 5, 6)), np.eye(4))):
        with pytest.raises(GeometryMismatch, match=rf"{other.name}.*first\.nii"):
            read_image([first, other])


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0, 255], np.uint8), ([0, 256], np.int16), ([-1, 4], np.int16), ([0, 40_000], np.uint16), ([0, 70_000], np.int32)],
)
@pytest.mark.parametrize("stored", [np.int32, np.float32])
def test_labels_get_the_smallest_type(tmp_path: Path, values: list[int], expected: DTypeLike, stored: DTypeLike) -> None:
    voxels = np.array(values, stored).reshape(1, 2, 1)
    labels = read_labels(save(tmp_path / "a.nii.gz", voxels))
    assert labels.array.dtype == expected
    assert labels.array.ravel().tolist() == values
    assert labels.geometry.shape == labels.array.shape


@pytest.mark.parametrize(("values", "expected"), [([0, 2.00005], [0, 2]), ([-3.00005, 1], [-3, 1]), ([0, 2**40], [0, 2**40])])
def test_labels_stored_as_floats_may_be_nearly_whole_or_large(tmp_path: Path, values: list[float], expected: list[int]) -> None:
    labels = read_labels(save(tmp_path / "a.nii.gz", np.array(values, np.float64).reshape(1, 2, 1)))
    assert labels.array.ravel().tolist() == expected


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf])
def test_labels_are_whole_numbers(tmp_path: Path, value: float) -> None:
    voxels = np.zeros((4, 5, 6), np.float32)
    voxels[1, 2, 3] = value
    with pytest.raises(AutosegError, match=rf"seg\.nii holds {value} at voxel x=1, y=2, z=3"):
        read_labels(save(tmp_path / "seg.nii", voxels))


def test_label_pictures_in_colour(tmp_path: Path) -> None:
    grey = numbers((6, 7), np.uint8)
    path = tmp_path / "a.png"
    sitk.WriteImage(sitk.GetImageFromArray(np.stack([grey] * 3, -1), isVector=True), str(path))
    assert np.array_equal(read_labels(path).array[0], grey)
    sitk.WriteImage(sitk.GetImageFromArray(np.stack([grey, grey, 120 - grey], -1), isVector=True), str(path))
    with pytest.raises(AutosegError, match=r"a\.png.*3 different channels"):
        read_labels(path)


def test_not_a_number_is_kept(tmp_path: Path) -> None:
    voxels = np.ones((3, 3, 3), np.float32)
    voxels[0, 1, 2] = np.nan
    assert np.isnan(read_image([save(tmp_path / "a.nii", voxels)]).array[0, 2, 1, 0])


def test_files_that_are_absent_or_closed(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "a.nrrd", "a.png"):
        with pytest.raises(UnreadableFile, match=f"{name} does not exist"):
            read_image([tmp_path / name])
        with pytest.raises(UnreadableFile, match=f"{name} does not exist"):
            read_geometry(tmp_path / name)
    (tmp_path / "folder.nii").mkdir()
    with pytest.raises(UnreadableFile, match="folder"):
        read_image([tmp_path / "folder.nii"])
    with pytest.raises(AutosegError, match="at least one file"):
        read_image([])


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.png", "a.tif", "a.jpg", "a.bmp"])
@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\x1f\x8b", bytes(600)])
def test_files_of_another_kind(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    for read in (lambda: read_image([path]), lambda: read_geometry(path)):
        with pytest.raises(UnreadableFile, match=name):
            read()


@pytest.mark.skipif(REAL is None, reason="AUTOSEG_TEST_DATA is not set")
@pytest.mark.parametrize(
    "pattern",
    ["brats_as_downloaded/*01476/*.nii.gz", "Dataset004_Hippocampus/*Tr/*_00[1-8]*.nii.gz", "anisotropic_nrrd/*.nrrd", "kaggle_3m/*/*_1.tif"],
)
def test_real_files_against_other_readers(pattern: str) -> None:
    paths = sorted(Path(REAL).glob(pattern))
    assert paths
    for path in paths:
        image = read_image([path])
        assert read_geometry(path) == image.geometry
        expected = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(np.float32)
        if path.name.endswith(".nii.gz"):
            reference = nib.load(path)
            assert np.allclose(image.geometry.affine, reference.affine)
            assert np.allclose(image.geometry.spacing[::-1], reference.header.get_zooms())
            expected = reference.get_fdata(dtype=np.float32).T
        if path.suffix == ".tif":
            expected = np.moveaxis(expected, -1, 0)[:, None]
        assert np.array_equal(image.array, expected.reshape(image.array.shape))
