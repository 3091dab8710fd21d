"""How sure a segmentation is: entropy, disagreement of the members, and how much of it depends on the certainty that one asks for.

- A member is one fold of one configuration. What is judged is the mean probability and what was decided from it, before any post-processing.
- Entropy is 0 where one class is certain and 1 where nothing is known: of classes in units of ln K, of regions the largest of their binary entropies.
- The stability of a structure is the Dice between where its probability exceeds 0.25 and where it exceeds 0.75: how much of it stays when one asks
  for more, or for less, certainty. It is read off the mean probabilities, not off the painted map, in which one structure may hide another.
- The doubt is the one number that ranks which segmentations a human should look at first: 1 minus the mean stability, and of several members the mean
  of that and of 1 minus their agreement.
- Sums of probabilities over all voxels, which the Dice that one may expect is made of, rank worse: tiny probabilities far away and borders that are
  blurred everywhere outweigh what is truly in doubt (`benchmarks/uncertainty.py`).
- Everything is gathered slab by slab; only the two maps are whole.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autoseg.imaging.image import Shape3
from autoseg.planning.plan import Plan
from autoseg.preprocessing.placement import Placement

GENEROUS, STRICT = 0.25, 0.75  # probabilities above which a structure is suspected, and sure


@dataclass(frozen=True)
class Uncertainty:
    """How sure a segmentation is.

    Attributes
    ----------
    entropy : float32 (Z, Y, X) on the scan's own grid, 0 (certain) to 1 (nothing is known)
    disagreement : float32 (Z, Y, X), the share of members that decide otherwise than the whole, 0 to 1; None with a single member
    stability : structure -> Dice between where it is suspected and where it is sure, 0 to 1; 1 where it is not suspected anywhere, 0 where it is
        suspected and nowhere sure
    foreground_entropy : mean entropy of what was decided to be foreground; None where nothing was
    agreement : mean over members and structures of the Dice between a member's decision and the whole's (1 where both are empty); None with a
        single member
    """

    entropy: NDArray[np.float32]
    disagreement: NDArray[np.float32] | None
    stability: dict[str, float]
    foreground_entropy: float | None
    agreement: float | None

    @property
    def doubt(self) -> float:
        """Where to look first, 0 to 1: 1 minus the mean stability; with two members or more, the mean of that and of 1 minus their agreement."""
        unstable = 1 - sum(self.stability.values()) / len(self.stability)
        return unstable if self.agreement is None else (unstable + 1 - self.agreement) / 2


class Gauge:
    """Gathers the uncertainty of a scan slab by slab.

    Parameters
    ----------
    plan : says what channels and classes stand for
    members : how many decide, at least one
    shape : voxels of the cropped, transposed scan
    """

    def __init__(self, plan: Plan, members: int, shape: Shape3) -> None:
        self._names, self._regions = plan.structure_names, plan.learns_regions
        self._classes: Sequence[tuple[int, ...]] = plan.labels.region_classes if self._regions else [(k + 1,) for k in range(len(self._names))]
        self._members = members
        self._entropy = np.zeros(shape, np.float32)
        self._differing = np.zeros(shape, np.float32)
        count = len(self._names)
        self._size, self._suspected, self._sure = np.zeros((3, count))
        self._own_overlap, self._own_size = np.zeros((2, members, count))
        self._foreground, self._foreground_entropy = 0.0, 0.0

    def add(self, planes: slice, soft_CZYX: Tensor, classes_ZYX: Tensor, own: Iterable[Tensor]) -> None:
        """Take in a slab.

        Parameters
        ----------
        planes : where it lies
        soft_CZYX : mean probabilities of the plan's outputs
        classes_ZYX : what was decided from them
        own : what each member decided, in turn, alike
        """
        entropy_ZYX = binary_entropy(soft_CZYX).amax(0) if self._regions else entropy(soft_CZYX)
        self._entropy[planes] = entropy_ZYX.cpu().numpy()
        decided = [_among(classes_ZYX, classes) for classes in self._classes]
        for index, (p_ZYX, inside) in enumerate(zip(soft_CZYX if self._regions else soft_CZYX[1:], decided, strict=True)):
            counts = torch.stack([inside.sum(), (p_ZYX > GENEROUS).sum(), (p_ZYX > STRICT).sum()]).tolist()
            for sums, voxels in zip((self._size, self._suspected, self._sure), counts, strict=True):
                sums[index] += voxels
        foreground = classes_ZYX > 0
        self._foreground += int(foreground.sum())
        self._foreground_entropy += float((entropy_ZYX * foreground).sum())
        differing = torch.zeros_like(entropy_ZYX)
        for member, own_ZYX in enumerate(own):
            differing += own_ZYX != classes_ZYX
            for index, (classes, inside) in enumerate(zip(self._classes, decided, strict=True)):
                same = _among(own_ZYX, classes)
                self._own_size[member, index] += int(same.sum())
                self._own_overlap[member, index] += int((same & inside).sum())
        self._differing[planes] = (differing / self._members).cpu().numpy()

    def result(self, placement: Placement) -> Uncertainty:
        """What came of it, on the scan's own grid; certain outside the crop."""
        stability = _dice(self._sure, self._suspected + self._sure)  # what is sure is suspected
        agreement = _dice(self._own_overlap, self._own_size + self._size)
        return Uncertainty(
            entropy=placement.restore(self._entropy),
            disagreement=placement.restore(self._differing) if self._members > 1 else None,
            stability=dict(zip(self._names, stability.tolist(), strict=True)),
            foreground_entropy=self._foreground_entropy / self._foreground if self._foreground else None,
            agreement=float(agreement.mean()) if self._members > 1 else None,
        )


def entropy(soft_CZYX: Tensor) -> Tensor:
    """Of probabilities that sum to 1 over K channels, in units of ln K: (Z, Y, X), 0 to 1."""
    nats: Tensor = torch.special.entr(soft_CZYX).sum(0)
    return (nats / math.log(len(soft_CZYX))).clamp(0, 1)


def binary_entropy(p: Tensor) -> Tensor:
    """Of each probability on its own, in bits: the same shape, 0 to 1."""
    nats: Tensor = torch.special.entr(p) + torch.special.entr(1 - p)
    return (nats / math.log(2)).clamp(0, 1)


def _dice(overlap: NDArray[np.float64], both: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of shared voxels and the sum of the two sizes; 1 where both are empty."""
    return np.where(both > 0, 2 * overlap / np.where(both > 0, both, 1), 1.0)


def _among(classes_ZYX: Tensor, wanted: Sequence[int]) -> Tensor:
    inside = classes_ZYX == wanted[0]
    for value in wanted[1:]:
        inside |= classes_ZYX == value
    return inside
