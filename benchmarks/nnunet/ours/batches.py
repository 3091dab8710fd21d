"""Our training batches: batches.py PLAN STORE TOLD COUNT SEED.

STORE is the folder of the ready cases that the plan's `3d_fullres` uses. What is told: seconds a sample, and the mean, the deviation and the share of
foreground of what came out.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from autoseg.inference.execution import pick_device
from autoseg.planning.plan import read_plan
from autoseg.preprocessing.store import CaseStore
from autoseg.training.batches import PatchSource, stream


def main() -> None:
    """Make batches, the first two of them without a clock."""
    path, folder, told, count, seed = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
    pick_device("cpu")
    torch.set_num_threads(1)
    plan = read_plan(path)
    configuration = plan.configuration("3d_fullres")
    names = sorted(file.name.removesuffix(".image.b2nd") for file in folder.glob("*.image.b2nd"))
    regions = plan.labels.region_classes if plan.learns_regions else None
    recipe = configuration.training.recipes["default"]
    source = PatchSource(
        CaseStore.of(folder, plan, configuration), names, configuration, recipe.augmentation, seed, num_classes=len(plan.labels.values),
        regions=regions,
    )  # fmt: skip
    batches = stream(source, 0, "cpu")
    for _ in range(2):
        next(batches)
    facts = []
    seconds = 0.0
    for _ in range(count):
        begun = time.perf_counter()
        batch = next(batches)
        seconds += time.perf_counter() - begun
        facts.append((batch.images.mean().item(), batch.images.std().item(), (batch.classes > 0).float().mean().item()))
    samples = count * len(batch.images)
    mean, deviation, foreground = np.mean(facts, axis=0).tolist()
    answer = {"seconds": seconds / samples, "shape": list(batch.images.shape), "mean": mean, "deviation": deviation, "foreground": foreground}
    told.write_text(json.dumps(answer), encoding="utf-8")
    batches.close()


if __name__ == "__main__":
    main()
