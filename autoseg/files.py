"""Files that are whole or absent.

- Written under a temporary name beside the target, flushed, then renamed: a killed command leaves no half file that looks whole.
- The temporary name starts with a dot and keeps the target's suffixes, so that writers which look at the suffix work.
- It also tells machine and process, so that what a killed command left is known from what a living one is writing, and can be swept away.
- A folder goes at once or not at all: it is renamed first.
"""

import json
import os
import platform
import re
import shutil
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from autoseg.errors import AutosegError

TEMPORARY = re.compile(r"\.autoseg-([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\..+", re.DOTALL)
ABANDONED_AFTER = 86_400.0  # seconds without a change after which a temporary of any machine is nobody's


@contextmanager
def atomic(target: Path, *, durable: bool = True) -> Iterator[Path]:
    """Give a temporary path to write; on success it becomes `target`, on failure it is removed.

    Parameters
    ----------
    durable : its content survives a loss of power; without, the file may then be empty, which whoever reads it must expect

    Raises
    ------
    AutosegError
        the folder cannot be written, or the disk is full
    """
    try:
        with _taking_the_place_of(target) as temporary:
            yield temporary
            if durable:
                with temporary.open("rb") as written:
                    os.fsync(written.fileno())
    except OSError as error:
        reason = error.strerror or str(error)
        raise AutosegError(f"Cannot write {target}: {reason}. Free the disk or choose a folder you may write to.") from error


def link(source: Path, target: Path) -> None:
    """Make a whole file appear in a second place without writing it again; a copy where the file system has no links.

    For files that are only ever replaced as `atomic` does it: then neither place sees what becomes of the other.

    Raises
    ------
    AutosegError
        the folder cannot be written, or the disk is full
    """
    try:
        with _taking_the_place_of(target) as temporary:
            os.link(source, temporary)
    except OSError:
        with atomic(target) as copy:
            shutil.copyfile(source, copy)


def require_writable(folder: Path) -> None:
    """Find out before minutes of work that their result could not be written; nothing is made for it that would stay.

    Parameters
    ----------
    folder : need not exist yet

    Raises
    ------
    AutosegError
        it, or the folder that it would be made in, is not a folder or cannot be written
    """
    there = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        with TemporaryFile(dir=there):
            return
    except OSError as error:
        where = "" if there == folder else f"{there}: "
        raise AutosegError(
            f"Cannot write into {folder}: {where}{error.strerror}. Make it a folder that you may write to, or choose another place: -o for output,"
            " --workspace for plans and models (its raw_data/ may be a link to this one's)."
        ) from error


def sweep(folder: Path) -> None:
    """Remove what killed commands left in a folder (not below it); what a living process is writing stays."""
    with suppress(OSError):  # no folder, or not ours to change: leftovers do no harm
        for entry in list(folder.iterdir()):
            if _abandoned(entry):
                if entry.is_dir():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    entry.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder and all it holds, so that a kill in the middle leaves no half of it.

    Raises
    ------
    AutosegError
        it cannot be removed
    """
    gone = _temporary(folder)
    try:
        folder.rename(gone)
        shutil.rmtree(gone)
    except OSError as error:
        raise AutosegError(f"Cannot remove {folder}: {error.strerror or error}. Make it writable, or remove it yourself.") from error


def write_text(target: Path, text: str, *, durable: bool = True) -> None:
    """Write UTF-8 text, whole or not at all; `durable` as for `atomic`."""
    with atomic(target, durable=durable) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(target: Path, content: Any, *, durable: bool = True) -> None:
    """Write readable JSON, whole or not at all; not-a-number becomes null; `durable` as for `atomic`."""
    write_text(target, json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n", durable=durable)


def read_json(path: Path) -> Any:
    """Read JSON; a byte order mark, as some editors write, is passed over.

    Raises
    ------
    AutosegError
        the file is missing or is not JSON (the message names line and column), or a key stands twice in one object
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=partial(_object, path))
    except FileNotFoundError:
        raise AutosegError(f"{path} does not exist.") from None
    except IsADirectoryError:
        raise AutosegError(f"{path} is a folder. Name the file.") from None
    except UnicodeDecodeError:
        raise AutosegError(f"{path} is no text in UTF-8. Save it again with that encoding.") from None
    except OSError as error:
        raise AutosegError(f"{path} cannot be read: {error.strerror}.") from error
    except json.JSONDecodeError as error:
        raise AutosegError(f"{path} is not valid JSON: {error.msg} in line {error.lineno}, column {error.colno}.") from None
    except RecursionError:
        raise AutosegError(f"{path} is not valid JSON for this purpose: it is nested too deeply.") from None


def read_record(path: Path) -> dict[str, Any]:
    """Read a record that this program wrote: a JSON object.

    Raises
    ------
    AutosegError
        the file is missing, is not JSON, or is no object
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise AutosegError(f"{path} is damaged: it holds a {type(content).__name__} instead of an object. Put it back as it was.")
    return content


@contextmanager
def _taking_the_place_of(target: Path) -> Iterator[Path]:
    """A name beside the target for what becomes it; nothing stays there afterwards."""
    temporary = _temporary(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(target)  # does nothing where both are links to one file
    finally:
        with suppress(NotADirectoryError):  # the folder is a file
            temporary.unlink(missing_ok=True)


def _object(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; of a key that stands twice one value would be lost without a word."""
    content = dict(pairs)
    if len(content) < len(pairs):
        twice = sorted(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise AutosegError(f"{path} has the key {', '.join(map(repr, twice))} twice in one object. Keep one of them.")
    return content


def _temporary(target: Path) -> Path:
    return target.with_name(f".autoseg-{_machine()}-{os.getpid()}-{os.urandom(4).hex()}.{target.name}")


def _machine() -> str:
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _abandoned(entry: Path) -> bool:
    made_by = TEMPORARY.fullmatch(entry.name)
    if made_by is None:
        return False
    if made_by[1] == _machine() and not _alive(int(made_by[2])):
        return True
    return time.time() - entry.lstat().st_mtime > ABANDONED_AFTER


def _alive(process: int) -> bool:
    if sys.platform == "win32":  # there a signal of 0 is no question
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    if isinstance(content, float) and content != content:
        return None
    return content
