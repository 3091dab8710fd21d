"""Losses that a plan may put together of terms: cross-entropy, binary cross-entropy, focal loss, soft Dice and Tversky, with deep supervision.

- A dict literal of terms; a loss is the sum of some of them on the same log-probabilities, which are computed once, in float32. They are added in
  one order, however the plan writes them.
- Where networks learn regions, which may overlap, the terms are those of `region_losses.py`; the names mean the same.
- Class -1 (nobody annotated) counts in no term: each is a mean or a ratio over the voxels that somebody annotated.
- Soft Dice leaves the background out and is smoothed with 1e-5; with batch Dice the batch counts as one large image (nnU-Net's rules). The Tversky
  index and binary cross-entropy follow the same rules.
- Classes weigh the same unless the plan gives them weights. With weights the background is a class like any other, and has its own.
- Deep supervision: the logits of each decoder stage against the labels at its resolution, weights 1, 1/2, 1/4, ..., normalised; the lowest
  stage has weight 0 unless it is the only one.
"""

from collections.abc import Callable, Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from autoseg.errors import AutosegError
from autoseg.planning.schema.losses import loss_fault
from autoseg.training.loss_terms import Emphasis, focused, mean_overlap, share
from autoseg.training.region_losses import REGION_TERMS, region_confusion, regions_of

Term = Callable[[Tensor, Tensor, Emphasis, bool], Tensor]
AS_PLANNED = Emphasis()


def deep_loss(
    name: str,
    logits: Sequence[Tensor],
    classes_BP: Tensor,
    *,
    batch_dice: bool,
    emphasis: Emphasis = AS_PLANNED,
    regions_RK: Tensor | None = None,
) -> Tensor:
    """A loss over all resolutions, in float32.

    Parameters
    ----------
    name : terms of "dice", "ce", "bce", "focal" and "tversky" joined by "_", as `training.loss` of a plan
    logits : full resolution first, each (B, K, *patch at that stage), of any precision
    classes_BP : int64 (B, *patch), -1 is ignored
    batch_dice : one Dice (or Tversky index) over the batch instead of one a sample
    emphasis : weights of classes or regions, and of what is hard or missed
    regions_RK : bool, which classes each region unites, on the labels' device, where the logits are those of R regions; else None

    Raises
    ------
    AutosegError
        there is no loss of that name; the text lists the terms
    """
    weights = stage_weights(len(logits))
    total = torch.zeros((), device=classes_BP.device)
    for weight, stage in zip(weights, logits, strict=True):
        if weight:
            labels = at_resolution(classes_BP, stage.shape[2:])
            total = total + weight * single_loss(name, stage.float(), labels, batch_dice=batch_dice, emphasis=emphasis, regions_RK=regions_RK)
    return total


def single_loss(
    name: str,
    logits_BKP: Tensor,
    classes_BP: Tensor,
    *,
    batch_dice: bool,
    emphasis: Emphasis = AS_PLANNED,
    regions_RK: Tensor | None = None,
) -> Tensor:
    """A loss at one resolution, in the precision of the logits; see `deep_loss`."""
    fault = loss_fault(name)
    if fault:
        raise AutosegError(f"The loss '{name}' {fault}.")
    chosen = name.split("_")
    if regions_RK is not None:
        inside, known = regions_of(classes_BP, regions_RK), (classes_BP >= 0).unsqueeze(1)
        terms = [term(logits_BKP, inside, known, emphasis, batch_dice) for key, term in REGION_TERMS.items() if key in chosen]
    else:
        log_p = F.log_softmax(logits_BKP, dim=1)
        terms = [term(log_p, classes_BP, emphasis, batch_dice) for key, term in TERMS.items() if key in chosen]
    return reduce(torch.add, terms)


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


