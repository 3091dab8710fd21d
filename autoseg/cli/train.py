"""`autoseg train`: one fold, all folds in turn, or every case."""

from pathlib import Path
from typing import Annotated

import typer

from autoseg.cli.classes import show_classes
from autoseg.cli.console import DatasetOption, DeviceOption, WorkspaceOption, headline, note, same_place, showing_progress, stoppable
from autoseg.cli.crossval import in_short
from autoseg.cli.evaluate import means_in_short, show_means, show_reconstructions
from autoseg.progress import duration


def train(
    configuration: Annotated[
        str, typer.Argument(help="A configuration of the plan, such as 3d_fullres; a cascade trains what it needs of its previous stage first.")
    ],
    fold: Annotated[str, typer.Argument(help="0 to 4, all (every case) or cv (all folds in turn).")],
    dataset: DatasetOption = None,
    epochs: Annotated[int | None, typer.Option(help="Number of epochs instead of the plan's.")] = None,
    budget: Annotated[str | None, typer.Option(help="Time to train, such as 20m or 2h; the final validation comes on top.")] = None,
    device: DeviceOption = "auto",
    seed: Annotated[int | None, typer.Option(help="Seed instead of the plan's.")] = None,
    pretrained: Annotated[
        Path | None, typer.Option(help="Folder fold_<k> of a trained model whose weights a new run starts from, in place of random ones.")
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Delete what an earlier run of this fold left and start anew; a cascade keeps its previous stage.")
    ] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Train a configuration on a fold. Then validate it; an unfinished run is taken up."""
    from autoseg import api
    from autoseg.evaluation.reconstructions import ReconstructionScores
    from autoseg.evaluation.result import Evaluation
    from autoseg.inference.execution import pick_device
    from autoseg.workspace import Workspace

    place = Workspace.find(workspace)
    name = place.resolve(dataset) if dataset else place.current()
    headline("train", dataset=name, configuration=configuration, fold=fold, device=pick_device(device), pretrained=pretrained)
    where = same_place(name if dataset else None, workspace)
    with stoppable() as should_stop, showing_progress() as progress:
        trained = api.train(
            configuration, fold, dataset=name, workspace=workspace, epochs=epochs, budget=budget, device=device, seed=seed,
            pretrained=pretrained, restart=restart, progress=progress, notify=note, should_stop=should_stop,
        )  # fmt: skip
    for one in trained:
        typer.echo(f"Fold {one.fold}: {one.steps:,} steps in {duration(one.seconds)} with recipe '{one.recipe}'.")
        if isinstance(one.evaluation, Evaluation):
            show_means(one.evaluation, f"Validation of fold {one.fold}")
            typer.echo(means_in_short(one.evaluation))
        elif isinstance(one.evaluation, ReconstructionScores):
            show_reconstructions(one.evaluation, f"Validation of fold {one.fold}")
        if one.classification is not None:
            show_classes(one.classification, f"Validation of fold {one.fold}")
        typer.echo(f"Weights, log.csv, progress.png and validation pictures: {one.folder}")
    by_dice = all(isinstance(one.evaluation, Evaluation) for one in trained)  # as cross-validation and selection are
    if fold == "cv" and by_dice:
        done = api.crossval(configuration, dataset=name, workspace=workspace)
        for scored in done.configurations:
            if scored.scores:
                typer.echo(in_short(scored.name, scored.scores))
        typer.echo(f"Structures, folds and intervals: autoseg crossval {configuration}{where}, and {done.csv}")
        typer.echo(f"Next: autoseg select{where}")
        return
    typer.echo(f"Next: autoseg predict -i FOLDER -o OUT -c {configuration}{where}")
