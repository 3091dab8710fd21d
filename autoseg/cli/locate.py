"""`autoseg locate`: where structures lie in scans."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoseg.cli.console import DatasetOption, DeviceOption, WorkspaceOption, headline, note, show_table, showing_progress
from autoseg.errors import counted, listing
from autoseg.progress import duration

if TYPE_CHECKING:
    from autoseg import api

SHOWN = 20  # rows of the table


def locate(
    inputs: Annotated[list[Path], typer.Option("--input", "-i", help="A folder in any known layout, a case's folder, or a file; may be repeated.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for tables, pictures and segmentations.")],
    segmentations: Annotated[
        Path | None, typer.Option("--segmentations", "-s", help="Locate in these, without a network: a folder of segmentations, a dataset, a file.")
    ] = None,
    dataset: DatasetOption = None,
    configuration: Annotated[str | None, typer.Option("--configuration", "-c", help="Default: what autoseg select chose, else the best one.")] = None,
    folds: Annotated[list[str] | None, typer.Option("--fold", "-f", help="A fold to use; may be repeated. Default: all that are trained.")] = None,
    model: Annotated[
        Path | None, typer.Option("--model", "-m", help="A model folder (a fold's, one with fold_<k> in it, or with selection.json).")
    ] = None,
    step: Annotated[float | None, typer.Option(help="Distance of windows as a part of the patch. Default: the plan's (0.5).")] = None,
    mirror: Annotated[bool, typer.Option("--mirror/--no-mirror", help="Average over mirrored images: better, slower.")] = True,
    postprocessing: Annotated[bool, typer.Option("--postprocessing/--no-postprocessing", help="Apply the rules that autoseg select found.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Predict, measure and draw finished cases again.")] = False,
    device: DeviceOption = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
    workspace: WorkspaceOption = None,
    more: Annotated[list[Path] | None, typer.Argument(help="Further inputs: what a shell makes of -i cases/*", show_default=False)] = None,
) -> None:
    """Say where structures lie in scans. Boxes, centroids, volumes and contours; cases that are finished are passed over."""
    from autoseg import api

    with showing_progress() as progress:
        located = api.locate(
            [*inputs, *(more or [])], output, segmentations=segmentations, dataset=dataset, configuration=configuration, folds=folds, model=model,
            step=step, mirror=mirror, postprocessing=postprocessing, overwrite=overwrite, device=device, workspace=workspace, progress=progress,
            notify=note, announce=lambda understood: headline("locate", **understood),
        )  # fmt: skip
    if as_json:
        import json

        typer.echo(json.dumps(located.to_json(), indent=2))
        return
    show_structures(located)
    done = len(located.files) - len(located.skipped)
    typer.echo(f"Written: {located.json}, {located.csv}, {listing(located.sheets)}, and every case in {output / 'overlays'}")
    typer.echo(f"{counted(done, 'case')} located in {duration(located.seconds)}, {len(located.skipped)} were there already: {output}")


def show_structures(located: "api.Located") -> None:
    """The first cases' structures, without their parts."""
    from autoseg.files import read_record

    cases = read_record(located.json)["cases"]
    rows = [_row(case, name, place) for case in sorted(located.files) for name, place in cases[case]["structures"].items()]
    heads = ["case", "structure", "volume", "parts", "first voxel Z, Y, X", "last voxel Z, Y, X", "centroid R, A, S mm"]
    title = "Where structures lie" if len(rows) <= SHOWN else f"Where structures lie: the first {SHOWN} of {len(rows)} rows"
    show_table(title, heads, rows[:SHOWN], right=(2, 3))


def _row(case: str, structure: str, place: dict[str, Any]) -> list[str]:
    volume, area = place["volume_mm3"], place["area_mm2"]
    size = f"{volume / 1000:.2f} ml" if volume is not None else f"{area:.1f} mm²" if area is not None else counted(place["voxels"], "voxel")
    box = place["box"] or {"first": None, "last": None}
    return [case, structure, size, str(len(place["parts"])), _numbers(box["first"]), _numbers(box["last"]), _numbers(place["centroid_ras_mm"])]


def _numbers(values: list[float] | None) -> str:
    return "-" if values is None else ", ".join(f"{value:.1f}" if isinstance(value, float) else str(value) for value in values)
