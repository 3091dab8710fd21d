"""A plan on the terminal: its configurations side by side, and the reasons for its decisions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from autoseg.cli.console import show_table
from autoseg.planning.reasons.wording import extents
from autoseg.progress import duration

if TYPE_CHECKING:
    from autoseg.planning.hardware.compute import ConfigurationCost
    from autoseg.planning.plan import Configuration, Plan

MAIN = (
    "inherits", "previous_stage", "moved", "recipe", "labels", "class_weights", "spacing", "patch_size", "batch_size", "network",
)  # fmt: skip


def show_configurations(plan: "Plan", costs: "Sequence[ConfigurationCost]") -> None:
    """A row a configuration: what it works on, what its network is, what training it would take."""
    timed = any(cost.epoch_seconds is not None for cost in costs)
    columns = ["configuration", "spacing, mm", "patch", "batch", "network", "GPU memory", *(["an epoch", "training"] if timed else [])]
    rows = []
    for (name, configuration), cost in zip(plan.configurations.items(), costs, strict=True):
        network = configuration.network
        row = [
            name, _grid(configuration), extents(configuration.patch_size), str(configuration.batch_size),
            network.summary + ("" if cost.parameters is None else f", {cost.parameters / 1e6:.3g} million weights"),
            "-" if cost.memory_bytes is None else f"{cost.memory_bytes / 2**30:.1f} GB",
        ]  # fmt: skip
        if timed:
            row += ["-" if seconds is None else duration(seconds) for seconds in (cost.epoch_seconds, cost.training_seconds)]
        rows.append(row)
    show_table(f"The plan of {plan.dataset.name}", columns, rows, right=(3, 5, 6, 7))


def _grid(configuration: "Configuration") -> str:
    resize = configuration.resampling.resize
    return f"{extents(resize)} voxels" if resize else extents(configuration.spacing)


def show_reasons(plan: "Plan", *, everything: bool) -> None:
    """Decisions with their reasons: all of them, or those about size and shape and what was not made."""
    rows = [["", key, reason] for key, reason in plan.why.items() if key not in plan.configurations]  # those made by hand since are there
    for name, configuration in plan.configurations.items():
        reasons = [(key, reason) for key, reason in configuration.why.items() if everything or key in MAIN]
        rows += [[name if index == 0 else "", key, reason] for index, (key, reason) in enumerate(reasons)]
    show_table("Why" if everything else "Why (--explain shows every reason)", ["configuration", "decision", "why"], rows)
