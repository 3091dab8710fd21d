"""How long work tells its caller where it stands; the command line draws it, the API may ignore it."""

from typing import Protocol


class Progress(Protocol):
    """Called with the stage's name, how many of how many steps are done, and a short note."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None: ...


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """A progress that nobody watches."""
