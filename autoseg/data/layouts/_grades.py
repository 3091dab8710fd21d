"""The grade of BraTS's cases, HGG or LGG: from `name_mapping.csv`, as the releases of 2019 and 2020 have it, and from folders HGG/ and LGG/.

- A row of the table names a case in one of its columns (2020's lists the same patient's names of 2017 to 2020), and its grade under `Grade`; the
  header may be spelled in any letter case.
- What is missing is said and stops nothing: only who wants to classify grades needs them.
"""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from autoseg.data.dataset import Finding
from autoseg.data.layouts._brats_folder import CaseFolder
from autoseg.data.layouts._folder import entries
from autoseg.errors import counted, listing

GRADE = "grade"
GRADES = ("LGG", "HGG")
TABLE = "name_mapping.csv"
_LEVELS = 3
_MEND = "correct the table or move the case"


def grades_of(cases: Mapping[str, CaseFolder], root: Path) -> tuple[dict[str, str], list[str], list[Finding]]:
    """The grade of each case that has one.

    Parameters
    ----------
    cases : name to folder
    root : of the dataset; tables are looked for in it and up to two levels below

    Returns
    -------
    name to "HGG" or "LGG", notes for the reader, and what is wrong
    """
    notes: list[str] = []
    problems: list[Finding] = []
    listed: dict[str, tuple[str, Path | None]] = {}
    for path in _tables(root, _LEVELS):
        rows, fault = _read(path)
        if fault:
            notes.append(f"{path.name}: {fault}.")
        for name, said in rows:
            before = listed.setdefault(name, (said, path))[0]
            if before != said and name in cases:
                problems.append(Finding("warning", name, path, f"listed as {before} and as {said}; {before} is taken", _MEND))
    grades: dict[str, str] = {}
    for name, one in cases.items():
        by_folder = next((part.upper() for part in one.folder.relative_to(root).parts[:-1] if part.upper() in GRADES), None)
        by_table, table = listed.get(name, ("", None))
        if by_folder and by_table and by_folder != by_table:
            problems.append(Finding("warning", name, table, f"lies in {by_folder}/, and the table says {by_table}; the table is taken", _MEND))
        if grade := by_table or by_folder:
            grades[name] = grade
    if grades and (without := sorted(cases.keys() - grades.keys())):
        notes.append(f"{counted(len(without), 'case')} without a grade: {listing(without)}. Classifying grades passes over them.")
    return grades, notes, problems


def _tables(folder: Path, levels: int) -> Iterator[Path]:
    for entry in entries(folder):
        if entry.is_file() and entry.name.lower() == TABLE:
            yield entry
        elif levels > 1 and entry.is_dir():
            yield from _tables(entry, levels - 1)


def _read(path: Path) -> tuple[list[tuple[str, str]], str]:
    """Name and grade of every name in the table, and why there are none, in words."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = list(csv.reader(file)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        return [], f"cannot be read ({error}), so it gives no grades"
    columns = [name.strip().lower() for name in header]
    if GRADE not in columns:
        return [], "" if not columns else "no column Grade, so it gives no grades"
    place = columns.index(GRADE)
    graded = [(row, row[place].strip().upper()) for row in rows if len(row) > place]
    unknown = sorted({grade for _, grade in graded if grade not in (*GRADES, "", "NA")})
    named = [(cell.strip(), grade) for row, grade in graded if grade in GRADES for index, cell in enumerate(row) if index != place]
    return named, f"some grades are neither HGG nor LGG ({listing(unknown)})" if unknown else ""
