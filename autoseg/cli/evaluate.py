"""`autoseg evaluate`: judge segmentations against references."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoseg.cli.console import WorkspaceOption, headline, note, show_table, showing_progress
from autoseg.errors import listing

if TYPE_CHECKING:
    from autoseg.evaluation.result import Evaluation

SHOWN = {"dice": "Dice", "iou": "IoU", "precision": "precision", "sensitivity": "sensitivity", "specificity": "specificity", "accuracy": "accuracy",
         "hd95": "HD95 mm", "volume_difference": "volume difference mm³"}  # fmt: skip


def evaluate(
    predictions: Annotated[Path, typer.Option("--predictions", "-p", help="Folder of segmentations, or one file.")],
    references: Annotated[Path, typer.Option("--references", "-r", help="Folder of label files, a dataset in any known layout, or one file.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for metrics.csv and metrics.json. Default: that of -p.")] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", help="Dataset for names and regions. Default: what references or predictions tell.")
    ] = None,
    scheme: Annotated[str, typer.Option(help="Rules for empty structures: nnunet or brats20.")] = "nnunet",
    workspace: WorkspaceOption = None,
) -> None:
    """Judge segmentations by references. Dice, HD95 and more, per class and region, per case and mean."""
    from autoseg import api

    headline("evaluate", predictions=predictions, references=references, scheme=scheme)
    with showing_progress() as progress:
        evaluated = api.evaluate(
            predictions, references, output=output, dataset=dataset, scheme=scheme, workspace=workspace, progress=progress, notify=note
        )  # fmt: skip
    show_cases(evaluated.evaluation)
    show_means(evaluated.evaluation, "Mean over cases")
    typer.echo(f"Mean Dice over classes: {evaluated.evaluation.foreground_mean():.4f}")
    typer.echo(f"Written: {evaluated.csv} and {evaluated.json}")


def show_means(evaluation: "Evaluation", title: str) -> None:
    """A table of the means; cases in which a structure is empty are counted openly."""
    means = evaluation.mean()
    columns = [key for key in SHOWN if key in means.columns]
    rows = [
        [
            str(target),
            *(_number(means.loc[target, key]) for key in columns),
            *(str(means.loc[target, key]) for key in ("cases", "empty_reference", "empty_prediction")),
        ]
        for target in means.index
    ]
    heads = ["structure", *(SHOWN[key] for key in columns), "cases", "empty in reference", "empty in prediction"]
    show_table(f"{title} (scheme {evaluation.scheme}; HD95: {evaluation.hd95_convention})", heads, rows, right=range(1, len(heads)))
    if evaluation.missing:
        cases = evaluation.table["case"].nunique() + len(evaluation.missing)
        note(f"Without a prediction, and in no number: {len(evaluation.missing)} of {cases} cases: {listing(evaluation.missing)}")


def show_cases(evaluation: "Evaluation") -> None:
    """A table of every case's Dice and HD95: of the regions where there are any, else of the classes."""
    table = evaluation.table
    regions = any(target.region for target in evaluation.targets)
    targets = [target.name for target in evaluation.targets if target.region == regions]
    dice = table.pivot(index="case", columns="target", values="dice")
    hd95 = table.pivot(index="case", columns="target", values="hd95") if "hd95" in table.columns else None
    rows = []
    for case in dice.index:
        row = [str(case), *(_number(dice.loc[case, target]) for target in targets)]
        rows.append(row + ([] if hd95 is None else [_number(hd95.loc[case, target]) for target in targets]))
    heads = ["case", *(f"Dice {target}" for target in targets), *([] if hd95 is None else [f"HD95 {target}" for target in targets])]
    show_table("Cases", heads, rows, right=range(1, len(heads)))


def _number(value: object) -> str:
    number = float(str(value))
    return "-" if number != number else f"{number:.4f}" if abs(number) < 10 else f"{number:.1f}"
