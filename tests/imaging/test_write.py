"""Writing: round trips, places in the world seen by other readers, values that do not fit, whole files only."""

import gzip
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import DTypeLike

from autoseg.errors import AutosegError
from autoseg.imaging.image import Geometry, Image, LabelMap, require_same_grid
from autoseg.imaging.read import read_geometry, read_image, read_labels
from autoseg.imaging.write import VoxelType, write_image, write_labels

REAL = os.environ.get("AUTOSEG_TEST_DATA")
VOLUMES = [".nii.gz", ".nii", ".nrrd", ".mha", ".mhd"]
SIZES = st.tuples(*[st.integers(1, 6)] * 3)
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def placed(shape: tuple[int, ...], seed: int) -> Geometry:
    """A grid turned and shifted at random."""
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    spacing = rng.uniform(0.3, 7, 3)
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing
    affine[:3, 3] = rng.uniform(-200, 200, 3)
    z, y, x = spacing[::-1].tolist()
    return Geometry(shape, (z, y, x), tuple(tuple(row) for row in affine.tolist()))


def labels_of(geometry: Geometry, seed: int, high: int = 5) -> LabelMap:
    return LabelMap(np.random.default_rng(seed).integers(0, high, geometry.shape).astype(np.uint8), geometry)


def same_place(a: Geometry, b: Geometry) -> None:
    assert a.shape == b.shape
    assert a.flat == b.flat
    assert np.allclose(a.spacing, b.spacing, rtol=1e-5)
    assert np.allclose(a.affine, b.affine, rtol=1e-5, atol=1e-4)


@QUICK
@given(SIZES, st.integers(0, 999), st.sampled_from(VOLUMES), st.sampled_from(VOLUMES))
def test_volumes_keep_values_and_place_through_every_format(tmp_path: Path, shape: tuple[int, ...], seed: int, first: str, second: str) -> None:
    labels = labels_of(placed(shape, seed), seed)
    for name in (f"a{first}", f"b{second}"):
        write_labels(labels, tmp_path / name)
        found = read_labels(tmp_path / name)
        assert found.array.dtype == np.uint8
        assert np.array_equal(found.array, labels.array)
        same_place(found.geometry, labels.geometry)
        labels = found


@QUICK
@given(SIZES, st.sampled_from([255, 256, 60_000]), st.integers(0, 999), st.sampled_from([".tif", ".tiff", ".png"]))
def test_pictures_keep_values(tmp_path: Path, shape: tuple[int, ...], high: int, seed: int, suffix: str) -> None:
    shape = (1, *shape[1:]) if suffix == ".png" else shape
    array = np.random.default_rng(seed).integers(0, high + 1, shape)
    array.flat[0] = high
    labels = LabelMap(array, Geometry.of(shape, flat=shape[0] == 1))
    write_labels(labels, tmp_path / f"a{suffix}")
    found = read_labels(tmp_path / f"a{suffix}")
    assert np.array_equal(found.array, array)
    assert found.geometry == labels.geometry
    assert sitk.ReadImage(str(tmp_path / f"a{suffix}")).GetPixelID() == (sitk.sitkUInt8 if high < 256 else sitk.sitkUInt16)


