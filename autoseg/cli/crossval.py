"""`autoseg crossval`: what the trained folds say together."""

from typing import TYPE_CHECKING, Annotated

import typer

from autoseg.cli.console import DatasetOption, WorkspaceOption, headline, note, show_table

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
        show_configuration(one)
    typer.echo(f"Written: {done.csv}, {done.json} and {done.picture}")


def show_configuration(one: "ConfigurationScores") -> None:
    """Its structures, its folds, and what is missing."""
    if one.scores is not None:
        _show_structures(one.name, one.scores)
        _show_folds(one.scores)
        typer.echo(in_short(one.name, one.scores))
    if one.missing:
        note(f"Missing folds of {one.name}: {', '.join(one.missing)}. Train them: autoseg train {one.name} cv")
    for remark in one.remarks:
        note(f"{one.name}: {remark}")


def in_short(name: str, scores: "CrossValidation") -> str:
    """A cross-validation in one line."""
    row = scores.row()
    interval = f" (95 % interval {row['low']:.4f} to {row['high']:.4f})" if row["low"] == row["low"] else ""
    cases, folds = sum(scores.folds.values()), len(scores.folds)
    over = f"{cases} case{'s' * (cases > 1)} of {folds} fold{'s' * (folds > 1)}"
    return f"Cross-validation of {name}: mean Dice {row['mean']:.4f}{interval} over {over}, scheme {scores.scheme}."


def _show_structures(name: str, scores: "CrossValidation") -> None:
    metrics = {"dice": "Dice", "hd95": "HD95 mm"}
    metrics = {key: metrics[key] for key in scores.summary["metric"].unique()}
    heads = ["structure"]
    for title in metrics.values():
        heads += [title, "95 % interval", "std of cases", "std of folds", "cases", "without"]
    rows = []
    for target in scores.summary["target"].unique():
        cells = [str(target)]
        for key in metrics:
            row = scores.row(target, key)
            interval = f"{_number(row['low'])} to {_number(row['high'])}" if row["low"] == row["low"] else "-"
            cells += [_number(row["mean"]), interval, _number(row["std"]), _number(row["fold_std"]), str(row["cases"]), str(row["without"])]
        rows.append(cells)
    convention = f"; HD95: {scores.hd95_convention}" if scores.hd95_convention else ""
    show_table(f"{name} (scheme {scores.scheme}{convention})", heads, rows, right=range(1, len(heads)))


def _show_folds(scores: "CrossValidation") -> None:
    rows = []
    for fold, cases in scores.folds.items():
        means = [scores.row(metric=metric)[f"fold_{fold}"] for metric in scores.summary["metric"].unique()]
        rows.append([fold, str(cases), *(_number(mean) for mean in means)])
    heads = ["fold", "cases", *("mean Dice" if metric == "dice" else "mean HD95 mm" for metric in scores.summary["metric"].unique())]
    show_table("", heads, rows, right=range(1, len(heads)))


def _number(value: object) -> str:
    number = float(str(value))
    return "-" if number != number else f"{number:.4f}" if abs(number) < 10 else f"{number:.1f}"
