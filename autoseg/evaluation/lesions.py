"""Scores of single lesions: how well each was outlined, which were missed, and which were invented.

Two ways that must not be mixed; lesions are connected through faces, edges and corners in both.

- `merged_lesions` (BraTS 2023): reference lesions that meet once grown are one. Every predicted component that touches a grown lesion is
  matched to it as a whole, and may be matched to several. Dice and HD95 of that union against the lesion as it was drawn. A lesion
  without match has Dice 0 and the penalty as HD95; so has a predicted component that is matched to nothing. Small lesions are no longer
  counted, once matching is done. Growing all lesions together and each by itself gives the same voxels, so it is done once.
- `paired_lesions` (BraTS 2025): components are paired one to one so that the sum of their Dice is largest. The scores are means over
  the pairs; what is left over counts in the F1 score alone.
"""

from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray

from autoseg.evaluation.distances import HD95_POOLED, NSD_MEAN, hd95_area_weighted, surface_measures
from autoseg.imaging.components import boxes_of, components, dilate
from autoseg.imaging.crop import Box
from autoseg.imaging.image import Spacing3

PAIRED_ABOVE = 1e-6  # Dice

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Lesion:
    """A reference lesion and what was found of it.

    Attributes
    ----------
    voxels : of the reference
    matched : number of predicted components matched to it
    dice, hd95 : against their union; HD95 in millimetres, not a number without match
    """

    voxels: int
    matched: int
    dice: float
    hd95: float


def merged_lesions(prediction_ZYX: Mask, reference_ZYX: Mask, spacing: Spacing3, *, growth: int, floor: float, penalty: float) -> dict[str, float]:
    """The lesion-wise scores of BraTS 2023.

    Parameters
    ----------
    prediction_ZYX, reference_ZYX : bool (Z, Y, X); voxels that neither has may be cropped away
    spacing : millimetres along Z, Y, X
    growth : how often lesions grow by the 18-neighbourhood before they are told apart
    floor : lesions of this volume or less, in cubic millimetres, are dropped; predicted components have no floor
    penalty : HD95 of a lesion that was missed or invented, in millimetres

    Returns
    -------
    lesion_dice 0..1 and lesion_hd95 in millimetres, means over lesions and inventions (1 and 0 where there is neither); lesion_tp and
    lesion_fn (lesions found and missed), lesion_fp (components invented), lesion_dropped
    """
    lesions, invented = _match_merged(prediction_ZYX, reference_ZYX, spacing, growth)
    voxel = float(np.prod(spacing))
    kept = [lesion for lesion in lesions if lesion.voxels * voxel > floor]
    found = [lesion for lesion in kept if lesion.matched]
    judged = len(kept) + invented
    far = (judged - len(found)) * penalty
    return {
        "lesion_dice": sum(lesion.dice for lesion in found) / judged if judged else 1.0,
        "lesion_hd95": (sum(lesion.hd95 for lesion in found) + far) / judged if judged else 0.0,
        "lesion_tp": float(len(found)),
        "lesion_fp": float(invented),
        "lesion_fn": float(len(kept) - len(found)),
        "lesion_dropped": float(len(lesions) - len(kept)),
    }


