"""Times and memory of predictions: what is kept, what is begun anew, and peaks that leave out what came before."""

import sys
from pathlib import Path

import numpy as np
import pytest

from autoseg.errors import AutosegError
from autoseg.files import read_json
from autoseg.inference.execution import keep_freed_memory
from autoseg.inference.timing import TIMING, CaseTime, MemoryWatch, TimingRecord, describe_machine, read_timing

LARGE = 200 * 2**20


def record(folder: Path, execution: str = "cpu, float32", machine: str = "m") -> TimingRecord:
    return TimingRecord(folder / TIMING, execution, machine, MemoryWatch("cpu"))


def test_a_record_goes_on_where_it_was_in_the_same_way(tmp_path: Path) -> None:
    assert read_timing(tmp_path / TIMING) is None
    first = record(tmp_path)
    assert not (tmp_path / TIMING).exists()  # nothing is predicted, nothing is written
    first.add("a", 1.0, 1.5)
    record(tmp_path).add("b", 2.0, 2.5)
    found = read_timing(tmp_path / TIMING)
    assert found is not None and found.cases == {"a": CaseTime(seconds=1, elapsed=1.5), "b": CaseTime(seconds=2, elapsed=2.5)}
    assert (found.execution, found.machine, found.memory.peak_cuda) == ("cpu, float32", "m", None)
    record(tmp_path).add("a", 3.0, 3.0)
    assert read_json(tmp_path / TIMING)["cases"]["a"]["seconds"] == 3.0
    record(tmp_path, "cuda, float16").add("c", 0.1, 0.1)
    found = read_timing(tmp_path / TIMING)
    assert found is not None and list(found.cases) == ["c"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak cannot start anew")
def test_the_peak_is_that_of_what_is_watched(tmp_path: Path) -> None:
    keep_freed_memory()  # as on every CPU
    np.ones(LARGE, dtype=np.uint8).sum()  # came before, and is gone
    before = MemoryWatch("cpu")
    memory = before.read()
    if memory.whole_process:
        pytest.skip("this container does not let it")
    assert memory.peak_resident is not None and memory.resident_at_start is not None
    assert memory.peak_resident - memory.resident_at_start < LARGE / 4
    np.ones(LARGE, dtype=np.uint8).sum()
    after = before.read().peak_resident
    assert after is not None and after - memory.peak_resident > LARGE * 0.9


def test_the_largest_peak_of_all_sittings_stays(tmp_path: Path) -> None:
    first = record(tmp_path)
    held = np.ones(LARGE, dtype=np.uint8)
    first.add("a", held.sum() / LARGE, 1.0)
    peak = read_json(tmp_path / TIMING)["memory"]["peak_resident"]
    del held
    record(tmp_path).add("b", 1.0, 1.0)
    assert read_json(tmp_path / TIMING)["memory"]["peak_resident"] >= peak > LARGE


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / TIMING).write_text('{"execution": "x", "machine": "y", "memory": {}, "cases": {"a": {"seconds": "long", "elapsed": 1}}}')
    with pytest.raises(AutosegError, match=r"timing\.json is damaged \(cases\.a\.seconds: .*\)\. Remove it"):
        read_timing(tmp_path / TIMING)


def test_a_machine_has_a_name() -> None:
    assert describe_machine("cpu").split(", ")[1].endswith(("1 thread", "threads"))
