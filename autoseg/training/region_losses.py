"""Losses for regions that may overlap: a sigmoid each, binary cross-entropy or focal loss, and the soft overlap of all of them.

- The same terms and the same rules as for classes (`losses.py`), but that there is no background to leave out, and that all cross-entropy is binary.
- Every region weighs the same, however large, unless the plan gives it a weight: cross-entropy is the mean over voxels and regions.
- What region a voxel is in follows from its class, where the loss is computed: labels travel and are augmented as classes.
- Voxels that nobody annotated (class -1) count in no term.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from autoseg.training.loss_terms import Emphasis, focused, mean_overlap, share

RegionTerm = Callable[[Tensor, Tensor, Tensor, Emphasis, bool], Tensor]


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


def binary_entropy(logits_BRP: Tensor, inside_BRP: Tensor, known_B1P: Tensor, weights_R: Tensor | None = None) -> Tensor:
    """Mean binary cross-entropy over the annotated voxels and the regions; 0 where nobody annotated."""
    entropy_BRP = F.binary_cross_entropy_with_logits(logits_BRP, inside_BRP.to(logits_BRP.dtype), reduction="none")
    return _mean(entropy_BRP, known_B1P, weights_R)


def binary_focal(logits_BRP: Tensor, inside_BRP: Tensor, known_B1P: Tensor, weights_R: Tensor | None = None, *, gamma: float) -> Tensor:
    """Mean of (1 - p)^gamma times the binary cross-entropy, p being the probability of the right answer (Lin et al. 2017)."""
    entropy_BRP = F.binary_cross_entropy_with_logits(logits_BRP, inside_BRP.to(logits_BRP.dtype), reduction="none")
    return _mean(focused(entropy_BRP, gamma), known_B1P, weights_R)


def region_overlap(
    logits_BRP: Tensor, inside_BRP: Tensor, known_B1P: Tensor, weights_R: Tensor | None = None, *, batch_dice: bool, beta: float = 0.5
) -> Tensor:
    """Mean Tversky index of the regions; with beta 1/2 soft Dice."""
    inside_BRP = inside_BRP.to(logits_BRP.dtype)
    return mean_overlap(logits_BRP.sigmoid() * known_B1P, inside_BRP, batch_dice=batch_dice, beta=beta, weights_K=weights_R)


def region_confusion(logits_BRP: Tensor, classes_BP: Tensor, regions_RK: Tensor) -> Tensor:
    """True positives, false positives and false negatives of the regions: int64 (3, R), for the pseudo-Dice."""
    inside_BRP = regions_of(classes_BP, regions_RK)
    decided_BRP = (logits_BRP > 0) & (classes_BP >= 0).unsqueeze(1)
    axes = (0, *range(2, logits_BRP.ndim))
    return torch.stack([(decided_BRP & inside_BRP).sum(axes), (decided_BRP & ~inside_BRP).sum(axes), (~decided_BRP & inside_BRP).sum(axes)])


def _mean(loss_BRP: Tensor, known_B1P: Tensor, weights_R: Tensor | None) -> Tensor:
    if weights_R is None:
        return (loss_BRP * known_B1P).sum() / (known_B1P.sum() * loss_BRP.shape[1]).clamp_min(1)
    of_each_R = (loss_BRP * known_B1P).sum((0, *range(2, loss_BRP.ndim)))
    return share((of_each_R * weights_R).sum(), known_B1P.sum() * weights_R.sum())


def _cross_entropy(x: Tensor, inside: Tensor, known: Tensor, emphasis: Emphasis, batch_dice: bool) -> Tensor:
    return binary_entropy(x, inside, known, emphasis.weights_like(x))


def _focal(x: Tensor, inside: Tensor, known: Tensor, emphasis: Emphasis, batch_dice: bool) -> Tensor:
    return binary_focal(x, inside, known, emphasis.weights_like(x), gamma=emphasis.gamma)


def _tversky(x: Tensor, inside: Tensor, known: Tensor, emphasis: Emphasis, batch_dice: bool) -> Tensor:
    return -region_overlap(x, inside, known, emphasis.weights_like(x), batch_dice=batch_dice, beta=emphasis.beta)


def _dice(x: Tensor, inside: Tensor, known: Tensor, emphasis: Emphasis, batch_dice: bool) -> Tensor:
    return -region_overlap(x, inside, known, emphasis.weights_like(x), batch_dice=batch_dice)


# in the order in which they are added
REGION_TERMS: dict[str, RegionTerm] = {"ce": _cross_entropy, "bce": _cross_entropy, "focal": _focal, "tversky": _tversky, "dice": _dice}