@pytest.mark.parametrize("suffix", VOLUMES)
def test_flat_images_stay_flat(tmp_path: Path, suffix: str) -> None:
    affine = ((0.5, 0.0, 0.0, 3.0), (0.0, 0.25, 0.0, -4.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    labels = labels_of(Geometry((1, 5, 6), (1.0, 0.25, 0.5), affine, flat=True), 0)
    write_labels(labels, tmp_path / f"a{suffix}")
    found = read_labels(tmp_path / f"a{suffix}")
    assert np.array_equal(found.array, labels.array)
    same_place(found.geometry, labels.geometry)


@pytest.mark.parametrize("sform", [0, 1, 4])
@pytest.mark.parametrize("qform", [0, 1, 3])
@pytest.mark.parametrize("units", [0, 2, 3, 10])
def test_nifti_headers_come_back(tmp_path: Path, sform: int, qform: int, units: int) -> None:
    image = nib.Nifti1Image(np.ones((4, 5, 6), np.int16), np.diag([2.0, 3, 4, 1]))
    image.set_qform(np.array([[0, -3, 0, 5], [2, 0, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1]]), qform)
    image.set_sform(np.array([[0, -3, 0.5, 5], [2, 0, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1]]), sform)
    image.header["xyzt_units"] = units
    image.to_filename(tmp_path / "a.nii.gz")
    labels = read_labels(tmp_path / "a.nii.gz")
    write_labels(labels, tmp_path / "b.nii.gz")
    assert np.allclose(nib.load(tmp_path / "b.nii.gz").affine, nib.load(tmp_path / "a.nii.gz").affine)
    found = read_geometry(tmp_path / "b.nii.gz")
    same_place(found, labels.geometry)
    assert found.header == labels.geometry.header == {"sform_code": sform, "qform_code": qform, "xyzt_units": units}


def test_codes_that_cannot_tell_the_place_give_way(tmp_path: Path) -> None:
    geometry = placed((3, 4, 5), 0)
    geometry.header.update(sform_code=0, qform_code=0)
    write_labels(labels_of(geometry, 0), tmp_path / "a.nii.gz")
    same_place(read_geometry(tmp_path / "a.nii.gz"), geometry)


@pytest.mark.parametrize("seed", range(4))
def test_nibabel_and_simpleitk_see_the_same_place(tmp_path: Path, seed: int) -> None:
    geometry = placed((4, 5, 6), seed)
    affine = np.array(geometry.affine)
    if np.linalg.det(affine[:3, :3]) < 0:  # SimpleITK reads mirrored grids of NIfTI too, but not of every version alike
        affine[:3, 0] *= -1
        geometry = Geometry(geometry.shape, geometry.spacing, tuple(tuple(row) for row in affine.tolist()))
    labels = labels_of(geometry, seed)
    corner = (5, 0, 3)
    world = (affine @ [*corner, 1])[:3]
    for suffix in VOLUMES:
        path = tmp_path / f"a{suffix}"
        write_labels(labels, path)
        image = sitk.ReadImage(str(path))
        x, y, z = image.TransformIndexToPhysicalPoint(corner)
        assert np.allclose((-x, -y, z), world, atol=1e-3)
        assert image.GetPixel(*corner) == labels.array[corner[::-1]]
        if suffix.startswith(".nii"):
            peer = nib.load(path)
            assert np.allclose(peer.affine, affine, atol=1e-4)
            assert np.allclose(peer.header.get_zooms(), geometry.spacing[::-1])
            assert np.array_equal(np.asarray(peer.dataobj).T, labels.array)


@pytest.mark.parametrize(
    ("values", "suffix", "dtype"),
    [
        ([0, 4], ".nii.gz", np.uint8),
        ([-1, 4], ".nii.gz", np.int16),
        ([0, 300], ".nrrd", np.int16),
        ([0, 300], ".png", np.uint16),
        ([0, 70_000], ".mha", np.int32),
    ],
)
def test_the_type_in_the_file(tmp_path: Path, values: list[int], suffix: str, dtype: DTypeLike) -> None:
    path = tmp_path / f"a{suffix}"
    write_labels(LabelMap(np.array(values).reshape(1, 1, 2), Geometry.of((1, 1, 2))), path)
    peer = np.asarray(nib.load(path).dataobj) if suffix == ".nii.gz" else sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    assert peer.dtype == dtype
    assert peer.ravel().tolist() == values


@pytest.mark.parametrize(
    ("values", "name", "problem"),
    [
        ([-1, 0], "a.png", "-1 to 0"),
        ([-1, 0], "a.tif", "-1 to 0"),
        ([0, 300], "a.bmp", "0 to 300"),
        ([0, 70_000], "a.png", "0 to 70000"),
        ([0, 2**40], "a.nii.gz", "0 to 1099511627776"),
        ([0, 1], "a.jpg", "JPEG"),
        ([0, 1], "a.txt", "ending"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, values: list[int], name: str, problem: str) -> None:
    with pytest.raises(AutosegError, match=rf"{name}.*{problem}"):
        write_labels(LabelMap(np.array(values).reshape(1, 1, 2), Geometry.of((1, 1, 2))), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_volume_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(AutosegError, match=r"a\.png cannot hold 3 slices"):
        write_labels(labels_of(Geometry.of((3, 4, 5)), 0), tmp_path / "a.png")


def test_files_are_whole_or_absent(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    for suffix in (".nii.gz", ".nrrd", ".mhd"):
        with pytest.raises(AutosegError, match="Cannot write"):
            write_labels(labels_of(Geometry.of((3, 4, 5)), 0), blocked / f"a{suffix}")
        write_labels(labels_of(Geometry.of((3, 4, 5)), 0), tmp_path / "new" / f"a{suffix}")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.mhd", "a.nii.gz", "a.nrrd", "a.zraw"]


def test_the_same_labels_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "b.nii.gz"):
        write_labels(labels_of(placed((3, 4, 5), 1), 1), tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


@pytest.mark.parametrize("suffix", VOLUMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_images(tmp_path: Path, suffix: str, channels: int) -> None:
    array = np.random.default_rng(0).normal(0, 100, (channels, 4, 5, 6)).astype(np.float32)
    image = Image(array, placed((4, 5, 6), 5))
    write_image(image, tmp_path / f"a{suffix}")
    found = read_image([tmp_path / f"a{suffix}"])
    assert np.array_equal(found.array, array)
    same_place(found.geometry, image.geometry)
    write_image(image, tmp_path / f"b{suffix}", dtype="int16")
    assert np.array_equal(read_image([tmp_path / f"b{suffix}"]).array, np.rint(array))


def test_colour_pictures_and_values_out_of_range(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (3, 1, 7, 8)).astype(np.float32)
    image = Image(array, Geometry.of((1, 7, 8), flat=True))
    write_image(image, tmp_path / "a.png", dtype="uint8")
    assert np.array_equal(read_image([tmp_path / "a.png"]).array, array)
    for wrong in (300.0, -1.0, np.nan):
        array[0, 0, 0, 0] = wrong
        with pytest.raises(AutosegError, match=r"b\.png cannot hold"):
            write_image(image, tmp_path / "b.png", dtype="uint8")
    with pytest.raises(AutosegError, match=r"c\.png"):
        write_image(image, tmp_path / "c.png")


@pytest.mark.skipif(REAL is None, reason="AUTOSEG_TEST_DATA is not set")
@pytest.mark.parametrize("pattern", ["brats_as_downloaded/*/*0147[67]_seg.nii.gz", "anisotropic_nrrd/*label.nrrd", "kaggle_3m/*/*_2_mask.tif"])
def test_real_labels_come_back(tmp_path: Path, pattern: str) -> None:
    paths = sorted(Path(REAL).glob(pattern))
    assert paths
    for path in paths:
        labels = read_labels(path)
        for suffix in [".tif", ".png"] if labels.geometry.flat else [".nii.gz", ".nrrd"]:
            write_labels(labels, tmp_path / f"a{suffix}")
            found = read_labels(tmp_path / f"a{suffix}")
            assert np.array_equal(found.array, labels.array)
            require_same_grid(labels.geometry, found.geometry, tolerance=1e-6)


@pytest.mark.parametrize("voxel_type", ["float32", "int16", "uint8"])
@pytest.mark.parametrize("shape", [(1, 4, 5, 6), (3, 4, 5, 6), (1, 1, 2, 40_000)])  # the last has an axis that takes NIfTI-2
def test_nifti_is_what_nibabel_makes_of_it(tmp_path: Path, shape: tuple[int, ...], voxel_type: VoxelType) -> None:
    image = Image(np.random.default_rng(0).integers(0, 100, shape).astype(np.float32), placed(shape[1:], 3))
    plain, compressed = tmp_path / "a.nii", tmp_path / "a.nii.gz"
    for path in (plain, compressed):
        write_image(image, path, dtype=voxel_type)
    assert gzip.decompress(compressed.read_bytes()) == plain.read_bytes()
    assert nib.load(plain).to_bytes() == plain.read_bytes()
