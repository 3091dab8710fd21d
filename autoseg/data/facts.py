"""What one decoding of a case tells about it: all that fingerprint and plan ever need to know."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoseg.imaging.image import Shape3, Spacing3


@dataclass(frozen=True)
class CaseFacts:
    """Facts about one case.

    Attributes
    ----------
    name : the case
    shape : voxels along Z, Y, X as stored
    shape_after_crop : voxels along Z, Y, X of the bounding box of non-zero voxels (any channel, holes filled)
    spacing : millimetres along Z, Y, X
    class_voxels : number of voxels of each class, background first; the ignore label is not counted
    foreground : float32 (C, N), intensities of at most `limit` voxels drawn without replacement (seeded) among those with a class above 0
    """

    name: str
    shape: Shape3
    shape_after_crop: Shape3
    spacing: Spacing3
    class_voxels: tuple[int, ...]
    foreground: NDArray[np.float32]
