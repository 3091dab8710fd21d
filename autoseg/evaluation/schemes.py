"""What a report measures, and what it says where a structure is empty: rules that must never be mixed, so every report names its scheme.

- `nnunet`: a ratio of 0 / 0 is not a number and the mean passes over it. A structure missed, or invented, has Dice and NSD 0 and no distance.
- `brats20` (BraTS to 2022): both empty is a perfect answer; exactly one empty is the worst, with the diagonal of a 240 x 240 x 155 image
  at 1 mm as HD95, whatever the image. The challenge publishes Dice, HD95, sensitivity and specificity; the other numbers follow suit.
- `brats23` (BraTS 2023 and 2024): lesion-wise Dice and HD95, and those of the whole structure by the rules of `brats20` with 374 mm.
  How far lesions grow together and which are too small depends on the tumour.
- `brats25` (BraTS 2025): paired components, and the whole structure; neither on either side is not a number. As in the challenge's program,
  the whole structure's NSD counts only borders that coincide, and without a common voxel its HD95 is the penalty, whatever the distance.
- A scheme fixes its conventions of HD95 and NSD, because challenges computed them with different programs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import nan

import numpy as np
from numpy.typing import NDArray

from autoseg.errors import AutosegError
from autoseg.evaluation.distances import HD95_AREA_WEIGHTED, HD95_POOLED, NSD_MEAN, NSD_POOLED, SURFACE_METRICS
from autoseg.evaluation.lesions import merged_lesions, paired_lesions
from autoseg.evaluation.metrics import RATIOS, Counts
from autoseg.imaging.image import Spacing3

BRATS_DIAGONAL = 373.12866  # mm
BRATS23_PENALTY = 374.0  # mm
BRATS25_PENALTY = 373.0  # mm
TOLERANCE = 1.0  # mm, of the NSD

LesionScores = Callable[[NDArray[np.bool_], NDArray[np.bool_], Spacing3], dict[str, float]]


@dataclass(frozen=True)
class Scheme:
    """Rules of one report.

    Attributes
    ----------
    name : stands in every table and file; tells the tumour where it is no glioma
    both_empty : metric -> value where neither prediction nor reference has the structure
    one_empty : metric -> value where exactly one of them has it
    ranked : metric -> whether larger is better; what contestants are ranked by
    hd95, nsd : conventions, see `autoseg.evaluation.distances`
    tolerance : of the NSD, in smallest spacings; None: the user's, in millimetres
    no_overlap : metric -> value where both have the structure, but no voxel in common
    lesions : scores of lesions from predicted mask, reference mask and spacing, or None
    """

    name: str
    both_empty: Mapping[str, float]
    one_empty: Mapping[str, float]
    ranked: Mapping[str, bool] = field(default_factory=lambda: {"dice": True, "hd95": False})
    hd95: str = HD95_POOLED
    nsd: str = NSD_POOLED
    tolerance: float | None = None
    no_overlap: Mapping[str, float] = field(default_factory=dict)
    lesions: LesionScores | None = None


@dataclass(frozen=True)
class Tumour:
    """How `brats23` tells the lesions of a tumour apart.

    Attributes
    ----------
    growth : times that reference lesions grow by the 18-neighbourhood
    floor : cubic millimetres; lesions of this volume or less are dropped
    """

    growth: int
    floor: float


TUMOURS: Mapping[str, Tumour] = {"glioma": Tumour(3, 50.0), "meningioma": Tumour(1, 50.0), "metastasis": Tumour(1, 2.0)}


def _perfect() -> dict[str, float]:
    return dict.fromkeys(("dice", "iou", "precision", "sensitivity", "specificity", "nsd"), 1.0) | {"hd95": 0.0, "assd": 0.0}


def _worst(distance: float) -> dict[str, float]:
    return dict.fromkeys(("dice", "iou", "precision", "sensitivity", "nsd"), 0.0) | {"hd95": distance, "assd": distance}


def _brats23(tumour: str) -> Scheme:
    rules = TUMOURS[tumour]
    return Scheme(
        name="brats23" if tumour == "glioma" else f"brats23 {tumour}",
        both_empty=_perfect(),
        one_empty=_worst(BRATS23_PENALTY),
        ranked={"lesion_dice": True, "lesion_hd95": False},
        hd95=HD95_AREA_WEIGHTED,
        lesions=partial(merged_lesions, growth=rules.growth, floor=rules.floor, penalty=BRATS23_PENALTY),
    )


SCHEMES: Mapping[str, Scheme] = {
    "nnunet": Scheme("nnunet", both_empty=dict.fromkeys(SURFACE_METRICS, nan), one_empty={"hd95": nan, "assd": nan, "nsd": 0.0}),
    "brats20": Scheme("brats20", both_empty=_perfect(), one_empty=_worst(BRATS_DIAGONAL)),
    "brats23": _brats23("glioma"),
    "brats25": Scheme(
        "brats25",
        both_empty=dict.fromkeys(SURFACE_METRICS, nan),
        one_empty=_worst(BRATS25_PENALTY),
        ranked={"lesion_dice": True, "lesion_nsd": True},
        nsd=NSD_MEAN,
        tolerance=0.5,  # so that only borders which coincide count
        no_overlap={"hd95": BRATS25_PENALTY, "nsd": 0.0},
        lesions=partial(paired_lesions, penalty=BRATS25_PENALTY),
    ),
}


def scheme_named(name: str, tumour: str = "glioma") -> Scheme:
    """Look up a scheme.

    Parameters
    ----------
    name : a key of `SCHEMES`
    tumour : a key of `TUMOURS`; only `brats23` has rules for others than gliomas

    Raises
    ------
    AutosegError
        there is none of that name, or it has no rules for that tumour; the text lists the choices
    """
    if name not in SCHEMES:
        raise AutosegError(f"There is no metric scheme '{name}'. Choose one of: {', '.join(SCHEMES)}.")
    if tumour not in TUMOURS:
        raise AutosegError(f"There are no rules for the tumour '{tumour}'. Choose one of: {', '.join(TUMOURS)}.")
    if name == "brats23":
        return _brats23(tumour)
    if tumour != "glioma":
        raise AutosegError(f"The scheme {name} has the same rules for every tumour; only brats23 has some for '{tumour}'. Leave the tumour out.")
    return SCHEMES[name]


def measure(counts: Counts, surface: Mapping[str, float] | None, scheme: Scheme) -> dict[str, float]:
    """All ratios, and the distances where they were computed, under a scheme's rules for empty structures.

    Parameters
    ----------
    counts : voxels by agreement
    surface : hd95, assd, nsd (any numbers where a mask is empty), or None to leave them out
    scheme : rules for empty structures

    Returns
    -------
    metric -> value, in the order of a table
    """
    values = {name: ratio(counts) for name, ratio in RATIOS.items()} | dict(surface or {})
    if counts.prediction == 0 and counts.reference == 0:
        return values | {name: value for name, value in scheme.both_empty.items() if name in values}
    if counts.prediction == 0 or counts.reference == 0:
        return values | {name: value for name, value in scheme.one_empty.items() if name in values}
    if counts.tp == 0:
        return values | {name: value for name, value in scheme.no_overlap.items() if name in values}
    return values
