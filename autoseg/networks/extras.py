"""Libraries that are not installed with autoseg: imported when a plan names something of theirs, and missed in words."""

from collections.abc import Iterator
from contextlib import contextmanager

from autoseg.errors import AutosegError


@contextmanager
def importing_zoo(what: str) -> Iterator[None]:
    """Within, a library of the extra `zoo` is imported, for the sake of `what` in the plan.

    Raises
    ------
    AutosegError
        it is not installed
    """
    try:
        yield
    except ImportError as error:
        missing = error.name or str(error)
        raise AutosegError(f"The plan's '{what}' needs {missing}, which is not installed. Install it: pip install 'autoseg[zoo]'") from error
