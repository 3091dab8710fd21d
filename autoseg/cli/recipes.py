"""`autoseg recipes`: published approaches, each of which becomes a configuration with `autoseg plan --recipe`."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from autoseg.cli.console import WorkspaceOption, note, show_table
from autoseg.errors import AutosegError

if TYPE_CHECKING:
    from autoseg.planning.zoo.recipe import ZooRecipe


def recipes(
    name: Annotated[str | None, typer.Argument(help="Show all of one recipe.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print as JSON: of one recipe what its file holds, to change and to use as your own.")
    ] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """List published approaches to train. Each becomes a configuration beside those that are planned."""
    from autoseg import api
    from autoseg.planning.schema.faults import advice

    found = api.recipes(workspace=workspace, notify=note)
    if name is not None and name not in found:
        raise AutosegError(f"There is no recipe '{name}'{advice(name, sorted(found))}.")
    if as_json:
        chosen = {key: one.model_dump(mode="json", exclude_defaults=True) for key, one in found.items() if name in (None, key)}
        typer.echo(json.dumps(chosen if name is None else chosen[name], indent=2, ensure_ascii=False))
    elif name is not None:
        _show(found[name])
    else:
        rows = [[one.name, one.task, f"{one.dimensions}D", one.title, one.needs, one.source] for one in found.values()]
        show_table("Recipes", ["recipe", "task", "", "what it is", "needs", "source"], rows)
        typer.echo("\nUse one: autoseg plan DATASET --recipe NAME, then autoseg train NAME 0. All of one: autoseg recipes NAME")


def _show(recipe: "ZooRecipe") -> None:
    typer.echo(f"{recipe.name}: {recipe.title}")
    facts = {
        "task": f"{recipe.task}, {recipe.dimensions}D", "source": recipe.source, "needs": recipe.needs,
        "channels": ", ".join(recipe.channels) or "all of the dataset", "learns": recipe.learns, "here otherwise": recipe.differs or "nothing",
    }  # fmt: skip
    for key, value in facts.items():
        typer.echo(f"  {key}: {value}")
    for figure in recipe.published:
        typer.echo(f"  published: {figure.metric} {figure.value:g} on {figure.data} ({figure.where}). {figure.differs}")
    typer.echo(f"  in the plan: {json.dumps(recipe.configuration, ensure_ascii=False)}")
