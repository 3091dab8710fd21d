"""`classification.csv`: the probabilities of many cases' classes, made in one go, finished cases passed over.

- A row for each case, whose `slice` is empty, after one for each of its slices. `decision` is the most probable class, of equals the first.
- What made a folder's table is written beside it (`predictions.json`); a folder that holds predictions of another model is refused.
- A case counts as finished when its row is there and its images are those that it was made from: `classification.json` beside the table says when
  each of them was last changed. Both are written every few seconds and at the end, the table first: of what a kill leaves, nothing old looks new.
"""

import csv
import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from autoseg.data.dataset import Case
from autoseg.errors import AutosegError
from autoseg.files import read_record, write_json, write_text
from autoseg.inference.classes import DIGITS, Classified, ClassPredictor
from autoseg.inference.in_turn import Report, in_turn, read_ready
from autoseg.inference.record import RECORD
from autoseg.inference.run import Source, claim, record_of
from autoseg.preprocessing.case import ReadyCase
from autoseg.progress import Progress, silent

TABLE, IMAGES = "classification.csv", "classification.json"
EVERY = 5.0  # seconds between two writings of the table

Times = tuple[int, ...]  # when the images of a case were last changed, in nanoseconds


def classify_cases(
    predictor: ClassPredictor,
    cases: Sequence[Case],
    output: Path,
    source: Source,
    *,
    rules: Sequence[Mapping[str, object]] = (),
    overwrite: bool = False,
    progress: Progress = silent,
    stage: str = "predict",
) -> tuple[dict[str, Classified], tuple[str, ...]]:
    """Classify cases into `classification.csv` in a folder.

    Parameters
    ----------
    predictor, cases, output, source, overwrite : as for `predict_cases`
    rules : of post-processing, where segmentations lie in the same folder
    progress, stage : told how far it is

    Returns
    -------
    what the networks say of each case, and the cases that had been there already

    Raises
    ------
    AutosegError
        a case cannot be read or classified (names it; what was finished before stays), the folder holds another model's predictions or a table of
        something else
    """
    path, classes = output / TABLE, predictor.block.classes
    claim(output, record_of(source, rules), [path, output / IMAGES], overwrite)
    known = not overwrite and path.is_file() and path.stat().st_mtime_ns >= (output / RECORD).stat().st_mtime_ns
    found = read_table(path, classes) if known else {}
    times = _read_times(output / IMAGES) if known else {}
    waiting = [case for case in cases if case.name not in found or times.get(case.name) != _times_of(case)]
    for case in waiting:
        found.pop(case.name, None)
    written = time.monotonic()

    def read(case: Case) -> tuple[ReadyCase, Times]:
        before = _times_of(case)  # an image that changes while it is read is another one
        return read_ready(case, predictor), before

    def classify(ready: tuple[ReadyCase, Times], report: Report) -> tuple[Classified, Times]:
        return predictor.classify(ready[0], progress=report), ready[1]

    def write(case: Case, made: tuple[Classified, Times]) -> None:
        nonlocal written
        found[case.name], times[case.name] = made
        if time.monotonic() - written > EVERY:
            save()
            written = time.monotonic()

    def save() -> None:
        asked = {case.name: found[case.name] for case in cases if case.name in found}
        write_text(path, table_text(asked | {name: one for name, one in found.items() if name not in asked}, classes))
        write_json(output / IMAGES, {name: list(times[name]) for name in found if name in times})

    try:
        skipped = in_turn(cases, waiting, read, classify, write, progress, stage)
    finally:
        save()
    return {case.name: found[case.name] for case in cases}, skipped


def table_text(found: Mapping[str, Classified], classes: Sequence[str], truth: Mapping[str, Mapping[int | None, str]] | None = None) -> str:
    """The table as it is written; with `truth`, case -> slice, or None for the case -> its class, also a column of what is right."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_columns(classes), *(["truth"] if truth is not None else [])])
    for case, one in found.items():
        for z, probabilities in (*one.slices.items(), (None, one.case)):
            known = [truth.get(case, {}).get(z, "")] if truth is not None else []
            decision = classes[int(np.argmax(probabilities))]
            writer.writerow([case, "" if z is None else z, *(f"{p:.{DIGITS}f}" for p in probabilities), decision, *known])
    return text.getvalue()


def read_table(path: Path, classes: Sequence[str]) -> dict[str, Classified]:
    """What `table_text` wrote.

    Raises
    ------
    AutosegError
        the file is damaged, or of other classes
    """
    try:
        header, *rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines())) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AutosegError(f"{path} cannot be read: {error}. Remove it; its cases are classified again.") from error
    columns = _columns(classes)
    if header != columns or any(len(row) != len(columns) for row in rows):
        raise AutosegError(f"{path} is not a table of these classes: it lacks the columns {', '.join(columns)}. Move it away.")
    found: dict[str, Classified] = {}
    slices: dict[int, tuple[float, ...]] = {}
    try:
        for case, z, *numbers, _ in rows:
            probabilities = tuple(map(float, numbers))
            if z:
                slices[int(z)] = probabilities
            else:
                found[case], slices = Classified(probabilities, slices), {}
    except ValueError as error:
        raise AutosegError(f"{path} holds something else than numbers: {error}. Remove it; its cases are classified again.") from error
    return found


def _columns(classes: Sequence[str]) -> list[str]:
    return ["case", "slice", *(f"p_{name}" for name in classes), "decision"]


def _times_of(case: Case) -> Times:
    return tuple(path.stat().st_mtime_ns for path in case.scans if path.is_file())  # a missing image is the reader's to name


def _read_times(path: Path) -> dict[str, Times]:
    """Of each case; none where nobody knows."""
    content = read_record(path) if path.is_file() else {}
    return {str(case): tuple(times) for case, times in content.items() if isinstance(times, list)}
