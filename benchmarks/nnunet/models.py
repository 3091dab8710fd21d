"""One small network in a model folder of either kind, with the same weights.

- The network learns for a short while with our trainer, so that what it says has the size and the shape of structures: noise would make files and
  disagreements that no real model makes.
- nnU-Net's folder is written by hand: its plans with the patch and the network changed, and a checkpoint with the weights under the names that both
  libraries share.
"""

import copy
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from autoseg.inference.model_folder import load_model, save_weights, start_model_folder
from autoseg.networks import build
from autoseg.networks.weights import load_weights, weights_of
from autoseg.planning.plan import Plan, validate_plan, write_plan
from nnunet.environment import our_command, our_variables
from nnunet.ground import BRATS, Ground
from nnunet.watch import Work, do

FEATURES = (8, 16, 32, 64)
PATCH = (64, 64, 64)
NAME = "3d_fullres"
LEARNING, SHORT = "120s", "20s"  # as `autoseg train --budget` takes it


@dataclass(frozen=True)
class Models:
    """A model folder of each kind; `plan` and `their_plans` are what lies in them."""

    theirs: Path
    ours: Path
    plan: Plan
    their_plans: dict[str, Any]


def small_network(ground: Ground, spacing: float | None = None) -> Models:
    """The folders, made when they are first asked for.

    Parameters
    ----------
    spacing : of all axes, in mm; None: the plan's
    """
    home = ground.root / "models" / ("native" if spacing is None else f"{spacing:g}mm")
    plan, theirs = small_plans(ground, spacing)
    if not (home / "ours" / "fold_0" / "weights.safetensors").exists():
        shutil.rmtree(home, ignore_errors=True)
        network = build(plan.configuration(NAME), in_channels=4, num_classes=plan.output_channels)
        load_weights(network, weights_of(load_model(_learnt(ground)).network))
        start_model_folder(home / "ours" / "fold_0", plan, NAME, "0", "default")
        save_weights(home / "ours" / "fold_0", weights_of(network))
        write_their_folder(home / "theirs", ground, theirs, network.state_dict())
    return Models(home / "theirs", home / "ours" / "fold_0", plan, theirs)


def small_plans(ground: Ground, spacing: float | None = None) -> tuple[Plan, dict[str, Any]]:
    """Our plan and nnU-Net's, each with the small network and patch."""
    prepared, stages = ground.prepared(BRATS), len(FEATURES)
    strides, kernels = [[1] * 3, *([[2] * 3] * (stages - 1))], [[3] * 3] * stages
    ours = prepared.our_plan.model_dump(mode="json")
    ours["configurations"] = {NAME: ours["configurations"][NAME]}
    our = ours["configurations"][NAME]
    our["patch_size"], our["why"] = list(PATCH), {}
    our["network"] |= {
        "features_per_stage": list(FEATURES), "strides": strides, "kernel_sizes": kernels, "blocks_per_stage": [2] * stages,
        "convs_per_stage_decoder": [2] * (stages - 1),
    }  # fmt: skip
    theirs = copy.deepcopy(prepared.their_plans())
    theirs["configurations"] = {NAME: theirs["configurations"][NAME]}
    their = theirs["configurations"][NAME]
    their["patch_size"] = list(PATCH)
    their["architecture"]["arch_kwargs"] |= {
        "n_stages": stages, "features_per_stage": list(FEATURES), "strides": strides, "kernel_sizes": kernels, "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
    }  # fmt: skip
    if spacing is not None:
        our["spacing"] = their["spacing"] = [spacing] * 3
    return validate_plan(ours, "the plan of the small network"), theirs


def write_their_folder(folder: Path, ground: Ground, plans: dict[str, Any], state: dict[str, torch.Tensor]) -> None:
    """A folder that `nnUNetv2_predict_from_modelfolder` takes."""
    (folder / "fold_0").mkdir(parents=True)
    shutil.copy(ground.folder(BRATS) / "dataset.json", folder / "dataset.json")
    (folder / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    checkpoint = {
        "network_weights": state, "trainer_name": "nnUNetTrainer", "init_args": {"configuration": NAME},
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }  # fmt: skip
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")


def _learnt(ground: Ground) -> Path:
    """The small network, trained for a short while on all cases."""
    workspace = ground.root / "models" / "training"
    folder = workspace / "models" / BRATS / NAME / "fold_all"
    if not (folder / "weights.safetensors").exists():
        shutil.rmtree(workspace, ignore_errors=True)
        ground.workspace(workspace)
        prepared = ground.prepared(BRATS)
        shutil.copytree(prepared.ours / "plans", workspace / "plans")
        (workspace / "preprocessed").symlink_to(prepared.ours / "preprocessed")
        write_plan(small_plans(ground)[0], workspace / "plans" / f"{BRATS}.json")
        print("  training the small network", flush=True)
        command = [*our_command(), "train", NAME, "all", "-d", BRATS, "--workspace", str(workspace)]
        budget = SHORT if ground.small else LEARNING
        do(Work([*command, "--budget", budget, "--device", "cpu"], our_variables()), ground.root / "logs" / "small_network.log")
    return folder
