"""Rows survive restarts; pictures cost what they may."""

import csv
import math
import time
from pathlib import Path

import pytest

from autoseg.errors import AutosegError
from autoseg.reporting.curves import draw_progress
from autoseg.training.run_log import FIXED, LOG, PICTURE, RunLog, read_end


def row(epoch: int, step: int | None = None, **values: float) -> dict[str, float]:
    fixed = dict.fromkeys(FIXED, 0.5)
    return fixed | {"epoch": float(epoch), "step": float(step or 10 * epoch)} | values


def open_log(folder: Path, *, up_to_step: int = 10**9, draw: object = None) -> RunLog:
    return RunLog(folder, ("dice_edema", "dice_core"), up_to_step=up_to_step, draw=draw)


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / LOG).open(newline="") as file:
        return list(csv.DictReader(file))


class Drawer:
    """Draws by sleeping; knows how often it was asked and how many rows it saw."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.seen: list[int] = []

    def __call__(self, log: Path, target: Path) -> None:
        self.seen.append(len(rows_of(log.parent)))
        time.sleep(self.seconds)
        target.write_text("picture")


def test_columns_and_values(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.append(row(1, dice_edema=0.25, learning_rate=1.23456789e-5, pseudo_dice=math.nan))
    assert (tmp_path / LOG).read_text().splitlines()[0] == ",".join(FIXED) + ",dice_edema,dice_core"
    (first,) = rows_of(tmp_path)
    assert first["epoch"] == "1" and first["step"] == "10"
    assert first["dice_edema"] == "0.25" and first["dice_core"] == "" and first["pseudo_dice"] == ""
    assert float(first["learning_rate"]) == pytest.approx(1.23457e-5)


def test_the_log_can_be_drawn(tmp_path: Path) -> None:
    log = open_log(tmp_path, draw=draw_progress)
    log.append(row(1, validation_loss=math.nan))
    log.close()
    assert (tmp_path / PICTURE).read_bytes().startswith(b"\x89PNG")


def test_infinity_can_be_written_and_read_back(tmp_path: Path) -> None:
    open_log(tmp_path).append(row(1, train_loss=math.inf))
    open_log(tmp_path).append(row(2))
    assert [float(one["train_loss"]) for one in rows_of(tmp_path)] == [math.inf, 0.5]


def test_rows_survive_and_those_after_the_checkpoint_do_not(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    for epoch in range(1, 5):
        log.append(row(epoch, dice_core=0.1 * epoch))
    before = rows_of(tmp_path)
    again = open_log(tmp_path, up_to_step=20)
    again.append(row(3, dice_core=0.9))
    assert rows_of(tmp_path)[:2] == before[:2]
    assert [(one["epoch"], one["dice_core"]) for one in rows_of(tmp_path)[2:]] == [("3", "0.9")]
    open_log(tmp_path, up_to_step=0).append(row(1))
    assert len(rows_of(tmp_path)) == 1


def test_a_whole_epoch_takes_the_place_of_its_part(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.append(row(1, 10))
    log.append(row(2, 13, train_loss=2))
    again = open_log(tmp_path, up_to_step=13)
    again.append(row(2, 20, train_loss=3))
    assert [(one["epoch"], one["step"], one["train_loss"]) for one in rows_of(tmp_path)] == [("1", "10", "0.5"), ("2", "20", "3")]


@pytest.mark.parametrize("text", ["epoch,step\n1,ten\n", "something else\n1\n", "epoch,step\n1,2,3,4\n", "epoch,step\n1,\n"])
def test_a_file_that_is_no_log_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / LOG).write_text(text)
    with pytest.raises(AutosegError, match=LOG):
        open_log(tmp_path)


def test_the_end_tells_steps_and_seconds(tmp_path: Path) -> None:
    assert read_end(tmp_path) is None
    log = open_log(tmp_path)
    log.append(row(1, elapsed_s=9.5))
    log.append(row(2, elapsed_s=17.25))
    assert read_end(tmp_path) == (20, 17.25)
    (tmp_path / LOG).write_text("epoch,step\n1,10\n")
    with pytest.raises(AutosegError, match=r"log\.csv does not say how long"):
        read_end(tmp_path)


def test_drawing_does_not_hold_up_and_is_rare(tmp_path: Path) -> None:
    drawer = Drawer(0.05)
    log = open_log(tmp_path, draw=drawer)
    start = time.monotonic()
    for epoch in range(1, 31):
        log.append(row(epoch))
        time.sleep(0.005)
    assert len(drawer.seen) == 1  # the next one only after 5 s
    assert time.monotonic() - start < 1.5
    log.close()
    assert drawer.seen[-1] == 30 and (tmp_path / PICTURE).is_file()


def test_a_quick_picture_is_drawn_again_when_it_is_worth_it(tmp_path: Path) -> None:
    drawer = Drawer(0.001)
    log = open_log(tmp_path, draw=drawer)
    for epoch in range(1, 16):
        log.append(row(epoch))
        time.sleep(0.05)
    assert 2 <= len(drawer.seen) <= 6
    log.close()


def test_closing_draws_the_last_state_or_nothing(tmp_path: Path) -> None:
    drawer = Drawer(0)
    open_log(tmp_path, draw=drawer).close()
    assert drawer.seen == []
    log = open_log(tmp_path, draw=drawer)
    log.append(row(1))
    log.close()
    assert drawer.seen[-1] == 1
    open_log(tmp_path, draw=None).close()
