"""Losses that a plan may choose: cross-entropy, focal loss and soft Dice, with deep supervision.

- A dict literal of names; every loss is made of terms on the same log-probabilities, which are computed once, in float32.
- Where networks learn regions, which may overlap, the terms are those of `region_losses.py`; the names mean the same.
- Class -1 (nobody annotated) counts in no term: each is a mean or a ratio over the voxels that somebody annotated.
- Soft Dice leaves the background out and is smoothed with 1e-5; with batch Dice the batch counts as one large image (nnU-Net's rules).
- The focal loss (Lin et al. 2017) has gamma 2 and no class weights: Dice beside it already balances the classes.
- Deep supervision: the logits of each decoder stage against the labels at its resolution, weights 1, 1/2, 1/4, ..., normalised; the lowest
  stage has weight 0 unless it is the only one.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from autoseg.errors import AutosegError
from autoseg.training.region_losses import GAMMA, REGION_LOSSES, mean_dice, region_confusion, regions_of

LogLoss = Callable[[Tensor, Tensor, bool], Tensor]


def deep_loss(name: str, logits: Sequence[Tensor], classes_BP: Tensor, *, batch_dice: bool, regions_RK: Tensor | None = None) -> Tensor:
    """A loss over all resolutions, in float32.

    Parameters
    ----------
    name : "dice_ce", "dice", "ce" or "dice_focal", as `training.loss` of a plan
    logits : full resolution first, each (B, K, *patch at that stage), of any precision
    classes_BP : int64 (B, *patch), -1 is ignored
    batch_dice : one Dice over the batch instead of one a sample
    regions_RK : bool, which classes each region unites, on the labels' device, where the logits are those of R regions; else None

    Raises
    ------
    AutosegError
        there is no loss of that name; the text lists the choices
    """
    weights = stage_weights(len(logits))
    total = torch.zeros((), device=classes_BP.device)
    for weight, stage in zip(weights, logits, strict=True):
        if weight:
            labels = at_resolution(classes_BP, stage.shape[2:])
            total = total + weight * single_loss(name, stage.float(), labels, batch_dice=batch_dice, regions_RK=regions_RK)
    return total


def single_loss(name: str, logits_BKP: Tensor, classes_BP: Tensor, *, batch_dice: bool, regions_RK: Tensor | None = None) -> Tensor:
    """A loss at one resolution, in the precision of the logits; see `deep_loss`."""
    if name not in LOSSES:
        raise AutosegError(f"There is no loss '{name}'. Choose one of: {', '.join(LOSSES)}.")
    if regions_RK is not None:
        return REGION_LOSSES[name](logits_BKP, regions_of(classes_BP, regions_RK), (classes_BP >= 0).unsqueeze(1), batch_dice)
    return LOSSES[name](F.log_softmax(logits_BKP, dim=1), classes_BP, batch_dice)


def stage_weights(stages: int) -> list[float]:
    """Weights of the resolutions, full resolution first; they sum to 1."""
    raw = [0.5**index for index in range(stages)]
    if stages > 1:
        raw[-1] = 0.0
    return [weight / sum(raw) for weight in raw]


def at_resolution(classes_BP: Tensor, shape: Sequence[int]) -> Tensor:
    """Class of the nearest voxel at a coarser resolution."""
    if classes_BP.shape[1:] == tuple(shape):
        return classes_BP
    # every stage's size divides the patch, so the nearest voxel is a stride away, from the middle of each block
    picks = [slice((full // size) // 2, None, full // size) for full, size in zip(classes_BP.shape[1:], shape, strict=True)]
    return classes_BP[(slice(None), *picks)]


def cross_entropy(log_probabilities_BKP: Tensor, classes_BP: Tensor) -> Tensor:
    """Mean cross-entropy of the annotated voxels; 0 where there is none."""
    known = classes_BP >= 0
    return F.nll_loss(log_probabilities_BKP, classes_BP, ignore_index=-1, reduction="sum") / known.sum().clamp_min(1)


def focal(log_probabilities_BKP: Tensor, classes_BP: Tensor, *, gamma: float = GAMMA) -> Tensor:
    """Mean of (1 - p)^gamma times the cross-entropy of the annotated voxels, p being the probability of the right class (Lin et al. 2017)."""
    entropy_BP = F.nll_loss(log_probabilities_BKP, classes_BP, ignore_index=-1, reduction="none")  # 0 where nobody annotated
    wrong_BP = -torch.expm1(-entropy_BP)  # 1 - p, exact also where p is nearly 1
    return (wrong_BP**gamma * entropy_BP).sum() / (classes_BP >= 0).sum().clamp_min(1)


def soft_dice(probabilities_BKP: Tensor, classes_BP: Tensor, *, batch_dice: bool) -> Tensor:
    """Mean soft Dice of the classes above 0."""
    known = (classes_BP >= 0).unsqueeze(1)
    one_hot = torch.zeros_like(probabilities_BKP).scatter_(1, classes_BP.clamp_min(0).unsqueeze(1), 1.0)
    return mean_dice((probabilities_BKP * known)[:, 1:], (one_hot * known)[:, 1:], batch_dice=batch_dice)


def confusion(logits_BKP: Tensor, classes_BP: Tensor, regions_RK: Tensor | None = None) -> Tensor:
    """True positives, false positives and false negatives of the classes above 0, or of the regions: int64 (3, K - 1 or R), for the pseudo-Dice."""
    if regions_RK is not None:
        return region_confusion(logits_BKP, classes_BP, regions_RK)
    decided = logits_BKP.argmax(1)
    known = classes_BP >= 0
    num_classes = logits_BKP.shape[1]
    joint = torch.bincount((decided * num_classes + classes_BP)[known], minlength=num_classes**2).view(num_classes, num_classes)
    hits = joint.diagonal()
    return torch.stack([hits, joint.sum(1) - hits, joint.sum(0) - hits])[:, 1:]


LOSSES: dict[str, LogLoss] = {
    "dice_ce": lambda log_p, classes, batch: cross_entropy(log_p, classes) - soft_dice(log_p.exp(), classes, batch_dice=batch),
    "dice": lambda log_p, classes, batch: -soft_dice(log_p.exp(), classes, batch_dice=batch),
    "ce": lambda log_p, classes, batch: cross_entropy(log_p, classes),
    "dice_focal": lambda log_p, classes, batch: focal(log_p, classes) - soft_dice(log_p.exp(), classes, batch_dice=batch),
}
