"""What a report says where a structure is empty: rules that must never be mixed, so every report names its scheme.

- `nnunet`: a ratio of 0 / 0 is not a number and the mean passes over it. A structure missed, or invented, has Dice 0 and no HD95.
- `brats20` (BraTS to 2022): both empty is a perfect answer; exactly one empty is the worst, with the diagonal of a 240 x 240 x 155 image
  at 1 mm as HD95, whatever the image. The challenge publishes Dice and HD95 for that case; the other overlap ratios are 0 here as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan

from autoseg.errors import AutosegError
from autoseg.evaluation.metrics import RATIOS, Counts

BRATS_DIAGONAL = 373.12866  # mm


@dataclass(frozen=True)
class Scheme:
    """Values that replace the computed ones.

    Attributes
    ----------
    both_empty : metric -> value where neither prediction nor reference has the structure
    one_empty : metric -> value where exactly one of them has it
    """

    both_empty: Mapping[str, float]
    one_empty: Mapping[str, float]


SCHEMES: Mapping[str, Scheme] = {
    "nnunet": Scheme(both_empty={"hd95": nan}, one_empty={"hd95": nan}),
    "brats20": Scheme(
        both_empty={"dice": 1.0, "iou": 1.0, "precision": 1.0, "sensitivity": 1.0, "specificity": 1.0, "hd95": 0.0},
        one_empty={"dice": 0.0, "iou": 0.0, "precision": 0.0, "sensitivity": 0.0, "hd95": BRATS_DIAGONAL},
    ),
}


def scheme_named(name: str) -> Scheme:
    """Look up a scheme.

    Raises
    ------
    AutosegError
        there is none of that name; the text lists the choices
    """
    if name not in SCHEMES:
        raise AutosegError(f"There is no metric scheme '{name}'. Choose one of: {', '.join(SCHEMES)}.")
    return SCHEMES[name]


def measure(counts: Counts, distance: float | None, scheme: Scheme) -> dict[str, float]:
    """All ratios, and HD95 where it was computed, under a scheme's rules for empty structures.

    Parameters
    ----------
    counts : voxels by agreement
    distance : HD95 in mm, any number where a mask is empty, None to leave it out
    scheme : rules for empty structures

    Returns
    -------
    metric -> value, in the order of a table
    """
    values = {name: ratio(counts) for name, ratio in RATIOS.items()}
    if distance is not None:
        values["hd95"] = distance
    if counts.prediction == 0 and counts.reference == 0:
        return values | {name: value for name, value in scheme.both_empty.items() if name in values}
    if counts.prediction == 0 or counts.reference == 0:
        return values | {name: value for name, value in scheme.one_empty.items() if name in values}
    return values
