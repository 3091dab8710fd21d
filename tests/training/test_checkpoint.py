"""A training that was taken up from its checkpoint goes on to the same bits."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from autoseg.errors import AutosegError
from autoseg.inference.execution import Execution
from autoseg.networks import build
from autoseg.networks.weights import weights_of
from autoseg.planning.plan import Plan
from autoseg.training import checkpoint
from autoseg.training.checkpoint import Counters
from autoseg.training.losses import deep_loss
from autoseg.training.optimize import Stepper


def start(plan: Plan, recipe: str, execution: Execution, seed: int = 0) -> tuple[nn.Module, Stepper]:
    torch.manual_seed(seed)
    network = execution.place(build(plan.configuration("tiny"), in_channels=4, num_classes=4), 3)
    return network, Stepper(network, plan.configuration("tiny").training.recipes[recipe], execution)


def steps(network: nn.Module, stepper: Stepper, execution: Execution, numbers: range) -> None:
    for number in numbers:
        generator = torch.Generator().manual_seed(number)
        x = torch.randn(2, 4, 8, 8, 8, generator=generator)
        classes = torch.randint(0, 4, (2, 8, 8, 8), generator=generator)
        stepper.step(lambda x=x, classes=classes: deep_loss("dice_ce", network(execution.arrange(x)), classes, batch_dice=False), 0.01, number)


def state(network: nn.Module, stepper: Stepper) -> dict[str, Tensor]:
    tensors = {name: tensor.clone() for name, tensor in weights_of(network).items()}
    tensors |= {f"average {name}": tensor.clone() for name, tensor in stepper.average.items()}
    for index, values in stepper.optimizer.state_dict()["state"].items():
        tensors |= {f"{index} {key}": torch.as_tensor(value).clone() for key, value in values.items()}
    return tensors


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("recipe", ["default", "fast"])
def test_goes_on_to_the_same_bits(make: SimpleNamespace, tmp_path: Path, recipe: str, channels_last: bool) -> None:
    plan, execution = make.plan(), Execution("cpu", channels_last=channels_last)
    network, stepper = start(plan, recipe, execution)
    steps(network, stepper, execution, range(4))
    counters = Counters(4, 12.5, 3.25, 2, 1.5, 0.5, 1024.0, 0.125, 4, 0.75, "abc", 2, 1, 3, True)
    checkpoint.save(tmp_path, network, stepper.average, stepper.optimizer, counters)
    saved = state(network, stepper)
    steps(network, stepper, execution, range(4, 8))

    again, resumed = start(plan, recipe, execution, seed=1)
    assert checkpoint.load(tmp_path, again, resumed.average, resumed.optimizer) == counters
    assert same(state(again, resumed), saved)
    for parameter in again.parameters():
        for value in resumed.optimizer.state[parameter].values():
            assert value.ndim == 0 or value.stride() == parameter.stride()
    steps(again, resumed, execution, range(4, 8))
    assert same(state(again, resumed), state(network, stepper))


def test_memory_formats_may_change(make: SimpleNamespace, tmp_path: Path) -> None:
    plan = make.plan()
    network, stepper = start(plan, "fast", Execution("cpu", channels_last=True))
    steps(network, stepper, Execution("cpu", channels_last=True), range(2))
    checkpoint.save(tmp_path, network, stepper.average, stepper.optimizer, Counters())
    other, resumed = start(plan, "fast", Execution("cpu"), seed=1)
    checkpoint.load(tmp_path, other, resumed.average, resumed.optimizer)
    assert same(state(other, resumed), state(network, stepper))


def test_one_of_an_earlier_state_is_read(make: SimpleNamespace, tmp_path: Path) -> None:
    network, stepper = start(make.plan(), "fast", Execution("cpu"))
    checkpoint.save(tmp_path, network, stepper.average, stepper.optimizer, Counters())
    eight = {"step": 6, "elapsed": 9.5, "epoch_loss": 0.5, "epoch_steps": 2, "epoch_start": 8.0, "pseudo_dice": 0.25, "loss_scale": 1.0,
             "step_seconds": 0.5}  # fmt: skip
    rewritten(tmp_path / checkpoint.FILE, counters=eight)
    expected = Counters(6, 9.5, 0.5, 2, 8.0, 0.25, 1.0, 0.5, judged_step=6)  # its log has the row of the step that it was saved at, if any
    assert checkpoint.read_counters(tmp_path) == checkpoint.load(tmp_path, network, stepper.average, stepper.optimizer) == expected


def test_nothing_there_is_none(make: SimpleNamespace, tmp_path: Path) -> None:
    network, stepper = start(make.plan(), "fast", Execution("cpu"))
    assert checkpoint.load(tmp_path, network, stepper.average, stepper.optimizer) is None


def test_no_pickle_inside(make: SimpleNamespace, tmp_path: Path) -> None:
    network, stepper = start(make.plan(), "fast", Execution("cpu"))
    checkpoint.save(tmp_path, network, stepper.average, stepper.optimizer, Counters(step=7))
    content = (tmp_path / checkpoint.FILE).read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:begin])  # the whole format: a length, JSON, numbers
    assert json.loads(header.pop("__metadata__")["counters"])["step"] == 7
    assert max(entry["data_offsets"][1] for entry in header.values()) == len(content) - begin
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.FILE]


def rewritten(path: Path, *, drop: str = "", counters: object = None) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys() if not (drop and name.startswith(drop))}  # noqa: SIM118
    if counters is not None:
        metadata["counters"] = json.dumps(counters)
    save_file(tensors, path, metadata=metadata)


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "weight", "average", "no counters", "list for counters"])
def test_a_damaged_file_is_named(make: SimpleNamespace, tmp_path: Path, damage: str) -> None:
    network, stepper = start(make.plan(), "fast", Execution("cpu"))
    steps(network, stepper, Execution("cpu"), range(1))
    checkpoint.save(tmp_path, network, stepper.average, stepper.optimizer, Counters())
    path = tmp_path / checkpoint.FILE
    content = path.read_bytes()
    match damage:
        case "truncated":
            path.write_bytes(content[:-100])
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_bytes(b"not a checkpoint at all")
        case "weight":
            rewritten(path, drop="network.decoder")
        case "average":
            rewritten(path, drop="average.")
        case "no counters":
            rewritten(path, counters={"step": 3})
        case "list for counters":
            rewritten(path, counters=[1, 2])
    with pytest.raises(AutosegError, match=rf"{checkpoint.FILE}.*--restart"):
        checkpoint.load(tmp_path, network, stepper.average, stepper.optimizer)


def test_another_network_is_refused(make: SimpleNamespace, tmp_path: Path) -> None:
    network, stepper = start(make.plan(), "default", Execution("cpu"))
    checkpoint.save(tmp_path, network, stepper.average, stepper.optimizer, Counters())
    other = build(make.plan().configuration("tiny"), in_channels=3, num_classes=4)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    with pytest.raises(AutosegError, match="another network"):
        checkpoint.load(tmp_path, other, {}, optimizer)


def save_for_ever(folder: Path, first: int) -> None:
    network = nn.Linear(600, 600)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for number in range(first, 10**9):
        with torch.no_grad():
            network.weight.fill_(number)
        checkpoint.save(folder, network, {}, optimizer, Counters(step=number))


def test_killed_while_writing_leaves_a_whole_one(tmp_path: Path) -> None:
    network = nn.Linear(600, 600)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    first = 1
    for delay in (0.0, 0.003, 0.006, 0.009, 0.02):
        process = multiprocessing.get_context("fork").Process(target=save_for_ever, args=(tmp_path, first))
        process.start()
        deadline = time.monotonic() + 20
        counters = None
        while (counters is None or counters.step < first + 2) and time.monotonic() < deadline:
            counters = checkpoint.load(tmp_path, network, {}, optimizer)
        time.sleep(delay)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        counters = checkpoint.load(tmp_path, network, {}, optimizer)
        assert counters is not None and counters.step >= first + 2
        assert (network.weight == counters.step).all()
        first = counters.step + 1
