"""Memory for what is written once.

On a CPU it is NumPy's, which asks the system for huge pages where arrays are large. PyTorch does not, and its fresh memory costs more than what is
done with it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def empty(shape: Sequence[int], like: Tensor) -> Tensor:
    """Memory for a result, of the type and on the device of `like`, with anything in it."""
    return new(shape, like.dtype, like.device)


def new(shape: Sequence[int], dtype: torch.dtype, device: torch.device | str) -> Tensor:
    """Memory with anything in it."""
    if torch.device(device).type != "cpu":
        return torch.empty(tuple(shape), dtype=dtype, device=device)
    return torch.from_numpy(np.empty(tuple(shape), dtype=str(dtype).removeprefix("torch.")))
