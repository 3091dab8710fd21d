"""NIfTI-1 and NIfTI-2, plain or compressed, decoded from memory.

- Whether a file is compressed is seen from its first bytes, not from its name.
- Large volumes are inflated piece by piece into an array: its memory comes in large pages, which takes a third off the time of a growing string.
- The affine is nibabel's choice: sform, else qform, else the voxel sizes with the grid's centre at the origin and x to the left.
- Spacing is the length of the affine's columns, so that spacing and position can never disagree.
- Metres and microns become millimetres when read, and what they were when written.
- Slope and intercept are applied; a fourth (or later) axis longer than one holds the channels.
"""

import io
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from isal import igzip, isal_zlib
from nibabel import Nifti1Header, Nifti2Header
from nibabel.spatialimages import HeaderDataError
from nibabel.volumeutils import apply_read_scaling
from numpy.typing import NDArray

from autoseg.errors import UnreadableFile
from autoseg.imaging._whole import DAMAGED, Voxels, cut_short, unreadable
from autoseg.imaging.image import Geometry

_MILLIMETRES = {1: 1000.0, 3: 0.001}  # of the unit that `xyzt_units` names: metre, micron
_HEADER_BYTES = 540
_CHUNK = 1 << 16
_LARGE, _PIECE = 1 << 20, 1 << 18  # bytes from which that pays; bytes that stay in the processor's cache until they are copied
_LARGEST_RATIO = 1032  # of deflate: a trailer that promises more is damaged
_FAULTS = (HeaderDataError, KeyError, ValueError, OverflowError)  # what nibabel raises for a header without sense
_LONGEST_AXIS = 32767  # of NIfTI-1
_LEVEL, _GZIP = 1, 31  # of compression; what makes zlib write a gzip header


def read(path: Path) -> tuple[Voxels, Geometry]:
    """Voxels (C, Z, Y, X) in the file's own type, or as floats where the header scales them; UnreadableFile or OSError."""
    content = _inflated(path)
    header = _header(path, content)
    channels, geometry = _grid(path, header)
    shape = (channels, *geometry.shape)
    try:
        dtype, start, scaling = header.get_data_dtype(), header.get_data_offset(), header.get_slope_inter()
    except _FAULTS as error:
        raise unreadable(path, f"its header is damaged ({error})") from error
    if dtype.kind not in "iufV" or dtype.itemsize == 0 or start < 0:
        raise unreadable(path, f"it holds voxels of type {dtype}", "Save it again with real numbers.")
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) < expected:
        raise cut_short(path, len(content), expected)
    voxels = np.frombuffer(content, dtype, math.prod(shape), start).reshape(shape)
    if dtype.names is not None:  # a colour for each voxel
        return np.concatenate([voxels[name] for name in dtype.names if name != "A"]), geometry
    return apply_read_scaling(voxels, *scaling), geometry


def read_geometry(path: Path) -> Geometry:
    """The grid, from the file's first bytes; UnreadableFile or OSError."""
    with path.open("rb") as file:
        start = file.read(_CHUNK)
    if start[:2] == b"\x1f\x8b":
        start = _inflated_as_far_as_possible(start, _HEADER_BYTES)
    return _grid(path, _header(path, start))[1]


def encode(voxels: Voxels, geometry: Geometry, *, compress: bool) -> bytes:
    """A file's content from voxels (Z, Y, X) or (C, Z, Y, X); their type is kept. Compression makes no other copy of them."""
    if geometry.flat and voxels.ndim == 3:
        voxels = voxels[0]
    kind: Any = Nifti1Header if max(voxels.shape) <= _LONGEST_AXIS else Nifti2Header
    header = kind()
    header.set_data_dtype(voxels.dtype)
    header.set_data_shape(voxels.T.shape)
    units = geometry.header.get("xyzt_units", 2)
    header["xyzt_units"] = units
    affine = np.array(geometry.affine)
    affine[:3] /= _MILLIMETRES.get(units & 7, 1.0)
    sform_code, qform_code = geometry.header.get("sform_code", 1), geometry.header.get("qform_code", 1)
    header.set_qform(affine, qform_code, strip_shears=True)
    header.set_sform(affine, sform_code)
    if not np.allclose(header.get_best_affine(), affine, rtol=1e-4, atol=1e-4):  # a place that the file's own codes cannot tell
        header.set_sform(affine, sform_code or 1)
    header.set_data_offset(header.single_vox_offset)
    before = header.binaryblock.ljust(header.single_vox_offset, b"\0")
    numbers = np.ascontiguousarray(voxels).reshape(-1).view(np.uint8)
    if not compress:
        return b"".join((before, numbers.data))
    deflater = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _GZIP)
    return b"".join((deflater.compress(before), deflater.compress(numbers.data), deflater.flush()))


