"""Intensities of one channel on a common scale: each rule looks at a channel and gives the `Linear` map that does it.

- The rules are nnU-Net's (Isensee et al., Nature Methods 2021); no denominator is smaller than 1e-8.
- Sums run in float64: a float32 sum over millions of voxels loses digits.
- Deciding and doing are apart, so that a store may keep the voxels as they were and the map beside them.
- Equalising is no linear map: it makes another channel, from 0 to 1. What varies by no more than 1e-8 is constant and becomes 0.
- scikit-image is loaded where something is equalised, and asked for as little as may be at a time: its results are double precision.
"""

import math
from dataclasses import dataclass
from types import ModuleType

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

    def undo(self, x: Channel) -> Channel:
        """Intensities as they were before, float32 of the same shape; what was clipped stays so."""
        result: Channel = x * np.float32(max(self.scale, SMALLEST))
        result += np.float32(self.offset)
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


def percentile_to_0_1(x: Channel, lower: float, upper: float) -> Linear:
    """Clip to two percentiles of the channel, which become 0 and 1.

    Parameters
    ----------
    x : float32 (Z, Y, X)
    lower, upper : percentiles, 0 to 100, interpolated between neighbours; where they have one value, all becomes 0
    """
    low, high = (float(value) for value in np.percentile(x, (lower, upper)).astype(np.float32))
    return Linear(low, high - low, low, high)


def equalize(x: Channel) -> Channel:
    """Each intensity becomes the share of voxels that are darker or as dark, stretched to 0..1: the histogram of 256 bins is then about flat.

    Parameters
    ----------
    x : float32 (Z, Y, X)

    Returns
    -------
    float32 (Z, Y, X) from 0 to 1, in the same order of intensities; 0 everywhere where the channel is constant

    Raises
    ------
    AutosegError
        scikit-image is not installed
    """
    exposure = _exposure()
    result = _stretched(x)
    if result.any():
        shares, centres = exposure.cumulative_distribution(result.ravel(), 256)
        for z_YX in result:
            z_YX[...] = np.interp(z_YX, centres, shares)
        rescale_to_0_1(result)(result, out=result)
    return result


def equalize_locally(x: Channel, clip_limit: float) -> Channel:
    """Contrast-limited adaptive histogram equalisation (CLAHE) of each slice along Z, in regions of an eighth of its sides.

    Parameters
    ----------
    x : float32 (Z, Y, X)
    clip_limit : share of a region's voxels that one of 256 bins may hold, above 0 and at most 1; more means more contrast

    Returns
    -------
    float32 (Z, Y, X), each slice from 0 to 1; 0 everywhere in a slice that is constant

    Raises
    ------
    AutosegError
        scikit-image is not installed

    References
    ----------
    K. Zuiderveld. Contrast limited adaptive histogram equalization. Graphics Gems IV, 474-485 (1994)
    """
    exposure = _exposure()
    result = np.zeros_like(x)
    for z_YX, slice_YX in zip(result, x, strict=True):
        stretched = _stretched(slice_YX)
        if stretched.any():
            z_YX[...] = exposure.equalize_adapthist(stretched, clip_limit=clip_limit)
    return result


def _stretched(x: Channel) -> Channel:
    """To 0..1 in memory of its own; 0 everywhere where it is constant."""
    linear = rescale_to_0_1(x)
    return linear(x) if linear.scale > SMALLEST else np.zeros_like(x)


def _exposure() -> ModuleType:
    try:
        from skimage import exposure
    except ImportError as error:
        raise AutosegError("The plan's histogram equalisation needs scikit-image, which is not installed: pip install 'autoseg[zoo]'") from error
    return exposure
