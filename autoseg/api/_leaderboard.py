"""`leaderboard`: all trained configurations of a dataset, on the same cases."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from autoseg.api._out_of_fold import OutOfFold, find_finished, made_by_present_weights
from autoseg.errors import AutosegError, counted, listing
from autoseg.evaluation.crossval import read_metrics
from autoseg.evaluation.leaderboard import COMPARED, rank
from autoseg.evaluation.standings import Contestant, Costs, Leaderboard
from autoseg.files import read_json, require_writable, sweep
from autoseg.inference.cost import case_cost
from autoseg.inference.model_folder import fold_of
from autoseg.inference.timing import TIMING, Timing, read_timing
from autoseg.planning.fingerprint import validate_fingerprint
from autoseg.planning.zoo.recipe import Published, ZooRecipe
from autoseg.planning.zoo.recipes import recipes_in
from autoseg.reporting.leaderboard import draw_leaderboard
from autoseg.training.run_log import read_end
from autoseg.workspace import Workspace


@dataclass(frozen=True)
class Ranked:
    """A leaderboard and the files it was written to.

    Attributes
    ----------
    dataset : its name
    leaderboard : the configurations, best first
    csv, json, picture : the files
    """

    dataset: str
    leaderboard: Leaderboard
    csv: Path
    json: Path
    picture: Path


def leaderboard(
    dataset: str | None = None,
    *,
    configurations: str | Sequence[str] = (),
    workspace: Path | str | None = None,
    notify: Callable[[str], None] = lambda text: None,
) -> Ranked:
    """Compare the trained configurations of a dataset on the cases that all of them validated: how good they are, and what they take.

    Writes `leaderboard.csv`, `leaderboard.json` and `leaderboard.png` into `models/<dataset>/`. Nothing is predicted: what is there is read.

    Parameters
    ----------
    dataset : by default the one last planned
    configurations : those to compare; by default all of which a fold is trained to its end and validated
    workspace : by default `AUTOSEG_WORKSPACE`, else the current folder
    notify : told what is left out, and what a reader of the numbers should know

    Raises
    ------
    AutosegError
        nothing is trained or validated, configurations do not belong together or share no case, or a file is damaged
    """
    place = Workspace.find(workspace)
    name = place.resolve(dataset) if dataset else place.current()
    wanted = (configurations,) if isinstance(configurations, str) else tuple(dict.fromkeys(configurations))
    found = find_finished(place, name, wanted, notify)
    root = place.root / "models" / name
    require_writable(root)
    sweep(root)
    tables = {one.name: _validated(one, name, notify) for one in found}
    if lacking := [one.name for one in found if not tables[one.name]]:
        if wanted or len(lacking) == len(found):
            raise AutosegError(f"No fold of {listing(lacking)} is validated yet. Do it: autoseg train {lacking[0]} cv -d {name}")
        notify(f"{listing(lacking)}: left out, since no fold is validated.")
    compared = [one for one in found if tables[one.name]]
    cases = set.intersection(*(_cases(tables[one.name]) for one in compared))
    slices = _median_slices(place.fingerprint(name), compared[0], notify)
    recipes = recipes_in(place.root)
    contestants = [Contestant(one.name, tables[one.name], _costs(one, cases, slices), _published(one, recipes), one.patients) for one in compared]
    board = rank(contestants)
    for remark in board.remarks:
        notify(remark)
    csv, json = board.write(root, name)
    return Ranked(name, board, csv, json, _draw(board, name, root / "leaderboard.png"))


def _published(one: OutOfFold, recipes: Mapping[str, ZooRecipe]) -> tuple[Published, ...]:
    """What the authors of a configuration's recipe published."""
    recipe = recipes.get(one.plan.configuration(one.name).recipe or "")
    return recipe.published if recipe else ()


def _validated(one: OutOfFold, dataset: str, notify: Callable[[str], None]) -> dict[str, pd.DataFrame]:
    """Fold -> the table of its validation, of the folds whose table is of the weights that lie there."""
    tables: dict[str, pd.DataFrame] = {}
    for folder in _folders(one):
        fold, path = fold_of(folder), folder / "metrics.csv"
        if not path.is_file() or not made_by_present_weights(one, folder):
            notify(
                f"{one.name}, fold {fold}, is not validated with its weights, and its cases do not count. Do it: autoseg train {one.name} {fold}"
                f" -d {dataset}"
            )
            continue
        table = read_metrics(path, COMPARED)
        tables[fold] = table[[one.folders.get(case) == folder for case in table["case"]]]
    return {fold: table for fold, table in tables.items() if len(table)}


def _folders(one: OutOfFold) -> list[Path]:
    return sorted(set(one.folders.values()), key=lambda folder: int(fold_of(folder)))


def _cases(tables: Mapping[str, pd.DataFrame]) -> set[str]:
    return {str(case) for table in tables.values() for case in table["case"]}


def _median_slices(path: Path, one: OutOfFold, notify: Callable[[str], None]) -> int | None:
    """Slices of the dataset's median case along the axis that 2D networks do not see."""
    if not path.is_file():
        notify(f"{path} is missing, so nobody knows how many slices a typical case has: arithmetic a case is empty for 2D. Plan the dataset again.")
        return None
    shapes = validate_fingerprint(read_json(path), str(path)).shapes_after_crop
    return round(float(np.median([shape[one.plan.transpose_forward[0]] for shape in shapes])))


def _costs(one: OutOfFold, cases: set[str], slices: int | None) -> Costs:
    cost = case_cost(one.plan, one.name, one.recipe, slices)
    folders = _folders(one)
    trained = {fold_of(folder): end for folder in folders if (end := read_end(folder)) is not None}
    timings = [timing for folder in folders if (timing := read_timing(folder / "validation" / TIMING)) is not None]
    times = [time for timing in timings for case, time in timing.cases.items() if case in cases]
    return Costs(
        parameters=cost.all_parameters,
        window_flops=cost.window_flops,
        windows=cost.windows,
        mirrorings=cost.mirrorings,
        case_flops=cost.flops,
        training_steps={fold: steps for fold, (steps, _) in trained.items()},
        training_seconds={fold: seconds for fold, (_, seconds) in trained.items()},
        case_seconds=float(np.mean([time.seconds for time in times])) if times else None,
        case_elapsed=float(np.mean([time.elapsed for time in times])) if times else None,
        timed_cases=len(times),
        predicted_on=tuple(dict.fromkeys(f"{timing.machine}: {timing.execution}" for timing in timings)),
        peak_resident=_most(timings, "peak_resident"),
        whole_process=any(timing.memory.whole_process for timing in timings),
        peak_cuda=_most(timings, "peak_cuda"),
    )


def _most(timings: Sequence[Timing], key: str) -> int | None:
    return max((number for timing in timings if (number := getattr(timing.memory, key)) is not None), default=None)


def _draw(board: Leaderboard, dataset: str, target: Path) -> Path:
    rows = []
    for one in board.standings:
        row = one.scores.row()
        numbers = {"dice": row["mean"], "low": row["low"], "high": row["high"]}
        times = {"training_seconds": one.costs.fold_seconds, "case_seconds": one.costs.case_seconds}
        rows.append({"configuration": one.name} | numbers | {key: np.nan if value is None else value for key, value in times.items()})
    draw_leaderboard(
        pd.DataFrame(rows), target, title=f"{dataset}: {counted(len(board.cases), 'case')} that no network saw (scheme {board.scheme})",
        explanation="A dot is a configuration: the mean Dice over structures. The line is its 95 % bootstrap interval over patients.",
    )  # fmt: skip
    return target
