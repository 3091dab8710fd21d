"""Plans without images: made from a fingerprint, read from other plans, checked after they were edited, and what training them would take."""

from dataclasses import dataclass
from pathlib import Path

from autoseg.api._decide import Learned, Memory, Wishes, decide, keep
from autoseg.data.description import read_dataset_json
from autoseg.errors import AutosegError
from autoseg.files import read_json
from autoseg.imaging.image import Spacing3
from autoseg.planning.hardware.compute import ConfigurationCost, describe_cost
from autoseg.planning.nnunet.plan import is_nnunet_plan
from autoseg.planning.plan import Plan, validate_plan
from autoseg.planning.schema.checks import remarks
from autoseg.planning.without_images import dataset_block, plan_inputs
from autoseg.workspace import Workspace


@dataclass(frozen=True)
class CheckedPlan:
    """A valid plan, and what is worth saying of it although it is no error."""

    plan: Plan
    remarks: tuple[str, ...]


def plan_from_files(
    fingerprint: Path | str | None = None,
    *,
    dataset_json: Path | str | None = None,
    source: Path | str | None = None,
    output: Path | str | None = None,
    preset: str | None = None,
    gpu_memory_gb: Memory | None = None,
    spacing: Spacing3 | None = None,
    labels: Learned | None = None,
    force: bool = False,
    workspace: Path | str | None = None,
) -> Plan:
    """Plan a dataset whose images are elsewhere.

    Parameters
    ----------
    fingerprint : `plans/<dataset>.fingerprint.json` or nnU-Net's `dataset_fingerprint.json`; a plan that is taken over can do without
    dataset_json : the `dataset.json` that belongs to it; nnU-Net's fingerprint needs it, ours does not
    source : a plan to take over instead of deciding: a dataset's name, or a file of ours or of nnU-Net's (`nnUNetPlans.json`)
    output : file for the plan; by default none is written
    preset, gpu_memory_gb, spacing, labels : see `plan`
    force : replace a plan that is there and differs
    workspace : where a source that is a dataset's name is looked up

    Raises
    ------
    AutosegError
        a file is missing, faulty or contradicts another, a wish cannot be met, or the output is there and differs
    """
    wishes = Wishes(preset, gpu_memory_gb, spacing, source, labels)
    description = None if dataset_json is None else Path(dataset_json)
    if fingerprint is not None:
        facts, block = plan_inputs(Path(fingerprint), description)
    elif description is not None and source is not None:
        facts, block = None, dataset_block(read_dataset_json(description), 1)
    else:
        raise AutosegError("Give a fingerprint (--fingerprint), or a plan to take over (--from) and the dataset.json it is for (--dataset-json).")
    made = decide(wishes, facts, block, Workspace.find(workspace))
    if output is not None:
        made = keep(made, Path(output), force=force)
    return made


def check_plan(path: Path | str) -> CheckedPlan:
    """Validate a plan that was edited by hand.

    Parameters
    ----------
    path : the plan

    Raises
    ------
    PlanError
        keys are unknown or values impossible; all of them are named, each with the nearest valid choice
    AutosegError
        the file is missing, is not JSON, or is a plan of nnU-Net's
    """
    content = read_json(Path(path))
    if is_nnunet_plan(content):
        raise AutosegError(f"{path} is a plan of nnU-Net's. Make it one of ours: autoseg plan --from {path} --dataset-json dataset.json -o plan.json")
    found = validate_plan(content, str(path))
    return CheckedPlan(found, tuple(remarks(found)))


def costs(plan: Plan, *, device: str | None = None) -> list[ConfigurationCost]:
    """What training each configuration of a plan would take.

    Parameters
    ----------
    plan : any
    device : measure for some seconds how fast this device is ("auto", "cpu", "cuda", ...), and say how long an epoch and a training will take;
        None: only what needs no measuring

    Raises
    ------
    AutosegError
        the device does not exist
    """
    if device is None:
        return describe_cost(plan, None)
    from autoseg.inference.execution import pick_device
    from autoseg.inference.throughput import measure_throughput

    return describe_cost(plan, measure_throughput(pick_device(device)))
