"""How well a fold's cases were classified, as a table on the console."""

from typing import TYPE_CHECKING

import typer

from autoseg.cli.console import show_table

if TYPE_CHECKING:
    from autoseg.evaluation.classification import ClassEvaluation


def show_classes(evaluation: "ClassEvaluation", title: str) -> None:
    """Every measure with its interval, for slices and for cases, and the confusion matrix in a line."""
    rows = []
    for level, scores in evaluation.levels.items():
        for name, value in scores.measures.items():
            low, high = scores.intervals[name]
            interval = f"{low:.3f} to {high:.3f}" if low == low else "-"
            rows.append([level, name.replace("_", " "), f"{value:.3f}" if value == value else "-", interval])
    show_table(f"{title}: {evaluation.target}", ["of each", "measure", "value", "95 % interval"], rows, right=[2, 3])
    for level, scores in evaluation.levels.items():
        counts = "; ".join(
            f"{name}: " + ", ".join(f"{count} as {other}" for other, count in zip(evaluation.classes, row, strict=True) if count)
            for name, row in zip(evaluation.classes, scores.confusion.tolist(), strict=True)
            if any(row)
        )
        typer.echo(f"{len(scores.examples.truth):,} {level}s. {counts}.")
