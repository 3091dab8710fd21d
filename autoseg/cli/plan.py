"""`autoseg plan`: check, fingerprint, plan, preprocess; or a plan without images; or a look at a plan that is there."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypedDict

import typer

from autoseg.cli.check import show_warnings
from autoseg.cli.console import STACK_HELP, Spacing, WorkspaceOption, headline, in_millimetres, note, parse_spacing, same_place, showing_progress
from autoseg.cli.decisions import show_configurations, show_reasons
from autoseg.errors import AutosegError, counted

if TYPE_CHECKING:
    from autoseg.api import Planned
    from autoseg.planning.plan import Plan


class Wishes(TypedDict):
    """What is passed on to the API."""

    preset: str | None
    gpu_memory_gb: float | Literal["auto"] | None
    spacing: Spacing | None
    source: str | None
    labels: Literal["classes", "regions"] | None


class OfImages(TypedDict):
    """What is passed on where there are images."""

    stack: Spacing | None
    folds: int | None
    recipes: tuple[str, ...]
    encoder_weights: str | None


def plan(
    dataset: Annotated[str | None, typer.Argument(help="Folder in raw_data/, with or without 'Dataset' and the three digits.")] = None,
    preset: Annotated[str | None, typer.Option(help="default, cpu, resenc_m, resenc_l or resenc_xl. Default: default.")] = None,
    gpu_memory: Annotated[
        str | None, typer.Option(help="Memory to plan for: GB, or auto for this machine's card. Default: the preset's own.")
    ] = None,
    spacing: Annotated[str | None, typer.Option(help="Resample to this spacing: millimetres along Z,Y,X, such as 1,1,1; Y,X of slices.")] = None,
    source: Annotated[str | None, typer.Option("--from", help="Take over the plan of another dataset, or a plan file, ours or nnU-Net's.")] = None,
    labels: Annotated[str | None, typer.Option(help="What networks learn: classes or regions. Default: regions where declared.")] = None,
    stack: Annotated[str | None, typer.Option(help=STACK_HELP)] = None,
    folds: Annotated[int | None, typer.Option(help="Number of folds. Default: as the dataset comes divided, else 5.")] = None,
    recipe: Annotated[
        list[str] | None, typer.Option(help="Add a published approach as a configuration (see autoseg recipes): a name or a file; may be repeated.")
    ] = None,
    encoder_weights: Annotated[str | None, typer.Option(help="Of recipes' encoders: imagenet, a file, or none. Default: as the recipe says.")] = None,
    preprocess: Annotated[bool, typer.Option("--preprocess/--no-preprocess", help="Make the cases ready for training too.")] = True,
    explain: Annotated[bool, typer.Option("--explain", help="Show every decision and reason; a plan that is there is only read.")] = False,
    validate: Annotated[Path | None, typer.Option("--validate", help="Only check this plan, for one that was edited.")] = None,
    fingerprint: Annotated[Path | None, typer.Option("--fingerprint", help="Plan from this fingerprint, ours or nnU-Net's, without images.")] = None,
    dataset_json: Annotated[Path | None, typer.Option("--dataset-json", help="The dataset.json of that fingerprint; ours needs none.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File for a plan that is made without images.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a plan that is there and differs.")] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Decide everything about a dataset. Its files are checked first, and its cases made ready for training afterwards."""
    from autoseg import api

    memory, target = _memory(gpu_memory), parse_spacing("--spacing", spacing)
    wishes: Wishes = {"preset": preset, "gpu_memory_gb": memory, "spacing": target, "source": source, "labels": _labels(labels)}
    asked = (preset, gpu_memory, spacing, source, labels)
    of_images = (stack, folds, recipe or None, encoder_weights)
    if validate is not None:
        if any(value is not None for value in (dataset, fingerprint, dataset_json, output, *of_images, *asked)):
            raise AutosegError("--validate only checks a plan: leave out everything else but --explain.")
        _validate(validate, explain)
        return
    if dataset is None:
        if fingerprint is None and source is None:
            raise AutosegError("Name a dataset (autoseg plan NAME), a fingerprint (--fingerprint FILE), or a plan to check (--validate FILE).")
        if any(value is not None for value in of_images):
            raise AutosegError("--stack, --folds, --recipe and --encoder-weights are about a dataset, and this plan is made without: leave them out.")
        headline("plan", fingerprint=fingerprint, **_understood(wishes))
        made = api.plan_from_files(fingerprint, dataset_json=dataset_json, output=output, force=force, workspace=workspace, **wishes)
        _show(made, explain, device=None)
        typer.echo(f"\nThe plan is {output}." if output else "\nNothing was written; -o FILE keeps the plan.")
        return
    if (fingerprint, dataset_json, output) != (None, None, None):
        raise AutosegError(f"--fingerprint, --dataset-json and -o plan without images: leave out {dataset}, or leave out these.")
    if explain and not force and all(value is None for value in (*of_images, *asked)) and _explain_what_is_there(dataset, workspace):
        return
    images: OfImages = {
        "stack": parse_spacing("--stack", stack), "folds": folds, "recipes": tuple(recipe or ()), "encoder_weights": encoder_weights,
    }  # fmt: skip
    _plan_dataset(dataset, wishes, images, workspace=workspace, explain=explain, preprocess=preprocess, force=force)


