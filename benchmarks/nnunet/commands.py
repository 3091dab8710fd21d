"""Stages that are commands: start-up, preparing a dataset, preprocessing with resampling, evaluation."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from autoseg.imaging.image import LabelMap
from autoseg.imaging.read import read_labels
from autoseg.imaging.write import write_labels
from autoseg.planning.plan import read_plan
from nnunet.environment import our_command, our_variables
from nnunet.ground import BRATS, CONFIGURATIONS, HIPPOCAMPUS, REGIONS, Ground, Prepared, cases_of
from nnunet.same import same_dice, same_plan, same_ready_cases
from nnunet.stage import Stage
from nnunet.watch import Work, do

COARSE = (1.3, 1.3, 1.3)  # mm
JUDGED = 12  # cases of the evaluation; where there are fewer, some are judged twice
COMPARED = 20  # cases whose ready voxels are compared
OURS = Path(__file__).parent / "ours"


def our_script(name: str, *arguments: object) -> list[str]:
    """One of the scripts that run a part of the package."""
    return [sys.executable, str(OURS / name), *map(str, arguments)]


def _start_theirs(ground: Ground, folder: Path) -> Work:
    return Work([ground.theirs.command("nnUNetv2_predict"), "--help"], ground.their_variables(folder))


def _start_ours(ground: Ground, folder: Path) -> Work:
    return Work([*our_command(), "--help"], our_variables())


def _nothing_to_compare(ground: Ground, theirs: Path, ours: Path) -> list[str]:
    return []


def _prepare(name: str, title: str, goal: float, dataset: str) -> Stage:
    def check(ground: Ground, theirs: Path, ours: Path) -> list[str]:
        prepared = Prepared(dataset, theirs / dataset, ours)
        plans, plan = prepared.their_plans(), prepared.our_plan
        cases = cases_of(ground.folder(dataset))[:COMPARED]
        remarks = []
        for one in CONFIGURATIONS[dataset]:
            remarks.append(same_plan(plans, plan, one))
            remarks.append(same_ready_cases(prepared.theirs, ours / "preprocessed" / dataset, plan, one, cases))
        return remarks

    return Stage(
        name, title, goal,
        {
            "with one thread a process": lambda ground, folder: ground.they_prepare(dataset, folder),
            "with threads as they are": lambda ground, folder: ground.they_prepare(dataset, folder, one_thread=False),
        },
        lambda ground, folder: ground.we_prepare(dataset, folder),
        check,
    )  # fmt: skip


def _coarse_plans(ground: Ground) -> tuple[Path, Path]:
    """A plan for the coarser grid on either side: nnU-Net's folder of the dataset, our workspace."""
    prepared, spacing = ground.prepared(BRATS), [f"{size:g}" for size in COARSE]
    theirs, ours = ground.root / "coarse" / "theirs" / BRATS, ground.root / "coarse" / "ours"
    if not theirs.exists():
        shutil.copytree(prepared.theirs, theirs, ignore=lambda place, names: [name for name in names if not name.endswith(".json")])
        command = [ground.theirs.command("nnUNetv2_plan_experiment"), "-d", BRATS[7:10], "-overwrite_target_spacing", *spacing]
        work = Work([*command, "-overwrite_plans_name", "nnUNetPlansCoarse"], ground.their_variables(theirs.parent))
        do(work, ground.root / "logs" / "coarse_theirs.log")
    if not ours.exists():
        command = [*our_command(), "plan", BRATS, "--workspace", str(ground.workspace(ours)), "--spacing", ",".join(spacing), "--no-preprocess"]
        do(Work(command, our_variables()), ground.root / "logs" / "coarse_ours.log")
    return theirs, ours


def _resample_theirs(ground: Ground, folder: Path) -> Work:
    theirs, _ = _coarse_plans(ground)
    shutil.copytree(theirs, folder / BRATS)
    command = [ground.theirs.command("nnUNetv2_preprocess"), "-d", BRATS[7:10], "-plans_name", "nnUNetPlansCoarse", "-c", "3d_fullres"]
    return Work([*command, "-np", str(ground.cores), "--no_pbar"], ground.their_variables(folder) | {"OMP_NUM_THREADS": "1"})


