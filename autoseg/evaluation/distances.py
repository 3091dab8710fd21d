"""How far the borders of two structures lie apart: one measurement of distances, three numbers read from it.

- HD95 has three conventions in use, and they give different numbers. `pooled` is the 95th percentile of the pooled two-way border
  distances (as medpy and panoptica take it). `area_weighted` is the larger of the two one-way percentiles, each weighted by the area of
  its surface elements (as DeepMind's surface-distance takes it). The larger of two unweighted percentiles (MONAI) is not offered.
- ASSD is the mean of the pooled two-way border distances. Some programs average the two one-way means instead.
- The normalised surface Dice (NSD) is the share of the border voxels of both masks that lie within a tolerance of the other's border.
  `NSD_MEAN` averages the two masks' shares instead (as panoptica does).
- Border voxels are those with a face on the background or on the image's edge.
"""

from math import nan

import numpy as np
from numpy.typing import NDArray

from autoseg.imaging.image import Spacing3
from autoseg.imaging.surface_elements import element_distances
from autoseg.imaging.surfaces import border_distances

HD95_POOLED = "95th percentile of the pooled two-way border distances"
HD95_AREA_WEIGHTED = "larger of the two one-way 95th percentiles of surface distances, weighted by area"
ASSD_POOLED = "mean of the pooled two-way border distances"
NSD_POOLED = "share of the border voxels of both within the tolerance"
NSD_MEAN = "mean of the two shares of border voxels within the tolerance"

SURFACE_METRICS = ("hd95", "assd", "nsd")

_CLOSE = 1e-9  # relative: distances are square roots, and may miss a tolerance that they equal by the last digit


def hd95_area_weighted(a_ZYX: NDArray[np.bool_], b_ZYX: NDArray[np.bool_], spacing: Spacing3) -> float:
    """95 % Hausdorff distance, the larger of the two one-way percentiles weighted by area.

    Parameters
    ----------
    a_ZYX, b_ZYX : bool (Z, Y, X)
    spacing : millimetres along Z, Y, X

    Returns
    -------
    millimetres: each way the distance within which 95 % of the surface's area lies; not a number where either mask is empty
    """
    if not a_ZYX.any() or not b_ZYX.any():
        return nan
    return max(_percentile(*elements) for elements in element_distances(a_ZYX, b_ZYX, spacing))


def surface_measures(
    prediction_ZYX: NDArray[np.bool_],
    reference_ZYX: NDArray[np.bool_],
    spacing: Spacing3,
    *,
    tolerance: float,
    hd95_convention: str = HD95_POOLED,
    nsd_convention: str = NSD_POOLED,
) -> dict[str, float]:
    """HD95, ASSD and NSD of two masks.

    Parameters
    ----------
    prediction_ZYX, reference_ZYX : bool (Z, Y, X)
    spacing : millimetres along Z, Y, X
    tolerance : of the NSD, millimetres, 0 or more; a distance that equals it is within
    hd95_convention, nsd_convention : which of the conventions above

    Returns
    -------
    hd95 and assd in millimetres, nsd in 0..1; not a number where either mask is empty
    """
    if not prediction_ZYX.any() or not reference_ZYX.any():
        return dict.fromkeys(SURFACE_METRICS, nan)
    both = border_distances(prediction_ZYX, reference_ZYX, spacing)
    pooled = np.concatenate(both)
    weighted = hd95_convention == HD95_AREA_WEIGHTED
    limit = tolerance * (1 + _CLOSE)
    return {
        "hd95": hd95_area_weighted(prediction_ZYX, reference_ZYX, spacing) if weighted else float(np.percentile(pooled, 95)),
        "assd": float(pooled.mean()),
        "nsd": float(np.mean([(one <= limit).mean() for one in both]) if nsd_convention == NSD_MEAN else (pooled <= limit).mean()),
    }


def _percentile(distances: NDArray[np.float64], areas: NDArray[np.float64]) -> float:
    order = np.lexsort((areas, distances))
    reached = np.cumsum(areas[order]) / areas.sum()
    return float(distances[order][min(int(np.searchsorted(reached, 0.95)), len(order) - 1)])