def paired_lesions(prediction_ZYX: Mask, reference_ZYX: Mask, spacing: Spacing3, *, penalty: float) -> dict[str, float]:
    """The instance scores of BraTS 2025.

    Parameters
    ----------
    prediction_ZYX, reference_ZYX : bool (Z, Y, X); voxels that neither has may be cropped away
    spacing : millimetres along Z, Y, X; the smallest is the tolerance of the NSD
    penalty : HD95 where there are lesions but no pair, in millimetres

    Returns
    -------
    lesion_dice and lesion_nsd 0..1 and lesion_hd95 in millimetres, means over the pairs (0, 0 and the penalty without a pair); lesion_f1;
    lesion_tp (pairs), lesion_fp, lesion_fn. Without any lesion on either side the first four are not a number.
    """
    from scipy.optimize import linear_sum_assignment  # takes a third of a second, and only this needs it

    (predicted, n_predicted), (expected, n_expected) = components(prediction_ZYX), components(reference_ZYX)
    if n_predicted + n_expected == 0:
        return dict.fromkeys(("lesion_dice", "lesion_nsd", "lesion_hd95", "lesion_f1"), nan) | dict.fromkeys(_COUNTS, 0.0)
    overlap = _overlap(predicted, n_predicted, expected, n_expected)[1:, 1:]
    sizes = (np.bincount(labels.ravel(), minlength=count + 1)[1:] for labels, count in ((predicted, n_predicted), (expected, n_expected)))
    dice = 2 * overlap / np.add.outer(*sizes)
    pairs = [(i, j) for i, j in zip(*linear_sum_assignment(np.where(dice > PAIRED_ABOVE, dice, -PAIRED_ABOVE), maximize=True), strict=True)
             if dice[i, j] > PAIRED_ABOVE]  # fmt: skip
    boxes = boxes_of(predicted, n_predicted), boxes_of(expected, n_expected)
    scores = []
    for i, j in pairs:
        box = _union(boxes[0][i], boxes[1][j])
        masks = predicted[box] == i + 1, expected[box] == j + 1
        scores.append(surface_measures(*masks, spacing, tolerance=min(spacing), hd95_convention=HD95_POOLED, nsd_convention=NSD_MEAN))
    tp = len(pairs)
    return {
        "lesion_dice": float(np.mean([dice[pair] for pair in pairs])) if tp else 0.0,
        "lesion_nsd": float(np.mean([score["nsd"] for score in scores])) if tp else 0.0,
        "lesion_hd95": float(np.mean([score["hd95"] for score in scores])) if tp else penalty,
        "lesion_f1": 2 * tp / (n_predicted + n_expected),
        "lesion_tp": float(tp),
        "lesion_fp": float(n_predicted - tp),
        "lesion_fn": float(n_expected - tp),
    }


_COUNTS = ("lesion_tp", "lesion_fp", "lesion_fn")


def _match_merged(prediction_ZYX: Mask, reference_ZYX: Mask, spacing: Spacing3, growth: int) -> tuple[list[Lesion], int]:
    """All lesions, and how many predicted components touch none."""
    grown, n_lesions = components(dilate(reference_ZYX, growth))
    predicted, n_predicted = components(prediction_ZYX)
    lesions = np.where(reference_ZYX, grown, 0)
    touching = _overlap(predicted, n_predicted, grown, n_lesions)[1:, 1:] > 0
    shared = _overlap(predicted, n_predicted, lesions, n_lesions)[1:, 1:].sum(axis=0)
    predicted_sizes = np.bincount(predicted.ravel(), minlength=n_predicted + 1)[1:]
    sizes = np.bincount(lesions.ravel(), minlength=n_lesions + 1)[1:]
    boxes = boxes_of(predicted, n_predicted), boxes_of(lesions, n_lesions)
    found = []
    for lesion in range(n_lesions):
        matched = np.flatnonzero(touching[:, lesion])
        if not len(matched):
            found.append(Lesion(int(sizes[lesion]), 0, 0.0, nan))
            continue
        box = boxes[1][lesion]
        for component in matched:
            box = _union(box, boxes[0][component])
        masks = np.isin(predicted[box], matched + 1), lesions[box] == lesion + 1
        dice = 2 * shared[lesion] / (sizes[lesion] + predicted_sizes[matched].sum())
        found.append(Lesion(int(sizes[lesion]), len(matched), float(dice), hd95_area_weighted(*masks, spacing)))
    return found, int(np.count_nonzero(~touching.any(axis=1)))


def _overlap(a_ZYX: NDArray[np.unsignedinteger], n_a: int, b_ZYX: NDArray[np.unsignedinteger], n_b: int) -> NDArray[np.int64]:
    """Voxels of each label of one map with each label of the other, (n_a + 1, n_b + 1), zeros left out."""
    both = (a_ZYX > 0) & (b_ZYX > 0)
    joint = a_ZYX[both].astype(np.int64) * (n_b + 1) + b_ZYX[both]
    return np.bincount(joint, minlength=(n_a + 1) * (n_b + 1)).reshape(n_a + 1, n_b + 1)


def _union(a: Box, b: Box) -> Box:
    z, y, x = (slice(min(i.start, j.start), max(i.stop, j.stop)) for i, j in zip(a, b, strict=True))
    return z, y, x
