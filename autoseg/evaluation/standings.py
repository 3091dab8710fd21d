"""What a leaderboard holds: configurations in their places, with what they take, and the files that say so.

- One table has all numbers, one a row: accuracy, cost, and what the authors of a recipe report. A number that was not recorded is an empty cell.
- Seconds and memory are what a machine did and say on which; parameters and arithmetic are the same everywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import nan
from pathlib import Path
from typing import Any

import pandas as pd

from autoseg.errors import counted
from autoseg.evaluation.crossval import DRAWS, SEED, CrossValidation
from autoseg.evaluation.result import volume_unit
from autoseg.files import write_json, write_text
from autoseg.planning.zoo.recipe import Published

_LENGTHS = ("hd95", "assd", "lesion_hd95")


@dataclass(frozen=True)
class Costs:
    """What a configuration takes; None or empty where it was not recorded.

    Attributes
    ----------
    parameters : weights that a case is predicted with, by one fold; those of a cascade's previous stage included
    window_flops, windows, mirrorings : arithmetic of one window, how many a typical case has, and how often each is seen
    case_flops : arithmetic of a typical case with one fold, that of a cascade's previous stage included
    training_steps, training_seconds : fold -> how long it was trained
    case_seconds, case_elapsed : mean over the compared cases that were timed, by one fold: seconds that the networks took, and on the clock
    timed_cases : how many that were
    predicted_on : machine and way of running of each timing
    peak_resident, peak_cuda : bytes, the largest of the folds
    whole_process : the peak of a fold is since its process began
    """

    parameters: int
    window_flops: int
    windows: int | None
    mirrorings: int
    case_flops: int | None
    training_steps: Mapping[str, int]
    training_seconds: Mapping[str, float]
    case_seconds: float | None = None
    case_elapsed: float | None = None
    timed_cases: int = 0
    predicted_on: tuple[str, ...] = ()
    peak_resident: int | None = None
    whole_process: bool = False
    peak_cuda: int | None = None

    @property
    def fold_seconds(self) -> float | None:
        """Mean training time of a fold."""
        return sum(self.training_seconds.values()) / len(self.training_seconds) if self.training_seconds else None


@dataclass(frozen=True)
class Contestant:
    """A configuration before it is ranked.

    Attributes
    ----------
    name : of the configuration
    tables : fold -> table of its validation, see `read_metrics`
    costs : what it takes
    published : figures that the authors of its recipe report
    patients : case -> its patient, where that is not the case itself; None: nobody says it
    """

    name: str
    tables: Mapping[str, pd.DataFrame]
    costs: Costs
    published: Sequence[Published] = ()
    patients: Mapping[str, str] | None = None

    @property
    def cases(self) -> dict[str, str]:
        """Case -> the fold that validated it."""
        return {str(case): fold for fold, table in self.tables.items() for case in table["case"]}


@dataclass(frozen=True)
class Standing:
    """A configuration in its place: means and intervals over the compared cases, what it takes, and what its authors report."""

    name: str
    scores: CrossValidation
    costs: Costs
    published: tuple[Published, ...]

    def ours(self, metric: str) -> float | None:
        """The mean over structures of a metric that has one of our names, in any letter case; None of any other."""
        key = metric.strip().lower()
        return float(self.scores.row(metric=key)["mean"]) if key in set(self.scores.summary["metric"]) else None


@dataclass(frozen=True)
class Leaderboard:
    """Configurations, best first.

    Attributes
    ----------
    scheme, hd95_convention : what all were judged by
    cases : those that all of them validated
    left_out : configuration -> how many cases it validated that another did not
    standings : best mean Dice first
    remarks : what a reader of the numbers should know
    """

    scheme: str
    hd95_convention: str
    cases: tuple[str, ...]
    left_out: Mapping[str, int]
    standings: tuple[Standing, ...]
    remarks: tuple[str, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics that all of them have."""
        return tuple(dict.fromkeys(self.standings[0].scores.summary["metric"]))

    @property
    def structures(self) -> tuple[str, ...]:
        """The mean over structures, then each."""
        return tuple(dict.fromkeys(self.standings[0].scores.summary["target"]))

    def folds(self) -> str:
        """The folds, with the number of their cases; of each configuration where they differ."""
        said = {one.name: ", ".join(f"{fold} ({counted(cases, 'case')})" for fold, cases in one.scores.folds.items()) for one in self.standings}
        alike = len(set(said.values())) == 1
        return next(iter(said.values())) if alike else "; ".join(f"{name}: {folds}" for name, folds in said.items())

    def table(self) -> pd.DataFrame:
        """All numbers, one a row.

        Returns
        -------
        columns place, configuration, kind ("accuracy", "cost" or "published"), metric, target, region, unit, value, std, low, high, cases, without,
        fold_std, data, differs, where, and fold_<k>; not a number where a column says nothing
        """
        rows: list[dict[str, Any]] = []
        for place, one in enumerate(self.standings, start=1):
            head = {"place": place, "configuration": one.name}
            rows += [head | row for row in (*_accuracy(one.scores), *_costs(one.costs), *_published(one.published))]
        first = [
            "place", "configuration", "kind", "metric", "target", "region", "unit", "value", "std", "low", "high", "cases", "without", "fold_std",
            "data", "differs", "where",
        ]  # fmt: skip
        found = pd.DataFrame(rows)
        return found.reindex(columns=first + sorted(set(found.columns) - set(first)))

    def write(self, folder: Path, dataset: str) -> tuple[Path, Path]:
        """Write `leaderboard.csv` and `leaderboard.json`, each whole or not at all.

        Returns
        -------
        the two paths
        """
        csv, json = folder / "leaderboard.csv", folder / "leaderboard.json"
        write_text(csv, self.table().to_csv(index=False))
        write_json(json, {"dataset": dataset} | self._document())
        return csv, json

    def _document(self) -> dict[str, Any]:
        return {
            "scheme": self.scheme,
            "hd95_convention": self.hd95_convention,
            "interval": f"95 %, {DRAWS} bootstrap resamples of the patients, seed {SEED}",
            "cases": list(self.cases),
            "left_out": dict(self.left_out),
            "remarks": list(self.remarks),
            "configurations": [
                {
                    "name": one.name,
                    "cases_of_folds": one.scores.folds,
                    "structures": one.scores.summary.to_dict("records"),
                    "costs": asdict(one.costs),
                    "published": [figure.model_dump() for figure in one.published],
                }
                for one in self.standings
            ],
        }


