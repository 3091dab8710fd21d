"""Memory format and layers on this machine: one training step and one prediction of a planned network, each way, in one run.

    python benchmarks/execution.py plans/Dataset004_Hippocampus.json

- "library" is the same network of PyTorch's own layers. Their instance norm copies a channels-last tensor on a CPU before and after every norm.
- "norm" has autoseg's norm, "norm, convolutions" all that autoseg uses. Both are PyTorch's own where tensors are channels first.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from autoseg.inference.execution import Execution, candidates, inference, pick_device
from autoseg.networks import build
from autoseg.networks.convolution import FASTER
from autoseg.networks.norm import InstanceNorm2d, InstanceNorm3d
from autoseg.networks.unet import set_deep_supervision
from autoseg.planning.plan import Configuration, Plan, read_plan
from autoseg.training.losses import deep_loss

REPETITIONS = 5
LIBRARY: dict[type[nn.Module], type[nn.Module]] = {
    InstanceNorm2d: nn.InstanceNorm2d, InstanceNorm3d: nn.InstanceNorm3d, **{own: library for library, own in FASTER.items()},
}  # fmt: skip
NORMS = (InstanceNorm2d, InstanceNorm3d)
LAYERS: dict[str, tuple[type[nn.Module], ...]] = {"library": (), "norm": NORMS, "norm, convolutions": tuple(LIBRARY)}  # which stay


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--configuration", default="3d_fullres")
    arguments = parser.parse_args()
    plan = read_plan(arguments.plan)
    configuration = plan.configuration(arguments.configuration)
    device = pick_device("auto")
    precisions = sorted({option.precision for option in candidates(device, "auto")})
    ways = [
        (Execution(device, precision, last), kinds)
        for precision in precisions
        for last in (False, True)
        for kinds in (LAYERS if last else ["library"])
    ]
    times = {way: seconds(plan, configuration, *way) for way in ways}
    base_step, base_window = times[ways[0]]
    print(f"{plan.dataset.name}, patch {configuration.patch_size}, batch {configuration.batch_size}, {device}")
    print("| how | autoseg's layers | training step s | times faster | window s | times faster |\n|---|---|---|---|---|---|")
    for (option, kinds), (step, window) in times.items():
        print(f"| {option.describe()} | {kinds} | {step:.3f} | {base_step / step:.2f} | {window:.3f} | {base_window / window:.2f} |")


def seconds(plan: Plan, configuration: Configuration, option: Execution, kinds: str) -> tuple[float, float]:
    """The fastest of a few training steps, and of a few predictions of one window."""
    channels, classes = len(plan.dataset.channel_names), len(plan.dataset.labels.values)
    network = build(configuration, in_channels=channels, num_classes=classes)
    for module in network.modules():
        if type(module) in LIBRARY and type(module) not in LAYERS[kinds]:
            module.__class__ = LIBRARY[type(module)]
    network = option.place(network, configuration.dimensions)
    images = option.arrange(torch.randn(configuration.batch_size, channels, *configuration.patch_size))
    labels = torch.randint(classes, (configuration.batch_size, *configuration.patch_size), device=option.device)

    def step() -> None:
        with option.autocast():
            logits = network(images)
        deep_loss(configuration.training.loss, logits, labels, batch_dice=True).backward()  # type: ignore[no-untyped-call]

    def window() -> None:
        with inference(network), option.autocast():
            network(images[:1])

    step_seconds = fastest(step, option)
    set_deep_supervision(network, False)
    return step_seconds, fastest(window, option)


def fastest(work: Callable[[], None], option: Execution) -> float:
    times = []
    for _ in range(REPETITIONS + 1):
        begun = time.perf_counter()
        work()
        if option.device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return min(times[1:])


if __name__ == "__main__":
    main()
