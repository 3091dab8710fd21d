"""The contract of a stage, and how it is carried out.

- First each side does its work once, watched: files are warm after that, peaks of memory are known, and the results are compared. Where nnU-Net can
  be called in several ways, each is tried, and the fastest is what counts.
- Then the pairs, by turns, unwatched.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet.ground import Ground
from nnunet.pairs import Row, turns
from nnunet.watch import Measured, Work, do

Maker = Callable[[Ground, Path], Work]
"""Makes the work of one side; the folder, which does not exist yet, is for what it writes."""
Check = Callable[[Ground, Path, Path], list[str]]
"""Compares what theirs and ours wrote: remarks for the report, or `Different`."""


class Different(Exception):
    """The two did not do the same work; the text says where."""


@dataclass(frozen=True)
class Stage:
    """One line of the table.

    Attributes
    ----------
    name : on the command line
    title : in the table
    goal : the ratio to reach, or None
    theirs : ways to call nnU-Net, described -> maker
    ours : the same work with ours
    check : of what both wrote
    unit : what the seconds are of
    times : how often the work is repeated in one measurement; its mean counts
    """

    name: str
    title: str
    goal: float | None
    theirs: Mapping[str, Maker]
    ours: Maker
    check: Check
    unit: str = ""
    times: int = 1


def carry_out(stage: Stage, ground: Ground, pairs: int, say: Callable[[str], None] = print) -> Row:
    """Rehearse, compare, measure.

    Raises
    ------
    Different
        the two did not do the same work
    Failed
        a command ended with an error
    """
    home = ground.root / "runs" / stage.name
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    say(f"{stage.name}: {stage.title}")
    tried = {way: _once(stage, ground, maker, home / f"theirs_{index}", watched=True) for index, (way, maker) in enumerate(stage.theirs.items())}
    ours = _once(stage, ground, stage.ours, home / "ours", watched=True)
    way = min(tried, key=lambda one: tried[one].seconds)
    for one, measured in tried.items():
        say(f"  rehearsal, theirs{f' ({one})' if one else ''}: {measured.seconds:.2f} s")
    say(f"  rehearsal, ours: {ours.seconds:.2f} s")
    remarks = stage.check(ground, home / f"theirs_{list(tried).index(way)}", home / "ours")
    for remark in remarks:
        say(f"  {remark}")
    makers = {"theirs": stage.theirs[way], "ours": stage.ours}
    seconds: dict[str, list[float]] = {"theirs": [], "ours": []}
    load = os.getloadavg()[0]
    for number, pair in enumerate(turns(pairs)):
        for side in pair:
            seconds[side].append(_once(stage, ground, makers[side], home / f"{side}_run").seconds)
            shutil.rmtree(home / f"{side}_run", ignore_errors=True)
            load = max(load, os.getloadavg()[0])
        say(f"  pair {number + 1}: theirs {seconds['theirs'][-1]:.3f} s, ours {seconds['ours'][-1]:.3f} s")
    if way:
        remarks = [f"nnU-Net called {way}", *remarks]
    shutil.rmtree(home)
    return Row(stage.title, seconds["theirs"], seconds["ours"], stage.goal, tried[way].peak, ours.peak, stage.unit, remarks, load)


def _once(stage: Stage, ground: Ground, maker: Maker, folder: Path, *, watched: bool = False) -> Measured:
    work = maker(ground, folder)
    log = ground.root / "logs" / f"{stage.name}_{folder.name}.log"
    measured = [do(work, log, watched=watched) for _ in range(stage.times)]
    peaks = [one.peak for one in measured if one.peak is not None]
    return Measured(sum(one.seconds for one in measured) / len(measured), max(peaks, default=None))
