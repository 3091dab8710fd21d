"""`autoseg evaluate`: judge segmentations against references."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoseg.cli.console import WorkspaceOption, headline, note, number_cell, show_table, showing_progress
from autoseg.errors import counted, listing

if TYPE_CHECKING:
    from autoseg.evaluation.reconstructions import ReconstructionScores
    from autoseg.evaluation.result import Evaluation

SHOWN = {"dice": "Dice", "iou": "IoU", "precision": "precision", "sensitivity": "sensitivity", "specificity": "specificity", "accuracy": "accuracy",
         "hd95": "HD95 mm", "assd": "ASSD mm", "nsd": "NSD", "volume_difference": "volume difference mm³"}  # fmt: skip
LESIONS = {"lesion_dice": "Dice", "lesion_nsd": "NSD", "lesion_hd95": "HD95 mm", "lesion_f1": "F1"}
LESION_COUNTS = {"lesion_tp": "found", "lesion_fn": "missed", "lesion_fp": "invented", "lesion_dropped": "too small, dropped"}


RegionsOption = Annotated[
    list[str] | None, typer.Option("--regions", help="Structures to judge instead, such as WT=1,2,4; may be repeated, or several in quotes.")
]
SchemeOption = Annotated[str, typer.Option(help="What is measured, and rules for empty structures: nnunet, brats20, brats23 or brats25.")]
TumourOption = Annotated[str, typer.Option(help="Which of brats23's rules: glioma, meningioma or metastasis.")]
ToleranceOption = Annotated[float, typer.Option(help="Tolerance of the normalised surface Dice, in mm (pixels where images do not tell their size).")]


def evaluate(
    predictions: Annotated[Path, typer.Option("--predictions", "-p", help="Folder of segmentations, or one file.")],
    references: Annotated[Path, typer.Option("--references", "-r", help="Folder of label files, a dataset in any known layout, or one file.")],
    more: Annotated[list[str] | None, typer.Argument(help="Further regions, after --regions.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for metrics.csv and metrics.json. Default: that of -p.")] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", help="Dataset for names and regions. Default: what references or predictions tell.")
    ] = None,
    regions: RegionsOption = None,
    scheme: SchemeOption = "nnunet",
    tumour: TumourOption = "glioma",
    tolerance: ToleranceOption = 1.0,
    workspace: WorkspaceOption = None,
) -> None:
    """Judge segmentations by references. Dice, HD95, lesions and more, per class and region, per case and mean."""
    from autoseg import api

    if more and not regions:
        raise typer.BadParameter(f"got {' '.join(more)} without an option. Regions come after --regions.")
    chosen = regions_of([*(regions or ()), *(more or ())])
    headline("evaluate", predictions=predictions, references=references, scheme=scheme, tumour=None if tumour == "glioma" else tumour)
    with showing_progress() as progress:
        evaluated = api.evaluate(
            predictions, references, output=output, dataset=dataset, regions=chosen, scheme=scheme, tumour=tumour, tolerance=tolerance,
            workspace=workspace, progress=progress, notify=note,
        )  # fmt: skip
    show_cases(evaluated.evaluation)
    show_means(evaluated.evaluation, "Mean over cases")
    typer.echo(means_in_short(evaluated.evaluation))
    typer.echo(f"Written: {evaluated.csv} and {evaluated.json}")


def heading(metric: str, length_unit: str) -> str:
    """How the column of a metric is called, with the unit of lengths that was measured in."""
    return _in_unit(f"lesion {LESIONS[metric]}" if metric in LESIONS else SHOWN[metric], length_unit)


def show_means(evaluation: "Evaluation", title: str) -> None:
    """A table of the means; cases in which a structure is empty are counted openly."""
    means = evaluation.mean()
    columns = [key for key in SHOWN if key in means.columns]
    rows = [
        [
            str(target),
            *(number_cell(means.loc[target, key]) for key in columns),
            *(str(means.loc[target, key]) for key in ("cases", "empty_reference", "empty_prediction")),
        ]
        for target in means.index
    ]
    heads = ["structure", *(heading(key, evaluation.length_unit) for key in columns), "cases", "empty in reference", "empty in prediction"]
    show_table(f"{title} (scheme {evaluation.scheme}; HD95: {evaluation.hd95_convention})", heads, rows, right=range(1, len(heads)))
    if "nsd" in means.columns:
        tolerances = sorted({f"{value:g}" for value in evaluation.table["nsd_tolerance"]})
        note(f"NSD: {evaluation.conventions['nsd']} of {', '.join(tolerances)} {evaluation.length_unit}. ASSD: {evaluation.conventions['assd']}.")
    show_lesions(evaluation)
    if evaluation.missing:
        cases = evaluation.table["case"].nunique() + len(evaluation.missing)
        note(f"Without a prediction, and in no number: {len(evaluation.missing)} of {counted(cases, 'case')}: {listing(evaluation.missing)}")


def show_reconstructions(scores: "ReconstructionScores", title: str) -> None:
    """A table of the means over cases, and the numbers of all voxels pooled."""
    means = scores.mean()
    rows = [[str(target), *(number_cell(means.loc[target, name]) for name in scores.metrics)] for target in means.index]
    show_table(f"{title} ({scores.task})", ["target", *scores.metrics], rows, right=range(1, 1 + len(scores.metrics)))
    if scores.pooled:
        typer.echo("All voxels pooled: " + ", ".join(f"{name} {value:.4f}" for name, value in scores.pooled.items()))


def means_in_short(evaluation: "Evaluation") -> str:
    """The mean Dice over classes and over regions, as far as there are any, in one line."""
    kinds = {target.region for target in evaluation.targets}
    means = [f"Mean Dice over {evaluation.leading}: {evaluation.foreground_mean():.4f}"]
    return ", ".join(means + ([f"over regions: {evaluation.region_mean():.4f}"] if len(kinds) > 1 else []))


def show_lesions(evaluation: "Evaluation") -> None:
    """A table of the lesions' scores (means over cases) and numbers (sums), where the scheme has any."""
    if "lesion_dice" not in evaluation.metrics:
        return
    means, sums = evaluation.mean(), evaluation.table.groupby("target").sum(numeric_only=True)
    scores = [key for key in LESIONS if key in means.columns]
    numbers = [key for key in LESION_COUNTS if key in sums.columns]
    rows = [
        [str(target), *(number_cell(means.loc[target, key]) for key in scores), *(f"{sums.loc[target, key]:.0f}" for key in numbers)]
        for target in means.index
    ]
    heads = ["structure", *(_in_unit(LESIONS[key], evaluation.length_unit) for key in scores), *(LESION_COUNTS[key] for key in numbers)]
    show_table(f"Lesions (scheme {evaluation.scheme})", heads, rows, right=range(1, len(heads)))


