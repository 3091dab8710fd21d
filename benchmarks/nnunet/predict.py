"""Stages of prediction: from scans to segmentations with one small network, and the export of logits on a coarser grid."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from autoseg.data.dataset import Case
from autoseg.inference.sliding_window import windows
from autoseg.planning.plan import validate_plan, write_plan
from autoseg.preprocessing.case import place
from autoseg.preprocessing.source import read_scan
from nnunet.commands import our_script
from nnunet.environment import our_command, our_variables
from nnunet.ground import BRATS, Ground, cases_of, channel_files
from nnunet.models import NAME, PATCH, Models, small_network, small_plans
from nnunet.same import same_segmentations
from nnunet.stage import Different, Stage
from nnunet.watch import Work

PREDICTED = 2  # cases
COARSE = 2.0  # mm
MANY = 20  # classes
TOLERANCE = 0.01  # share of voxels that half precision there and bfloat16 here may decide otherwise
EXPORT_TOLERANCE = 0.002  # share of voxels on borders between classes, where arithmetic in another order decides
THEIRS = Path(__file__).parent / "theirs"


def their_script(ground: Ground, name: str, *arguments: object) -> list[str]:
    """A script that runs a part of nnU-Net."""
    return [str(ground.theirs.python), str(THEIRS / name), *map(str, arguments)]


def _inputs(ground: Ground) -> Path:
    folder = ground.root / "inputs"
    if not folder.exists():
        folder.mkdir()
        for case in cases_of(ground.folder(BRATS))[:PREDICTED]:
            for file in channel_files(ground.folder(BRATS), case):
                (folder / file.name).symlink_to(file.resolve())
    return folder


def _predict_theirs(spacing: float | None, preprocess: int, export: int) -> Any:
    def make(ground: Ground, folder: Path) -> Work:
        models = small_network(ground, spacing)
        command = [ground.theirs.command("nnUNetv2_predict_from_modelfolder"), "-i", _inputs(ground), "-o", folder, "-m", models.theirs, "-f", 0]
        command += ["--disable_tta", "-device", "cpu", "--disable_progress_bar", "-npp", preprocess or ground.cores, "-nps", export or ground.cores]
        return Work([str(part) for part in command], ground.their_variables(folder))

    return make


def _predict_ours(spacing: float | None) -> Any:
    def make(ground: Ground, folder: Path) -> Work:
        models = small_network(ground, spacing)
        command = [*our_command(), "predict", "-i", str(_inputs(ground)), "-o", str(folder), "-m", str(models.ours), "--no-mirror"]
        return Work([*command, "--device", "cpu"], our_variables())

    return make


def _predict_check(spacing: float | None) -> Any:
    def check(ground: Ground, theirs: Path, ours: Path) -> list[str]:
        return [_same_windows(ground, small_network(ground, spacing)), same_segmentations(theirs, ours, TOLERANCE)]

    return check


def _same_windows(ground: Ground, models: Models) -> str:
    """Compare where the windows lie in each case."""
    step = models.plan.configuration(NAME).inference.step
    shapes = [_ready_shape(ground, models, case) for case in cases_of(ground.folder(BRATS))[:PREDICTED]]
    padded = [tuple(max(size, side) for size, side in zip(shape, PATCH, strict=True)) for shape in shapes]
    answer = subprocess.run(
        their_script(ground, "windows.py", json.dumps(padded), json.dumps(PATCH), step), capture_output=True, text=True, check=True
    )
    theirs = [[tuple(corner) for corner in corners] for corners in json.loads(answer.stdout.splitlines()[-1])]
    ours = [[tuple(part.start for part in window) for window in windows((z, y, x), PATCH, step)] for z, y, x in padded]
    if theirs != ours:
        raise Different(f"windows lie elsewhere: {[len(one) for one in theirs]} (theirs), {[len(one) for one in ours]} (ours)")
    return f"the same windows: {' and '.join(str(len(one)) for one in ours)} of {' x '.join(map(str, PATCH))}"


def _ready_shape(ground: Ground, models: Models, case: str) -> tuple[int, int, int]:
    image = read_scan(Case(case, tuple(channel_files(ground.folder(BRATS), case)), None, case), models.plan)
    return place(image, models.plan, models.plan.configuration(NAME))[1]


def _export_ground(ground: Ground, classes: int) -> Path:
    """Plans of both for `classes` classes at the coarse grid, and logits of one case there: smooth fields, as a network's are."""
    folder = ground.root / f"export_{classes}"
    if (folder / "logits.npy").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    plan, theirs = small_plans(ground, COARSE)
    facts = json.loads((ground.folder(BRATS) / "dataset.json").read_text(encoding="utf-8"))
    names = ["background", *(f"class {index}" for index in range(1, classes))]
    del facts["regions_class_order"]
    (folder / "dataset.json").write_text(json.dumps(facts | {"labels": {name: value for value, name in enumerate(names)}}), encoding="utf-8")
    (folder / "plans.json").write_text(json.dumps(theirs), encoding="utf-8")
    ours = plan.model_dump(mode="json")
    ours["dataset"]["labels"] = {"names": names, "values": list(range(classes)), "ignore": None}
    plan = validate_plan(ours, f"the plan of {classes} classes")
    write_plan(plan, folder / "plan.json")
    case = cases_of(ground.folder(BRATS))[0]
    models = replace(small_network(ground, COARSE), plan=plan)
    torch.manual_seed(0)
    coarse = torch.randn(1, classes, 12, 12, 12) * 4
    logits = F.interpolate(coarse, _ready_shape(ground, models, case), mode="trilinear", align_corners=True)[0]
    logits[0] += 3  # most of a scan is background
    np.save(folder / "logits.npy", logits.half().numpy())
    (folder / "scans.json").write_text(json.dumps([str(file) for file in channel_files(ground.folder(BRATS), case)]), encoding="utf-8")
    return folder


def _export_theirs(classes: int) -> Any:
    def make(ground: Ground, folder: Path) -> Work:
        told = folder / "told.json"
        folder.mkdir()
        command = their_script(ground, "export.py", _export_ground(ground, classes), folder / "case", told, ground.cores)
        return Work(command, ground.their_variables(folder), told)

    return make


def _export_ours(classes: int) -> Any:
    def make(ground: Ground, folder: Path) -> Work:
        told = folder / "told.json"
        folder.mkdir()
        return Work(our_script("export.py", _export_ground(ground, classes), folder / "case.nii.gz", told), our_variables(), told)

    return make


def _export_check(ground: Ground, theirs: Path, ours: Path) -> list[str]:
    return [same_segmentations(theirs, ours, EXPORT_TOLERANCE)]


def _predict(name: str, title: str, spacing: float | None, goal: float | None) -> Stage:
    ways = {
        "with as many processes as cores": _predict_theirs(spacing, 0, 0),
        "with one process to preprocess and one to export": _predict_theirs(spacing, 1, 1),
    }
    return Stage(name, title, goal, ways, _predict_ours(spacing), _predict_check(spacing))


def _export(name: str, classes: int) -> Stage:
    title = f"export alone: logits of {classes} classes from 2 mm to 1 mm, to a file (memory: what it takes on top)"
    return Stage(name, title, 10, {"": _export_theirs(classes)}, _export_ours(classes), _export_check)


STAGES: Sequence[Stage] = (
    _predict("predict", "predict end to end: 2 BraTS cases, network 8-16-32-64, patch 64^3, no mirroring", None, 5),
    _predict("predict-2mm", "the same at 2 mm", COARSE, None),
    _export("export", 4),
    _export("export-20", MANY),
)
