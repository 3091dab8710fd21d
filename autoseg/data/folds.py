"""Which cases a fold trains on and which it validates on.

- Cases of one patient stay together: a network that has seen a patient's first scan must not be judged on the second.
- Five folds where there are five patients, fewer where there are fewer; two patients are enough.
- A dataset that comes divided has one fold, its own, unless another number is asked for. It is left as it is: the check warns of patients on
  both sides.
- Kept as JSON that a person can edit; what was edited is checked before it is used.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from autoseg.data.dataset import Case
from autoseg.errors import AutosegError
from autoseg.files import read_json, write_json


class Folds(BaseModel):
    """A cross-validation.

    Attributes
    ----------
    validation : one entry a fold: the cases it validates on; it trains on all others
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    validation: tuple[tuple[str, ...], ...]


def make_folds(cases: Sequence[Case], *, seed: int, count: int | None = None) -> Folds:
    """The division that the dataset came with, as it is; else cases at random in folds of nearly the same number of cases, groups never parted.

    Parameters
    ----------
    cases : in any order; the folds do not depend on it
    seed : the same seed gives the same folds
    count : at least 2; where there are fewer groups, there are as many folds as groups. None: as the dataset is divided, else 5

    Raises
    ------
    AutosegError
        there are fewer than two groups, or `count` is below 2
    """
    given = tuple(sorted(case.name for case in cases if case.part == "validation"))
    if count is None and given:
        return Folds(validation=(given,))
    count = 5 if count is None else count
    if count < 2:
        raise AutosegError(f"A cross-validation needs at least 2 folds, not {count}. To train on all cases, choose fold 'all'.")
    groups: dict[str, list[str]] = {}
    for case in sorted(cases, key=lambda case: case.name):
        groups.setdefault(case.group, []).append(case.name)
    if len(groups) < 2:
        raise AutosegError(
            f"{len(cases)} case(s) of {len(groups)} patient(s) cannot be divided into training and validation: at least 2 patients are needed."
            " Add cases of another patient, or train with fold 'all', without a validation."
        )
    names = sorted(groups)
    shuffled = [names[index] for index in np.random.default_rng(seed).permutation(len(names))]
    folds: list[list[str]] = [[] for _ in range(min(count, len(groups)))]
    # The largest groups first, each into the emptiest fold: the sizes end as equal as groups allow.
    for name in sorted(shuffled, key=lambda name: -len(groups[name])):
        min(folds, key=len).extend(groups[name])
    return Folds(validation=tuple(tuple(sorted(fold)) for fold in folds))


def split(folds: Folds, fold: int | Literal["all"], case_names: Collection[str]) -> tuple[list[str], list[str]]:
    """The cases to train on and those to validate on, each sorted.

    Parameters
    ----------
    folds : see `make_folds`
    fold : 0..number of folds - 1, or "all": train on every case, validate on none
    case_names : every case there is

    Raises
    ------
    AutosegError
        there is no such fold, or the folds and `case_names` do not hold the same cases
    """
    if fold == "all":
        return sorted(case_names), []
    if not 0 <= fold < len(folds.validation):
        raise AutosegError(f"There is no fold {fold}: choose one of 0 to {len(folds.validation) - 1}, or 'all'.")
    if problems := _disagreements(folds, case_names):
        raise AutosegError(_listed("The folds do not fit the cases", problems))
    validation = set(folds.validation[fold])
    return sorted(set(case_names) - validation), sorted(validation)


def read_folds(path: Path, case_names: Collection[str] | None = None) -> Folds:
    """Read folds and check them.

    Parameters
    ----------
    path : a JSON file, see `write_folds`
    case_names : every case there is; without it only the file itself is checked. Whether a patient's cases were parted by hand is not checked.

    Raises
    ------
    AutosegError
        the file is missing, is not JSON, or holds something else than folds; a case is in two folds, is unknown or is missing; a fold
        has no case to validate on or none to train on. The text names the file and lists every such case.
    """
    try:
        folds = Folds.model_validate(read_json(path))
    except ValidationError as error:
        problems = [f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}" for problem in error.errors()]
        shape = 'expected is {"validation": [["case", ...], ["case", ...]]}: one list of case names for each fold'
        raise AutosegError(_listed(f"{path} does not hold folds", [*problems, shape])) from None
    problems = _defects(folds)
    if case_names is not None:
        problems += _disagreements(folds, case_names)
    if problems:
        raise AutosegError(_listed(f"{path} does not hold valid folds", problems))
    return folds


def write_folds(folds: Folds, path: Path) -> None:
    """Write `{"validation": [[case, ...], ...]}`, a case a line, whole or not at all."""
    write_json(path, folds.model_dump(mode="json"))


def _defects(folds: Folds) -> list[str]:
    """What is wrong with the folds whatever the cases are."""
    times = Counter(name for fold in folds.validation for name in fold)
    problems = [
        f"case {name} is listed {count} times (fold {_places(folds, name)}): keep it in one fold, once" for name, count in times.items() if count > 1
    ]
    for index, fold in enumerate(folds.validation):
        if not fold:
            problems.append(f"fold {index} has no case to validate on: add one or remove the empty list")
        elif set(fold) == set(times):
            problems.append(f"fold {index} has no case to train on: all {len(times)} are in its validation; move some to another fold")
    if not folds.validation:
        problems.append("there is no fold: delete the file to have folds made again")
    return problems


def _disagreements(folds: Folds, case_names: Collection[str]) -> list[str]:
    """Cases that only the folds or only the dataset know."""
    listed = {name for fold in folds.validation for name in fold}
    known = set(case_names)
    unknown = [f"case {name} in fold {_places(folds, name)} does not exist: correct its name or remove it" for name in sorted(listed - known)]
    missing = [f"case {name} is in no fold: add it to one, or delete the file of folds to have new folds made" for name in sorted(known - listed)]
    return unknown + missing


def _places(folds: Folds, name: str) -> str:
    return ", ".join(str(index) for index, fold in enumerate(folds.validation) if name in fold)


def _listed(title: str, problems: list[str]) -> str:
    return "\n".join([f"{title}:", *(f"  {problem}" for problem in problems)])
