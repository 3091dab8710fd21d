"""How well scores tell what is there from what is not: area under the ROC curve and average precision, over any number of voxels.

- Scores are counted by their value, so that memory does not grow with the voxels, and cases are pooled by adding their counts.
- A score is read with 12 digits in base two (to 1 part in 4096): a map's own digits say no more. For scores so read both numbers are exact, ties
  included: the ROC curve is straight where scores are equal, and average precision is the sum over distinct scores of precision times the gain in
  recall (scikit-learn's definitions).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DROPPED = 12  # of the 24 digits of a float32's number
BINS = 1 << (31 - DROPPED)

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Ranking:
    """Voxels by score.

    Attributes
    ----------
    positives, negatives : (BINS,) numbers of voxels that are and are not what is looked for, by rising score
    """

    positives: Counts
    negatives: Counts

    @classmethod
    def of(cls, scores: NDArray[np.float32], actual: NDArray[np.bool_]) -> "Ranking":
        """Count voxels.

        Parameters
        ----------
        scores : float32 of any shape, finite and 0 or more
        actual : bool of the same shape, whether a voxel is what is looked for

        Raises
        ------
        ValueError
            a score is below 0 or no number
        """
        if scores.size and not (scores.min() >= 0 and np.isfinite(scores).all()):
            raise ValueError("scores must be finite and 0 or more")
        bins = (np.abs(scores, dtype=np.float32).view(np.uint32) >> DROPPED).ravel()  # the bits of such floats are in their order; no negative zero
        everything, positives = np.bincount(bins, minlength=BINS), np.bincount(bins[actual.ravel()], minlength=BINS)
        return cls(positives, everything - positives)

    def __add__(self, other: "Ranking") -> "Ranking":
        return Ranking(self.positives + other.positives, self.negatives + other.negatives)

    @property
    def auroc(self) -> float:
        """Chance that what is looked for has a higher score than what is not, half a chance where they are equal; not a number without both."""
        positives, negatives = self.positives.sum(), self.negatives.sum()
        if not positives or not negatives:
            return float("nan")
        below = np.cumsum(self.negatives) - self.negatives
        return float((self.positives * (below + self.negatives / 2)).sum() / positives / negatives)

    @property
    def average_precision(self) -> float:
        """Mean precision over the recall; by chance it is `prevalence`. Not a number where nothing is there to find."""
        total = self.positives.sum()
        if not total:
            return float("nan")
        found, chosen = np.cumsum(self.positives[::-1]), np.cumsum((self.positives + self.negatives)[::-1])
        precision = np.divide(found, chosen, out=np.zeros(BINS), where=chosen > 0)
        return float((precision * self.positives[::-1]).sum() / total)

    @property
    def prevalence(self) -> float:
        """Share of the voxels that are looked for; not a number where there is no voxel."""
        voxels = self.positives.sum() + self.negatives.sum()
        return float(self.positives.sum() / voxels) if voxels else float("nan")


def no_voxels() -> Ranking:
    """What counts are added to."""
    return Ranking(np.zeros(BINS, np.int64), np.zeros(BINS, np.int64))
