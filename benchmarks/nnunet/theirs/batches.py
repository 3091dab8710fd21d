"""nnU-Net's training batches in one process: batches.py GROUND TOLD COUNT SEED.

GROUND holds plans.json, with the patch and batch that are asked for, and dataset.json; ready cases lie where nnU-Net's variables say. What is told:
seconds a sample, and the mean, the deviation and the share of foreground of what came out.
"""

import json
import random
import sys
import time
from pathlib import Path

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


def main() -> None:
    """Make batches, the first two of them without a clock."""
    ground, told, count, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    plans = json.loads((ground / "plans.json").read_text()) | {"continue_training": False}
    trainer = nnUNetTrainer(plans, "3d_fullres", "all", json.loads((ground / "dataset.json").read_text()), torch.device("cpu"))
    trainer._set_batch_size_and_oversample()
    batches, _ = trainer.get_dataloaders()  # single-threaded, as nnUNet_n_proc_DA=0 asks for; it makes a batch to warm up
    next(batches)
    for generator in (random, np.random):
        generator.seed(seed)
    torch.manual_seed(seed)
    seconds, facts = 0.0, []
    for _ in range(count):
        begun = time.perf_counter()
        batch = next(batches)
        seconds += time.perf_counter() - begun
        data, target = batch["data"], batch["target"][0]
        facts.append((data.mean().item(), data.std().item(), (target > 0).any(1).float().mean().item()))
    samples = count * len(data)
    mean, deviation, foreground = np.mean(facts, axis=0).tolist()
    answer = {"seconds": seconds / samples, "shape": list(data.shape), "mean": mean, "deviation": deviation, "foreground": foreground}
    told.write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
