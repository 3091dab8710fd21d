"""The harness of the comparison with nnU-Net: whose memory is counted, in which order sides work, what the table says."""

import json
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import nnunet as vs_nnunet_parts
import pytest
from nnunet.pairs import Row, memory, seconds, table, turns
from nnunet.watch import Failed, Watcher, Work, all_processes, do, family, memory_of

linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
GRANDCHILD = """
    import os, subprocess, sys, time
    if len(sys.argv) == 1:
        child = subprocess.Popen([sys.executable, __file__, "child"])
        if os.environ.get("LEAVE"):
            sys.exit()  # the child lives on without its parent
        child.wait()
    elif sys.argv[1] == "child":
        subprocess.run([sys.executable, __file__, "grandchild"])
    else:
        block = bytearray(b"x") * 100_000_000
        time.sleep(1.0)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(GRANDCHILD))
    return path


def test_a_family_is_all_descendants_and_the_session() -> None:
    processes = {1: (0, 1), 10: (1, 10), 11: (10, 10), 12: (11, 12), 13: (1, 10), 14: (13, 14), 20: (1, 20), 21: (20, 20)}
    assert family(10, processes) == {10, 11, 12, 13, 14}


def test_a_family_of_one_that_has_ended_is_its_session() -> None:
    assert family(10, {1: (0, 1), 13: (1, 10)}) == {13}


@linux
def test_memory_of_grandchildren_counts(script: Path, tmp_path: Path) -> None:
    measured = do(Work([sys.executable, str(script)]), tmp_path / "log", watched=True)
    assert measured.peak is not None
    assert 100e6 < measured.peak < 200e6


@linux
def test_memory_of_orphans_counts(script: Path) -> None:
    leader = subprocess.Popen([sys.executable, str(script)], start_new_session=True, env={"LEAVE": "1"})
    watcher = Watcher(leader.pid)
    leader.wait()
    time.sleep(0.8)
    assert 100e6 < watcher.stop() < 200e6


@linux
def test_shared_memory_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "shared.py"
    path.write_text(
        textwrap.dedent(
            """
            import mmap, os, time
            block = mmap.mmap(-1, 100_000_000)  # shared between parent and children
            for index in range(0, 100_000_000, 4096):
                block[index] = 1
            children = [os.fork() for _ in range(1)] + [os.fork()]
            for index in range(0, 100_000_000, 4096):
                block[index]
            time.sleep(1.0)
            """
        )
    )
    measured = do(Work([sys.executable, str(path)]), tmp_path / "log", watched=True)
    assert measured.peak is not None
    assert 100e6 < measured.peak < 200e6  # four processes have it: 400 MB if it counted each time


@linux
def test_what_was_started_ends_with_the_benchmark(script: Path, tmp_path: Path) -> None:
    code = f"""
import signal, sys
from pathlib import Path
from nnunet.watch import Work, do
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
do(Work([sys.executable, {str(script)!r}]), Path({str(tmp_path / "log")!r}))
"""
    benchmark = subprocess.Popen([sys.executable, "-c", code], env={"PYTHONPATH": str(Path(vs_nnunet_parts.__file__).parents[1])})
    deadline = time.monotonic() + 20
    while len(started := family(benchmark.pid, all_processes()) - {benchmark.pid}) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    benchmark.terminate()
    benchmark.wait()
    time.sleep(0.2)
    assert len(started) >= 3
    assert sum(map(memory_of, started)) == 0


@linux
def test_a_process_that_has_ended_has_no_memory() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert memory_of(ended.pid) == 0


def test_time_is_that_of_the_whole_command_or_what_it_tells(tmp_path: Path) -> None:
    assert 0.2 < do(Work([sys.executable, "-c", "import time; time.sleep(0.2)"]), tmp_path / "log").seconds < 5
    told = tmp_path / "told.json"
    code = f"import json; json.dump({{'seconds': 1.5, 'peak': 7}}, open({str(told)!r}, 'w'))"
    measured = do(Work([sys.executable, "-c", code], told=told), tmp_path / "log")
    assert (measured.seconds, measured.peak) == (1.5, 7)


def test_variables_reach_the_command(tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    code = f"import json, os; json.dump({{'seconds': float(os.environ['SECONDS_TOLD'])}}, open({str(told)!r}, 'w'))"
    assert do(Work([sys.executable, "-c", code], {"SECONDS_TOLD": "2.5"}, told), tmp_path / "log").seconds == 2.5


def test_a_failure_says_what_the_command_said(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="no such thing"):
        do(Work([sys.executable, "-c", "raise SystemExit('no such thing')"]), tmp_path / "log")


def test_sides_take_turns() -> None:
    flat = [side for pair in turns(4) for side in pair]
    assert flat == ["theirs", "ours", "ours", "theirs", "theirs", "ours", "ours", "theirs"]


def test_the_ratio_is_the_median_of_the_pairs_and_not_the_ratio_of_medians() -> None:
    row = Row("work", theirs=[10, 20, 90], ours=[5, 5, 30], goal=3, theirs_peak=None, ours_peak=None)
    assert row.ratios == [2, 4, 3]
    assert row.ratio == 3  # of the medians it were 4
    assert row.met


def test_a_stage_may_have_no_goal() -> None:
    row = Row("work", theirs=[10.0], ours=[4.0], goal=None, theirs_peak=None, ours_peak=None)
    assert row.met and "|  |" in table([row]).splitlines()[-1]


def test_a_goal_that_is_missed_is_said() -> None:
    row = Row("work", theirs=[10.0], ours=[4.0], goal=3, theirs_peak=2_500_000_000, ours_peak=None, unit=" a sample", load=1.26)
    assert table([row]).splitlines()[-1] == "| work | 10 s a sample | 4 s a sample | 2.50 (2.50-2.50) | 3 x, missed | 2,500 MB | - | 1.3 |"


def test_pairs_belong_together() -> None:
    with pytest.raises(ValueError):
        _ = Row("work", [1.0, 2.0], [1.0], 1, None, None).ratio


@pytest.mark.parametrize(("value", "text"), [(0.2034, "0.203 s"), (12.34, "12.3 s"), (123.4, "123 s")])
def test_durations(value: float, text: str) -> None:
    assert seconds(value) == text


def test_sizes() -> None:
    assert memory(1_234_567_890) == "1,235 MB"
    assert memory(None) == "-"


def test_the_same_dice_is_told_from_another(tmp_path: Path) -> None:
    from nnunet.same import same_dice
    from nnunet.stage import Different

    metrics = {"(1, 2)": {"Dice": 0.5, "n_ref": 3, "n_pred": 1}, "(2,)": {"Dice": float("nan"), "n_ref": 0, "n_pred": 0}}
    summary = tmp_path / "summary.json"
    summary.write_text(json.dumps({"metric_per_case": [{"prediction_file": "/a/case.nii.gz", "metrics": metrics}]}))
    regions = {"outer": (1, 2), "inner": (2,)}
    assert "2 numbers" in same_dice(summary, {("case", "outer"): 0.5, ("case", "inner"): 1.0}, regions)
    with pytest.raises(Different, match="outer"):
        same_dice(summary, {("case", "outer"): 0.51, ("case", "inner"): 1.0}, regions)
