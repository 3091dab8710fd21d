"""How arithmetic is chosen: by the clock, but not for a trifle; and which device a word means."""

import ctypes
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import torch
from torch import nn

from autoseg.errors import AutosegError
from autoseg.inference.execution import Execution, candidates, choose, cpu_has_bfloat16, enough_memory, inference, keep_freed_memory, pick_device

FORMATS = [Execution("cpu"), Execution("cpu", channels_last=True)]


def sleeper(seconds: Callable[[Execution], float], seen: list[Execution]) -> Callable[[Execution], None]:
    def run(option: Execution) -> None:
        seen.append(option)
        time.sleep(seconds(option))

    return run


def test_candidates_are_simplest_first_and_for_this_processor() -> None:
    precisions = ["float32", "bfloat16"] if cpu_has_bfloat16() else ["float32"]
    assert candidates("cpu", "auto") == [Execution("cpu", name, channels_last=True) for name in precisions]
    assert candidates("cpu", "float32") == [Execution("cpu", channels_last=True)]
    assert candidates("cuda:1", "auto") == [Execution("cuda:1", "float16", last) for last in (False, True)]
    assert candidates("cuda", "bfloat16") == [Execution("cuda", "bfloat16", last) for last in (False, True)]
    assert candidates("mps", "auto") == [Execution("mps")]


def test_the_fastest_wins() -> None:
    seen: list[Execution] = []
    assert choose(FORMATS, sleeper(lambda option: 0.005 if option.channels_last else 0.02, seen)) == Execution("cpu", channels_last=True)
    assert seen == [Execution("cpu")] * 3 + [Execution("cpu", channels_last=True)] * 3


def test_the_simplest_stays_where_little_is_won() -> None:
    assert choose(FORMATS, sleeper(lambda option: 0.099 if option.channels_last else 0.1, [])) == Execution("cpu")
    assert choose(FORMATS, sleeper(lambda option: 0.04 if option.channels_last else 0.02, [])) == Execution("cpu")


def test_the_first_run_is_not_timed() -> None:
    seen: list[Execution] = []
    assert choose(FORMATS, sleeper(lambda option: 0.01 if option.channels_last else (0.0 if seen.count(option) > 1 else 0.2), seen)) == Execution(
        "cpu"
    )


def test_one_candidate_needs_no_clock() -> None:
    seen: list[Execution] = []
    assert choose(candidates("mps", "auto"), sleeper(lambda option: 0, seen)) == Execution("mps")
    assert not seen


@pytest.mark.parametrize(
    ("wanted", "message"),
    [("gpu", "no device 'gpu'. Choose one of: auto, cpu, cuda, mps"), ("", "no device ''"), ("CPU", "no device 'CPU'")],
)
def test_unknown_devices(wanted: str, message: str) -> None:
    with pytest.raises(AutosegError, match=message):
        pick_device(wanted)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_is_not_there() -> None:
    for wanted in ("cuda", "cuda:0"):
        with pytest.raises(AutosegError, match="finds no cuda device on this machine"):
            pick_device(wanted)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_cuda_device_that_is_not_there() -> None:
    assert pick_device("auto") == "cuda"
    for wanted in ("cuda:99", "cuda:x", "cuda:"):
        with pytest.raises(AutosegError, match="counted from 0"):
            pick_device(wanted)


def test_cpu_is_always_there() -> None:
    assert pick_device("cpu") == "cpu"
    assert pick_device("auto") in ("cpu", "cuda", "mps")
    keep_freed_memory()


@pytest.mark.parametrize("dimensions", [2, 3])
def test_memory_formats(dimensions: int) -> None:
    network = nn.Conv2d(2, 3, 3) if dimensions == 2 else nn.Conv3d(2, 3, 3)
    x = torch.randn(2, 2, *(4,) * dimensions)
    last = torch.channels_last if dimensions == 2 else torch.channels_last_3d
    for execution, wanted in ((Execution("cpu", channels_last=True), last), (Execution("cpu"), torch.contiguous_format)):
        placed = execution.place(network, dimensions)
        assert placed.weight.is_contiguous(memory_format=wanted)
        assert execution.arrange(x).is_contiguous(memory_format=wanted)
        assert torch.equal(execution.arrange(x), x)


def test_autocast_follows_the_precision() -> None:
    layer, x = nn.Linear(2, 2), torch.randn(1, 2)
    with Execution("cpu", "bfloat16").autocast():
        assert layer(x).dtype == torch.bfloat16
    with Execution("cpu").autocast():
        assert layer(x).dtype == torch.float32
    assert Execution("cpu", "bfloat16", True).describe() == "cpu, bfloat16, channels last"


@pytest.mark.parametrize("training", [True, False])
def test_inference_puts_the_mode_back(training: bool) -> None:
    network = nn.Linear(2, 2).train(training)
    with pytest.raises(KeyError), inference(network):
        assert not network.training and not network(torch.ones(1, 2)).requires_grad
        raise KeyError
    assert network.training is training and torch.ones(1, requires_grad=True).requires_grad


def test_a_full_memory_is_said_with_its_mend() -> None:
    said = r"^The memory of cuda:1 is full \(Tried to allocate 2\.00 GiB\)\. Use less\.$"
    with pytest.raises(AutosegError, match=said), enough_memory("cuda:1", "Use less."):
        raise torch.OutOfMemoryError("Tried to allocate 2.00 GiB. GPU 1 has a total capacity of ...")
    with pytest.raises(RuntimeError, match="shape"), enough_memory("cuda", "Use less."):
        raise RuntimeError("shape '[3]' is invalid")


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")
def test_glibc_of_any_age_takes_one_of_the_thresholds() -> None:
    """In a process of its own: what is set here stays."""
    script = (
        "import ctypes; from autoseg.inference import execution as e; libc = ctypes.CDLL(None);"
        " print(libc.mallopt(e.TRIM_THRESHOLD, e.LARGEST_INT), libc.mallopt(e.MMAP_THRESHOLD, e.OLD_LARGEST_THRESHOLD), e.OLD_LARGEST_THRESHOLD)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1", str(32 * 2**20 if sys.maxsize > 2**32 else 16 * 2**20)]
