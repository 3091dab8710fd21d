"""Losses: soft Dice and cross-entropy, with deep supervision.

- Class -1 (nobody annotated) counts in neither term.
- Soft Dice leaves the background out and is smoothed with 1e-5; with batch Dice the batch counts as one large image (nnU-Net's rules).
- Deep supervision: the logits of each decoder stage against the labels at its resolution, weights 1, 1/2, 1/4, ..., normalised; the lowest
  stage has weight 0 unless it is the only one.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SMOOTH = 1e-5


def deep_dice_ce(logits: Sequence[Tensor], classes_BP: Tensor, *, batch_dice: bool) -> Tensor:
    """Dice + cross-entropy over all resolutions.

    Parameters
    ----------
    logits : full resolution first, each (B, K, *patch at that stage)
    classes_BP : int64 (B, *patch), -1 is ignored
    batch_dice : one Dice over the batch instead of one a sample
    """
    weights = stage_weights(len(logits))
    total = torch.zeros((), device=classes_BP.device)
    for weight, stage in zip(weights, logits, strict=True):
        if weight:
            total = total + weight * dice_ce(stage.float(), at_resolution(classes_BP, stage.shape[2:]), batch_dice=batch_dice)
    return total


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


def dice_ce(logits_BKP: Tensor, classes_BP: Tensor, *, batch_dice: bool) -> Tensor:
    """Cross-entropy minus soft Dice at one resolution; between about -1 and infinity."""
    known = classes_BP >= 0
    log_probabilities = F.log_softmax(logits_BKP, dim=1)
    entropy = F.nll_loss(log_probabilities, classes_BP, ignore_index=-1, reduction="sum") / known.sum().clamp_min(1)
    return entropy - soft_dice(log_probabilities.exp(), classes_BP, batch_dice=batch_dice)


def soft_dice(probabilities_BKP: Tensor, classes_BP: Tensor, *, batch_dice: bool) -> Tensor:
    """Mean soft Dice of the classes above 0."""
    known = (classes_BP >= 0).unsqueeze(1)
    one_hot = torch.zeros_like(probabilities_BKP).scatter_(1, classes_BP.clamp_min(0).unsqueeze(1), 1.0)
    axes = (0, *range(2, probabilities_BKP.ndim)) if batch_dice else tuple(range(2, probabilities_BKP.ndim))
    predicted, actual = (probabilities_BKP * known)[:, 1:], (one_hot * known)[:, 1:]
    overlap = (predicted * actual).sum(axes)
    dice = (2 * overlap + SMOOTH) / (predicted.sum(axes) + actual.sum(axes) + SMOOTH).clamp_min(1e-8)
    return dice.mean()


def confusion(logits_BKP: Tensor, classes_BP: Tensor) -> Tensor:
    """True positives, false positives and false negatives of the classes above 0: int64 (3, K - 1), for the pseudo-Dice."""
    decided = logits_BKP.argmax(1)
    known = classes_BP >= 0
    num_classes = logits_BKP.shape[1]
    joint = torch.bincount((decided * num_classes + classes_BP)[known], minlength=num_classes**2).view(num_classes, num_classes)
    hits = joint.diagonal()
    return torch.stack([hits, joint.sum(1) - hits, joint.sum(0) - hits])[:, 1:]
