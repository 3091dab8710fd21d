"""Is a file whole? Checks of what SimpleITK reads in silence though bytes are missing or altered.

- MetaImage and NRRD: the length of the voxels, and the checksum where they are compressed.
- TIFF: every page, strip and value lies inside the file (a reader would drop the pages that are cut off).
- JPEG and BMP: the end of the picture is there (a reader would fill up with grey).
- PNG is left to its reader, which checks every block's checksum.
"""

import math
import re
import struct
from pathlib import Path

import numpy as np
from isal import igzip, isal_zlib
from numpy.typing import NDArray

from autoseg.errors import UnreadableFile

Voxels = NDArray[np.generic]
DAMAGED: tuple[type[Exception], ...] = (igzip.BadGzipFile, isal_zlib.error)  # type: ignore[assignment]
"""What ISA-L raises for altered data; EOFError for data that end too early."""

_META_BYTES = {"CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "LONG": 4, "ULONG": 4, "LONG_LONG": 8, "ULONG_LONG": 8}
_META_BYTES |= {"FLOAT": 4, "DOUBLE": 8}
_TIFF_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_TIFF_BLOCKS = {273: 279, 324: 325}  # tags: offsets of strips or tiles -> their lengths


def unreadable(path: Path, problem: str, mend: str = "Copy or download it again.") -> UnreadableFile:
    """The error for a file that cannot be decoded."""
    return UnreadableFile(f"{path} cannot be read: {problem.rstrip('.')}. {mend}")


def cut_short(path: Path, found: int, expected: int) -> UnreadableFile:
    """The error for a file that ends too early; sizes in bytes, as they are after decompression."""
    unit, name = (1e6, "MB") if expected >= 1e5 else (1e3, "kB")
    return unreadable(path, f"it ends after {found / unit:.4g} of {expected / unit:.4g} {name}")


def require_whole(path: Path, suffix: str) -> None:
    """Make sure that a file of another format than NIfTI is not cut short or altered.

    Raises
    ------
    UnreadableFile
        it is; the text says what is missing
    OSError
        it cannot be opened
    """
    content = path.read_bytes()
    if not content:
        raise unreadable(path, "it is empty")
    try:
        match suffix:
            case ".mha" | ".mhd":
                _meta_image(path, content)
            case ".nrrd":
                _nrrd(path, content)
            case ".tif" | ".tiff":
                _tiff(path, content)
            case ".jpg" | ".jpeg" if content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"):
                raise unreadable(path, "the end of the picture is missing")
            case ".bmp":
                _bmp(path, content)
    except (struct.error, ValueError, KeyError) as error:
        raise unreadable(path, f"its header is damaged or of another format than {suffix} ({error})") from error


def _meta_image(path: Path, content: bytes) -> None:
    fields: dict[str, str] = {}
    start = 0
    while "ElementDataFile" not in fields:
        end = content.index(b"\n", start) + 1
        key, _, value = content[start:end].decode("latin-1").partition("=")
        fields[key.strip()] = value.strip()
        start = end
    source = fields["ElementDataFile"]
    if source == "LIST" or " " in source or "%" in source:  # one file a slice: SimpleITK reports those that are missing
        return
    data = content[start:] if source.upper() == "LOCAL" else (path.parent / source).read_bytes()
    skipped = max(int(fields.get("HeaderSize", "0")), 0)
    element = _META_BYTES[fields["ElementType"].removeprefix("MET_").removesuffix("_ARRAY")]
    expected = math.prod(int(size) for size in fields["DimSize"].split()) * int(fields.get("ElementNumberOfChannels", "1")) * element
    if fields.get("CompressedData", "False").lower() == "true":
        _require_inflated(path, data[skipped:], expected)
    elif len(data) - skipped < expected:
        raise cut_short(path, max(len(data) - skipped, 0), expected)


def _require_inflated(path: Path, data: bytes, expected: int) -> None:
    inflater = isal_zlib.decompressobj()
    try:
        found = len(inflater.decompress(data))
    except DAMAGED as error:
        raise unreadable(path, f"its compressed voxels are damaged ({error})") from error
    if found < expected:
        raise cut_short(path, found, expected)
    if not inflater.eof:
        raise unreadable(path, "the checksum at its end is missing")


def _nrrd(path: Path, content: bytes) -> None:
    end = re.search(rb"\r?\n\r?\n", content)
    if end is None:
        raise ValueError("no empty line ends it")
    header, data = content[: end.start()], content[end.end() :]
    lines = (line.partition(":") for line in header.decode("latin-1").splitlines() if not line.startswith("#"))
    fields = {key.strip().lower(): value.strip() for key, _, value in lines}
    detached = fields.get("data file", fields.get("datafile"))
    if fields.get("encoding", "raw").lower() not in ("gzip", "gz"):  # SimpleITK reports the others itself
        return
    if detached is not None:
        if detached.upper().startswith("LIST") or " " in detached:
            return
        data = (path.parent / detached).read_bytes()
    try:
        igzip.decompress(data)
    except EOFError as error:
        raise unreadable(path, "its compressed voxels end too early") from error
    except DAMAGED as error:
        raise unreadable(path, f"its compressed voxels are damaged ({error})") from error


def _tiff(path: Path, content: bytes) -> None:
    order = {b"II": "<", b"MM": ">"}.get(content[:2])
    if order is None:
        raise ValueError("no byte order mark")
    big = struct.unpack_from(order + "H", content, 2)[0] == 43
    word, width, counter = ("Q", 8, "Q") if big else ("I", 4, "H")
    seen: set[int] = set()
    (page,) = struct.unpack_from(order + word, content, 8 if big else 4)
    while page and page not in seen:
        seen.add(page)
        (entries,) = struct.unpack_from(order + counter, content, page)
        start = page + struct.calcsize(order + counter)
        values: dict[int, tuple[int, ...]] = {}
        for at in range(start, start + entries * (4 + 2 * width), 4 + 2 * width):
            tag, kind, count = struct.unpack_from(f"{order}HH{word}", content, at)
            size = _TIFF_BYTES.get(kind, 1) * count
            where = at + 4 + width if size <= width else struct.unpack_from(order + word, content, at + 4 + width)[0]
            if where + size > len(content):
                raise cut_short(path, len(content), where + size)
            if tag in _TIFF_BLOCKS or tag in _TIFF_BLOCKS.values():
                values[tag] = struct.unpack_from(f"{order}{count}{ {3: 'H', 4: 'I', 16: 'Q'}[kind] }", content, where)
        for offsets, lengths in _TIFF_BLOCKS.items():
            end = max((a + b for a, b in zip(values.get(offsets, ()), values.get(lengths, ()), strict=True)), default=0)
            if end > len(content):
                raise cut_short(path, len(content), end)
        (page,) = struct.unpack_from(order + word, content, start + entries * (4 + 2 * width))


def _bmp(path: Path, content: bytes) -> None:
    (start,) = struct.unpack_from("<I", content, 10)
    width, height, _, bits, compression = struct.unpack_from("<iiHHI", content, 18)
    expected = start + (abs(width) * bits + 31) // 32 * 4 * abs(height)
    if compression == 0 and len(content) < expected:
        raise cut_short(path, len(content), expected)