def _explain_what_is_there(dataset: str, workspace: Path | None) -> bool:
    """Show the plan of a dataset, if it has one."""
    from autoseg import api
    from autoseg.workspace import Workspace

    place = Workspace.find(workspace)
    name = place.resolve(dataset)
    if not place.plan(name).is_file():
        return False
    headline("plan", dataset=name, plan=place.plan(name))
    _show(api.check_plan(place.plan(name)).plan, explain=True, device=None)
    return True


def _plan_dataset(dataset: str, wishes: Wishes, images: OfImages, *, workspace: Path | None, explain: bool, preprocess: bool, force: bool) -> None:
    from autoseg import api
    from autoseg.workspace import Workspace

    name = Workspace.find(workspace).resolve(dataset)
    recipes = ", ".join(images["recipes"]) or None
    headline("plan", dataset=name, **_understood(wishes), stack=in_millimetres(images["stack"]), folds=images["folds"], recipes=recipes)
    with showing_progress() as progress:
        made = api.plan(name, workspace=workspace, preprocess=preprocess, force=force, progress=progress, **wishes, **images)
    show_warnings(made.report)
    _show(made.plan, explain, device="auto" if preprocess else None)
    _tell_ready(made)
    if made.dropped:
        again = f"autoseg plan {dataset} {' '.join(f'--recipe {name}' for name in made.dropped)}{same_place(None, workspace)}"
        note(f"Not in the new plan: {', '.join(made.dropped)}, which the plan before had by recipes. Add them again: {again}")
    first = made.plan.configurations.keys() & set(images["recipes"])
    chosen = min(first) if first else _first(made.plan)
    typer.echo(f"\nThe plan is {made.path}; edit it if you like. Next: autoseg train {chosen} 0{same_place(None, workspace)}")


def _understood(wishes: Wishes) -> dict[str, object]:
    """Wishes for the first line."""
    if wishes["source"] is not None:
        return {"from": wishes["source"], "labels": wishes["labels"]}
    memory, spacing = wishes["gpu_memory_gb"], wishes["spacing"]
    return {
        "preset": wishes["preset"] or "default",
        "memory": f"{memory:g} GB" if isinstance(memory, float) else memory,
        "labels": wishes["labels"],
        "spacing": in_millimetres(spacing),
    }


def _validate(path: Path, explain: bool) -> None:
    from autoseg import api

    headline("plan", validate=path)
    checked = api.check_plan(path)
    for remark in checked.remarks:
        note(f"Note: {remark}")
    if explain:
        _show(checked.plan, explain=True, device=None)
    typer.echo(f"{path} is a valid plan of {checked.plan.dataset.name}: {', '.join(checked.plan.configurations)}.")


def _show(plan: "Plan", explain: bool, *, device: str | None) -> None:
    from autoseg import api

    show_configurations(plan, api.costs(plan, device=device))
    if device is not None:
        from autoseg.inference.execution import pick_device

        typer.echo(
            f"GPU memory is predicted; so are times, for the plan's full length on this machine's {pick_device(device)}, from a test just made."
        )
    show_reasons(plan, everything=explain)


def _tell_ready(made: "Planned") -> None:
    for name, count in made.made_ready.items():
        note(f"{name}: {counted(count, 'case')} made ready, {made.plan.dataset.num_cases - count} were there already.")


def _first(plan: "Plan") -> str:
    return "3d_fullres" if "3d_fullres" in plan.configurations else next(iter(plan.configurations))


def _memory(text: str | None) -> float | Literal["auto"] | None:
    if text is None or text == "auto":
        return None if text is None else "auto"
    try:
        memory = float(text)
    except ValueError:
        raise AutosegError(f"--gpu-memory {text}: give a number of GB, such as 8, or auto.") from None
    if not (math.isfinite(memory) and memory > 0):
        raise AutosegError(f"--gpu-memory {text}: give a number of GB above zero.")
    return memory


def _labels(text: str | None) -> Literal["classes", "regions"] | None:
    match text:
        case None | "classes" | "regions":
            return text
    raise AutosegError(f"--labels {text}: choose classes or regions.")
