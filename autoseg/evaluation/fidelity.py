"""How near an image is to a clean one: peak signal-to-noise ratio, and structural similarity by scikit-image.

- Both are of the voxels inside the head: noise that is not there is no merit. The peak is the range of the clean voxels there.
- Structural similarity (Wang et al. 2004) looks at windows of 7 voxels along each axis; of an image with fewer along Z it looks at slices, which are
  averaged. Its mean is over the windows whose middle is inside.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.errors import AutosegError
from autoseg.imaging.crop import bounding_box

WINDOW = 7


def psnr(image_ZYX: NDArray[np.float32], clean_ZYX: NDArray[np.float32], inside_ZYX: NDArray[np.bool_]) -> float:
    """Peak signal-to-noise ratio in dB, infinite where the two are equal; not a number where the clean image is constant or nothing is inside."""
    clean, image = clean_ZYX[inside_ZYX].astype(np.float64), image_ZYX[inside_ZYX].astype(np.float64)
    peak = np.ptp(clean) if clean.size else 0.0
    if not peak:
        return float("nan")
    error = float(np.mean((image - clean) ** 2))
    return float(10 * np.log10(peak**2 / error)) if error else float("inf")


def ssim(image_ZYX: NDArray[np.float32], clean_ZYX: NDArray[np.float32], inside_ZYX: NDArray[np.bool_]) -> float:
    """Structural similarity, at most 1; not a number where the clean image is constant, or smaller than a window.

    Raises
    ------
    AutosegError
        scikit-image is not installed
    """
    try:
        from skimage import metrics
    except ImportError as error:
        raise AutosegError("Structural similarity needs scikit-image, which is not installed: pip install 'autoseg[zoo]'") from error
    peak = np.ptp(clean_ZYX[inside_ZYX]) if inside_ZYX.any() else 0.0
    box = bounding_box(inside_ZYX, margin=WINDOW // 2)
    image, clean, inside = image_ZYX[box], clean_ZYX[box], inside_ZYX[box]
    similarity: Any = metrics.structural_similarity
    if not peak or min(image.shape[1:]) < WINDOW:
        return float("nan")
    if image.shape[0] < WINDOW:
        full = np.stack([similarity(a, b, data_range=peak, win_size=WINDOW, full=True)[1] for a, b in zip(clean, image, strict=True)])
    else:
        full = similarity(clean, image, data_range=peak, win_size=WINDOW, full=True)[1]
    return float(full[inside].mean(dtype=np.float64))
