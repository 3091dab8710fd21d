"""Losses for regions that may overlap: a sigmoid each, binary cross-entropy or focal loss, and soft Dice over all of them.

- The same names and the same rules as for classes (`losses.py`), but that there is no background to leave out.
- Every region weighs the same, however large: cross-entropy is the mean over voxels and regions.
- What region a voxel is in follows from its class, where the loss is computed: labels travel and are augmented as classes.
- Voxels that nobody annotated (class -1) count in no term.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SMOOTH = 1e-5
GAMMA = 2.0

RegionLoss = Callable[[Tensor, Tensor, Tensor, bool], Tensor]


def membership(region_classes: Sequence[Sequence[int]], num_classes: int) -> Tensor:
    """Which classes each region unites.

    Parameters
    ----------
    region_classes : the classes of each region, each 1..num_classes - 1
    num_classes : K, background included

    Returns
    -------
    bool (R, K)
    """
    table_RK = torch.zeros(len(region_classes), num_classes, dtype=torch.bool)
    for row_K, classes in zip(table_RK, region_classes, strict=True):
        row_K[list(classes)] = True
    return table_RK


def regions_of(classes_BP: Tensor, regions_RK: Tensor) -> Tensor:
    """Which regions each voxel is in: bool (B, R, *patch) from int64 classes (B, *patch); none where nobody annotated (-1)."""
    classes_BP = classes_BP.clamp_min(0)  # the background is in no region either
    return torch.stack([row_K[classes_BP] for row_K in regions_RK], dim=1)


def binary_entropy(logits_BRP: Tensor, inside_BRP: Tensor, known_B1P: Tensor) -> Tensor:
    """Mean binary cross-entropy over the annotated voxels and the regions; 0 where nobody annotated."""
    entropy_BRP = F.binary_cross_entropy_with_logits(logits_BRP, inside_BRP.to(logits_BRP.dtype), reduction="none")
    return _mean(entropy_BRP, known_B1P)


def binary_focal(logits_BRP: Tensor, inside_BRP: Tensor, known_B1P: Tensor, *, gamma: float = GAMMA) -> Tensor:
    """Mean of (1 - p)^gamma times the binary cross-entropy, p being the probability of the right answer (Lin et al. 2017)."""
    entropy_BRP = F.binary_cross_entropy_with_logits(logits_BRP, inside_BRP.to(logits_BRP.dtype), reduction="none")
    wrong_BRP = -torch.expm1(-entropy_BRP)  # 1 - p, exact also where p is nearly 1
    return _mean(wrong_BRP**gamma * entropy_BRP, known_B1P)


def region_dice(logits_BRP: Tensor, inside_BRP: Tensor, known_B1P: Tensor, *, batch_dice: bool) -> Tensor:
    """Mean soft Dice of the regions."""
    return mean_dice(logits_BRP.sigmoid() * known_B1P, inside_BRP.to(logits_BRP.dtype), batch_dice=batch_dice)


def mean_dice(predicted_BKP: Tensor, actual_BKP: Tensor, *, batch_dice: bool) -> Tensor:
    """Mean soft Dice of the channels, smoothed with 1e-5.

    Parameters
    ----------
    predicted_BKP, actual_BKP : 0..1, both 0 where nobody annotated
    batch_dice : the batch counts as one large image
    """
    axes = (0, *range(2, predicted_BKP.ndim)) if batch_dice else tuple(range(2, predicted_BKP.ndim))
    overlap = (predicted_BKP * actual_BKP).sum(axes)
    return ((2 * overlap + SMOOTH) / (predicted_BKP.sum(axes) + actual_BKP.sum(axes) + SMOOTH).clamp_min(1e-8)).mean()


def region_confusion(logits_BRP: Tensor, classes_BP: Tensor, regions_RK: Tensor) -> Tensor:
    """True positives, false positives and false negatives of the regions: int64 (3, R), for the pseudo-Dice."""
    inside_BRP = regions_of(classes_BP, regions_RK)
    decided_BRP = (logits_BRP > 0) & (classes_BP >= 0).unsqueeze(1)
    axes = (0, *range(2, logits_BRP.ndim))
    return torch.stack([(decided_BRP & inside_BRP).sum(axes), (decided_BRP & ~inside_BRP).sum(axes), (~decided_BRP & inside_BRP).sum(axes)])


def _mean(loss_BRP: Tensor, known_B1P: Tensor) -> Tensor:
    return (loss_BRP * known_B1P).sum() / (known_B1P.sum() * loss_BRP.shape[1]).clamp_min(1)


REGION_LOSSES: dict[str, RegionLoss] = {
    "dice_ce": lambda x, inside, known, batch: binary_entropy(x, inside, known) - region_dice(x, inside, known, batch_dice=batch),
    "dice": lambda x, inside, known, batch: -region_dice(x, inside, known, batch_dice=batch),
    "ce": lambda x, inside, known, batch: binary_entropy(x, inside, known),
    "dice_focal": lambda x, inside, known, batch: binary_focal(x, inside, known) - region_dice(x, inside, known, batch_dice=batch),
}
