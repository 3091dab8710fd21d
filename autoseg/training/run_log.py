"""The run's log: one row an epoch in `log.csv`, drawn as `progress.png`.

- The file is rewritten whole after each epoch, so that a killed run leaves a log that ends at an epoch.
- A run that ended in mid-epoch has a row for that part; where the run is lengthened, the whole epoch's row takes its place.
- The picture is drawn in a thread and never more often than its own cost is worth: at most 1 % of the time goes into it.
"""

import csv
import io
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from autoseg.errors import AutosegError
from autoseg.files import write_text

LOG, PICTURE = "log.csv", "progress.png"
FIXED = ("epoch", "step", "elapsed_s", "epoch_s", "learning_rate", "train_loss", "validation_loss", "pseudo_dice")
SHARE = 0.01

Row = dict[str, float]


class RunLog:
    """Rows of one run.

    Parameters
    ----------
    folder : where `log.csv` and `progress.png` lie
    scores : columns of the objective's scores, such as `dice_<class>` or `psnr`
    up_to_step : rows of later steps, left by a run that was killed after its last checkpoint, are dropped
    draw : makes the picture from the log; None draws nothing
    """

    def __init__(self, folder: Path, scores: tuple[str, ...], *, up_to_step: int, draw: Callable[[Path, Path], None] | None) -> None:
        self._folder = folder
        self._columns = (*FIXED, *scores)
        self._rows = [row for row in _read(folder / LOG) if row["step"] <= up_to_step]
        self._draw = draw
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="progress")
        self._drawing: Future[float] | None = None
        self._next_drawing = 0.0

    def append(self, row: Row) -> None:
        """Add an epoch, write the log, and draw it where it is time."""
        self._rows = [earlier for earlier in self._rows if earlier["epoch"] < row["epoch"]] + [row]
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _text(value) for key, value in row.items()} for row in self._rows)
        write_text(self._folder / LOG, text.getvalue())
        if self._drawing is not None and self._drawing.done():
            self._next_drawing = time.monotonic() + self._drawing.result() / SHARE
            self._drawing = None
        if self._draw and self._drawing is None and time.monotonic() >= self._next_drawing:
            self._drawing = self._pool.submit(self._picture)

    def close(self) -> None:
        """Draw the last state and wait for it."""
        if self._drawing is not None:
            self._drawing.result()
        if self._draw and self._rows:
            self._picture()
        self._pool.shutdown()

    def _picture(self) -> float:
        start = time.monotonic()
        if self._draw:
            self._draw(self._folder / LOG, self._folder / PICTURE)
        return time.monotonic() - start


def read_end(folder: Path) -> tuple[int, float] | None:
    """Steps and seconds of the training that lies in a model's folder, over all sittings; None where it has no log.

    Raises
    ------
    AutosegError
        the log is damaged
    """
    rows = _read(folder / LOG)
    if not rows:
        return None
    if "elapsed_s" not in rows[-1]:
        raise AutosegError(f"{folder / LOG} does not say how long the training took. Put it back, or start anew with --restart.")
    return int(rows[-1]["step"]), rows[-1]["elapsed_s"]


def _read(path: Path) -> list[Row]:
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
        return [row | {"epoch": row["epoch"], "step": row["step"]} for row in rows]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise AutosegError(f"{path} is not a log of a training any more ({error}). Put it back, or start anew with --restart.") from error


def _text(value: float) -> str:
    if math.isnan(value):
        return ""
    if math.isinf(value):
        return str(value)
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else f"{value:.6g}"
