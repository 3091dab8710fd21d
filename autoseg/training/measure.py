"""How a training step runs fastest on this machine, found by timing a few."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from autoseg.inference.execution import Execution, choose
from autoseg.training.batches import Batch


def fastest_step(
    network: nn.Module,
    dimensions: int,
    options: Sequence[Execution],
    batch: Batch,
    judge: Callable[[nn.Module, Batch, Execution], tuple[Tensor, Any]],
) -> tuple[Execution, float]:
    """Time forward and backward passes; weights and statistics stay as they are.

    Parameters
    ----------
    network : as it will be trained
    dimensions : of its images
    options : ways to run it, on one device
    batch : a whole one, since a CPU's best memory format for one sample is not that for two
    judge : the loss of a batch, and whatever else

    Returns
    -------
    the fastest way, and its seconds a step
    """
    seconds: dict[Execution, float] = {}
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}

    def run(option: Execution) -> None:
        placed = option.place(network, dimensions)
        begun = time.monotonic()
        targets = None if batch.targets is None else batch.targets.to(option.device)
        there = Batch(batch.images.to(option.device), batch.classes.to(option.device), targets)
        judge(placed, there, option)[0].backward()  # type: ignore[no-untyped-call]
        placed.zero_grad(set_to_none=True)
        option.finish()
        seconds[option] = min(seconds.get(option, float("inf")), time.monotonic() - begun)

    execution = choose(options, run, repetitions=1 if options[0].device == "cpu" else 3)
    if not seconds:
        run(execution)
    for name, buffer in network.named_buffers():  # timing must not teach the statistics of batch norm
        buffer.copy_(buffers[name])
    return execution, seconds[execution]
