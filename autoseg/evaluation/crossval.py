"""The folds of a configuration seen as one: every case judged once, by a network that did not learn from it.

- The mean of a structure is over all its cases, each with the same weight whichever fold it is in. The mean over classes is the mean of their
  means (of the regions' where there is no class), as in an `Evaluation`.
- Two spreads are told apart: over cases (how patients differ) and over the folds' means (how trainings differ).
- The interval is a percentile bootstrap over patients, all cases of a patient together: slices of one patient are no independent examples. It is
  seeded, so that it is the same every time, and drawn once for all structures and metrics.
- A case without a number (a structure that is empty on both sides, under some schemes) is passed over and counted.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoseg.errors import AutosegError, counted, listing
from autoseg.evaluation.result import MM, unit_in

OVER_CLASSES, OVER_REGIONS = "mean over classes", "mean over regions"
METRICS = ("dice", "hd95")
SEED, DRAWS = 0, 5000
FEW = 10  # patients below which a bootstrap says little
UNTOLD = "Nobody says which cases are of one patient, so each counts as a patient: the same autoseg train command notes it."
_CHUNK = 250  # resamples held at once
_NEEDED = ("case", "target", "region", "scheme", "dice")
_Ends = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class CrossValidation:
    """What the folds of a configuration say together.

    Attributes
    ----------
    scheme : rules for empty structures that all of it was judged by
    hd95_convention : what HD95 means, or "" where it was not measured
    folds : fold -> number of cases, in the order of the folds
    summary : a row for each metric and structure, `OVER_CLASSES` first, or `OVER_REGIONS` where there is no class; columns target, region, metric,
        mean, std (over cases), low, high (of the 95 % interval), cases (with a number), without (a number), fold_std (over the folds' means),
        and fold_<k> (the mean of each fold)
    cases : a row for each case; columns fold, case, dice (mean over its classes)
    patients : how many patients the cases are of
    length_unit : of distances and volumes, "mm", "pixels" or "mm or pixels"
    """

    scheme: str
    hd95_convention: str
    folds: dict[str, int]
    summary: pd.DataFrame
    cases: pd.DataFrame
    patients: int
    length_unit: str = MM

    def row(self, target: str | None = None, metric: str = "dice") -> "pd.Series[float]":
        """The row of a structure and metric; by default that of the mean over all structures.

        Raises
        ------
        AutosegError
            there is none
        """
        target = self.summary["target"].iloc[0] if target is None else target
        found = self.summary[(self.summary["target"] == target) & (self.summary["metric"] == metric)]
        if found.empty:
            raise AutosegError(
                f"There is no {metric} of '{target}'. There are {', '.join(self.summary['metric'] + ' of ' + self.summary['target'])}."
            )
        return found.iloc[0]


def read_metrics(path: Path, metrics: Sequence[str] = METRICS) -> pd.DataFrame:
    """The table of an evaluation, as `Evaluation.write` leaves it.

    Parameters
    ----------
    path : `metrics.csv`
    metrics : columns that must hold numbers, where they are there

    Raises
    ------
    AutosegError
        the file is missing, is no table, lacks a column or every row, or holds something else where a number belongs
    """
    try:
        table = pd.read_csv(path, dtype={"case": str, "target": str, "scheme": str}, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:  # pandas' own errors are kinds of ValueError
        raise AutosegError(f"{path} cannot be read: {error}. Validate the fold again: the same autoseg train command does it.") from error
    if missing := [name for name in _NEEDED if name not in table.columns]:
        raise AutosegError(f"{path} lacks the columns {', '.join(missing)}. Is it the table of an evaluation? Remove it and validate the fold again.")
    if table.empty:
        raise AutosegError(f"{path} holds no case. Remove it and validate the fold again.")
    for name in [name for name in metrics if name in table]:
        strange = table[name].notna() & pd.to_numeric(table[name], errors="coerce").isna()
        _refuse(path, table[strange], name, "is no number")
    _refuse(path, table[~table["region"].astype(str).isin(["True", "False"])], "region", "is neither True nor False")
    return table


def cross_validate(
    tables: Mapping[str, pd.DataFrame],
    *,
    patients: Mapping[str, str] | None = None,
    metrics: Sequence[str] = METRICS,
    seed: int = SEED,
    draws: int = DRAWS,
) -> CrossValidation:
    """Put the validations of several folds together.

    Parameters
    ----------
    tables : fold -> its table, at least one; columns case, target, region, scheme, dice, and where distances were measured hd95, hd95_convention
    patients : case -> its patient; one that is not named is a patient of its own
    metrics : columns to put together, where they are there
    seed, draws : of the bootstrap

    Raises
    ------
    AutosegError
        folds were judged by different schemes or conventions, on different structures, or on one case twice
    """
    together = pd.concat([table.assign(fold=fold) for fold, table in tables.items()], ignore_index=True)
    scheme = _only(tables, "scheme", "schemes")
    convention = _only(tables, "hd95_convention", "conventions of HD95") if "hd95" in together else ""
    _require_once(tables)
    order = list(dict.fromkeys(together["target"]))
    regions = {str(target): bool(region) for target, region in zip(together["target"], together["region"], strict=True)}
    leading = [target for target in order if not regions[target]] or order
    rows, means = [], pd.DataFrame()
    blocks = {
        name: together.pivot(index=["fold", "case"], columns="target", values=name)[order].astype(float) for name in metrics if name in together
    }
    intervals = _intervals(blocks, leading, patients or {}, seed, draws)
    for metric, values in blocks.items():
        rows += _rows(metric, values, leading, regions, list(tables), intervals[metric])
        means = values[leading].mean(axis=1).rename("dice").reset_index() if metric == "dice" else means
    counts = {fold: int(table["case"].nunique()) for fold, table in tables.items()}
    number = len(set(patients_named(together["case"].unique(), patients or {})))
    return CrossValidation(scheme, convention, counts, pd.DataFrame(rows), means, number, unit_in(together))


def patients_named(cases: Iterable[str], patients: Mapping[str, str]) -> list[str]:
    """The patient of each case; a case that is not named is a patient of its own."""
    return [patients.get(str(case), str(case)) for case in cases]


def bootstrap_means(
    values_NT: NDArray[np.float64], leading: NDArray[np.bool_], *, patients: Sequence[str] | None = None, seed: int, draws: int
) -> NDArray[np.float64]:
    """Means of resampled patients.

    Parameters
    ----------
    values_NT : a row a case, a column a structure; not a number where a case has none
    leading : (T,) the structures whose mean is the first column of the result
    patients : N names, the patient of each case, whose cases are drawn together; None: each is a patient of its own
    seed, draws : how often and in which order patients are drawn, with replacement

    Returns
    -------
    (draws, 1 + T): the mean over the leading structures, then that of each; not a number where no drawn case has one
    """
    patient_N = np.arange(len(values_NT)) if patients is None else np.unique(np.asarray(patients, dtype=str), return_inverse=True)[1]
    count = len(np.unique(patient_N))
    known = np.isfinite(values_NT)
    filled = np.where(known, values_NT, 0.0)
    rng = np.random.default_rng(seed)
    parts = []
    for start in range(0, draws, _CHUNK):
        times_DN = rng.multinomial(count, np.full(count, 1 / count), size=min(_CHUNK, draws - start))[:, patient_N].astype(float)
        numbers = times_DN @ known
        means = np.where(numbers > 0, times_DN @ filled / np.maximum(numbers, 1), np.nan)
        parts.append(np.column_stack([_mean(means[:, leading]), means]))
    return np.concatenate(parts)


def cases_of(patients: int, cases: int) -> str:
    """So many cases in words, and of how many patients they are where some share one."""
    return counted(cases, "case") + (f" of {counted(patients, 'patient')}" if patients < cases else "")


def on_few(patients: int, cases: int | None = None) -> list[str]:
    """What to remark on intervals over so many patients, with so many cases where that is known; nothing where they are enough."""
    said = counted(patients, "patient") if cases is None else cases_of(patients, cases)
    return [f"{said}: intervals of so few say little."] if patients < FEW else []


def _intervals(blocks: Mapping[str, pd.DataFrame], leading: list[str], patients: Mapping[str, str], seed: int, draws: int) -> dict[str, _Ends]:
    """For each metric the ends of the intervals of the mean over the leading structures, then of each; empty for a single patient."""
    first = next(iter(blocks.values()))
    drawn = patients_named(sorted(first.index.get_level_values("case")), patients)
    if len(set(drawn)) < 2:
        return dict.fromkeys(blocks, (np.empty(0), np.empty(0)))
    chosen, width = np.array([target in leading for target in first.columns]), len(first.columns)
    values = np.column_stack([block.sort_index(level="case").to_numpy() for block in blocks.values()])
    means = bootstrap_means(values, np.tile(chosen, len(blocks)), patients=drawn, seed=seed, draws=draws)[:, 1:]  # drawn once for all metrics
    parts = [means[:, place * width : (place + 1) * width] for place in range(len(blocks))]
    return {metric: _interval(np.column_stack([_mean(part[:, chosen]), part])) for metric, part in zip(blocks, parts, strict=True)}


def _rows(
    metric: str, values: pd.DataFrame, leading: list[str], regions: Mapping[str, bool], folds: list[str], interval: _Ends
) -> list[dict[str, object]]:
    """The summary's rows of one metric; `values` has a row for each (fold, case) and a column for each target."""
    low, high = interval
    by_fold = {fold: pd.DataFrame(values.xs(fold, level="fold")) for fold in folds}
    rows: list[dict[str, object]] = []
    over = OVER_REGIONS if regions[leading[0]] else OVER_CLASSES
    for place, target in enumerate([over, *values.columns]):
        of_cases = values[leading].mean(axis=1) if place == 0 else values[target]
        columns = leading if place == 0 else [target]
        fold_means = {fold: _mean_of_means(table[columns]) for fold, table in by_fold.items()}
        rows.append(
            {
                "target": target,
                "region": place > 0 and regions[target],
                "metric": metric,
                "mean": _mean_of_means(values[columns]),
                "std": float(of_cases.std()),
                "low": float(low[place]) if len(low) else np.nan,
                "high": float(high[place]) if len(high) else np.nan,
                "cases": int(of_cases.count()),
                "without": int(of_cases.isna().sum()),
                "fold_std": float(pd.Series(fold_means).std()),
                **{f"fold_{fold}": mean for fold, mean in fold_means.items()},
            }
        )
    return rows


def _refuse(path: Path, wrong: pd.DataFrame, column: str, fault: str) -> None:
    if not wrong.empty:
        row = wrong.iloc[0]
        raise AutosegError(
            f"{path}: the {column} of {row['target']} in case {row['case']} is '{row[column]}', which {fault}. Remove the file and validate the"
            " fold again: the same autoseg train command does it."
        )


def _mean_of_means(values: pd.DataFrame) -> float:
    return float(pd.Series(values.mean()).mean())


def _interval(means_D: NDArray[np.float64]) -> _Ends:
    """The 2.5th and 97.5th percentile of each column; not a number where a column has none."""
    columns = [column[np.isfinite(column)] for column in means_D.T]
    ends = [np.percentile(column, (2.5, 97.5)) if len(column) else (np.nan, np.nan) for column in columns]
    return np.array([end[0] for end in ends]), np.array([end[1] for end in ends])


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each row's numbers; not a number where it has none."""
    known = np.isfinite(values)
    numbers = known.sum(axis=1)
    result: NDArray[np.float64] = np.where(numbers > 0, np.where(known, values, 0.0).sum(axis=1) / np.maximum(numbers, 1), np.nan)
    return result


def _only(tables: Mapping[str, pd.DataFrame], column: str, called: str) -> str:
    found = {fold: sorted(set(table[column].astype(str))) if column in table else ["none"] for fold, table in tables.items()}
    if len({value for values in found.values() for value in values}) > 1:
        told = "; ".join(f"fold {fold}: {', '.join(values)}" for fold, values in found.items())
        raise AutosegError(f"The folds were judged by different {called} ({told}), which must not be mixed. Validate them again by the same one.")
    return next(iter(found.values()))[0]


def _require_once(tables: Mapping[str, pd.DataFrame]) -> None:
    places: dict[str, str] = {}
    expected: set[str] = set(next(iter(tables.values()))["target"])
    for fold, table in tables.items():
        if twice := sorted(case for case in set(table["case"]) if case in places):
            raise AutosegError(
                f"{listing(twice)} is in the validation of fold {places[twice[0]]} and of fold {fold}: the folds were divided anew between the"
                " trainings. Train one of them again with --restart."
            )
        if set(table["target"]) != expected or table.duplicated(["case", "target"]).any():
            raise AutosegError(f"Fold {fold} was judged on other structures than fold {next(iter(tables))}. Validate it again.")
        places |= dict.fromkeys(table["case"], fold)