def _accuracy(scores: CrossValidation) -> list[dict[str, Any]]:
    rows = scores.summary.rename(columns={"mean": "value"}).to_dict("records")
    units = dict.fromkeys(_LENGTHS, scores.length_unit) | {"volume_difference": volume_unit(scores.length_unit)}
    return [{"kind": "accuracy", "unit": units.get(str(row["metric"]), "")} | {str(key): value for key, value in row.items()} for row in rows]


def _costs(costs: Costs) -> list[dict[str, Any]]:
    """A row for each number; those of the folds in the folds' columns."""
    plain = {
        "parameters": ("", costs.parameters),
        "window_gflops": ("GFLOP", costs.window_flops / 1e9),
        "windows": ("", costs.windows),
        "mirrorings": ("", costs.mirrorings),
        "case_gflops": ("GFLOP", None if costs.case_flops is None else costs.case_flops / 1e9),
        "case_seconds": ("s", costs.case_seconds),
        "case_elapsed": ("s", costs.case_elapsed),
        "peak_resident": ("bytes", costs.peak_resident),
        "peak_cuda": ("bytes", costs.peak_cuda),
    }
    rows: list[dict[str, Any]] = [
        {"kind": "cost", "metric": name, "unit": unit, "value": nan if value is None else value} for name, (unit, value) in plain.items()
    ]
    for row in rows:
        if row["metric"] in ("case_seconds", "case_elapsed"):
            row |= {"cases": costs.timed_cases, "data": "; ".join(costs.predicted_on)}
    for name, unit, folds in (("training_steps", "", costs.training_steps), ("training_seconds", "s", costs.training_seconds)):
        mean = sum(folds.values()) / len(folds) if folds else nan
        rows.append({"kind": "cost", "metric": name, "unit": unit, "value": mean} | {f"fold_{fold}": value for fold, value in folds.items()})
    return rows


def _published(figures: Sequence[Published]) -> list[dict[str, Any]]:
    return [{"kind": "published"} | one.model_dump() for one in figures]
