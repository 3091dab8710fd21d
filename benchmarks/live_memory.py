"""How much memory a training step needs, counted: on a graphics card by asking it, elsewhere by a rehearsal without numbers.

- The rehearsal runs the real network, loss and optimizer on tensors that have a shape and no content (PyTorch's "meta" device) and adds up what is
  alive after every operation. It takes seconds and no memory, whatever the size of the network.
- Mixed precision is rehearsed as PyTorch does it: convolutions get their input, weights and bias in half precision, and a weight is converted once.
- What libraries take for themselves while a convolution runs (its workspace) is invisible to the rehearsal.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from autoseg.inference.execution import Execution
from autoseg.networks import build
from autoseg.networks.unet import set_deep_supervision
from autoseg.planning.plan import Configuration
from autoseg.training.loss_terms import Emphasis
from autoseg.training.losses import deep_loss
from autoseg.training.optimize import Stepper

SCALE = 256.0  # of the loss in float16: no overflow may leave a step out
STEPS = 2  # the optimizer's own tensors are there from the second step on
CONVOLUTIONS = (torch.conv2d, torch.conv3d, torch.conv_transpose2d, torch.conv_transpose3d)


def rehearsed_peak(configuration: Configuration, in_channels: int, num_classes: int, *, precision: str, recipe: str, regions: bool = False) -> int:
    """Bytes that are alive at the worst moment of a training step, workspaces of convolutions not counted.

    Parameters
    ----------
    configuration, in_channels, num_classes : what is trained
    precision : "float32", "float16" or "bfloat16"
    recipe : name in the configuration's `training.recipes`
    regions : the output's channels are regions, of as many classes, instead of classes with the background
    """
    alive = _Alive()
    with alive, torch.device("meta"):
        table_RK = torch.ones(num_classes, num_classes + 1, dtype=torch.bool) if regions else None
        network, stepper = _prepared(configuration, in_channels, num_classes, Execution("meta", precision), recipe)
        for _ in range(STEPS):
            images, classes = _batch(configuration, in_channels)
            stepper.optimizer.zero_grad(set_to_none=True)
            with _half(getattr(torch, precision)):
                logits = network(images)
            loss = _loss(configuration, logits, classes, table_RK)
            del logits
            loss.backward()  # type: ignore[no-untyped-call]
            del loss
            stepper.optimizer.step()
    return alive.peak


def measured_peak(configuration: Configuration, in_channels: int, num_classes: int, execution: Execution, recipe: str) -> tuple[int, int]:
    """Train two steps on a graphics card: bytes in use at the worst moment, and bytes that PyTorch had reserved."""
    torch.cuda.init()  # type: ignore[no-untyped-call]
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(execution.device)
    train(configuration, in_channels, num_classes, execution, recipe)
    return torch.cuda.max_memory_allocated(execution.device), torch.cuda.max_memory_reserved(execution.device)


def train(configuration: Configuration, in_channels: int, num_classes: int, execution: Execution, recipe: str) -> Stepper:
    """Two steps on random batches, as the trainer makes them."""
    network, stepper = _prepared(configuration, in_channels, num_classes, execution, recipe)
    stepper.loss_scale = SCALE

    def loss() -> Tensor:
        with execution.autocast():
            logits = network(execution.arrange(images))
        return _loss(configuration, logits, classes)

    for step in range(STEPS):
        images, classes = (tensor.to(execution.device) for tensor in _batch(configuration, in_channels))
        stepper.step(loss, 1e-4, step)
    return stepper


def _prepared(configuration: Configuration, in_channels: int, num_classes: int, execution: Execution, recipe: str) -> tuple[nn.Module, Stepper]:
    network = build(configuration, in_channels=in_channels, num_classes=num_classes)
    set_deep_supervision(network, configuration.training.deep_supervision)
    network = execution.place(network, configuration.dimensions)
    return network, Stepper(network, configuration.training.recipes[recipe], execution)  # type: ignore[index]


def _batch(configuration: Configuration, in_channels: int) -> tuple[Tensor, Tensor]:
    shape = (configuration.batch_size, *configuration.patch_size)
    return torch.randn(shape[0], in_channels, *shape[1:]), torch.zeros(shape, dtype=torch.long)


def _loss(configuration: Configuration, logits: Tensor | list[Tensor], classes: Tensor, regions_RK: Tensor | None = None) -> Tensor:
    rules, stages = configuration.training, logits if isinstance(logits, list) else [logits]
    return deep_loss(rules.loss, stages, classes, batch_dice=rules.batch_dice, emphasis=Emphasis.of(rules), regions_RK=regions_RK)


class _Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes of every storage from its first appearance until nothing refers to it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now: int = 0
        self.peak: int = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._meet(leaf.untyped_storage())
        self.peak = max(self.peak, self.now)
        return result

    def _meet(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self.now += size
            weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


class _Casts(TorchFunctionMode):
    """Convolutions in half precision, each weight converted once."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype
        self._converted: dict[Tensor, Tensor] = {}

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in CONVOLUTIONS:
            args = [self._cast(one) if isinstance(one, Tensor) and one.is_floating_point() else one for one in args]
        return func(*args, **(kwargs or {}))

    def _cast(self, x: Tensor) -> Tensor:
        if x.dtype == self._dtype:
            return x
        if not isinstance(x, nn.Parameter):
            return x.to(self._dtype)
        if x not in self._converted:
            self._converted[x] = x.to(self._dtype)
        return self._converted[x]


@contextmanager
def _half(dtype: torch.dtype) -> Iterator[None]:
    """What autocast does on a graphics card, which knows no "meta" device; nothing in float32."""
    if dtype == torch.float32:
        yield
        return
    with _Casts(dtype):
        yield
