"""How arithmetic is done on the device at hand: precision and memory format, decided by measuring.

- A CPU always works channels last, the faster format there for U-Nets whose norm needs no copies (`benchmarks/execution.py`: 1.3 times in training
  and in prediction), so that two runs differ in nothing; bfloat16 is tried only where the processor has instructions for it (elsewhere it
  is emulated, many times slower). On CUDA float16 is tried in both memory formats. What a plan names is not questioned.
- On Linux, memory that was freed is kept for the next step: handing it back and taking it again costs a tenth of a CPU's training step.
- A few repetitions on the network and patch that will really run; the fastest wins and is logged. A candidate that is not 5 % faster than the
  simplest one is not worth its difference.
"""

import ctypes
import gc
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from autoseg.errors import AutosegError

WORTHWHILE = 0.95
MMAP_THRESHOLD, TRIM_THRESHOLD, LARGEST_INT = -3, -1, 2**31 - 1  # glibc's mallopt(3)
OLD_LARGEST_THRESHOLD = 4 * 2**20 * ctypes.sizeof(ctypes.c_long)  # older glibc refuses more, and would stay at 128 KiB


@dataclass(frozen=True)
class Execution:
    """How a network runs.

    Attributes
    ----------
    device : "cpu", "cuda", "cuda:1", "mps"
    precision : "float32", "bfloat16" or "float16" (the arithmetic of convolutions; weights stay float32)
    channels_last : memory format of images and weights
    """

    device: str
    precision: str = "float32"
    channels_last: bool = False

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which the network runs."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, dtype=getattr(torch, self.precision))

    def memory_format(self, dimensions: int) -> torch.memory_format:
        if not self.channels_last:
            return torch.contiguous_format
        return torch.channels_last if dimensions == 2 else torch.channels_last_3d

    def place(self, network: nn.Module, dimensions: int) -> nn.Module:
        """Move a network to the device and into the memory format."""
        placed: nn.Module = network.to(self.device, memory_format=self.memory_format(dimensions))  # type: ignore[call-overload]
        return placed

    def arrange(self, x_BCP: Tensor) -> Tensor:
        """Move a batch (B, C, *patch) to the device and into the memory format."""
        return x_BCP.to(self.device, memory_format=self.memory_format(x_BCP.ndim - 2), non_blocking=True)

    def finish(self) -> None:
        """Wait until the device has done what it was given: before a clock is read."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)
        elif self.device == "mps":
            torch.mps.synchronize()

    def describe(self) -> str:
        return f"{self.device}, {self.precision}, {'channels last' if self.channels_last else 'channels first'}"


def pick_device(wanted: str) -> str:
    """The device that "auto", "cpu", "cuda", "cuda:N" or "mps" means here.

    Raises
    ------
    AutosegError
        it is not one of these, or this machine has none
    """
    kind = wanted.split(":")[0]
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind == "auto":
        return pick_device(next(name for name in ("cuda", "mps", "cpu") if available[name]))
    if kind not in available:
        raise AutosegError(f"There is no device '{wanted}'. Choose one of: auto, {', '.join(available)}.")
    if not available[kind]:
        raise AutosegError(f"PyTorch {torch.__version__} finds no {kind} device on this machine. Use --device cpu, or install a build with {kind}.")
    if wanted.startswith("cuda:") and not (wanted[5:].isdigit() and int(wanted[5:]) < torch.cuda.device_count()):
        raise AutosegError(f"There is no device '{wanted}': this machine has {torch.cuda.device_count()} CUDA devices, counted from 0.")
    if kind == "cpu":
        keep_freed_memory()
    return wanted


def keep_freed_memory() -> None:
    """Tell the C library (glibc) not to return large freed blocks to the system; elsewhere nothing happens."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(TRIM_THRESHOLD, LARGEST_INT)
        if not libc.mallopt(MMAP_THRESHOLD, LARGEST_INT):
            libc.mallopt(MMAP_THRESHOLD, OLD_LARGEST_THRESHOLD)


def release_freed_memory() -> None:
    """Hand back what `keep_freed_memory` kept (glibc); elsewhere nothing happens."""
    gc.collect()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


@contextmanager
def enough_memory(device: str, mend: str) -> Iterator[None]:
    """Say in words that a device's memory is full; `mend` is what to do.

    Raises
    ------
    AutosegError
        what runs within does not fit the memory of `device`
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        reason = str(error).split(". ")[0]
        raise AutosegError(f"The memory of {device} is full ({reason}). {mend}") from error
    except RuntimeError as error:  # what PyTorch says of a computer's own memory
        wanted = re.search(r"allocate memory: you tried to allocate (\d+) bytes", str(error))
        if wanted is None:
            raise
        raise AutosegError(f"This computer has not enough memory: {int(wanted[1]) / 2**30:.1f} GB more were needed at once. {mend}") from error


def choose(options: Sequence[Execution], run: Callable[[Execution], None], *, repetitions: int = 2) -> Execution:
    """Time the candidates and keep the fastest; a single one needs no timing.

    Parameters
    ----------
    options : as `candidates` gives them, simplest first
    run : does one representative piece of work the given way; called once to warm up and then `repetitions` times
    """
    if len(options) == 1:
        return options[0]
    seconds = [_seconds(option, run, repetitions) for option in options]
    fastest = min(range(len(options)), key=seconds.__getitem__)
    return options[fastest] if seconds[fastest] < WORTHWHILE * seconds[0] else options[0]


def candidates(device: str, precision: str) -> list[Execution]:
    """What is worth timing on a device, simplest first."""
    kind = torch.device(device).type
    if kind == "mps":
        return [Execution(device, "float32" if precision == "auto" else precision)]
    if precision != "auto":
        precisions = [precision]
    elif kind == "cuda":
        precisions = ["float16"]
    else:
        precisions = ["float32", "bfloat16"] if cpu_has_bfloat16() else ["float32"]
    formats = (True,) if kind == "cpu" else (False, True)
    return [Execution(device, name, last) for name in precisions for last in formats]


def cpu_has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware (AVX-512 BF16 or AMX)."""
    flags = torch.cpu.get_capabilities()
    return bool(flags.get("avx512_bf16") or flags.get("amx_bf16"))


@contextmanager
def inference(network: nn.Module) -> Iterator[None]:
    """Run a network without gradients, in evaluation mode, and put its mode back."""
    training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        network.train(training)


def _seconds(option: Execution, run: Callable[[Execution], None], repetitions: int) -> float:
    times = []
    for _ in range(repetitions + 1):
        start = time.perf_counter()
        run(option)
        option.finish()
        times.append(time.perf_counter() - start)
    return min(times[1:])