def _inflated(path: Path) -> bytes | memoryview:
    content = path.read_bytes()
    if not content:
        raise unreadable(path, "it is empty")
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return _decompressed(content)
    except EOFError as error:
        raise _ended_early(path, content) from error
    except DAMAGED as error:
        raise unreadable(path, f"its compressed data are damaged ({error})") from error


def _decompressed(content: bytes) -> bytes | memoryview:
    """All members of a gzip file; checksum and length of each are verified."""
    size = int.from_bytes(content[-4:], "little")  # of the last member, which nearly always is the only one
    if size > _LARGE:
        result, filled = np.empty(min(size, _LARGEST_RATIO * len(content)), np.uint8), 0
        with igzip.IGzipFile(fileobj=io.BytesIO(content)) as stream:
            while (piece := stream.read(_PIECE)) and filled + len(piece) <= len(result):
                result[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
                filled += len(piece)
        if not piece:
            return result[:filled].data
    whole: bytes = igzip.decompress(content)
    return whole


def _ended_early(path: Path, content: bytes) -> UnreadableFile:
    rest = _inflated_as_far_as_possible(content)
    try:
        header = _header(path, rest)
        channels, geometry = _grid(path, header)
        expected = header.get_data_offset() + channels * math.prod(geometry.shape) * header.get_data_dtype().itemsize
    except (UnreadableFile, *_FAULTS):
        return unreadable(path, f"it ends inside its header, after {len(content)} bytes")
    if len(rest) >= expected:
        return unreadable(path, "its voxels are there, but the checksum at its end is missing, or something foreign follows it")
    return cut_short(path, len(rest), expected)


def _inflated_as_far_as_possible(content: bytes, enough: int | None = None) -> bytes:
    inflater = isal_zlib.decompressobj(wbits=31)
    pieces = []
    for start in range(0, len(content), _CHUNK):
        try:
            pieces.append(inflater.decompress(content[start : start + _CHUNK], enough or 0))
        except DAMAGED:
            break
    return b"".join(pieces)


def _header(path: Path, content: bytes | memoryview) -> Any:
    size = next((size for size in (348, 540) for order in ("<i", ">i") if content[:4] == struct.pack(order, size)), None)
    if size is None:
        raise unreadable(path, "it is not a NIfTI file", "Check its name and where it came from.")
    if len(content) < size:
        raise unreadable(path, f"it ends inside its header, after {len(content)} bytes")
    if content[344:347] != b"n+1" and content[4:7] != b"n+2":
        raise unreadable(path, "its header is not that of a single NIfTI file", "Convert it to .nii.gz; a pair of .hdr and .img is not read.")
    kind: Any = Nifti1Header if size == 348 else Nifti2Header
    header = kind(bytes(content[:size]), check=False)
    pixdim = header["pixdim"]
    if pixdim[0] not in (-1, 1):
        header["pixdim"][0] = 1  # what the standard says of 0
    header["pixdim"][1:4] = np.abs(pixdim[1:4])
    return header


def _grid(path: Path, header: Any) -> tuple[int, Geometry]:
    try:
        size = tuple(int(length) for length in header.get_data_shape())
        affine = np.array(header.get_best_affine(), dtype=np.float64)
    except _FAULTS as error:
        raise unreadable(path, f"its header is damaged ({error})") from error
    further = [length for length in size[3:] if length != 1]
    if len(size) < 2 or min(size) < 1 or len(further) > 1:
        raise unreadable(path, f"its size is {size}", "Save it with two or three axes, or with channels as the fourth.")
    units = int(header["xyzt_units"])
    affine[:3] *= _MILLIMETRES.get(units & 7, 1.0)
    flat = len(size) == 2
    if flat and not affine[:3, 2].any():
        affine[2, 2] = 1.0
    spacing = _column_lengths(affine)
    if not np.isfinite(affine).all() or not min(spacing) > 0:
        raise unreadable(path, f"its voxel size is {' x '.join(f'{size:.4g}' for size in spacing)} mm along x, y, z", "Correct the file's header.")
    x, y, z = spacing
    facts = {name: int(header[name]) for name in ("sform_code", "qform_code", "xyzt_units")}
    shape = (size[2] if len(size) > 2 else 1, size[1], size[0])
    rows = tuple(tuple(row) for row in affine.tolist())
    return math.prod(further), Geometry(shape, (1.0 if flat else z, y, x), rows, flat, facts)


def _column_lengths(affine: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    return x, y, z
