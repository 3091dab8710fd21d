"""Two or more sets of predictions of the same cases, side by side.

- Only paired numbers are compared: every contestant must have every case, and a difference is over the cases in which both have a number;
  how many these are stands beside it.
- The interval of a mean difference is the percentile bootstrap's over cases, 95 %, with a seed: the same numbers give the same interval.
- The p value is the two-sided Wilcoxon signed-rank test's, one test at a time: it is not corrected for how many are looked at.
- The ranking is that of the BraTS challenges: contestants are ranked for each case, structure and ranked metric of the scheme, ties share
  the mean of their places, and the mean of all ranks decides. Where there is no number the answer was right (neither has the structure)
  or wrong (one of the two has it), and ranks as such. Regions are ranked where there are any, else classes.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata, wilcoxon

from autoseg.errors import AutosegError, listing
from autoseg.evaluation.crossval import bootstrap_means
from autoseg.evaluation.result import Evaluation, Target
from autoseg.files import write_json, write_text

COMPARED = ("dice", "hd95", "assd", "nsd", "sensitivity", "precision", "lesion_dice", "lesion_nsd", "lesion_hd95", "lesion_f1")
RESAMPLES = 10_000

_Table = Mapping[tuple[str, str], Mapping[Any, Any]]


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Attributes
    ----------
    scheme : rules that all were judged by
    conventions : what hd95, assd and nsd mean here
    contestants : names, in the order given
    cases : names of the cases compared
    missing : cases with a reference that no contestant predicted; they are in no number
    targets : the structures
    ranked : metric -> whether larger is better; what the ranking is by
    seed, resamples : of the bootstrap
    values : a row for each case, structure and metric of `COMPARED` that was measured; columns case, target, metric, and the value of each
        contestant in a column of its name
    summary : a row for each structure, metric and contestant: target, metric, contestant, mean, median, cases (with a number)
    differences : a row for each structure, metric and pair: target, metric, first, second, cases, difference (mean of second minus first),
        low, high (95 %), p
    ranking : a row for each contestant, best first: place, contestant, mean_rank, ranks (how many went into the mean)
    length_unit : of distances, "mm", "pixels" or "mm or pixels"
    """

    scheme: str
    conventions: Mapping[str, str]
    contestants: tuple[str, ...]
    cases: tuple[str, ...]
    missing: tuple[str, ...]
    targets: tuple[Target, ...]
    ranked: Mapping[str, bool]
    seed: int
    resamples: int
    values: pd.DataFrame
    summary: pd.DataFrame
    differences: pd.DataFrame
    ranking: pd.DataFrame
    length_unit: str

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write `comparison.csv` (the differences beside both means), `comparison_cases.csv` (the values), and `comparison.json`.

        Returns
        -------
        paths of the first and the last
        """
        csv, json = folder / "comparison.csv", folder / "comparison.json"
        means = {(row["target"], row["metric"], row["contestant"]): row for row in self.summary.to_dict("records")}
        rows = []
        for row in self.differences.to_dict("records"):
            both: dict[str, Any] = {}
            for which in ("first", "second"):
                one = means[row["target"], row["metric"], row[which]]
                both |= {f"{which}_mean": one["mean"], f"{which}_median": one["median"]}
            rows.append({"scheme": self.scheme} | row | both)
        write_text(csv, pd.DataFrame(rows).to_csv(index=False))
        write_text(folder / "comparison_cases.csv", self.values.assign(scheme=self.scheme).to_csv(index=False))
        write_json(json, self._document())
        return csv, json

    def _document(self) -> dict[str, Any]:
        return {
            "scheme": self.scheme,
            "conventions": dict(self.conventions),
            "length_unit": self.length_unit,
            "contestants": list(self.contestants),
            "cases": list(self.cases),
            "missing": list(self.missing),
            "targets": [{"name": target.name, "values": target.values, "region": target.region} for target in self.targets],
            "bootstrap": {"seed": self.seed, "resamples": self.resamples, "interval": 0.95},
            "ranked_by": list(self.ranked),
            "ranking": self.ranking.to_dict("records"),
            "summary": self.summary.to_dict("records"),
            "differences": self.differences.to_dict("records"),
        }


def compare(evaluations: Mapping[str, Evaluation], ranked: Mapping[str, bool], *, seed: int = 0, resamples: int = RESAMPLES) -> Comparison:
    """Compare evaluations of the same cases.

    Parameters
    ----------
    evaluations : contestant -> its evaluation, at least two, by one scheme
    ranked : metric -> whether larger is better; what contestants are ranked by
    seed : of the bootstrap, 0 or more
    resamples : of the bootstrap

    Returns
    -------
    the comparison

    Raises
    ------
    AutosegError
        fewer than two contestants, different schemes or structures, or a case that one has and another lacks
    """
    first = _require_comparable(evaluations, seed)
    names = tuple(evaluations)
    metrics = [metric for metric in COMPARED if metric in first.metrics]
    tables = {
        name: {(str(row["case"]), str(row["target"])): row for row in evaluation.table.to_dict("records")} for name, evaluation in evaluations.items()
    }
    cases = tuple(str(case) for case in dict.fromkeys(first.table["case"]))
    places = [(case, target.name) for case in cases for target in first.targets]
    long = [
        {"case": case, "target": target, "metric": metric} | {name: float(tables[name][case, target][metric]) for name in names}
        for metric in metrics
        for case, target in places
    ]
    values = pd.DataFrame(long)
    columns = {
        (target.name, metric): rows[list(names)].to_numpy(dtype=float)
        for metric in metrics
        for target in first.targets
        for rows in [values[(values["target"] == target.name) & (values["metric"] == metric)]]
    }
    return Comparison(
        first.scheme,
        first.conventions,
        names,
        cases,
        first.missing,
        first.targets,
        ranked,
        seed,
        resamples,
        values,
        _summary(columns, names),
        _differences(columns, names, seed, resamples),
        _ranking(tables, names, [place for place in places if place[1] in _judges(first.targets)], ranked),
        first.length_unit,
    )


def require_same_cases(cases: Mapping[str, Collection[str]]) -> None:
    """Make sure that every contestant has every case.

    Parameters
    ----------
    cases : contestant -> its cases

    Raises
    ------
    AutosegError
        one lacks a case that another has; the text names both
    """
    everyone = sorted(set().union(*cases.values()))
    lacking = {name: [case for case in everyone if case not in own] for name, own in cases.items()}
    lines = [f"\n  - {name} lacks {listing(missing)}" for name, missing in lacking.items() if missing]
    if lines:
        raise AutosegError(f"Only the same cases can be compared:{''.join(lines)}\nAdd these predictions, or remove the others' of these cases.")


def bootstrap_interval(numbers_N: NDArray[np.float64], *, seed: int = 0, resamples: int = RESAMPLES) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of a mean.

    Parameters
    ----------
    numbers_N : float (cases,), all finite
    seed : 0 or more
    resamples : how many means are drawn

    Returns
    -------
    2.5th and 97.5th percentile; not a number for fewer than two cases, which say nothing about how cases differ
    """
    if len(numbers_N) < 2:
        return nan, nan
    means = bootstrap_means(numbers_N[:, None], np.array([True]), seed=seed, draws=resamples)[:, 0]
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def signed_rank_p(differences_N: NDArray[np.float64]) -> float:
    """Two-sided p value of the Wilcoxon signed-rank test; 1 where nothing differs, not a number without any case."""
    if not len(differences_N):
        return nan
    if not differences_N.any():
        return 1.0
    return float(wilcoxon(differences_N).pvalue)


