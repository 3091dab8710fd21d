"""`autoseg ensemble`: make one segmentation of several that were made elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from autoseg.cli.console import WorkspaceOption, headline, note, showing_progress
from autoseg.errors import counted


def ensemble(
    inputs: Annotated[list[Path], typer.Option("--input", "-i", help="A member's folder of predictions; may be repeated.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the segmentations.")],
    method: Annotated[
        str, typer.Option(help="mean of probabilities, majority or staple of label maps; auto: mean where all have probabilities, else majority.")
    ] = "auto",
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", help="Dataset whose classes these are. Default: what the folders tell.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do finished cases again, and replace what lies there.")] = False,
    workspace: WorkspaceOption = None,
    more: Annotated[list[Path] | None, typer.Argument(help="Further members: -i out_a out_b out_c", show_default=False)] = None,
) -> None:
    """Combine predictions of several models, ours or nnU-Net's. Finished cases are passed over."""
    from autoseg import api

    folders = [*inputs, *(more or [])]
    headline("ensemble", members=" + ".join(map(str, folders)), method=method, dataset=dataset)
    with showing_progress() as progress:
        done = api.ensemble(
            folders, output, method=method, dataset=dataset, overwrite=overwrite, workspace=workspace, progress=progress, notify=note
        )  # fmt: skip
    by = {"mean": "mean of probabilities", "majority": "majority vote", "staple": "STAPLE"}[done.method]
    new = len(done.files) - len(done.skipped)
    typer.echo(f"{counted(new, 'case')} combined of {len(done.members)} members by {by}, {len(done.skipped)} were there already: {output}")
