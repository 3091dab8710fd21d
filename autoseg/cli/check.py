"""`autoseg check`: is every file of a dataset whole and in agreement with the others?"""

from typing import TYPE_CHECKING, Annotated

import typer

from autoseg.cli.console import STACK_HELP, WorkspaceOption, headline, in_millimetres, parse_spacing, show_table, showing_progress
from autoseg.errors import counted

if TYPE_CHECKING:
    from autoseg.data.check import Report


def check(
    dataset: Annotated[str, typer.Argument(help="Folder in raw_data/, with or without 'Dataset' and the three digits.")],
    stack: Annotated[str | None, typer.Option(help=STACK_HELP)] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Verify every file of a dataset. Everything that is wrong is listed at once."""
    from autoseg import api
    from autoseg.workspace import Workspace

    name = Workspace.find(workspace).resolve(dataset)
    spacing = parse_spacing("--stack", stack)
    headline("check", dataset=name, stack=in_millimetres(spacing))
    with showing_progress() as progress:
        report = api.check(name, stack=spacing, workspace=workspace, progress=progress)
    show_warnings(report)
    report.require_clean()
    found = report.dataset
    labels = ", ".join(f"{value} {name}" for value, name in zip(found.labels.values, found.labels.names, strict=True))
    typer.echo(
        f"{found.name}: {counted(len(found.cases), 'case')}, layout {found.layout}, channels {', '.join(found.channel_names)}, labels {labels}."
    )
    typer.echo(f"No errors, {len(report.warnings)} warnings.")


def show_warnings(report: "Report") -> None:
    """Notes about how the folder was understood, and what is odd but no error."""
    for text in report.dataset.notes:
        typer.echo(f"Note: {text}", err=True)
    if report.warnings:
        rows = [[found.case, str(found.file or ""), found.problem, found.mend] for found in report.warnings]
        show_table("Warnings", ["case", "file", "what is odd", "what to do"], rows)