def _require_comparable(evaluations: Mapping[str, Evaluation], seed: int) -> Evaluation:
    if len(evaluations) < 2:
        raise AutosegError("A comparison needs two sets of predictions or more. Name another folder.")
    if seed < 0:
        raise AutosegError(f"The seed of the bootstrap is {seed}; give 0 or more.")
    (name, first), *others = evaluations.items()
    for other, evaluation in others:
        if (evaluation.scheme, evaluation.targets, evaluation.metrics) != (first.scheme, first.targets, first.metrics):
            raise AutosegError(f"{name} and {other} were judged by different schemes or for different structures. Judge both in one way.")
    require_same_cases({name: set(evaluation.table["case"]) for name, evaluation in evaluations.items()})
    return first


def _summary(columns: Mapping[tuple[str, str], NDArray[np.float64]], names: tuple[str, ...]) -> pd.DataFrame:
    rows = []
    for (target, metric), values in columns.items():
        for index, name in enumerate(names):
            known = values[:, index][~np.isnan(values[:, index])]
            mean, median = (float(known.mean()), float(np.median(known))) if len(known) else (nan, nan)
            rows.append({"target": target, "metric": metric, "contestant": name, "mean": mean, "median": median, "cases": len(known)})
    return pd.DataFrame(rows)


def _differences(columns: Mapping[tuple[str, str], NDArray[np.float64]], names: tuple[str, ...], seed: int, resamples: int) -> pd.DataFrame:
    rows = []
    for (target, metric), values in columns.items():
        for one, other in combinations(range(len(names)), 2):
            change = values[:, other] - values[:, one]
            change = change[~np.isnan(change)]
            low, high = bootstrap_interval(change, seed=seed, resamples=resamples)
            rows.append(
                {"target": target, "metric": metric, "first": names[one], "second": names[other], "cases": len(change)}
                | {"difference": float(change.mean()) if len(change) else nan, "low": low, "high": high, "p": signed_rank_p(change)}
            )
    return pd.DataFrame(rows)


def _judges(targets: tuple[Target, ...]) -> set[str]:
    regions = {target.name for target in targets if target.region}
    return regions or {target.name for target in targets}


def _ranking(tables: Mapping[str, _Table], names: tuple[str, ...], places: list[tuple[str, str]], ranked: Mapping[str, bool]) -> pd.DataFrame:
    ranks = []
    for place in places:
        rows = [tables[name][place] for name in names]
        nothing = [row["tp"] + row["fp"] + row["fn"] == 0 for row in rows]
        for metric, larger in ranked.items():
            goodness = [float(row[metric]) * (1 if larger else -1) for row in rows]
            known = [(inf if right else -inf) if np.isnan(good) else good for good, right in zip(goodness, nothing, strict=True)]
            ranks.append(rankdata([-good for good in known], method="average"))
    mean = np.mean(ranks, axis=0)
    best = rankdata(mean, method="min")
    standing = pd.DataFrame({"place": best.astype(int), "contestant": names, "mean_rank": mean, "ranks": len(ranks)})
    return standing.sort_values("place", kind="stable", ignore_index=True)