def regions_of(words: list[str]) -> dict[str, tuple[int, ...]] | None:
    """The regions that were typed, or None."""
    from autoseg.evaluation.targets import parse_regions

    return parse_regions(words) if words else None


def show_cases(evaluation: "Evaluation") -> None:
    """A table of every case's Dice and HD95: of the regions where there are any, else of the classes."""
    table = evaluation.table
    regions = any(target.region for target in evaluation.targets)
    targets = [target.name for target in evaluation.targets if target.region == regions]
    dice = table.pivot(index="case", columns="target", values="dice")
    hd95 = table.pivot(index="case", columns="target", values="hd95") if "hd95" in table.columns else None
    rows = []
    for case in dice.index:
        row = [str(case), *(number_cell(dice.loc[case, target]) for target in targets)]
        rows.append(row + ([] if hd95 is None else [number_cell(hd95.loc[case, target]) for target in targets]))
    heads = ["case", *(f"Dice {target}" for target in targets), *([] if hd95 is None else [f"HD95 {target}" for target in targets])]
    show_table("Cases", heads, rows, right=range(1, len(heads)))


def _in_unit(name: str, length_unit: str) -> str:
    """A picture's pixels are counted, whether they make a length or an area."""
    return name if length_unit == "mm" else re.sub("mm³?", length_unit, name)
