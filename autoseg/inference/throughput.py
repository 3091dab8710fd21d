"""What this machine has and does: the memory of its graphics card, and its work a second in training, measured in about a second.

- Measured as training runs here: with the device's precision and memory format, the networks' own layers, and a loss of cross-entropy and overlap.
- Layers of five widths in 2D and in 3D, each as large as takes about the same arithmetic; the fastest of a few repetitions counts.
- A convolution and a loss are timed once for nothing: that wakes up threads and memory, and lets libraries write their code (0.4 seconds).
- The optimizer's step is called as a function: to make an optimizer takes PyTorch's compiler along, whose import lasts longer than all measuring.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.adamw import adamw

from autoseg.errors import AutosegError
from autoseg.inference.execution import Execution, candidates
from autoseg.networks.convolution import Conv2d, Conv3d, ConvTranspose2d, ConvTranspose3d
from autoseg.networks.norm import InstanceNorm2d, InstanceNorm3d
from autoseg.planning.hardware.compute import Rates, Throughput

WIDTHS = (16, 32, 64, 128, 256)
BATCH = 2
FLOPS = {"cpu": 0.25e9, "other": 40e9}  # of one convolution forward, for the whole batch
VALUES = {"cpu": 1 << 20, "other": 1 << 26}  # of the layers that hardly multiply
WEIGHTS = {"cpu": 1 << 20, "other": 1 << 25}
CLASSES = 4
REPETITIONS, LONG_ENOUGH = 5, 0.03  # repetitions of a measurement at most, and the seconds after which one is enough


def measure_throughput(device: str, precision: str = "auto") -> Throughput:
    """Time typical layers on a device.

    Parameters
    ----------
    device : "cpu", "cuda", "cuda:1", "mps"; as `pick_device` gives it
    precision : "float32", "float16", "bfloat16", or "auto": what training would try first on a graphics card, and the better one on a CPU
    """
    measured = [_measure(option) for option in candidates(device, precision)]
    return max(measured, key=lambda one: sum(one.volumes.convolution))


def cuda_memory(device: str = "cuda") -> tuple[str, int]:
    """Name and bytes of a graphics card.

    Raises
    ------
    AutosegError
        PyTorch finds no such card
    """
    kind, _, number = device.partition(":")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind != "cuda" or not (number or "0").isdigit() or int(number or 0) >= count:
        raise AutosegError(
            f"PyTorch {torch.__version__} finds no graphics card '{device}' on this machine, so its memory is unknown. Give --gpu-memory GB."
        )
    properties = torch.cuda.get_device_properties(device)
    return properties.name, properties.total_memory


def _measure(execution: Execution) -> Throughput:
    cuda = execution.device.startswith("cuda")
    _convolution_rate(execution, 3, WIDTHS[0])
    _loss_rate(execution, 3)
    return Throughput(
        device=torch.cuda.get_device_name(execution.device) if cuda else execution.device,
        precision=execution.precision,
        channels_last=execution.channels_last,
        threads=torch.get_num_threads() if execution.device == "cpu" else 0,
        volumes=_rates(execution, 3),
        slices=_rates(execution, 2),
        weights=_optimizer_rate(execution),
    )


def _rates(execution: Execution, dimensions: int) -> Rates:
    return Rates(
        widths=WIDTHS,
        convolution=tuple(_convolution_rate(execution, dimensions, width) for width in WIDTHS),
        norm=_norm_rate(execution, dimensions),
        thin=_thin_rate(execution, dimensions),
        loss=_loss_rate(execution, dimensions),
    )


def _convolution_rate(execution: Execution, dimensions: int, width: int) -> float:
    """Arithmetic a second of a convolution of three taps an axis, forward and backward."""
    layer = (Conv3d if dimensions == 3 else Conv2d)(width, width, 3, padding=1)
    flops = 2 * width * width * int(3**dimensions)
    shape = _shape(dimensions, _of(FLOPS, execution) / flops / BATCH)
    return float(3 * flops * BATCH * prod(shape)) / _layer_seconds(execution, layer, width, shape)


def _norm_rate(execution: Execution, dimensions: int) -> float:
    width, norm = WIDTHS[0], InstanceNorm3d if dimensions == 3 else InstanceNorm2d
    shape = _shape(dimensions, _of(VALUES, execution) / width / BATCH)
    layer = nn.Sequential(norm(width, affine=True), nn.LeakyReLU(0.01, inplace=True))
    return BATCH * width * prod(shape) / _layer_seconds(execution, layer, width, shape)


def _thin_rate(execution: Execution, dimensions: int) -> float:
    """Values a second through a transposed convolution to the width of the first stage, and a head on that."""
    width = WIDTHS[0]
    shape = _shape(dimensions, _of(VALUES, execution) / width / BATCH / 2**dimensions)
    enlarge, head = (ConvTranspose3d, Conv3d) if dimensions == 3 else (ConvTranspose2d, Conv2d)
    layer = nn.Sequential(enlarge(2 * width, width, 2, 2), head(width, CLASSES, 1))
    return 2 * BATCH * width * prod(shape) * int(2**dimensions) / _layer_seconds(execution, layer, 2 * width, shape)


def _loss_rate(execution: Execution, dimensions: int) -> float:
    """Values of logits a second."""
    shape = _shape(dimensions, _of(VALUES, execution) / CLASSES / BATCH)
    logits = execution.arrange(torch.randn(BATCH, CLASSES, *shape)).requires_grad_()
    classes = torch.randint(CLASSES, (BATCH, *shape)).to(execution.device)

    def work() -> None:
        log_probabilities = F.log_softmax(logits, dim=1)
        one_hot = torch.zeros_like(logits).scatter_(1, classes.unsqueeze(1), 1.0)
        overlap = (log_probabilities.exp() * one_hot).sum((0, *range(2, logits.ndim)))
        (F.nll_loss(log_probabilities, classes) - overlap.mean()).backward()  # type: ignore[no-untyped-call]

    return logits.numel() / _fastest(execution, work)


def _optimizer_rate(execution: Execution) -> float:
    """Weights a second that AdamW changes."""
    count = _of(WEIGHTS, execution)
    weights, gradients, means, squares = ([torch.ones(int(count) // 16, device=execution.device) for _ in range(16)] for _ in range(4))
    steps = [torch.tensor(1.0) for _ in weights]

    @torch.no_grad()
    def work() -> None:
        adamw(
            weights, gradients, means, squares, [], steps,
            amsgrad=False, beta1=0.9, beta2=0.999, lr=1e-3, weight_decay=1e-2, eps=1e-8, maximize=False,
        )  # fmt: skip

    return count / _fastest(execution, work)


def _layer_seconds(execution: Execution, layer: nn.Module, channels: int, shape: Sequence[int]) -> float:
    """Forward and backward of a layer on a batch."""
    layer = execution.place(layer, len(shape))
    leaf = execution.arrange(torch.randn(BATCH, channels, *shape)).requires_grad_()
    with execution.autocast():
        upstream = torch.ones_like(layer(leaf))

    def work() -> None:
        with execution.autocast():
            result = layer(leaf)
        result.backward(upstream)

    return _fastest(execution, work)


def _fastest(execution: Execution, work: Callable[[], object]) -> float:
    """Seconds of the fastest repetition after one to warm up."""
    times: list[float] = []
    while len(times) < 3 or (len(times) <= REPETITIONS and sum(times) < LONG_ENOUGH):
        begun = time.perf_counter()
        work()
        execution.finish()
        times.append(time.perf_counter() - begun)
    return min(times[1:])


def _shape(dimensions: int, voxels: float) -> tuple[int, ...]:
    """A cube or square of about so many voxels."""
    return (max(4, round(voxels ** (1 / dimensions))),) * dimensions


def _of(sizes: Mapping[str, float], execution: Execution) -> float:
    return sizes.get(execution.device, sizes["other"])
