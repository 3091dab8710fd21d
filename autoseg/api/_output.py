"""Where results may be written."""

from collections.abc import Sequence
from pathlib import Path

from autoseg.errors import AutosegError


def require_elsewhere(target: Path, sources: Sequence[Path]) -> None:
    """Make sure that results are not written among scans.

    Raises
    ------
    AutosegError
        they would be
    """
    if any(one.is_dir() and one.resolve() == target.resolve() for one in sources):
        raise AutosegError(
            f"{target} is the folder that the scans lie in; next time what is written there would be taken for scans. Choose another with -o."
        )
