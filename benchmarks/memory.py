"""Memory of training, predicted against measured: two steps of several plans on this machine's graphics card, in one run.

    python benchmarks/memory.py

The plans are made from made-up fingerprints. Each trains in a process of its own, as the trainer does: its network, its loss, its optimizer, its way
to run. Without a graphics card the steps are only rehearsed on tensors without content, and the table says so.
"""

import multiprocessing
import sys
from dataclasses import dataclass

import torch
from live_memory import measured_peak, rehearsed_peak

from autoseg.inference.execution import Execution
from autoseg.inference.throughput import cuda_memory
from autoseg.planning.fingerprint import Fingerprint, IntensityStatistics
from autoseg.planning.hardware.memory import GB, MemoryEstimate, training_memory
from autoseg.planning.plan import Configuration, DatasetBlock, LabelsBlock, Plan
from autoseg.planning.planner import make_plan

STATISTICS = IntensityStatistics(mean=50, median=40, std=120, min=-1000, max=1000, percentile_00_5=-900, percentile_99_5=900)


@dataclass(frozen=True)
class Facts:
    """A made-up dataset: shape and spacing of every case, channels, classes with the background, number of cases."""

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    channels: tuple[str, ...]
    classes: int
    cases: int


DATASETS = {
    "brain tumours": Facts((140, 171, 137), (1.0, 1.0, 1.0), ("T1", "T1ce", "T2", "FLAIR"), 4, 369),
    "hippocampus": Facts((36, 50, 35), (1.0, 1.0, 1.0), ("MRI",), 3, 208),
    "prostate": Facts((20, 320, 319), (3.6, 0.61, 0.61), ("T2", "ADC"), 3, 32),
    "body CT": Facts((256, 512, 512), (2.0, 0.8, 0.8), ("CT",), 3, 200),
    "many organs": Facts((256, 512, 512), (1.5, 1.5, 1.5), ("CT",), 25, 200),
    "slices": Facts((1, 512, 512), (1.0, 0.5, 0.5), ("R", "G", "B"), 2, 200),
}
RUNS = [
    ("brain tumours", "default", "3d_fullres"), ("brain tumours", "default", "2d"), ("brain tumours", "resenc_m", "3d_fullres"),
    ("brain tumours", "resenc_l", "3d_fullres"), ("hippocampus", "default", "3d_fullres"), ("prostate", "default", "3d_fullres"),
    ("prostate", "resenc_m", "3d_fullres"), ("body CT", "default", "3d_lowres"), ("many organs", "default", "3d_fullres"),
    ("slices", "default", "2d"), ("slices", "resenc_m", "2d"),
]  # fmt: skip


def main() -> None:
    if torch.cuda.is_available():
        name, total = cuda_memory("cuda")
        print(f"{name}, {total / GB:.1f} GB, PyTorch {torch.__version__}\n")
        print("| dataset | preset | configuration | recipe | layout | predicted GB | measured GB | ratio | reserved GB |")
    else:
        print("No graphics card here: the count is simulated, on tensors without content. It sees no workspaces of convolutions, so the prediction")
        print("beside it is without them too.\n")
        print("| dataset | preset | configuration | recipe | layout | predicted GB | simulated GB | ratio | with workspaces GB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for dataset, preset, name in RUNS:
        plan = plan_of(dataset, preset)
        if name not in plan.configurations:
            print(f"| {dataset} | {preset} | {name} | the plan has none |", flush=True)
            continue
        for recipe in ("default", "fast"):
            for row in rows(plan, name, recipe):
                print(f"| {dataset} | {preset} | {name} | {recipe} | {row} |", flush=True)


def plan_of(dataset: str, preset: str) -> Plan:
    """The plan of a made-up dataset."""
    facts = DATASETS[dataset]
    fingerprint = Fingerprint(
        spacings=(facts.spacing,), shapes=(facts.shape,), shapes_after_crop=(facts.shape,), median_relative_size_after_crop=1.0,
        channel_names=facts.channels, intensities=(STATISTICS,) * len(facts.channels), class_voxels=(1000,) * facts.classes,
        cases_without_class=(0,) * facts.classes,
    )  # fmt: skip
    labels = LabelsBlock(names=tuple(f"class {index}" for index in range(facts.classes)), values=tuple(range(facts.classes)))
    block = DatasetBlock(
        name=dataset.title().replace(" ", ""), layout="nnunet", channel_names=facts.channels, labels=labels, num_cases=facts.cases,
        file_ending=".nii.gz",
    )  # fmt: skip
    return make_plan(fingerprint, block, preset=preset)


def rows(plan: Plan, name: str, recipe: str) -> list[str]:
    """Prediction and count of one configuration, in each memory format that the trainer would try."""
    configuration, channels, classes = plan.configuration(name), plan.input_channels(name), len(plan.dataset.labels.values)
    predicted = training_memory(configuration, channels, classes, recipe=recipe)
    if not torch.cuda.is_available():
        counted = rehearsed_peak(configuration, channels, classes, precision="float16", recipe=recipe)
        plain = training_memory(configuration, channels, classes, recipe=recipe, workspace=False)
        return [f"- | {_ratio(plain, counted)} | {predicted.allocated / GB:.2f}"]
    found = []
    for last in (False, True):
        answer = _in_a_process(configuration, channels, classes, Execution("cuda", "float16", last), recipe)
        layout = "channels last" if last else "channels first"
        found.append(
            f"{layout} | {predicted.allocated / GB:.2f} | {answer} |  | "
            if isinstance(answer, str)
            else f"{layout} | {_ratio(predicted, answer[0])} | {answer[1] / GB:.2f}"
        )
    return found


def _ratio(predicted: MemoryEstimate, counted: int) -> str:
    return f"{predicted.allocated / GB:.2f} | {counted / GB:.2f} | {predicted.allocated / counted:.3f}"


def _in_a_process(configuration: Configuration, channels: int, classes: int, execution: Execution, recipe: str) -> tuple[int, int] | str:
    """A fresh process, so that no run leaves anything behind for the next; a text where the card is too small."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        try:
            return pool.apply(measured_peak, (configuration, channels, classes, execution, recipe))
        except torch.OutOfMemoryError:
            return "does not fit"


if __name__ == "__main__":
    sys.exit(main())
