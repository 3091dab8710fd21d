"""`autoseg plan`: check, fingerprint, plan, preprocess."""

from typing import TYPE_CHECKING, Annotated

import typer

from autoseg.cli.check import show_warnings
from autoseg.cli.console import WorkspaceOption, headline, note, show_table, showing_progress
from autoseg.errors import AutosegError

if TYPE_CHECKING:
    from autoseg.planning.plan import Plan


def plan(
    dataset: Annotated[str, typer.Argument(help="Folder in raw_data/, with or without 'Dataset' and the three digits.")],
    preset: Annotated[str, typer.Option(help="default, cpu, resenc_m, resenc_l or resenc_xl.")] = "default",
    gpu_memory: Annotated[float | None, typer.Option(help="Memory to plan for, in GB. Default: the preset's own.")] = None,
    spacing: Annotated[str | None, typer.Option(help="Resample 3D data to this spacing: millimetres along Z,Y,X, such as 1,1,1.")] = None,
    preprocess: Annotated[bool, typer.Option("--preprocess/--no-preprocess", help="Make the cases ready for training too.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace a plan that is there and differs.")] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Decide everything about a dataset. Its files are checked first, and its cases made ready for training afterwards."""
    from autoseg import api
    from autoseg.workspace import Workspace

    target = _spacing(spacing)
    name = Workspace.find(workspace).resolve(dataset)
    headline("plan", dataset=name, preset=preset, memory=None if gpu_memory is None else f"{gpu_memory:g} GB", spacing=spacing)
    with showing_progress() as progress:
        made = api.plan(
            name, workspace=workspace, preset=preset, gpu_memory_gb=gpu_memory, spacing=target, preprocess=preprocess, force=force, progress=progress
        )
    show_warnings(made.report)
    show_decisions(made.plan)
    for name, count in made.made_ready.items():
        note(f"{name}: {count} cases made ready, {made.plan.dataset.num_cases - count} were there already.")
    typer.echo(f"\nThe plan is {made.path}; edit it if you like. Next: autoseg train {_first(made.plan)} 0")


def show_decisions(plan: "Plan") -> None:
    """Every decision with its reason."""
    rows = [["", key, reason] for key, reason in plan.why.items()]
    for name, configuration in plan.configurations.items():
        rows += [[name if index == 0 else "", key, reason] for index, (key, reason) in enumerate(configuration.why.items())]
    show_table(f"The plan of {plan.dataset.name}", ["configuration", "decision", "why"], rows)


def _first(plan: "Plan") -> str:
    return "3d_fullres" if "3d_fullres" in plan.configurations else next(iter(plan.configurations))


def _spacing(text: str | None) -> tuple[float, float, float] | None:
    if text is None:
        return None
    try:
        z, y, x = (float(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        raise AutosegError(f"--spacing {text}: three numbers are needed, millimetres along Z,Y,X, such as 1,1,1.") from None
    if not all(0 < size < float("inf") for size in (z, y, x)):
        raise AutosegError(f"--spacing {text}: millimetres must be above zero.")
    return z, y, x
