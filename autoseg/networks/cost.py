"""What a network costs: its parameters, and the arithmetic of one window.

- The real network is counted, not a description of it: whatever `build` makes is run once on PyTorch's meta device, where tensors have shapes and no
  numbers. A family that is added later needs nothing more.
- It is built on the CPU first, because some libraries read numbers off tensors while they build; its weights are let go at once.
- Counted are convolutions, matrix products and attention, a multiplication and an addition as two; norms, activations, pooling and interpolation
  are not. Heads for deep supervision do not run in prediction: they are among the parameters, and not in the arithmetic.
"""

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from autoseg.networks import build
from autoseg.networks.unet import set_deep_supervision
from autoseg.planning.plan import Configuration


@dataclass(frozen=True)
class NetworkCost:
    """What one network costs.

    Attributes
    ----------
    parameters : weights that are learned, heads for deep supervision included
    window_flops : arithmetic of the way forward for one window in prediction
    """

    parameters: int
    window_flops: int


def network_cost(configuration: Configuration, *, in_channels: int, num_classes: int) -> NetworkCost:
    """Count the parameters and the arithmetic of a configuration's network.

    Parameters
    ----------
    configuration, in_channels, num_classes : as for `build`; a window has the configuration's patch size
    """
    with torch.random.fork_rng(devices=[]):  # whoever counts does not change what is drawn next
        network = build(configuration, in_channels=in_channels, num_classes=num_classes).to("meta").eval()
    set_deep_supervision(network, False)
    window = torch.empty(1, in_channels, *configuration.patch_size, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(window)
    return NetworkCost(sum(one.numel() for one in network.parameters()), counter.get_total_flops())
