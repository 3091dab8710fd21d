"""Timing a step finds the faster way, and leaves the network as it was."""

import time

import torch
from torch import Tensor, nn

from autoseg.inference.execution import Execution
from autoseg.training.batches import Batch
from autoseg.training.measure import fastest_step

SLOW, QUICK = Execution("cpu", "float32"), Execution("cpu", "float32", True)
BATCH = Batch(torch.rand(2, 1, 8, 8), torch.zeros(2, 8, 8, dtype=torch.long))


def judge(network: nn.Module, batch: Batch, execution: Execution) -> tuple[Tensor, None]:
    time.sleep(0.05 if execution == SLOW else 0.01)
    assert batch.targets is None
    return network(batch.images).square().mean(), None


def test_the_faster_way_is_found_and_nothing_is_learnt() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    execution, seconds = fastest_step(network, 2, [SLOW, QUICK], BATCH, judge)
    assert execution == QUICK and 0.01 <= seconds < 0.05
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_single_way_is_timed_too() -> None:
    execution, seconds = fastest_step(nn.Conv2d(1, 2, 3), 2, [SLOW], BATCH, judge)
    assert execution == SLOW and seconds >= 0.05
