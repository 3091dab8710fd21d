"""`classification.csv`: the probabilities of many cases' classes, made in one go, finished cases passed over.

- A row for each case, whose `slice` is empty, after one for each of its slices. `decision` is the most probable class, of equals the first.
- What made a folder's table is written beside it (`predictions.json`); a folder that holds predictions of another model is refused.
- A case counts as finished when its row is there and the table is newer than its images. The table is written every few seconds and at the end.
"""

import csv
import io
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from autoseg.data.dataset import Case
from autoseg.errors import AutosegError, counted
from autoseg.files import write_text
from autoseg.inference.classes import DIGITS, Classified, ClassPredictor
from autoseg.inference.record import RECORD
from autoseg.inference.run import Source, claim, record_of
from autoseg.preprocessing.case import ReadyCase
from autoseg.preprocessing.source import naming, read_scan
from autoseg.progress import Progress, silent

TABLE = "classification.csv"
EVERY = 5.0  # seconds between writing the table


def classify_cases(
    predictor: ClassPredictor,
    cases: Sequence[Case],
    output: Path,
    source: Source,
    *,
    overwrite: bool = False,
    progress: Progress = silent,
    stage: str = "predict",
) -> tuple[dict[str, Classified], tuple[str, ...]]:
    """Classify cases into `classification.csv` in a folder.

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
    claim(output, record_of(source), [path], overwrite)
    known = path.is_file() and not overwrite and path.stat().st_mtime_ns >= (output / RECORD).stat().st_mtime_ns
    earlier = read_table(path, classes) if known else {}
    written = path.stat().st_mtime_ns if known else 0
    done = {case.name: earlier[case.name] for case in cases if case.name in earlier and not _is_newer(case, written)}
    skipped, waiting = tuple(done), [case for case in cases if case.name not in done]
    others = {name: one for name, one in earlier.items() if name not in {case.name for case in cases}}
    progress(stage, 0, 1000 * len(waiting), f"{len(skipped)} of {counted(len(cases), 'case')} were there already" if skipped else "")

    def save() -> None:
        found = {case.name: done[case.name] for case in cases if case.name in done} | others
        write_text(path, table_text(found, classes))

    last = time.monotonic()
    with ThreadPoolExecutor(1, "reader") as reader:
        upcoming = reader.submit(_read, waiting[0], predictor) if waiting else None
        try:
            for index, case in enumerate(waiting):
                if upcoming is None:
                    break
                ready = upcoming.result()
                upcoming = reader.submit(_read, waiting[index + 1], predictor) if index + 1 < len(waiting) else None
                with naming(case):
                    done[case.name] = predictor.classify(ready)
                if time.monotonic() - last > EVERY:
                    save()
                    last = time.monotonic()
                progress(stage, 1000 * (index + 1), 1000 * len(waiting), f"case {index + 1} of {len(waiting)}: {case.name}")
        finally:
            save()
    return {case.name: done[case.name] for case in cases}, skipped


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


def _is_newer(case: Case, written: int) -> bool:
    return any(path.is_file() and path.stat().st_mtime_ns > written for path in case.scans)


def _read(case: Case, predictor: ClassPredictor) -> ReadyCase:
    with naming(case):
        return predictor.prepare(read_scan(case, predictor.plan))
