"""`autoseg crossval`: what the trained folds say together."""

from typing import TYPE_CHECKING, Annotated

import typer

from autoseg.cli.console import DatasetOption, WorkspaceOption, headline, note, number_cell, same_place, show_table

if TYPE_CHECKING:
    from autoseg.api._crossval import ConfigurationScores
    from autoseg.evaluation.crossval import CrossValidation


def crossval(
    configuration: Annotated[str | None, typer.Argument(help="A configuration. Default: all that are trained.", show_default=False)] = None,
    dataset: DatasetOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Show what trained folds say together. Mean, spread and interval for each configuration; missing folds."""
    from autoseg import api
    from autoseg.workspace import Workspace

    place = Workspace.find(workspace)
    name = place.resolve(dataset) if dataset else place.current()
    headline("crossval", dataset=name, configuration=configuration)
    done = api.crossval(configuration, dataset=name, workspace=workspace)
    for one in done.configurations:
        show_configuration(one, same_place(name if dataset else None, workspace))
    typer.echo(f"Written: {done.csv}, {done.json} and {done.picture}")


def show_configuration(one: "ConfigurationScores", where: str) -> None:
    """A table for each metric, and what is missing; `where`: options that a next command needs."""
    if one.scores is not None:
        for metric in one.scores.summary["metric"].unique():
            _show_metric(one.name, one.scores, metric)
        typer.echo(in_short(one.name, one.scores))
    if one.missing:
        note(f"Missing folds of {one.name}: {', '.join(one.missing)}. Train them: autoseg train {one.name} cv{where}")
    for remark in one.remarks:
        note(f"{one.name}: {remark}")


def in_short(name: str, scores: "CrossValidation") -> str:
    """A cross-validation in one line."""
    row = scores.row()
    interval = f" (95 % interval {row['low']:.4f} to {row['high']:.4f})" if row["low"] == row["low"] else ""
    cases, folds = sum(scores.folds.values()), len(scores.folds)
    over = f"{cases} case{'s' * (cases > 1)} of {folds} fold{'s' * (folds > 1)}"
    return f"Cross-validation of {name}: mean Dice {row['mean']:.4f}{interval} over {over}, scheme {scores.scheme}."


def _show_metric(name: str, scores: "CrossValidation", metric: str) -> None:
    means = [f"fold {fold} ({cases})" for fold, cases in scores.folds.items()]
    heads = ["structure", "mean", "95 % interval", "std of cases", "std of folds", "cases", "without", *means]
    rows = []
    for target in scores.summary["target"].unique():
        row = scores.row(target, metric)
        interval = f"{number_cell(row['low'])} to {number_cell(row['high'])}" if row["low"] == row["low"] else "-"
        spread = [number_cell(row["std"]), number_cell(row["fold_std"]), str(row["cases"]), str(row["without"])]
        rows.append([str(target), number_cell(row["mean"]), interval, *spread, *(number_cell(row[f"fold_{fold}"]) for fold in scores.folds)])
    said = "Dice" if metric == "dice" else f"HD95 {scores.length_unit}, {scores.hd95_convention}"
    show_table(f"{name}: {said} (scheme {scores.scheme})", heads, rows, right=range(1, len(heads)))
