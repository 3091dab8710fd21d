"""One piece of work in a process of its own: its time on the clock, and the memory of it and of all that it starts.

- Memory is the sum over the process and all its descendants of the proportional set size, in which a page that several share counts once; where the
  system does not tell it, of the resident set size. Processes whose parent died are found by their session.
- Looking costs time, and more where there are more processes: work that is timed is not watched, and work that is watched is not timed.
- A script may tell its own seconds and its own peak, where only a part of what it does is meant: it writes them into a file.
"""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

INTERVAL = 0.05  # seconds between two looks
LOG_TAIL = 2000  # characters of a failed command's output that are shown


@dataclass(frozen=True)
class Work:
    """A command.

    Attributes
    ----------
    command : program and arguments
    environment : variables on top of those of this process
    told : file in which the command writes {"seconds": ..., "peak": bytes or null}; None: the clock decides
    """

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    told: Path | None = None


@dataclass(frozen=True)
class Measured:
    """What a piece of work took: seconds, and bytes at the highest point (None where it was not watched)."""

    seconds: float
    peak: int | None = None


class Failed(Exception):
    """A command ended with an error; the text holds the end of what it said."""


def do(work: Work, log: Path, *, watched: bool = False) -> Measured:
    """Do a piece of work and wait for it.

    Parameters
    ----------
    log : file for what it prints
    watched : follow its memory

    Raises
    ------
    Failed
        the command's exit code is not zero
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as sink:
        begun = time.perf_counter()
        process = subprocess.Popen(
            list(work.command), stdout=sink, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env={**os.environ, **work.environment},
            start_new_session=True,
        )  # fmt: skip
        watcher = Watcher(process.pid) if watched else None
        try:
            code = process.wait()
        except BaseException:  # whoever stops the benchmark stops what it started
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
        seconds = time.perf_counter() - begun
    peak = watcher.stop() if watcher else None
    if code:
        tail = log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL:]
        raise Failed(f"{' '.join(work.command)}\nended with code {code}; the end of {log}:\n{tail}")
    if work.told is None:
        return Measured(seconds, peak)
    told = json.loads(work.told.read_text(encoding="utf-8"))
    return Measured(told["seconds"], told.get("peak") or peak)


class Watcher:
    """Looks at a process and its descendants until it is stopped.

    Parameters
    ----------
    leader : the process, leader of a session of its own
    """

    def __init__(self, leader: int) -> None:
        self._leader = leader
        self._peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """Stop looking; the highest sum seen, in bytes."""
        self._done.set()
        self._thread.join()
        return self._peak

    def _watch(self) -> None:
        while not self._done.is_set():
            self._peak = max(self._peak, sum(memory_of(process) for process in family(self._leader, all_processes())))
            self._done.wait(INTERVAL)


def all_processes() -> dict[int, tuple[int, int]]:
    """Every process that the system shows: number -> (its parent, its session)."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()  # names may hold blanks
            except OSError:  # it has ended
                continue
            found[int(entry.name)] = int(fields[1]), int(fields[3])
    return found


def family(leader: int, processes: Mapping[int, tuple[int, int]]) -> set[int]:
    """A process, its descendants, and whoever else belongs to its session or descends from those."""
    members = {number for number, (_, session) in processes.items() if number == leader or session == leader}
    children: dict[int, list[int]] = {}
    for number, (parent, _) in processes.items():
        children.setdefault(parent, []).append(number)
    waiting = list(members)
    while waiting:
        new = [child for child in children.get(waiting.pop(), []) if child not in members]
        members.update(new)
        waiting.extend(new)
    return members


def memory_of(process: int) -> int:
    """Bytes of a process: proportional where the system tells, else resident; 0 where it has ended."""
    for file, name in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        try:
            lines = Path(f"/proc/{process}/{file}").read_text(encoding="utf-8").splitlines()
        except OSError:
            continue
        for line in lines:
            if line.startswith(name):
                return 1024 * int(line.split()[1])
    return 0
