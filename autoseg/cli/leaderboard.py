"""`autoseg leaderboard`: all trained configurations of a dataset, on the same cases."""

from typing import TYPE_CHECKING, Annotated

import typer

from autoseg.cli.console import WorkspaceOption, headline, note, number_cell, show_table
from autoseg.cli.evaluate import SHOWN, heading
from autoseg.errors import counted
from autoseg.progress import duration

if TYPE_CHECKING:
    from autoseg.evaluation.standings import Costs, Leaderboard, Standing

MOST_STRUCTURES = 6  # that have a column in the table; the file has all


def leaderboard(
    dataset: Annotated[str | None, typer.Argument(help="Dataset. Default: the one last planned.", show_default=False)] = None,
    configuration: Annotated[
        list[str] | None,
        typer.Option("--configuration", "-c", help="Configuration to compare; may be repeated. Default: all that are trained."),
    ] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Compare all trained configurations of a dataset. Accuracy with intervals on the same cases, and what each takes."""
    from autoseg import api
    from autoseg.workspace import Workspace

    place = Workspace.find(workspace)
    name = place.resolve(dataset) if dataset else place.current()
    headline("leaderboard", dataset=name, configurations=", ".join(dict.fromkeys(configuration)) if configuration else None)
    done = api.leaderboard(name, configurations=configuration or (), workspace=workspace, notify=note)
    board = done.leaderboard
    show_dice(board)
    show_metrics(board)
    show_costs(board)
    show_published(board)
    typer.echo(f"Folds: {board.folds()}")
    typer.echo(f"Written: {done.csv}, {done.json} and {done.picture}")


def show_dice(board: "Leaderboard") -> None:
    """Mean Dice with its interval, best first; each structure's beside it where there are few."""
    structures = board.structures[1:] if len(board.structures) <= MOST_STRUCTURES + 1 else ()
    heads = ["configuration", "mean Dice", "95 % interval", *(f"{structure} (95 %)" for structure in structures)]
    rows = [[one.name, *_mean_and_interval(one, board.structures[0]), *(" ".join(_bracketed(one, name)) for name in structures)] for one in
            board.standings]  # fmt: skip
    show_table(f"Dice of {counted(len(board.cases), 'case')} that no network saw (scheme {board.scheme})", heads, rows, right=range(1, len(heads)))


def show_metrics(board: "Leaderboard") -> None:
    """The other metrics, over all structures."""
    metrics = [metric for metric in board.metrics if metric in SHOWN and metric != "dice"]
    rows = [[one.name, *(number_cell(float(one.scores.row(metric=metric)["mean"])) for metric in metrics)] for one in board.standings]
    heads = ["configuration", *(heading(metric, board.standings[0].scores.length_unit) for metric in metrics)]
    show_table(f"Other metrics, {board.structures[0]}", heads, rows, right=range(1, len(heads)))


def show_costs(board: "Leaderboard") -> None:
    """What each takes; a dash where nobody recorded it."""
    heads = ["configuration", "parameters", "GFLOPs a case", "training a fold", "steps", "folds", "s a case", "peak memory", "on the card"]
    rows = [[one.name, *_cost_cells(one.costs)] for one in board.standings]
    show_table("What they take (prediction by one fold)", heads, rows, right=range(1, len(heads)))


def show_published(board: "Leaderboard") -> None:
    """What the authors of the recipes report, beside ours; nothing where there is none."""
    rows = []
    for one in board.standings:
        for figure in one.published:
            ours = one.ours(figure.metric)
            rows.append(
                [one.name, figure.metric, "-" if ours is None else number_cell(ours), f"{figure.value:g}", figure.data, figure.differs, figure.where]
            )
    if rows:
        heads = ["configuration", "metric", "ours", "published", "their data", "what differs", "where it stands"]
        show_table("Published figures (other data, other splits: no contest)", heads, rows, right=(2, 3))


def _mean_and_interval(one: "Standing", target: str) -> list[str]:
    row = one.scores.row(target)
    return [number_cell(row["mean"]), f"{row['low']:.4f} to {row['high']:.4f}" if row["low"] == row["low"] else "-"]


def _bracketed(one: "Standing", target: str) -> list[str]:
    mean, interval = _mean_and_interval(one, target)
    return [mean] if interval == "-" else [mean, f"({interval})"]


def _cost_cells(costs: "Costs") -> list[str]:
    steps = sorted(set(costs.training_steps.values()))
    return [
        f"{_short(costs.parameters / 1e6)} M" if costs.parameters >= 1e5 else f"{costs.parameters:,}",
        "-" if costs.case_flops is None else _short(costs.case_flops / 1e9),
        "-" if costs.fold_seconds is None else duration(costs.fold_seconds),
        "-" if not steps else f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}",
        str(len(costs.training_steps)) if costs.training_steps else "-",
        "-" if costs.case_seconds is None else _short(costs.case_seconds),
        _gigabytes(costs.peak_resident),
        _gigabytes(costs.peak_cuda),
    ]


def _short(number: float) -> str:
    """Three digits, and never a power of ten for what is large."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _gigabytes(count: int | None) -> str:
    return "-" if count is None else f"{count / 2**30:.2f} GB"
