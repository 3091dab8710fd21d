"""Stages of training: batches with augmentation on one core, and the step itself."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autoseg.networks import build
from autoseg.networks.weights import weights_of
from autoseg.planning.plan import validate_plan, write_plan
from autoseg.preprocessing.store import CaseStore, store_name
from autoseg.training.batches import PatchSource
from nnunet.commands import our_script
from nnunet.environment import our_variables
from nnunet.ground import BRATS, HIPPOCAMPUS, Ground, Prepared
from nnunet.predict import their_script
from nnunet.same import same_plan
from nnunet.stage import Different, Stage
from nnunet.watch import Work

NAME = "3d_fullres"
PATCH, BATCH = (128, 128, 128), 4
BATCHES, STEPS = 12, 3  # in one measurement
LIKENESS = 0.25  # of mean, deviation and share of foreground of random batches, in deviations of the images
LOSS_TOLERANCE = 0.02  # of the loss after each step: bfloat16 here, float32 there


def _batches_ground(ground: Ground) -> Path:
    """Plans of both with the patch and the batch that are asked for."""
    folder = ground.root / "batches"
    if not (folder / "plan.json").exists():
        folder.mkdir(exist_ok=True)
        prepared = ground.prepared(BRATS)
        theirs, ours = prepared.their_plans(), prepared.our_plan.model_dump(mode="json")
        for configuration in (theirs["configurations"][NAME], ours["configurations"][NAME]):
            configuration |= {"patch_size": list(PATCH), "batch_size": BATCH}
        (folder / "plans.json").write_text(json.dumps(theirs), encoding="utf-8")
        shutil.copy(prepared.theirs / "dataset.json", folder / "dataset.json")
        write_plan(validate_plan(ours, "the plan of the batches"), folder / "plan.json")
    return folder


def _count(ground: Ground) -> int:
    return 2 if ground.small else BATCHES


def _on_one_core(command: Sequence[str]) -> list[str]:
    core = min(os.sched_getaffinity(0))
    return ["taskset", "--cpu-list", str(core), *command]


def _batches_theirs(ground: Ground, folder: Path) -> Work:
    told = folder / "told.json"
    folder.mkdir()
    command = their_script(ground, "batches.py", _batches_ground(ground), told, _count(ground), 1)
    variables = ground.their_variables(ground.prepared(BRATS).theirs.parent)
    return Work(_on_one_core(command), variables | {"nnUNet_n_proc_DA": "0", "OMP_NUM_THREADS": "1", "nnUNet_results": str(folder)}, told)


def _batches_ours(ground: Ground, folder: Path) -> Work:
    told = folder / "told.json"
    folder.mkdir()
    store = _store(ground.prepared(BRATS))
    return Work(_on_one_core(our_script("batches.py", _batches_ground(ground) / "plan.json", store, told, _count(ground), 1)), our_variables(), told)


def _batches_check(ground: Ground, theirs: Path, ours: Path) -> list[str]:
    their, our = _told(theirs), _told(ours)
    if their["shape"] != our["shape"]:
        raise Different(f"batches have the shapes {their['shape']} (theirs), {our['shape']} (ours)")
    text = [f"{what} {their[what]:.3f} and {our[what]:.3f}" for what in ("mean", "deviation", "foreground")]
    apart = max(abs(their[what] - our[what]) for what in ("mean", "deviation", "foreground"))
    if apart > LIKENESS * their["deviation"] and not ground.small:
        raise Different(f"random batches look different: {'; '.join(text)}")
    return [f"batches of the same shape {their['shape']} and of like content (theirs, ours): {'; '.join(text)} (tolerance {LIKENESS:g} deviations)"]


def _step_ground(ground: Ground) -> Path:
    """Plans of both, weights to start from, and one batch of real patches."""
    folder = ground.root / "step"
    if not (folder / "start.npz").exists():
        folder.mkdir(exist_ok=True)
        prepared = ground.prepared(HIPPOCAMPUS)
        plan = prepared.our_plan
        configuration = plan.configuration(NAME)
        write_plan(plan, folder / "plan.json")
        (folder / "plans.json").write_text(json.dumps(prepared.their_plans()), encoding="utf-8")
        shutil.copy(prepared.theirs / "dataset.json", folder / "dataset.json")
        store = CaseStore.of(_store(prepared), plan, configuration)
        names = sorted(file.name.removesuffix(".image.b2nd") for file in store.folder.glob("*.image.b2nd"))
        source = PatchSource(store, names, configuration, None, 0)
        batch = source.assemble(source.load(0), "cpu")
        torch.manual_seed(0)  # as the trainer does with the seed 0
        network = build(configuration, in_channels=plan.input_channels(NAME), num_classes=plan.output_channels)
        weights = {f"weight/{name}": tensor.detach().numpy() for name, tensor in weights_of(network).items()}
        np.savez(folder / "start.npz", images=batch.images.numpy(), labels=batch.classes.numpy(), **weights)  # type: ignore[arg-type]
    return folder


def _step_theirs(ground: Ground, folder: Path) -> Work:
    told = folder / "told.json"
    folder.mkdir()
    command = their_script(ground, "step.py", _step_ground(ground), told, STEPS, ground.cores)
    variables = ground.their_variables(ground.prepared(HIPPOCAMPUS).theirs.parent)
    return Work(command, variables | {"nnUNet_results": str(folder)}, told)


def _step_ours(ground: Ground, folder: Path) -> Work:
    told = folder / "told.json"
    folder.mkdir()
    return Work(our_script("step.py", _step_ground(ground), told, STEPS), our_variables(), told)


def _step_check(ground: Ground, theirs: Path, ours: Path) -> list[str]:
    prepared = ground.prepared(HIPPOCAMPUS)
    their, our = _told(theirs), _told(ours)
    apart = max(abs(a - b) for a, b in zip(their["losses"], our["losses"], strict=True))
    text = " and ".join(", ".join(f"{loss:.4f}" for loss in side["losses"]) for side in (their, our))
    if apart > LOSS_TOLERANCE:
        raise Different(f"losses after the same steps from the same weights differ: {text}")
    return [
        same_plan(prepared.their_plans(), prepared.our_plan, NAME),
        f"the same losses from the same weights (theirs, ours): {text} (tolerance {LOSS_TOLERANCE:g}); ours in {our['precision']} with the recipe"
        f" '{our['recipe']}'",
    ]


def _store(prepared: Prepared) -> Path:
    return prepared.ours / "preprocessed" / prepared.dataset / store_name(prepared.our_plan, NAME)


def _told(folder: Path) -> Mapping[str, Any]:
    answer: dict[str, Any] = json.loads((folder / "told.json").read_text(encoding="utf-8"))
    return answer


STAGES: Sequence[Stage] = (
    Stage(
        "batches", "batches: sampling and full augmentation, BraTS, 4 patches of 128^3, one core", 4, {"": _batches_theirs}, _batches_ours,
        _batches_check, unit=" a sample",
    ),
    Stage("step", "training step: hippocampus, `3d_fullres`", 1.7, {"": _step_theirs}, _step_ours, _step_check),
)  # fmt: skip
