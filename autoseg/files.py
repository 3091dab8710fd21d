"""Files that are whole or absent.

- Written under a temporary name beside the target, flushed, then renamed: a killed command leaves no half file that looks whole.
- The temporary name starts with a dot and keeps the target's suffixes, so that writers which look at the suffix work.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from autoseg.errors import AutosegError


@contextmanager
def atomic(target: Path) -> Iterator[Path]:
    """Give a temporary path to write; on success it becomes `target`, on failure it is removed.

    Raises
    ------
    AutosegError
        the folder cannot be written, or the disk is full
    """
    temporary = target.with_name(f".{uuid4().hex[:8]}.{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise AutosegError(f"Cannot write {target}: {reason}. Free the disk or choose a folder you may write to.") from error
    finally:
        with suppress(NotADirectoryError):  # the folder is a file
            temporary.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with atomic(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(target: Path, content: Any) -> None:
    """Write readable JSON, whole or not at all; not-a-number becomes null."""
    write_text(target, json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises
    ------
    AutosegError
        the file is missing or is not JSON; the message names line and column
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AutosegError(f"{path} does not exist.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise AutosegError(f"{path} cannot be read: {error}") from error
    except json.JSONDecodeError as error:
        raise AutosegError(f"{path} is not valid JSON: {error.msg} in line {error.lineno}, column {error.colno}.") from None


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    if isinstance(content, float) and content != content:
        return None
    return content
