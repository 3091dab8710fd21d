"""Convolutions of 3 x 3 x 3 one by one on a CPU: what PyTorch does with them, oneDNN's direct sums, and autoseg's layer.

    python benchmarks/convolutions.py

- Each line is a layer of a batch: milliseconds of the value, of the gradient of the input, and of the gradient of the weights; the fastest of a few.
- The ways take turns, three for the value and two for gradients, and what they give is compared first.
- "saves" is the share of autoseg's multiplications that `networks/winograd.py` leaves out; 0 where the layer is not its kind.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from math import ceil

import torch
from torch import Tensor

from autoseg.inference.execution import pick_device
from autoseg.networks import winograd
from autoseg.networks.convolution import Conv3d

LAYERS = [  # images, channels in and out, patch
    (7, 32, 32, (40, 56, 40)), (7, 64, 32, (40, 56, 40)), (7, 64, 64, (20, 28, 20)), (7, 128, 128, (10, 14, 10)), (2, 32, 32, (64, 64, 64)),
    (2, 320, 320, (8, 16, 16)), (1, 8, 8, (64, 64, 64)), (1, 16, 16, (32, 32, 32)),
]  # fmt: skip
TOLERANCE = 1e-4  # of the largest value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, help="by default as many as PyTorch takes")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    pick_device("cpu")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    print(f"{torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}\n")
    print("| layer | saves | value: PyTorch | oneDNN | autoseg | input: oneDNN | autoseg | weights: oneDNN | autoseg |")
    print("|---|---|---|---|---|---|---|---|---|")
    for images, inputs, outputs, patch in LAYERS:
        torch.manual_seed(0)
        x = torch.randn(images, inputs, *patch).to(memory_format=torch.channels_last_3d)
        layer = Conv3d(inputs, outputs, 3, padding=1).to(memory_format=torch.channels_last_3d)
        shape = " x ".join(map(str, (images, *patch)))
        saves = 1 - winograd.PRODUCTS * ceil(patch[0] / winograd.PLANES) / (3 * patch[0]) if winograd.pays(x, layer.weight) else 0.0
        times = "".join(f" {1000 * seconds:.1f} |" for seconds in measured(layer, x, arguments.rounds))
        print(f"| {inputs} to {outputs} channels, {shape} | {saves:.0%} |{times}", flush=True)


def measured(layer: Conv3d, x: Tensor, rounds: int) -> list[float]:
    """Seconds of every column, fastest of some rounds, after all ways were found to agree."""
    weight, bias = layer.weight.detach(), layer.bias.detach() if layer.bias is not None else None
    y = torch.randn(x.shape[0], weight.shape[0], *x.shape[2:]).to(memory_format=torch.channels_last_3d)

    def direct(wanted: Sequence[bool]) -> list[Tensor | None]:
        return list(torch.ops.aten.convolution_backward(y, x, weight, None, [1] * 3, [1] * 3, [1] * 3, False, [0] * 3, 1, [*wanted, False]))

    def ours(of_input: bool) -> list[Tensor | None]:
        leaf = x.detach().requires_grad_(of_input)
        layer.weight.requires_grad_(not of_input)
        value = layer(leaf)
        begun = time.perf_counter()
        found = torch.autograd.grad(value, leaf if of_input else layer.weight, y)
        spent.append(time.perf_counter() - begun)
        return list(found)

    spent: list[float] = []
    ways: list[Callable[[], object]] = [
        lambda: torch.conv3d(x, weight, bias, padding=1),
        lambda: torch.mkldnn_convolution(x, weight, bias, [1] * 3, [1] * 3, [1] * 3, 1),
        lambda: layer(x),
        lambda: direct([True, False])[0],
        lambda: ours(True)[0],
        lambda: direct([False, True])[1],
        lambda: ours(False)[0],
    ]
    with torch.no_grad():
        value, same, found = (way() for way in ways[:3])
        agree(value, same, found)
    agree(ways[3](), ways[4]())
    agree(ways[5](), ways[6]())
    best = [float("inf")] * len(ways)
    for _ in range(rounds):
        for index, way in enumerate(ways):
            spent.clear()
            with torch.set_grad_enabled(index in (4, 6)):
                begun = time.perf_counter()
                way()
                seconds = time.perf_counter() - begun
            best[index] = min(best[index], spent[0] if spent else seconds)
    return best


def agree(first: object, *others: object) -> None:
    """Stop where two ways do not compute the same."""
    for other in others:
        if not (isinstance(first, Tensor) and isinstance(other, Tensor)):
            raise SystemExit("a way gave nothing")
        error = float((first - other).abs().max() / first.abs().max())
        if error > TOLERANCE:
            raise SystemExit(f"the ways differ by {error:.1e} of the largest value")


if __name__ == "__main__":
    main()
