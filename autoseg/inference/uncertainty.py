"""How sure a segmentation is: entropy, disagreement of the members, and the Dice that the probabilities let one expect.

- A member is one fold of one configuration. What is judged is the mean probability and what was decided from it, before any post-processing.
- Entropy is 0 where one class is certain and 1 where nothing is known: of classes in units of ln K, of regions the largest of their binary entropies.
- A structure with probability p and decision y may expect the Dice 2 sum(p y) / (sum(p) + sum(y)); one that was decided nowhere 1 - max(p).
- The doubt, 1 minus the mean of these over the structures, is the one number that ranks which segmentations a human should look at first.
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
from autoseg.preprocessing.case import Placement


@dataclass(frozen=True)
class Uncertainty:
    """How sure a segmentation is.

    Attributes
    ----------
    entropy : float32 (Z, Y, X) on the scan's own grid, 0 (certain) to 1 (nothing is known)
    disagreement : float32 (Z, Y, X), the share of members that decide otherwise than the whole, 0 to 1; None with a single member
    expected_dice : structure -> Dice that the probabilities let one expect, 0 to 1
    foreground_entropy : mean entropy of what was decided to be foreground; None where nothing was
    agreement : mean over members and structures of the Dice between a member's decision and the whole's (1 where both are empty); None with a
        single member
    """

    entropy: NDArray[np.float32]
    disagreement: NDArray[np.float32] | None
    expected_dice: dict[str, float]
    foreground_entropy: float | None
    agreement: float | None

    @property
    def doubt(self) -> float:
        """1 minus the mean expected Dice, 0 to 1: where to look first."""
        return 1 - sum(self.expected_dice.values()) / len(self.expected_dice)


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
        self._mass, self._overlap, self._size, self._top = np.zeros((4, count))
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
            sums = torch.stack([p_ZYX.sum(), (p_ZYX * inside).sum(), inside.sum().to(p_ZYX.dtype), p_ZYX.max()]).tolist()
            self._mass[index] += sums[0]
            self._overlap[index] += sums[1]
            self._size[index] += sums[2]
            self._top[index] = max(self._top[index], sums[3])
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
        both = self._mass + self._size
        expected = np.where(self._size > 0, 2 * self._overlap / np.where(both > 0, both, 1), 1 - self._top)
        sizes = self._own_size + self._size
        dice = np.where(sizes > 0, 2 * self._own_overlap / np.where(sizes > 0, sizes, 1), 1.0)
        return Uncertainty(
            entropy=placement.restore(self._entropy),
            disagreement=placement.restore(self._differing) if self._members > 1 else None,
            expected_dice=dict(zip(self._names, np.clip(expected, 0, 1).tolist(), strict=True)),
            foreground_entropy=self._foreground_entropy / self._foreground if self._foreground else None,
            agreement=float(dice.mean()) if self._members > 1 else None,
        )


def entropy(soft_CZYX: Tensor) -> Tensor:
    """Of probabilities that sum to 1 over K channels, in units of ln K: (Z, Y, X), 0 to 1."""
    nats: Tensor = torch.special.entr(soft_CZYX).sum(0)
    return (nats / math.log(len(soft_CZYX))).clamp(0, 1)


def binary_entropy(p: Tensor) -> Tensor:
    """Of each probability on its own, in bits: the same shape, 0 to 1."""
    nats: Tensor = torch.special.entr(p) + torch.special.entr(1 - p)
    return (nats / math.log(2)).clamp(0, 1)


def _among(classes_ZYX: Tensor, wanted: Sequence[int]) -> Tensor:
    inside = classes_ZYX == wanted[0]
    for value in wanted[1:]:
        inside |= classes_ZYX == value
    return inside