def cross_entropy(log_probabilities_BKP: Tensor, classes_BP: Tensor, weights_K: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of the annotated voxels, weighted by their class; 0 where there is none."""
    total = F.nll_loss(log_probabilities_BKP, classes_BP, weight=weights_K, ignore_index=-1, reduction="sum")
    return share(total, _weight(classes_BP, weights_K))


def binary_entropy(log_probabilities_BKP: Tensor, classes_BP: Tensor, weights_K: Tensor | None = None) -> Tensor:
    """Mean binary cross-entropy of each class against all others, over annotated voxels and the classes above 0; with weights over all classes."""
    is_class = _one_hot(log_probabilities_BKP, classes_BP, torch.bool)
    entropy_BKP = -torch.where(is_class, log_probabilities_BKP, log_of_the_rest(log_probabilities_BKP)) * (classes_BP >= 0).unsqueeze(1)
    of_each_K = entropy_BKP.sum((0, *range(2, entropy_BKP.ndim)))
    voxels = _weight(classes_BP, None)
    if weights_K is None:
        return share(of_each_K[1:].sum(), voxels * (len(of_each_K) - 1))
    return share((of_each_K * weights_K).sum(), voxels * weights_K.sum())


def log_of_the_rest(log_probabilities_BKP: Tensor) -> Tensor:
    """log(1 - p) of each class, exact and finite also where p is nearly 1: only one class can be so likely, and its rest is the sum of the others."""
    likeliest_B1P = log_probabilities_BKP.argmax(1, keepdim=True)
    is_likeliest = torch.zeros_like(log_probabilities_BKP, dtype=torch.bool).scatter_(1, likeliest_B1P, True)
    others_B1P = log_probabilities_BKP.masked_fill(is_likeliest, -torch.inf).logsumexp(1, keepdim=True)
    return torch.where(is_likeliest, others_B1P, torch.log1p(-log_probabilities_BKP.exp().masked_fill(is_likeliest, 0)))


def focal(log_probabilities_BKP: Tensor, classes_BP: Tensor, weights_K: Tensor | None = None, *, gamma: float = AS_PLANNED.gamma) -> Tensor:
    """Mean of (1 - p)^gamma times the cross-entropy of the annotated voxels, p being the probability of the right class (Lin et al. 2017)."""
    entropy_BP = F.nll_loss(log_probabilities_BKP, classes_BP, ignore_index=-1, reduction="none")  # 0 where nobody annotated
    loss_BP = focused(entropy_BP, gamma)
    if weights_K is not None:
        loss_BP = loss_BP * weights_K[classes_BP.clamp_min(0)]
    return share(loss_BP.sum(), _weight(classes_BP, weights_K))


def soft_dice(probabilities_BKP: Tensor, classes_BP: Tensor, weights_K: Tensor | None = None, *, batch_dice: bool) -> Tensor:
    """Mean soft Dice of the classes above 0, or with weights of all classes."""
    return tversky(probabilities_BKP, classes_BP, weights_K, batch_dice=batch_dice, beta=0.5)


def tversky(probabilities_BKP: Tensor, classes_BP: Tensor, weights_K: Tensor | None = None, *, batch_dice: bool, beta: float) -> Tensor:
    """Mean Tversky index of the classes above 0, or with weights of all classes: hits / (hits + (1 - beta) false alarms + beta misses)."""
    known, first = (classes_BP >= 0).unsqueeze(1), int(weights_K is None)
    one_hot = _one_hot(probabilities_BKP, classes_BP, probabilities_BKP.dtype)
    predicted, actual = (probabilities_BKP * known)[:, first:], (one_hot * known)[:, first:]
    return mean_overlap(predicted, actual, batch_dice=batch_dice, beta=beta, weights_K=weights_K)


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


def _one_hot(like_BKP: Tensor, classes_BP: Tensor, dtype: torch.dtype) -> Tensor:
    """The classes as channels; the background where nobody annotated."""
    return torch.zeros_like(like_BKP, dtype=dtype).scatter_(1, classes_BP.clamp_min(0).unsqueeze(1), 1)


def _weight(classes_BP: Tensor, weights_K: Tensor | None) -> Tensor:
    """What the annotated voxels weigh together: their number where classes have no weights."""
    known = classes_BP >= 0
    return known.sum() if weights_K is None else (weights_K[classes_BP.clamp_min(0)] * known).sum()


def _cross_entropy(log_p: Tensor, classes: Tensor, emphasis: Emphasis, batch_dice: bool) -> Tensor:
    return cross_entropy(log_p, classes, emphasis.weights_like(log_p))


def _binary(log_p: Tensor, classes: Tensor, emphasis: Emphasis, batch_dice: bool) -> Tensor:
    return binary_entropy(log_p, classes, emphasis.weights_like(log_p))


def _focal(log_p: Tensor, classes: Tensor, emphasis: Emphasis, batch_dice: bool) -> Tensor:
    return focal(log_p, classes, emphasis.weights_like(log_p), gamma=emphasis.gamma)


def _tversky(log_p: Tensor, classes: Tensor, emphasis: Emphasis, batch_dice: bool) -> Tensor:
    return -tversky(log_p.exp(), classes, emphasis.weights_like(log_p), batch_dice=batch_dice, beta=emphasis.beta)


def _dice(log_p: Tensor, classes: Tensor, emphasis: Emphasis, batch_dice: bool) -> Tensor:
    return -soft_dice(log_p.exp(), classes, emphasis.weights_like(log_p), batch_dice=batch_dice)


# in the order in which they are added
TERMS: dict[str, Term] = {"ce": _cross_entropy, "bce": _binary, "focal": _focal, "tversky": _tversky, "dice": _dice}
