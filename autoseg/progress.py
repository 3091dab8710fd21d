"""How long work tells its caller where it stands; the command line draws it, the API may ignore it."""

from typing import Protocol


class Progress(Protocol):
    """Called with the stage's name, how many of how many steps are done, and a short note."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None: ...


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """A progress that nobody watches."""


def duration(seconds: float) -> str:
    """A time in the units that people say it in: "95 s", "12 min", "3 h 5 min"."""
    minutes = round(seconds / 60)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
