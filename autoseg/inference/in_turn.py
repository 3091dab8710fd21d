"""Cases worked on one after the other: reading, network and writing overlap.

- One thread reads and prepares the next case while the network works on this one, another writes the last; never more than that in memory.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

from autoseg.data.dataset import Case
from autoseg.errors import counted
from autoseg.imaging.image import Image
from autoseg.planning.plan import Plan
from autoseg.preprocessing.source import naming, read_scan
from autoseg.progress import Progress

Ready = TypeVar("Ready")
Made = TypeVar("Made")
Given = TypeVar("Given", covariant=True)
Report = Callable[[int, int], None]
Timed = Callable[[str, float, float], None]


class Prepares(Protocol[Given]):
    """What makes scans ready."""

    @property
    def plan(self) -> Plan: ...

    def prepare(self, image: Image) -> Given: ...


def in_turn(
    cases: Sequence[Case],
    waiting: Sequence[Case],
    read: Callable[[Case], Ready],
    predict: Callable[[Ready, Report], Made],
    write: Callable[[Case, Made], None],
    progress: Progress,
    stage: str,
    timed: Timed = lambda case, seconds, elapsed: None,
) -> tuple[str, ...]:
    """Predict the cases that wait, one after the other, while the next is read and the last written.

    Parameters
    ----------
    cases, waiting : all, and those of them that are not finished, in order
    read, predict, write : what is done with a case, each in a thread of its own; an error in one ends the run once the others have come to rest
    progress, stage : told how far it is
    timed : told of each case the seconds of `predict`, and its share of the clock on the wall

    Returns
    -------
    names of the cases that do not wait
    """
    waiting_names = {case.name for case in waiting}
    skipped = tuple(case.name for case in cases if case.name not in waiting_names)
    progress(stage, 0, 1000 * len(waiting), f"{len(skipped)} of {counted(len(cases), 'case')} were there already" if skipped else "")
    with ThreadPoolExecutor(1, "reader") as reader, ThreadPoolExecutor(1, "writer") as writer:
        upcoming = reader.submit(read, waiting[0]) if waiting else None
        writing: Future[None] | None = None
        begun = time.perf_counter()
        for index, case in enumerate(waiting):
            if upcoming is None:
                break
            ready = upcoming.result()
            upcoming = reader.submit(read, waiting[index + 1]) if index + 1 < len(waiting) else None

            def report(done: int, total: int, place: int = index, name: str = case.name) -> None:
                progress(stage, 1000 * place + 1000 * done // total, 1000 * len(waiting), f"case {place + 1} of {len(waiting)}: {name}")

            started = time.perf_counter()
            with naming(case):
                made = predict(ready, report)
            seconds = time.perf_counter() - started
            if writing is not None:
                writing.result()
            writing = writer.submit(write, case, made)
            if upcoming is None:
                writing.result()
            ended = time.perf_counter()
            timed(case.name, seconds, ended - begun)
            begun = ended
    return skipped


def read_ready(case: Case, segmenter: Prepares[Ready]) -> Ready:
    """A case's scan, read and made ready; errors name the case."""
    with naming(case):
        return segmenter.prepare(read_scan(case, segmenter.plan))
