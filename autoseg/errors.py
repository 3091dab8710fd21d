"""What goes wrong in a user's hands: errors that name the case, the file, what is wrong and what to do.

- Everything a user can cause or mend is an `AutosegError`; the command line prints its text and exits with 1.
- Any other exception is a defect of ours and keeps its traceback.
"""

from collections.abc import Iterable


class AutosegError(Exception):
    """A mistake or a circumstance that the user can mend; the text says how."""


class UnreadableFile(AutosegError):
    """A file cannot be decoded to its last byte."""


class GeometryMismatch(AutosegError):
    """Two images that belong together do not share one grid."""


class DatasetError(AutosegError):
    """A dataset has faults that must be mended before work starts; the text lists all of them."""


class PlanError(AutosegError):
    """A plan holds an unknown key or an impossible value."""


class Interrupted(AutosegError):
    """The user pressed Ctrl-C; the text says how to go on."""


def counted(number: int, noun: str) -> str:
    """A number and what it counts: "1 case", "2,000 cases"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listing(items: Iterable[object], *, limit: int = 5) -> str:
    """The first few of the items, and how many more there are, for a message."""
    names = [str(item) for item in items]
    shown = ", ".join(names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown
