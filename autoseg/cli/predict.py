"""`autoseg predict`: segment scans with trained models."""

from pathlib import Path
from typing import Annotated

import typer

from autoseg.cli.console import DatasetOption, DeviceOption, WorkspaceOption, headline, note, show_table, showing_progress
from autoseg.errors import counted, listing
from autoseg.progress import duration

SHOWN = 5  # doubtful cases in the table


def predict(
    inputs: Annotated[list[Path], typer.Option("--input", "-i", help="A folder in any known layout, a case's folder, or a file; may be repeated.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the segmentations.")],
    dataset: DatasetOption = None,
    configuration: Annotated[str | None, typer.Option("--configuration", "-c", help="Default: what autoseg select chose, else the best one.")] = None,
    folds: Annotated[list[str] | None, typer.Option("--fold", "-f", help="A fold to use; may be repeated. Default: all that are trained.")] = None,
    model: Annotated[
        Path | None, typer.Option("--model", "-m", help="A model folder (a fold's, one with fold_<k> in it, or with selection.json).")
    ] = None,
    step: Annotated[float | None, typer.Option(help="Distance of windows as a part of the patch. Default: the plan's (0.5).")] = None,
    mirror: Annotated[bool, typer.Option("--mirror/--no-mirror", help="Average over mirrored images: better, slower.")] = True,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Also write <case>.npz with the probability of every class.")] = False,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Also write maps of entropy and disagreement, and which cases to look at first.")
    ] = False,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Also draw contours on every scan: overlays/<case>.png, and overlays.png of all.")
    ] = False,
    postprocessing: Annotated[bool, typer.Option("--postprocessing/--no-postprocessing", help="Apply the rules that autoseg select found.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Predict finished cases again.")] = False,
    device: DeviceOption = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
    workspace: WorkspaceOption = None,
    more: Annotated[list[Path] | None, typer.Argument(help="Further inputs: what a shell makes of -i cases/*", show_default=False)] = None,
) -> None:
    """Segment scans, or classify them where the model does. Cases that are finished are passed over."""
    from autoseg import api

    with showing_progress() as progress:
        predicted = api.predict(
            [*inputs, *(more or [])], output, dataset=dataset, configuration=configuration, folds=folds, model=model, step=step, mirror=mirror,
            probabilities=probabilities, uncertainty=uncertainty, overlay=overlay, postprocessing=postprocessing, overwrite=overwrite,
            device=device, workspace=workspace, progress=progress, notify=note, announce=lambda understood: headline("predict", **understood),
        )  # fmt: skip
    if as_json:
        import json

        typer.echo(json.dumps(predicted.to_json(), indent=2))
        return
    if predicted.uncertainty:
        show_doubtful(predicted.uncertainty)
        typer.echo(f"Written: {predicted.uncertainty}, and beside it maps and most_doubtful.png in uncertainty/")
    if predicted.overlays:
        typer.echo(f"Drawn: {listing(predicted.overlays)}, and every case in {output / 'overlays'}")
    done, alone = len(predicted.files) - len(predicted.skipped), predicted.classification in predicted.files.values()
    where = predicted.classification if alone else output
    if predicted.classification and not alone:
        typer.echo(f"Classes: {predicted.classification}")
    typer.echo(f"{counted(done, 'case')} {predicted.done} in {duration(predicted.seconds)}, {len(predicted.skipped)} were there already: {where}")


def show_doubtful(table: Path) -> None:
    """The cases that a person should look at first."""
    import pandas as pd

    cases = pd.read_csv(table, dtype={"case": str}, keep_default_na=False, na_values=[""]).sort_values("doubt", ascending=False)
    stability = [name for name in cases.columns if name.startswith("stability_")]
    heads = ["case", "doubt", *(f"stability {name.removeprefix('stability_')}" for name in stability)]
    rows = [[str(row["case"]), *(f"{row[name]:.3f}" for name in ("doubt", *stability))] for row in cases[:SHOWN].to_dict("records")]
    show_table(f"Most doubtful of {counted(len(cases), 'case')}", heads, rows, right=range(1, len(heads)))
