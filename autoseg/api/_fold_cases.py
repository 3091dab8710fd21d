"""The cases of a fold, kept in its folder: which it is trained on, which it is validated on, and whose these are.

- A fold keeps its cases: one that was trained on must never be validated on.
- Patients are kept where several cases are one patient's (slices, scans of several days, copies of a picture): intervals draw patients.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from autoseg.data.dataset import Case
from autoseg.errors import AutosegError
from autoseg.files import read_json, write_json

CASES = "cases.json"


@dataclass(frozen=True)
class FoldCases:
    """What `cases.json` says.

    Attributes
    ----------
    training, validation : names of cases, sorted
    patients : case to validate on -> its patient, where that is not the case itself; None: an earlier version did not keep it
    """

    training: tuple[str, ...]
    validation: tuple[str, ...]
    patients: Mapping[str, str] | None


def patients_of(cases: Iterable[Case]) -> dict[str, str]:
    """Case -> its patient, where that is not the case itself."""
    return {case.name: case.group for case in cases if case.group != case.name}


def keep_cases(folder: Path, training: Iterable[str], validation: Iterable[str], cases: Iterable[Case]) -> None:
    """Write the cases of a fold, or make sure that they are those it has; patients that an earlier version did not keep are added.

    Parameters
    ----------
    folder : of the fold
    training, validation : names of its cases
    cases : all of the dataset

    Raises
    ------
    AutosegError
        the fold has others
    """
    mine = {"training": sorted(training), "validation": sorted(validation)}
    shared = patients_of(cases)
    patients = {name: shared[name] for name in mine["validation"] if name in shared}
    path = folder / CASES
    before = read_json(path) if path.is_file() else None
    if path.is_file() and (not isinstance(before, dict) or {key: before.get(key) for key in mine} != mine):
        raise AutosegError(
            f"The cases of this fold changed since the run in {folder} began (its own are in {CASES} there)."
            " Put the folds back as they were, or start anew with --restart."
        )
    content = mine | {"patients": patients}
    if before != content:
        write_json(path, content)


def read_cases(folder: Path) -> FoldCases | None:
    """The cases of a fold; None where its folder does not say them.

    Raises
    ------
    AutosegError
        the file cannot be read
    """
    content = read_json(folder / CASES) if (folder / CASES).is_file() else None
    record = content if isinstance(content, dict) else {}
    training, validation, patients = record.get("training"), record.get("validation"), record.get("patients")
    if not isinstance(training, list) or not isinstance(validation, list):
        return None
    told = {str(case): str(patient) for case, patient in patients.items()} if isinstance(patients, dict) else None
    return FoldCases(_names(training), _names(validation), told)


def _names(listed: list[object]) -> tuple[str, ...]:
    return tuple(sorted(str(name) for name in listed))
