"""What commands share: options, headlines, tables, progress with an ETA.

- Results go to standard output, progress and notes to standard error, so that a command's output can be piped.
- On a terminal progress is a bar; in a log file it is a line now and then.
"""

import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from autoseg.errors import AutosegError, Interrupted
from autoseg.progress import Progress, duration

WorkspaceOption = Annotated[
    Path | None,
    typer.Option("--workspace", "-w", help="Folder with raw_data/, plans/ and models/. Default: AUTOSEG_WORKSPACE, else the current folder."),
]
DatasetOption = Annotated[str | None, typer.Option("--dataset", "-d", help="Dataset. Default: the one last planned.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")]

STACK_HELP = "Make volumes of the slices of each patient, of this spacing: millimetres along Z,Y,X, such as 5,1,1."
Spacing = tuple[float, float, float]

LINE_EVERY = 15.0  # seconds between lines of progress where there is no terminal


def headline(command: str, **understood: object) -> None:
    """The first line of every command: what it understood."""
    note(f"autoseg {command}: " + ", ".join(f"{key} {value}" for key, value in understood.items() if value is not None))


def note(text: str) -> None:
    """A line on standard error."""
    typer.echo(text, err=True)


def same_place(dataset: str | None, workspace: Path | None) -> str:
    """The options that a next command needs to find what this one worked on; where they were given."""
    return (f" -d {dataset}" if dataset else "") + (f" -w {shlex.quote(str(workspace))}" if workspace else "")


def parse_spacing(option: str, text: str | None) -> Spacing | None:
    """Three numbers, millimetres along Z, Y, X, as the user wrote them for an option.

    Raises
    ------
    AutosegError
        they are not three, or not above zero
    """
    if text is None:
        return None
    try:
        z, y, x = (float(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        raise AutosegError(f"{option} {text}: three numbers are needed, millimetres along Z,Y,X, such as 1,1,1.") from None
    if not all(0 < size < float("inf") for size in (z, y, x)):
        raise AutosegError(f"{option} {text}: millimetres must be above zero.")
    return z, y, x


def in_millimetres(spacing: Spacing | None) -> str | None:
    """A spacing in words; None stays."""
    return None if spacing is None else " x ".join(f"{size:g}" for size in spacing) + " mm"


def number_cell(value: object) -> str:
    """A number as tables show it: four digits after the point where it is below 10, else one; a dash where it is not a number."""
    number = float(str(value))
    return "-" if number != number else f"{number:.4f}" if abs(number) < 10 else f"{number:.1f}"


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """A table on standard output; columns whose index is in `right` are numbers."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index in right else "left", overflow="fold", no_wrap=index == 0)
    for row in rows:
        table.add_row(*row)
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:  # in a file nothing needs to be squeezed into 80 columns
        console = Console(markup=False, highlight=False, width=160)
    console.print(table)


@contextmanager
def showing_progress() -> Iterator[Progress]:
    """A progress that draws a bar for each stage on a terminal, and writes lines elsewhere."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"), BarColumn(24), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("eta"), TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )  # fmt: skip
    stages: dict[str, TaskID] = {}
    with Bars(*columns, console=Console(stderr=True)) as bars:

        def show(stage: str, done: int, total: int, note: str = "") -> None:
            if stage not in stages:
                stages[stage] = bars.add_task(stage, total=total, note=note)
            bars.update(stages[stage], completed=done, total=total, note=note)

        yield show


@contextmanager
def resumable() -> Iterator[None]:
    """Ctrl-C ends a command calmly; made to decorate one, so that its imports are covered too."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("Stopped. What was finished is kept; the same command goes on from there.") from None


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM are noticed at the next safe point; a second Ctrl-C stops at once."""
    import os
    import signal

    asked = False

    def ask(signum: int, frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        os.write(2, b"\nStopping after this step ...\n")  # the stream may be in the middle of a line, and cannot be entered twice

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Lines:
    """Progress as lines: at a stage's beginning and end, and every few seconds between."""

    def __init__(self) -> None:
        self._stage, self._finished = "", False
        self._started, self._said = 0.0, 0.0
        self._first = 0

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._started, self._said, self._finished, self._first = stage, now, now, False, done
        complete = done >= total
        if self._finished or (not complete and now - self._said < LINE_EVERY):
            return
        self._said, self._finished = now, complete
        share = done / total if total else 1.0
        fresh = done - self._first
        left = f", about {duration((now - self._started) / fresh * (total - done))} left" if fresh > 0 and not complete else ""
        typer.echo(f"{stage}: {share:.0%}{left}{', ' + note if note else ''}", err=True)
