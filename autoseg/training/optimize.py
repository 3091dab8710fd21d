"""One optimizer step, and the moving average of the weights.

- SGD with Nesterov momentum, Adam or AdamW; norms and biases are not decayed by AdamW. Parameters that need no gradient are left alone.
- The average's decay rises as (1 + step) / (10 + step), so that it forgets the untrained weights quickly.
- Buffers that count, as those of batch norm do, are copied into the average.
- float16 needs a loss scale: halved, and the step left out, where a gradient overflows; doubled at every 2,000th step, so that a resumed run
  needs to know nothing but the step.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from autoseg.inference.execution import Execution
from autoseg.networks.weights import load_weights, weights_of
from autoseg.planning.plan import Recipe

GROW_EVERY = 2000


class Stepper:
    """Optimizer, loss scale and averaged weights of one network."""

    def __init__(self, network: nn.Module, recipe: Recipe, execution: Execution) -> None:
        self._network, self._recipe = network, recipe
        self.optimizer = _optimizer(network, recipe)
        self._parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        self._scaled = execution.precision == "float16"
        self.loss_scale = 65536.0
        self.average = {name: tensor.detach().clone() for name, tensor in weights_of(network).items()} if recipe.weight_average else {}

    def step(self, loss_of: Callable[[], Tensor], learning_rate: float, number: int) -> float:
        """Compute the loss, step the weights, and give the loss back; where it or the gradient is not finite, no weight was changed."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.zero_grad(set_to_none=True)
        loss = loss_of()
        value = float(loss.detach())
        if not math.isfinite(value):
            return value
        (loss * self.loss_scale if self._scaled else loss).backward()  # type: ignore[no-untyped-call]
        if self._unscaled(number):
            if self._recipe.clip_gradient_norm:
                norm = nn.utils.clip_grad_norm_(self._parameters, self._recipe.clip_gradient_norm)
                if not (self._scaled or bool(torch.isfinite(norm))):
                    return float("nan")
            self.optimizer.step()
            self._update_average(number)
        return value

    def weights(self) -> dict[str, Tensor]:
        """What prediction uses: the average where there is one."""
        return self.average or weights_of(self._network)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The network carries the averaged weights within."""
        if not self.average:
            yield
            return
        current = {name: tensor.detach().clone() for name, tensor in weights_of(self._network).items()}
        load_weights(self._network, self.average)
        try:
            yield
        finally:
            load_weights(self._network, current)

    def _unscaled(self, number: int) -> bool:
        """Undo the loss scale; False where a gradient overflowed and the step must be left out."""
        if not self._scaled:
            return True
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        torch._foreach_mul_(gradients, 1 / self.loss_scale)
        if not bool(torch.isfinite(torch.stack(torch._foreach_norm(gradients))).all()):
            self.loss_scale = max(1.0, self.loss_scale / 2)
            return False
        if number % GROW_EVERY == GROW_EVERY - 1:
            self.loss_scale = min(65536.0, self.loss_scale * 2)
        return True

    @torch.no_grad()
    def _update_average(self, number: int) -> None:
        if self.average:
            decay = min(self._recipe.weight_average, (1 + number) / (10 + number))
            state = weights_of(self._network)
            moving = [name for name, tensor in self.average.items() if tensor.is_floating_point()]
            torch._foreach_lerp_([self.average[name] for name in moving], [state[name] for name in moving], 1 - decay)
            for name in self.average.keys() - set(moving):
                self.average[name].copy_(state[name])


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    rate, decay = recipe.learning_rate, recipe.weight_decay
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(learned, lr=rate, momentum=recipe.momentum, weight_decay=decay, nesterov=recipe.momentum > 0)
    betas = (recipe.momentum, 0.999)
    if recipe.optimizer == "adam":
        return torch.optim.Adam(learned, lr=rate, betas=betas, weight_decay=decay)
    kernels = [parameter for parameter in learned if parameter.ndim > 1]
    others = [parameter for parameter in learned if parameter.ndim <= 1]
    groups = [{"params": kernels, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=betas)
