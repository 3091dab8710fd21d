"""What the terms of a loss share, for classes and for regions: what weight is laid on what, the overlap of soft masks, weighted means.

- Soft Dice is the Tversky index (Salehi et al. 2017) that weighs missed voxels and false alarms alike, so both are one function.
- Overlaps are smoothed with 1e-5 on the scale of Dice, as nnU-Net does it.
- A mean over nothing, because nobody annotated anything or all that is there weighs nothing, is 0.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from autoseg.planning.plan import Training

SMOOTH = 1e-5


@dataclass(frozen=True)
class Emphasis:
    """What a loss lays weight on; the defaults are those of a plan.

    Attributes
    ----------
    gamma : of the focal loss: how much less the voxels count that are nearly right
    beta : of the Tversky index: the weight of missed voxels; false alarms weigh 1 - beta
    weights : of the classes with the background, or of the regions; None: all weigh the same, and overlaps leave the background out
    """

    gamma: float = 2.0
    beta: float = 0.7
    weights: tuple[float, ...] | None = None

    @classmethod
    def of(cls, rules: Training) -> "Emphasis":
        """What a plan lays weight on."""
        return cls(rules.focal_gamma, rules.tversky_beta, rules.class_weights)

    def weights_like(self, x: Tensor) -> Tensor | None:
        """The weights as a tensor of the same type on the same device."""
        return None if self.weights is None else torch.tensor(self.weights, dtype=x.dtype, device=x.device)


def focused(entropy: Tensor, gamma: float) -> Tensor:
    """(1 - p)^gamma times the cross-entropy -log p (Lin et al. 2017)."""
    wrong = -torch.expm1(-entropy)  # 1 - p, exact also where p is nearly 1
    if 0 < gamma < 1:  # such a root is infinitely steep at 0
        wrong = wrong.clamp_min(torch.finfo(wrong.dtype).tiny)
    return wrong**gamma * entropy


def mean_overlap(predicted_BKP: Tensor, actual_BKP: Tensor, *, batch_dice: bool, beta: float = 0.5, weights_K: Tensor | None = None) -> Tensor:
    """Mean Tversky index of the channels; with beta 1/2 that is soft Dice.

    Parameters
    ----------
    predicted_BKP, actual_BKP : 0..1, both 0 where nobody annotated
    batch_dice : the batch counts as one large image
    beta : weight of missed voxels
    weights_K : of the channels; None: all the same
    """
    axes = (0, *range(2, predicted_BKP.ndim)) if batch_dice else tuple(range(2, predicted_BKP.ndim))
    overlap = (predicted_BKP * actual_BKP).sum(axes)
    # hits + (1 - beta) false alarms + beta misses, doubled: the hits are a part of both sums
    united = 2 * (1 - beta) * predicted_BKP.sum(axes) + 2 * beta * actual_BKP.sum(axes)
    index = (2 * overlap + SMOOTH) / (united + SMOOTH).clamp_min(1e-8)
    return index.mean() if weights_K is None else (index * weights_K).sum(-1).mean() / weights_K.sum()


def share(total: Tensor, weight: Tensor) -> Tensor:
    """A sum over the weight of what it sums; 0 where that is nothing."""
    return total / torch.where(weight > 0, weight, torch.ones_like(weight))
