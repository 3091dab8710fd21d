"""Whether both decided and made the same: plans, ready cases, segmentations."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import blosc2
import numpy as np

from autoseg.imaging.read import read_labels
from autoseg.planning.plan import Plan
from autoseg.preprocessing.store import CaseStore, store_name
from nnunet.stage import Different

IMAGE_TOLERANCE = 1e-3  # of ready images, in standard deviations: single precision here and there
LABEL_TOLERANCE = 1e-3  # share of voxels whose label may differ


def same_plan(theirs: Mapping[str, Any], ours: Plan, name: str) -> str:
    """Compare what a configuration decides.

    Raises
    ------
    Different
        patch, batch, spacing or network differ; says how
    """
    their, our = theirs["configurations"][name], ours.configuration(name)
    arguments, network = their["architecture"]["arch_kwargs"], our.network
    compared = {
        "patch": (their["patch_size"], our.patch_size),
        "batch": (their["batch_size"], our.batch_size),
        "spacing": (their["spacing"], our.spacing),
        "features": (arguments["features_per_stage"], network.features_per_stage),
        "strides": (arguments["strides"], network.strides),
        "kernels": (arguments["kernel_sizes"], network.kernel_sizes),
        "convolutions": (arguments["n_conv_per_stage"], network.blocks_per_stage),
        "convolutions of the decoder": (arguments["n_conv_per_stage_decoder"], network.convs_per_stage_decoder),
        "order of the axes": (theirs["transpose_forward"], ours.transpose_forward),
    }
    for what, (a, b) in compared.items():
        if not np.allclose(np.asarray(a, float), np.asarray(b, float), atol=1e-6):
            raise Different(f"{name}: {what} {a} (theirs), {b} (ours)")
    patch = " x ".join(map(str, our.patch_size))
    return f"the same plan for {name}: patch {patch}, batch {our.batch_size}, {len(network.features_per_stage)} stages"


def same_ready_cases(theirs: Path, ours: Path, plan: Plan, name: str, cases: Sequence[str], *, their_folder: str | None = None) -> str:
    """Compare ready voxels.

    Parameters
    ----------
    theirs : nnU-Net's folder of the dataset
    ours : our folder of the dataset's ready cases, with a folder for each configuration
    their_folder : nnU-Net's folder of the configuration; None: after its name

    Raises
    ------
    Different
        shapes, images or labels differ by more than the tolerance
    """
    place = theirs / (their_folder or f"nnUNetPlans_{name}")
    store = CaseStore.of(ours / store_name(plan, name), plan, plan.configuration(name))
    worst, unlike = 0.0, 0.0
    for case in cases:
        ready = store.get(case)
        their, our = _array(place / f"{case}.b2nd"), ready.image[:]
        if their.shape != our.shape:
            raise Different(f"{case}: {their.shape} voxels (theirs), {our.shape} (ours)")
        worst = max(worst, float(np.abs(their - our).max()))
        labels = _array(place / f"{case}_seg.b2nd")[0]
        unlike = max(unlike, float((np.maximum(labels, 0) != ready.classes[:]).mean()))  # -1 is theirs for what lies outside the body
    if worst > IMAGE_TOLERANCE or unlike > LABEL_TOLERANCE:
        raise Different(f"{name}: ready images differ by up to {worst:.2g} standard deviations, labels in {unlike:.2%} of the voxels")
    return (
        f"the same ready cases of {name} ({len(cases)} compared): images within {worst:.1g} (tolerance {IMAGE_TOLERANCE:g}), labels in all but"
        f" {unlike:.3%} of the voxels (tolerance {LABEL_TOLERANCE:.1%})"
    )


def same_segmentations(theirs: Path, ours: Path, tolerance: float) -> str:
    """Compare all segmentations of two folders.

    Raises
    ------
    Different
        cases are missing, or more than `tolerance` of a case's voxels differ
    """
    names = sorted(file.name for file in theirs.glob("*.nii.gz"))
    if not names or names != sorted(file.name for file in ours.glob("*.nii.gz")):
        raise Different(f"{theirs} and {ours} hold different cases")
    worst, dice = 0.0, 1.0
    for name in names:
        their, our = read_labels(theirs / name).array, read_labels(ours / name).array
        worst = max(worst, float((their != our).mean()))
        both = float(((their > 0) & (our > 0)).sum())
        dice = min(dice, 2 * both / max(1.0, float((their > 0).sum() + (our > 0).sum())))
    if worst > tolerance:
        raise Different(f"segmentations differ in {worst:.2%} of the voxels, {tolerance:.2%} are allowed")
    return f"the same segmentations: all but {worst:.4%} of the voxels (tolerance {tolerance:.2%}), Dice of the foreground {dice:.4f}"


def same_dice(summary: Path, table: Mapping[tuple[str, str], float], regions: Mapping[str, Sequence[int]]) -> str:
    """Compare the Dice of every case and region with nnU-Net's `summary.json`.

    Parameters
    ----------
    table : (case, region) -> our Dice
    regions : region -> the label values that it unites

    Raises
    ------
    Different
        two differ by more than 1e-6
    """
    compared = 0
    for entry in json.loads(summary.read_text(encoding="utf-8"))["metric_per_case"]:
        case = Path(entry["prediction_file"]).name.removesuffix(".nii.gz")
        for region, values in regions.items():
            key = str(tuple(values)) if len(values) > 1 else str(values[0])
            metrics = entry["metrics"].get(key, entry["metrics"].get(f"({values[0]},)"))
            their, our = metrics["Dice"], table[case, region]
            if metrics["n_ref"] + metrics["n_pred"] > 0 and abs(their - our) > 1e-6:
                raise Different(f"{case}, {region}: Dice {their} (theirs), {our} (ours)")
            compared += 1
    return f"the same Dice: {compared} numbers within 1e-6"


def _array(path: Path) -> np.ndarray[Any, Any]:
    if not path.exists():
        raise Different(f"{path} is missing")
    array: np.ndarray[Any, Any] = blosc2.open(str(path), mode="r")[:]
    return array
