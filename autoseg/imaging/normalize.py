"""Intensities of one channel on a common scale: each rule looks at a channel and gives the `Linear` map that does it.

- The rules are nnU-Net's (Isensee et al., Nature Methods 2021); no denominator is smaller than 1e-8.
- Sums run in float64: a float32 sum over millions of voxels loses digits.
- Deciding and doing are apart, so that a store may keep the voxels as they were and the map beside them.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoseg.errors import AutosegError

SMALLEST = 1e-8

Channel = NDArray[np.float32]


@dataclass(frozen=True)
class Linear:
    """(x, clipped to [lower, upper], less `offset`) / `scale`, in float32.

    Attributes
    ----------
    offset, scale : as above; a scale below 1e-8 counts as 1e-8
    lower, upper : infinite where nothing is clipped
    """

    offset: float = 0.0
    scale: float = 1.0
    lower: float = -math.inf
    upper: float = math.inf

    @property
    def clips(self) -> bool:
        return self.lower > -math.inf or self.upper < math.inf

    def __call__(self, x: Channel, out: Channel | None = None) -> Channel:
        """Normalise float32 of any shape; the input is left alone where it is not `out` itself."""
        clipped = x.clip(self.lower, self.upper, out=out) if self.clips else x
        result: Channel = np.subtract(clipped, np.float32(self.offset), out=out)
        result /= np.float32(max(self.scale, SMALLEST))
        return result


def zscore(x: Channel, mask: NDArray[np.bool_] | None = None) -> Linear:
    """To mean 0 and standard deviation 1.

    Parameters
    ----------
    x : float32 (Z, Y, X)
    mask : bool (Z, Y, X); the statistics come from inside it, where it holds anything; None: from everywhere
    """
    inside = x if mask is None or mask.all() else x[mask]
    if not inside.size:
        return Linear()
    return Linear(float(inside.mean(dtype=np.float64)), float(inside.std(dtype=np.float64)))


def ct(lower: float, upper: float, mean: float, std: float) -> Linear:
    """Clip to [lower, upper], subtract `mean`, divide by `std`: Hounsfield units with the statistics of the whole dataset.

    Parameters
    ----------
    lower, upper : percentiles 0.5 and 99.5 of the dataset's foreground
    mean, std : of the dataset's foreground
    """
    return Linear(mean, std, lower, upper)


def rescale_to_0_1(x: Channel) -> Linear:
    """The smallest value becomes 0, the largest 1; a constant channel becomes 0."""
    low, high = float(x.min()), float(x.max())
    return Linear(low, high - low)


def rgb_to_0_1(x: Channel) -> Linear:
    """Divide by 255.

    Raises
    ------
    AutosegError
        a value lies outside 0 to 255
    """
    low, high = float(x.min()), float(x.max())
    if low < 0 or high > 255:
        raise AutosegError(f"rgb_to_0_1 expects values from 0 to 255, found {low:.6g} to {high:.6g}. Choose another normalisation in the plan.")
    return Linear(0.0, 255.0)
