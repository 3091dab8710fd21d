"""nnU-Net's training step: step.py GROUND TOLD STEPS THREADS.

GROUND holds plans.json, dataset.json and start.npz: the weights to start from ("weight/<name>"), images and labels of one batch. What is told: the
median of the seconds a step, after one to warm up, and the losses.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


def main() -> None:
    """Step, the first time without a clock."""
    ground, told, steps, threads = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(threads)
    plans = json.loads((ground / "plans.json").read_text()) | {"continue_training": False}
    trainer = nnUNetTrainer(plans, "3d_fullres", "all", json.loads((ground / "dataset.json").read_text()), torch.device("cpu"))
    trainer.initialize()
    trainer.set_deep_supervision_enabled(True)
    start = np.load(ground / "start.npz")
    with torch.no_grad():
        for name, parameter in trainer.network.named_parameters():
            parameter.copy_(torch.from_numpy(start[f"weight/{name}"]))
    images, labels = torch.from_numpy(start["images"]), torch.from_numpy(start["labels"]).to(torch.int16)[:, None]
    halve = DownsampleSegForDSTransform(ds_scales=trainer._get_deep_supervision_scales())
    scaled = [halve(segmentation=one)["segmentation"] for one in labels]
    batch = {"data": images, "target": [torch.stack(stage) for stage in zip(*scaled, strict=True)]}
    trainer.network.train()
    losses, seconds = [], []
    for _ in range(steps + 1):
        begun = time.perf_counter()
        losses.append(float(trainer.train_step(batch)["loss"]))
        seconds.append(time.perf_counter() - begun)
    told.write_text(json.dumps({"seconds": statistics.median(seconds[1:]), "losses": losses}))


if __name__ == "__main__":
    main()
