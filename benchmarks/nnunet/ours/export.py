"""Export logits as `autoseg predict` does: export.py GROUND OUTPUT TOLD.

GROUND holds logits.npy, plan.json and scans.json (the case's files). What is told: seconds of an export after the first, and how far memory rose
above where it was.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from autoseg.data.dataset import Case
from autoseg.imaging.write import write_labels
from autoseg.inference.decide import decide
from autoseg.inference.execution import pick_device
from autoseg.inference.logits import Logits, in_memory
from autoseg.planning.plan import read_plan
from autoseg.preprocessing.case import place
from autoseg.preprocessing.source import read_scan

TIMES = 2


def main() -> None:
    """Export once to warm up, then again with a clock."""
    ground, output, told = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    pick_device("cpu")
    plan = read_plan(ground / "plan.json")
    configuration = plan.configuration("3d_fullres")
    scans = tuple(map(Path, json.loads((ground / "scans.json").read_text(encoding="utf-8"))))
    placement, shape = place(read_scan(Case("case", scans, None, "case"), plan), plan, configuration)
    logits = torch.from_numpy(np.load(ground / "logits.npy").astype(np.float32))
    if logits.shape[1:] != shape:
        raise SystemExit(f"the case has {shape} voxels, the logits {tuple(logits.shape[1:])}")
    before = reset_peak()
    seconds = []
    for _ in range(TIMES + 1):
        begun = time.perf_counter()
        with torch.inference_mode():
            prediction = decide([Logits(in_memory(logits, placement, configuration), (), placement, "the benchmark")], plan)
        write_labels(prediction.labels, output)
        seconds.append(time.perf_counter() - begun)
    peak = status("VmHWM") - before
    told.write_text(json.dumps({"seconds": sum(seconds[1:]) / TIMES, "peak": peak}), encoding="utf-8")


def reset_peak() -> int:
    """Forget the highest memory so far; what is in use now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    return status("VmRSS")


def status(name: str) -> int:
    """A size from the process's status, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
