"""`autoseg select`: which configuration or ensemble to predict with, and how to post-process."""

from typing import TYPE_CHECKING, Annotated

import typer

from autoseg.cli.console import DatasetOption, DeviceOption, WorkspaceOption, headline, note, same_place, show_table, showing_progress
from autoseg.errors import counted

if TYPE_CHECKING:
    from autoseg.api import Selected


def select(
    configurations: Annotated[
        list[str] | None, typer.Argument(help="Configurations to compare. Default: all that are trained as far.", show_default=False)
    ] = None,
    dataset: DatasetOption = None,
    scheme: Annotated[str, typer.Option(help="Rules for empty structures: nnunet or brats20.")] = "nnunet",
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier selection that compared more.")] = False,
    device: DeviceOption = "auto",
    workspace: WorkspaceOption = None,
) -> None:
    """Choose what to predict with. Compares configurations and their ensembles on cases that they did not see, and tries post-processing."""
    from autoseg import api
    from autoseg.workspace import Workspace

    place = Workspace.find(workspace)
    name = place.resolve(dataset) if dataset else place.current()
    headline("select", dataset=name, configurations=" + ".join(dict.fromkeys(configurations)) if configurations else None, scheme=scheme)
    with showing_progress() as progress:
        selected = api.select(
            configurations or (), dataset=name, scheme=scheme, force=force, device=device, workspace=workspace, progress=progress, notify=note
        )
    show_candidates(selected, scheme)
    typer.echo(f"Selected: {selected.choice.reason}")
    typer.echo(selected.rules.reason)
    for rule in selected.rules.rules:
        typer.echo(f"- {rule.describe()}")
    typer.echo(f"Written: {selected.path}, {selected.csv} and {selected.picture}")
    typer.echo(f"Next: autoseg predict -i FOLDER -o OUT{same_place(name if dataset else None, workspace)}")


def show_candidates(selected: "Selected", scheme: str) -> None:
    """A table of all candidates, the best first."""
    choice = selected.choice
    structures = list(choice.chosen.structures)
    cheapest = min(one.cost for one in choice.candidates)
    heads = ["candidate", "mean Dice", "95 % interval", "to the best", "95 % interval", "cost", *structures]
    rows = [
        [
            one.name + (" (selected)" if one is choice.chosen else ""), f"{one.mean:.4f}", _interval(one.low, one.high, ".4f"),
            f"{one.difference:+.4f}", _interval(one.difference_low, one.difference_high, "+.4f"), f"{one.cost / cheapest:.3g} x",
            *(f"{one.structures[structure]:.4f}" for structure in structures),
        ]
        for one in choice.candidates
    ]  # fmt: skip
    show_table(
        f"Dice of {counted(selected.selection.cases or 0, 'case')} that no network saw (scheme {scheme})", heads, rows, right=range(1, len(heads))
    )


def _interval(low: float, high: float, form: str) -> str:
    return f"{low:{form}} to {high:{form}}" if low == low else "-"
