"""Export logits as nnU-Net's export worker does: export.py GROUND OUTPUT TOLD THREADS.

GROUND holds logits.npy, plans.json, dataset.json and scans.json (the case's files). What is told: seconds of an export (the first one, as in a worker
that just started, is left out in its favour), and how far memory rose above where it was.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from nnunetv2.inference.export_prediction import export_prediction_from_logits
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

TIMES = 2


def main() -> None:
    """Export once to warm up, then again with a clock."""
    ground, output, told, threads = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    plans = PlansManager(str(ground / "plans.json"))
    configuration = plans.get_configuration("3d_fullres")
    facts = json.loads((ground / "dataset.json").read_text())
    logits = np.load(ground / "logits.npy")
    scans = json.loads((ground / "scans.json").read_text())
    data, _, properties = DefaultPreprocessor(verbose=False).run_case(scans, None, plans, configuration, facts)
    if data.shape[1:] != logits.shape[1:]:
        raise SystemExit(f"the case has {data.shape[1:]} voxels, the logits {logits.shape[1:]}")
    del data
    before = reset_peak()
    seconds = []
    for _ in range(TIMES + 1):
        begun = time.perf_counter()
        export_prediction_from_logits(logits, properties, configuration, plans, facts, output, False, num_threads_torch=threads)
        seconds.append(time.perf_counter() - begun)
    peak = status("VmHWM") - before
    told.write_text(json.dumps({"seconds": sum(seconds[1:]) / TIMES, "peak": peak}))


def reset_peak() -> int:
    """Forget the highest memory so far; what is in use now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def status(name: str) -> int:
    """A size from the process's status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
