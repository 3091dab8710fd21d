"""What a network that classifies is taught: cross-entropy or focal loss of one class an image.

- Whether foreground is there is read from the patch as the network sees it, moved and mirrored. A patch without any of which a part was not
  annotated is of neither class, and counts nowhere.
- Accuracy and AUROC of an epoch are those of its validation patches together. The AUROC is that of probabilities to a thousandth, which can be added
  up over batches as two histograms; of more than two classes it is the mean over them, each against the others.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from autoseg.planning.plan import Configuration
from autoseg.training.batches import Batch
from autoseg.training.loss_terms import Emphasis
from autoseg.training.losses import single_loss

STEPS = 1000  # of a probability, in the histograms


class Classification:
    """One class an image; scores are accuracy and AUROC on the patches of an epoch."""

    columns = ("accuracy", "auroc")
    leading = "accuracy"

    def __init__(self, configuration: Configuration) -> None:
        if configuration.classification is None:
            raise ValueError("the configuration does not classify")
        self._rules = configuration.training
        self._emphasis = Emphasis.of(self._rules)
        self._block = configuration.classification

    def judge(self, forward: Callable[[Tensor], Any], batch: Batch) -> tuple[Tensor, Tensor]:
        logits_BK: Tensor = forward(batch.images)
        loss = single_loss(self._rules.loss, logits_BK.float(), self.targets(batch), batch_dice=False, emphasis=self._emphasis)
        return loss, logits_BK

    def tally(self, output: Tensor, batch: Batch) -> Tensor:
        """For each class how often its probability fell into each step, first where it was wrong; then how many were hit, of how many."""
        targets_B = self.targets(batch)
        known = targets_B >= 0
        logits_BK, targets_B = output.float()[known], targets_B[known]
        steps_BK = (logits_BK.softmax(1) * STEPS).round().long()
        classes = logits_BK.shape[1]
        own_BK = torch.arange(classes, device=targets_B.device) == targets_B.unsqueeze(1)
        place_BK = (torch.arange(classes, device=targets_B.device) * 2 + own_BK) * (STEPS + 1) + steps_BK
        histograms = torch.bincount(place_BK.flatten(), minlength=classes * 2 * (STEPS + 1))
        hits = (logits_BK.argmax(1) == targets_B).sum()
        return torch.cat([histograms, hits.view(1), known.sum().view(1)]).cpu()

    def scores(self, total: Tensor) -> list[float]:
        histograms, (hits, count) = total[:-2].double().view(len(self._block.classes), 2, -1), total[-2:].double()
        areas = [area for others, own in histograms if (area := _area(others, own)) == area]
        return [float(hits / count), sum(areas) / len(areas) if areas else float("nan")]

    def overall(self, scores: Sequence[float]) -> float:
        """Not a number: there is no Dice."""
        return float("nan")

    def describe(self, overall: float | None, scores: Sequence[float]) -> str:
        known = [f"{name} {score:.3f}" for name, score in zip(("accuracy", "AUROC"), scores, strict=False) if score == score]
        return ", ".join(known)

    def targets(self, batch: Batch) -> Tensor:
        """The class of each image, int64 (B,), -1 where nobody knows."""
        if self._block.of_presence:
            voxels_BN = batch.classes.flatten(1)
            present_B, unknown_B = (voxels_BN > 0).any(1), (voxels_BN < 0).any(1)
            return torch.where(present_B, 1, torch.where(unknown_B, -1, 0))
        if batch.targets is None:
            raise ValueError("the class of a case comes with the batch")
        return batch.targets


def _area(others: Tensor, own: Tensor) -> float:
    """The area under the curve of two histograms of rising scores: the chance that an own score is the higher, ties half."""
    below = others.cumsum(0) - others
    return float((own * (below + others / 2)).sum() / (own.sum() * others.sum()))
