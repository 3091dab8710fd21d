"""Our training step, as the trainer makes it: step.py GROUND TOLD STEPS.

GROUND holds plan.json and start.npz: images and labels of one batch. The trainer starts from the seed that the weights in start.npz were drawn with
and decides precision and memory format itself. What is told: the median of the seconds a step, after one to warm up, the losses and the execution.
"""

import json
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from autoseg.errors import Interrupted
from autoseg.inference.execution import pick_device
from autoseg.planning.plan import read_plan
from autoseg.training.batches import Batch, PatchSource, Sample
from autoseg.training.run import read_run
from autoseg.training.schedule import Target
from autoseg.training.trainer import Trainer


class OneBatch(PatchSource):
    """The same batch whatever the number."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def load(self, number: int, *, contiguous: bool = True) -> list[Sample]:
        return []

    def assemble(self, samples: Sequence[Sample], device: str) -> Batch:
        return self._batch


def main() -> None:
    """Step, the first time without a clock."""
    ground, told, steps = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    plan, start = read_plan(ground / "plan.json"), np.load(ground / "start.npz")
    batch = Batch(torch.from_numpy(start["images"]), torch.from_numpy(start["labels"]).long())
    folder = told.parent / "fold_all"
    trainer = Trainer(
        plan, "3d_fullres", "all", folder, training=lambda recipe, seed: OneBatch(batch), validation=None, device=pick_device("cpu"),
        target=Target(steps=plan.configuration("3d_fullres").training.fast_below_steps), seed=0,
    )  # fmt: skip
    clock, losses = [time.perf_counter()], []

    def told_by_trainer(stage: str, done: int, total: int, note: str = "") -> None:
        clock.append(time.perf_counter())
        losses.append(float(note.split("loss ")[1].split(",")[0]))

    with suppress(Interrupted):
        trainer.train(progress=told_by_trainer, should_stop=lambda: len(losses) > steps)
    seconds = [after - before for before, after in pairwise(clock)]
    run = read_run(folder)
    facts = {"recipe": run.recipe, "precision": run.precision} if run else {}
    means = [loss * (index + 1) for index, loss in enumerate(losses)]  # progress tells the mean since the epoch began
    own = [means[0], *(after - before for before, after in pairwise(means))]
    told.write_text(json.dumps({"seconds": statistics.median(seconds[1:]), "losses": own, **facts}), encoding="utf-8")


if __name__ == "__main__":
    main()
