"""Intensities of one channel on a common scale: pure functions from (Z, Y, X) float32 to a new array of the same kind.

- The rules are nnU-Net's (Isensee et al., Nature Methods 2021); no denominator is smaller than 1e-8.
- Sums run in float64: a float32 sum over millions of voxels loses digits.
"""

import numpy as np
from numpy.typing import NDArray

from autoseg.errors import AutosegError

SMALLEST = 1e-8

Channel = NDArray[np.float32]


def zscore(x: Channel, mask: NDArray[np.bool_] | None = None) -> Channel:
    """Mean 0 and standard deviation 1.

    Parameters
    ----------
    x : float32 (Z, Y, X)
    mask : bool (Z, Y, X); the statistics come from inside it and everything outside becomes 0; an empty mask gives zeros
    """
    if mask is None:
        return _standardised(x)
    result = np.zeros_like(x)
    if mask.any():
        result[mask] = _standardised(x[mask])
    return result


def ct(x: Channel, lower: float, upper: float, mean: float, std: float) -> Channel:
    """Clip to [lower, upper], subtract `mean`, divide by `std`: Hounsfield units with the statistics of the whole dataset.

    Parameters
    ----------
    x : float32 (Z, Y, X)
    lower, upper : percentiles 0.5 and 99.5 of the dataset's foreground
    mean, std : of the dataset's foreground
    """
    return _shifted_and_scaled(x.clip(lower, upper), mean, std)


def rescale_to_0_1(x: Channel) -> Channel:
    """The smallest value becomes 0, the largest 1; a constant channel becomes 0."""
    low, high = float(x.min()), float(x.max())
    return _shifted_and_scaled(x, low, high - low)


def rgb_to_0_1(x: Channel) -> Channel:
    """Divide by 255.

    Raises
    ------
    AutosegError
        a value lies outside 0 to 255
    """
    low, high = float(x.min()), float(x.max())
    if low < 0 or high > 255:
        raise AutosegError(f"rgb_to_0_1 expects values from 0 to 255, found {low:.6g} to {high:.6g}. Choose another normalisation in the plan.")
    return _shifted_and_scaled(x, 0.0, 255.0)


def _standardised(x: Channel) -> Channel:
    return _shifted_and_scaled(x, float(x.mean(dtype=np.float64)), float(x.std(dtype=np.float64)))


def _shifted_and_scaled(x: Channel, offset: float, scale: float) -> Channel:
    return (x - np.float32(offset)) / np.float32(max(scale, SMALLEST))
