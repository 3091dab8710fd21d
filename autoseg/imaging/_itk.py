"""NRRD, MetaImage and pictures through SimpleITK.

- SimpleITK speaks LPS; affines are turned to RAS here, and back when written.
- Pictures (PNG, TIFF, BMP, JPEG) count pixels: their resolution tags speak of print or screens, so spacing is 1 and the place is the origin.
- Alpha of a picture is dropped; a TIFF of several pages is a stack along Z.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import SimpleITK as sitk

from autoseg.errors import AutosegError
from autoseg.files import atomic
from autoseg.imaging._whole import Voxels, require_whole, unreadable
from autoseg.imaging.image import Geometry

PICTURES = (".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg")
_STACKS = (".tif", ".tiff")
_LPS = np.diag([-1.0, -1.0, 1.0])

sitk.ProcessObject.GlobalWarningDisplayOff()  # what matters is found by `require_whole` and said as an error


def read(path: Path, suffix: str) -> tuple[Voxels, Geometry]:
    """Voxels (C, Z, Y, X) in the file's own type; UnreadableFile or OSError."""
    require_whole(path, suffix)
    reader = _reader(path)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise unreadable(path, _reason(error)) from error
    geometry = _geometry(path, image, suffix)
    voxels: Voxels = sitk.GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() > 1:
        voxels = np.moveaxis(voxels, -1, 0)
        if suffix in PICTURES and len(voxels) in (2, 4):
            voxels = voxels[:-1]
        if suffix == ".bmp" and _has_grey_palette(path, voxels):
            voxels = voxels[:1]
    return voxels.reshape(-1, *geometry.shape), geometry


def read_geometry(path: Path, suffix: str) -> Geometry:
    """The grid, from the header; UnreadableFile or OSError."""
    with path.open("rb") as file:
        if not file.read(1):
            raise unreadable(path, "it is empty")
    return _geometry(path, _reader(path), suffix)


def write(voxels: Voxels, geometry: Geometry, path: Path, suffix: str) -> None:
    """Write voxels (Z, Y, X) or (C, Z, Y, X), whole or not at all; their type is kept.

    Raises
    ------
    AutosegError
        the folder cannot be written, or a volume is to become a picture
    """
    if suffix in PICTURES and suffix not in _STACKS and geometry.shape[0] > 1:
        raise AutosegError(f"{path} cannot hold {geometry.shape[0]} slices: a picture has one. Write .nii.gz, .nrrd or .tif.")
    image = _image(voxels, geometry, suffix)
    if suffix == ".mhd":
        _write_pair(image, path)
        return
    with atomic(path) as temporary:
        _write(image, temporary, path)


def _reader(path: Path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise unreadable(path, _reason(error)) from error
    return reader


def _has_grey_palette(path: Path, voxels: Voxels) -> bool:
    """A grey BMP is a list of colours that happen to be grey; SimpleITK gives three channels."""
    bits = int.from_bytes(path.read_bytes()[28:30], "little")
    return bits <= 8 and all(np.array_equal(channel, voxels[0]) for channel in voxels[1:])


def _geometry(path: Path, image: Any, suffix: str) -> Geometry:
    size, dimension = image.GetSize(), image.GetDimension()
    if dimension not in (2, 3, 4):
        raise unreadable(path, f"its size is {size}", "Save it with two or three axes, or with channels as the fourth.")
    shape = (size[2] if dimension > 2 else 1, size[1], size[0])
    if suffix in PICTURES:
        return Geometry.of(shape, flat=dimension == 2)
    axes = min(dimension, 3)
    direction = np.reshape(image.GetDirection(), (dimension, dimension))[:axes, :axes]
    spacing = (*image.GetSpacing()[:axes], 1.0)[:3]
    affine = np.eye(4)
    affine[:axes, :axes] = direction
    affine[:3, :3] = _LPS @ affine[:3, :3] * np.array(spacing)
    affine[:axes, 3] = image.GetOrigin()[:axes]
    affine[:3, 3] = _LPS @ affine[:3, 3]
    rows = tuple(tuple(row) for row in (affine + 0.0).tolist())  # no negative zeros
    return Geometry(shape, (spacing[2], spacing[1], spacing[0]), rows, dimension == 2)


def _image(voxels: Voxels, geometry: Geometry, suffix: str) -> sitk.Image:
    affine = np.array(geometry.affine)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    direction = _LPS @ affine[:3, :3] / spacing
    picture = suffix in PICTURES
    in_plane = np.allclose(np.abs(np.linalg.det(direction[:2, :2])), 1.0, atol=1e-3)
    flat = (geometry.flat and in_plane) or (picture and geometry.shape[0] == 1)
    axes = 2 if flat else 3
    if flat:
        voxels = voxels[..., 0, :, :]
    image = sitk.GetImageFromArray(np.moveaxis(voxels, 0, -1), isVector=True) if voxels.ndim > axes else sitk.GetImageFromArray(voxels)
    if not picture:
        image.SetSpacing(spacing[:axes].tolist())
        image.SetDirection(direction[:axes, :axes].ravel().tolist())
        image.SetOrigin((_LPS @ affine[:3, 3])[:axes].tolist())
    return image


def _write_pair(image: sitk.Image, path: Path) -> None:
    """Header and voxels under their own names in a folder beside, then moved: the header, which makes them a scan, comes last."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".", dir=path.parent) as folder:
            header = Path(folder, path.name)
            _write(image, header, path)
            for part in sorted(Path(folder).iterdir(), key=lambda part: part == header):
                part.replace(path.parent / part.name)
    except OSError as error:
        raise AutosegError(f"Cannot write {path}: {error.strerror or error}. Free the disk or choose a folder you may write to.") from error


def _write(image: sitk.Image, file: Path, target: Path) -> None:
    try:
        sitk.WriteImage(image, str(file), useCompression=True, compressionLevel=1)
    except RuntimeError as error:
        raise AutosegError(f"Cannot write {target}: {_reason(error)}. Free the disk or choose a folder you may write to.") from error


def _reason(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].removeprefix("sitk::ERROR: ").rstrip(".")
