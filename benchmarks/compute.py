"""Time of a training step, predicted against measured: a few layers are timed, then whole steps of several plans, in one run.

    python benchmarks/compute.py [--threads N]

The plans are those of `benchmarks/memory.py`, with the preset `cpu` on a CPU and `default` on a graphics card.
"""

import argparse
import time

import torch
from memory import plan_of

from autoseg.inference.execution import Execution, pick_device
from autoseg.inference.throughput import measure_throughput
from autoseg.networks import build
from autoseg.networks.unet import set_deep_supervision
from autoseg.planning.hardware.compute import step_seconds, training_flops
from autoseg.planning.plan import Plan
from autoseg.training.losses import deep_loss
from autoseg.training.optimize import Stepper

RUNS = [
    ("hippocampus", "3d_fullres"), ("brain tumours", "3d_fullres"), ("prostate", "3d_fullres"), ("many organs", "3d_fullres"),
    ("slices", "2d"), ("hippocampus", "2d"), ("brain tumours", "2d"),
]  # fmt: skip
STEPS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    device = pick_device("auto")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    begun = time.perf_counter()
    machine = measure_throughput(device)
    print(f"{machine.device}, {machine.precision}, {machine.threads} threads: measured in {time.perf_counter() - begun:.1f} s\n{machine}\n")
    execution = Execution(device, machine.precision, machine.channels_last)
    print("| dataset | configuration | GFLOP a step | predicted s | measured s | ratio |\n|---|---|---|---|---|---|")
    for dataset, name in RUNS:
        plan = plan_of(dataset, "cpu" if device == "cpu" else "default")
        what = plan.configuration(name), plan.input_channels(name), len(plan.dataset.labels.values)
        predicted, measured = step_seconds(*what, machine), seconds(plan, name, execution)
        flops = sum(layer.flops for layer in training_flops(*what)) / 1e9
        print(f"| {dataset} | {name} | {flops:.0f} | {predicted:.3f} | {measured:.3f} | {predicted / measured:.2f} |", flush=True)


def seconds(plan: Plan, name: str, execution: Execution) -> float:
    """The fastest of a few real steps, after one to warm up."""
    configuration, classes = plan.configuration(name), len(plan.dataset.labels.values)
    rules = configuration.training
    network = build(configuration, in_channels=plan.input_channels(name), num_classes=classes)
    set_deep_supervision(network, rules.deep_supervision)
    network = execution.place(network, configuration.dimensions)
    stepper = Stepper(network, rules.recipes["fast"], execution)
    images = torch.randn(configuration.batch_size, plan.input_channels(name), *configuration.patch_size).to(execution.device)
    labels = torch.randint(classes, (configuration.batch_size, *configuration.patch_size)).to(execution.device)

    def loss() -> torch.Tensor:
        with execution.autocast():
            logits = network(execution.arrange(images))
        return deep_loss(rules.loss, logits, labels, batch_dice=rules.batch_dice)

    times = []
    for step in range(STEPS):
        begun = time.perf_counter()
        stepper.step(loss, 1e-3, step)
        if execution.device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return min(times[1:])


if __name__ == "__main__":
    main()
