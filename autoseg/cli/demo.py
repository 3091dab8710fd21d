"""`autoseg demo`: the main job on synthetic brain tumours."""

from pathlib import Path
from typing import Annotated

import typer

from autoseg.cli.console import DeviceOption, headline, note, showing_progress, stoppable
from autoseg.cli.evaluate import show_cases, show_means


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for everything the demo makes.")] = Path("demo"),
    budget: Annotated[
        str | None, typer.Option(help="Time to train. Default: 150 steps, one or two minutes on two cores.", show_default=False)
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Do it all with synthetic tumours. Plan, train, predict and evaluate: a few minutes on a laptop."""
    from autoseg import api

    headline("demo", folder=output, device=device, training=budget or "150 steps")
    with stoppable() as should_stop, showing_progress() as progress:
        done = api.demo(output, budget=budget, device=device, progress=progress, notify=note, should_stop=should_stop)
    show_cases(done.evaluation)
    show_means(done.evaluation, "Unseen phantoms")
    typer.echo(f"\nPicture: {done.picture}\nTraining curves: {done.curves}\nNumbers: {done.numbers}")
    typer.echo(f"Look around: the plan is {done.workspace / 'plans'}, the model {done.curves.parent}")
