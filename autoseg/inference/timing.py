"""What predictions took, kept beside them as `timing.json`: seconds of each case, and memory at its peak.

- `seconds` is what the networks took: from a scan made ready to its segmentation on its own grid. `elapsed` is the case's share of the clock on the
  wall; reading the next case and writing the last one run beside the networks, and count only where they were waited for.
- The peak of the process's memory is asked of the system. Linux lets it start anew, and what was freed before is handed back first, so that of a
  training in the same process only what is still in use is in it. Elsewhere it is the peak since the process began, and the record says so.
- The file is written after each case: a run that was killed loses nothing, and one that goes on in the same way adds to it. Times of another
  machine, or of another way of running, are not mixed in: the file is begun anew.
"""

import platform
import sys
from contextlib import suppress
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autoseg.errors import AutosegError
from autoseg.files import read_json, write_json
from autoseg.inference.execution import release_freed_memory

TIMING = "timing.json"
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")  # proc(5)


class CaseTime(BaseModel):
    """Seconds of one case; see above."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    seconds: float = Field(ge=0)
    elapsed: float = Field(ge=0)


class Memory(BaseModel):
    """Memory in bytes; None where the system does not say.

    Attributes
    ----------
    peak_resident : of the process
    whole_process : the peak is since the process began, not since prediction did
    resident_at_start : of the process when prediction began
    peak_cuda : that tensors took on the graphics card; None on other devices
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    peak_resident: int | None = None
    whole_process: bool = False
    resident_at_start: int | None = None
    peak_cuda: int | None = None


class Timing(BaseModel):
    """What predictions took.

    Attributes
    ----------
    execution : device, precision and memory format
    machine : graphics card, or processor and threads
    memory : at its peak, over all sittings
    cases : case -> its times
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    execution: str
    machine: str
    memory: Memory
    cases: dict[str, CaseTime]


class MemoryWatch:
    """The peak of memory from now on.

    Parameters
    ----------
    device : as `pick_device` gives it
    """

    def __init__(self, device: str) -> None:
        self._cuda = device if device.startswith("cuda") else None
        if self._cuda:
            torch.cuda.init()  # type: ignore[no-untyped-call]  # before it there are no statistics to start anew
            torch.cuda.reset_peak_memory_stats(self._cuda)
        release_freed_memory()
        self._anew = _start_anew()
        self._start = _status("VmRSS")

    def read(self) -> Memory:
        """What it is by now."""
        peak = _status("VmHWM") if self._anew else _since_process_began()
        cuda = torch.cuda.max_memory_allocated(self._cuda) if self._cuda else None
        return Memory(peak_resident=peak, whole_process=not self._anew and peak is not None, resident_at_start=self._start, peak_cuda=cuda)


class TimingRecord:
    """The file as it grows.

    Parameters
    ----------
    path : `timing.json` beside the predictions; what it holds is kept where machine and execution are the same
    execution : how the networks run, in words
    machine : from `describe_machine`
    watch : begun before the networks were loaded

    Raises
    ------
    AutosegError
        the file that is there is damaged
    """

    def __init__(self, path: Path, execution: str, machine: str, watch: MemoryWatch) -> None:
        self._path, self._watch = path, watch
        before = read_timing(path)
        alike = before is not None and (before.execution, before.machine) == (execution, machine)
        self._timing = before if before is not None and alike else Timing(execution=execution, machine=machine, memory=Memory(), cases={})

    def add(self, case: str, seconds: float, elapsed: float) -> None:
        """Write down what a case took; in the place of an earlier entry of it."""
        times = self._timing.cases | {case: CaseTime(seconds=seconds, elapsed=elapsed)}
        self._timing = self._timing.model_copy(update={"cases": times, "memory": _larger(self._timing.memory, self._watch.read())})
        write_json(self._path, self._timing.model_dump(), durable=False)


def read_timing(path: Path) -> Timing | None:
    """What predictions took, or None where it was not recorded.

    Raises
    ------
    AutosegError
        the file is damaged
    """
    if not path.is_file():
        return None
    try:
        return Timing.model_validate(read_json(path))
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise AutosegError(f"{path} is damaged ({where}: {error.errors()[0]['msg']}). Remove it; times are then recorded anew.") from None


def describe_machine(device: str) -> str:
    """What did the work: "NVIDIA H100 80GB HBM3", "x86_64, 8 threads"."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} thread{'s' * (torch.get_num_threads() > 1)}"


def _larger(one: Memory, other: Memory) -> Memory:
    return Memory(
        peak_resident=_maximum(one.peak_resident, other.peak_resident),
        whole_process=one.whole_process or other.whole_process,
        resident_at_start=_maximum(one.resident_at_start, other.resident_at_start),
        peak_cuda=_maximum(one.peak_cuda, other.peak_cuda),
    )


def _maximum(*values: int | None) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _start_anew() -> bool:
    """Let the system's peak be what is resident now; whether it does."""
    try:
        _CLEAR.write_text("5")
    except OSError:  # no Linux, or a container that forbids it
        return False
    return _status("VmHWM") is not None


def _status(key: str) -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(f"{key}:"):
                return 1024 * int(line.split()[1])
    return None


def _since_process_began() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