def _resample_ours(ground: Ground, folder: Path) -> Work:
    _, ours = _coarse_plans(ground)
    return Work(our_script("preprocess.py", ground.folder(BRATS), ours / "plans" / f"{BRATS}.json", "3d_fullres", folder), our_variables())


def _resample_check(ground: Ground, theirs: Path, ours: Path) -> list[str]:
    plan = read_plan(_coarse_plans(ground)[1] / "plans" / f"{BRATS}.json")
    cases = cases_of(ground.folder(BRATS))
    return [same_ready_cases(theirs / BRATS, ours, plan, "3d_fullres", cases, their_folder="nnUNetPlansCoarse_3d_fullres")]


def _judged(ground: Ground) -> tuple[Path, Path]:
    """References and predictions: the labels, and the labels moved by a voxel along every axis."""
    references, predictions = ground.root / "judged" / "references", ground.root / "judged" / "predictions"
    raw = ground.folder(BRATS)
    names = cases_of(raw)
    for index in range(len(names) if ground.small else JUDGED):
        source = raw / "labelsTr" / f"{names[index % len(names)]}.nii.gz"
        target = f"{names[index % len(names)]}_{index:02d}.nii.gz"
        if (predictions / target).exists():
            continue
        labels = read_labels(source)
        write_labels(labels, references / target)
        write_labels(LabelMap(np.roll(labels.array, (1, 1, 1), (0, 1, 2)), labels.geometry), predictions / target)
    return references, predictions


def _evaluate_theirs(ground: Ground, folder: Path) -> Work:
    references, predictions = _judged(ground)
    plans = ground.prepared(BRATS).theirs / "nnUNetPlans.json"
    folder.mkdir()
    command = [ground.theirs.command("nnUNetv2_evaluate_folder"), references, predictions, "-djfile", ground.folder(BRATS) / "dataset.json"]
    command += ["-pfile", plans, "-o", folder / "summary.json", "-np", ground.cores]
    return Work([str(part) for part in command], ground.their_variables(folder) | {"OMP_NUM_THREADS": "1"})


def _evaluate_ours(ground: Ground, folder: Path) -> Work:
    references, predictions = _judged(ground)
    regions = [f"{name}={','.join(map(str, values))}" for name, values in REGIONS.items()]
    command = [*our_command(), "evaluate", "-p", str(predictions), "-r", str(references), "-o", str(folder)]
    return Work([*command, *(part for region in regions for part in ("--regions", region))], our_variables())


def _dice_ours(ground: Ground, folder: Path) -> Work:
    references, predictions = _judged(ground)
    return Work(our_script("dice.py", predictions, references, folder), our_variables())


def _evaluate_check(ground: Ground, theirs: Path, ours: Path) -> list[str]:
    table = pd.read_csv(ours / "metrics.csv")
    dice = {(str(case), str(region)): float(value) for case, region, value in zip(table["case"], table["target"], table["dice"], strict=True)}
    return [same_dice(theirs / "summary.json", dice, REGIONS)]


STAGES: Sequence[Stage] = (
    Stage(
        "start-up", "start-up: `autoseg --help`, `nnUNetv2_predict --help`", 8, {"": _start_theirs}, _start_ours, _nothing_to_compare, times=5
    ),
    _prepare("prepare-brats", "check, fingerprint, plan, preprocess: BraTS, `3d_fullres`", 6, BRATS),
    _prepare("prepare-hippocampus", "the same: hippocampus, `2d` and `3d_fullres`", 4, HIPPOCAMPUS),
    Stage(
        "resample", "preprocess with resampling: BraTS to 1.3 mm", 6, {"": _resample_theirs}, _resample_ours, _resample_check
    ),
    Stage(
        "evaluate", "evaluate: 12 BraTS cases, three regions, ours with HD95", 1, {"": _evaluate_theirs}, _evaluate_ours, _evaluate_check
    ),
    Stage("dice", "the same, Dice alone", 3, {"": _evaluate_theirs}, _dice_ours, _evaluate_check),
)  # fmt: skip
