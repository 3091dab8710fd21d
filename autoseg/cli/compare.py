"""`autoseg compare`: the predictions of several models side by side."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoseg.cli.console import WorkspaceOption, headline, note, number_cell, show_table, showing_progress
from autoseg.cli.evaluate import RegionsOption, SchemeOption, ToleranceOption, TumourOption, heading, regions_of
from autoseg.errors import counted, listing

if TYPE_CHECKING:
    from autoseg.evaluation.compare import Comparison

REGION = re.compile(r"[^=/]+=[0-9]+(,[0-9]+)*")


def compare(
    predictions: Annotated[list[Path], typer.Argument(help="Folders of segmentations, two or more; further regions, after --regions.")],
    references: Annotated[Path, typer.Option("--references", "-r", help="Folder of label files, or a dataset in any known layout.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for tables and picture.")] = Path("comparison"),
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", help="Dataset for names and regions. Default: what references or predictions tell.")
    ] = None,
    regions: RegionsOption = None,
    scheme: SchemeOption = "nnunet",
    tumour: TumourOption = "glioma",
    tolerance: ToleranceOption = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap intervals.")] = 0,
    workspace: WorkspaceOption = None,
) -> None:
    """Compare the predictions of several models. Differences with intervals, a paired test, a ranking."""
    from autoseg import api

    folders, more = folders_and_regions(predictions)
    if more and not regions:
        raise typer.BadParameter(f"there is no folder {more[0]}; or is it a region? Regions come after --regions.")
    chosen = regions_of([*(regions or ()), *more])
    said = None if tumour == "glioma" else tumour
    headline("compare", predictions=" ".join(map(str, folders)), references=references, scheme=scheme, tumour=said)
    with showing_progress() as progress:
        done = api.compare(
            folders, references, output=output, dataset=dataset, regions=chosen, scheme=scheme, tumour=tumour, tolerance=tolerance,
            seed=seed, workspace=workspace, progress=progress, notify=note,
        )  # fmt: skip
    found = done.comparison
    show_means(found)
    show_differences(found)
    show_ranking(found)
    total = len(found.cases) + len(found.missing)
    typer.echo(f"Compared: {len(found.cases)} of {counted(total, 'case')} with a reference, scheme {found.scheme}")
    if found.missing:
        note(f"Without a prediction, and in no number: {listing(found.missing)}")
    typer.echo(f"Written: {done.csv}, {done.json} and {done.picture}")


def folders_and_regions(words: list[Path]) -> tuple[list[Path], list[str]]:
    """What was typed without an option, parted: a word NAME=VALUES is a region, unless there is a folder of that name."""
    regions = [str(word) for word in words if REGION.fullmatch(str(word)) and not word.exists()]
    return [word for word in words if str(word) not in regions], regions


def show_means(found: "Comparison") -> None:
    """Mean and median of each contestant for each structure, in how many cases it had a number."""
    table = {(row["target"], row["metric"], row["contestant"]): row for row in found.summary.to_dict("records")}
    rows = []
    for metric in _shown(found):
        for target in found.targets:
            ones = [table[target.name, metric, name] for name in found.contestants]
            cells = [f"{number_cell(one['mean'])} ({number_cell(one['median'])}, {one['cases']:.0f})" for one in ones]
            rows.append([target.name, heading(metric, found.length_unit), *cells])
    heads = ["structure", "metric", *found.contestants]
    show_table(f"Mean (median, cases with a number), scheme {found.scheme}", heads, rows, right=range(2, len(heads)))


def show_differences(found: "Comparison") -> None:
    """Mean difference of each pair with its interval and p value, in how many cases both had a number."""
    rows = [
        [
            str(row["target"]),
            heading(str(row["metric"]), found.length_unit),
            f"{row['second']} - {row['first']}",
            _signed(row["difference"]),
            f"{_signed(row['low'])} to {_signed(row['high'])}",
            f"{row['p']:.2g}" if row["p"] == row["p"] else "-",
            str(row["cases"]),
        ]
        for metric in _shown(found)
        for row in found.differences[found.differences["metric"] == metric].to_dict("records")
    ]
    heads = ["structure", "metric", "difference", "mean", "95 % interval", "p (Wilcoxon)", "cases"]
    show_table("Paired differences (p values are not corrected for their number)", heads, rows, right=range(3, len(heads)))


def show_ranking(found: "Comparison") -> None:
    """The contestants, best first."""
    rows = [[str(row["place"]), str(row["contestant"]), f"{row['mean_rank']:.3f}", str(row["ranks"])] for row in found.ranking.to_dict("records")]
    note("Ranked for each case, structure and metric: " + " and ".join(heading(metric, found.length_unit) for metric in found.ranked))
    show_table("BraTS ranking", ["place", "contestant", "mean rank", "ranks"], rows, right=[2, 3])


def _shown(found: "Comparison") -> list[str]:
    measured = set(found.values["metric"])
    return [metric for metric in dict.fromkeys(("dice", "hd95", "nsd", *found.ranked)) if metric in measured]


def _signed(value: float) -> str:
    return "-" if value != value else f"{value:+.4f}" if abs(value) < 10 else f"{value:+.1f}"
