"""What networks are taught that segment: classes or regions of every voxel, and where there is a head beside, one class of the image.

- The score is the Dice of each class or region over all validation patches of an epoch together, not a mean over patches.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from autoseg.planning.plan import Configuration, Plan
from autoseg.training.batches import Batch
from autoseg.training.classification import Classification
from autoseg.training.loss_terms import Emphasis
from autoseg.training.losses import confusion, deep_loss
from autoseg.training.objective import Forward
from autoseg.training.region_losses import membership


class Segmentation:
    """Classes or regions of every voxel; scores are the Dice of each on the patches of an epoch."""

    leading = "pseudo_dice"

    def __init__(self, plan: Plan, configuration: Configuration) -> None:
        self._rules = configuration.training
        self._emphasis = Emphasis.of(self._rules)
        self._names = plan.structure_names
        self._regions_RK = membership(plan.labels.region_classes, len(plan.labels.values)) if plan.learns_regions else None

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(f"dice_{name}" for name in self._names)

    def judge(self, forward: Forward, batch: Batch) -> tuple[Tensor, Tensor]:
        logits = forward(batch.images)
        stages = logits if isinstance(logits, list | tuple) else [logits]
        loss = deep_loss(
            self._rules.loss, stages, batch.classes, batch_dice=self._rules.batch_dice, emphasis=self._emphasis,
            regions_RK=self._regions_on(batch.classes.device),
        )  # fmt: skip
        return loss, stages[0]

    def tally(self, output: Tensor, batch: Batch) -> Tensor:
        return confusion(output, batch.classes, self._regions_on(output.device)).cpu()

    def scores(self, total: Tensor) -> list[float]:
        hits, extra, missed = total.double()
        dice: list[float] = (2 * hits / (2 * hits + extra + missed)).tolist()  # not a number where a structure is neither there nor predicted
        return dice

    def overall(self, scores: Sequence[float]) -> float:
        known = [score for score in scores if score == score]
        return sum(known) / len(known) if known else float("nan")

    def describe(self, overall: float | None, scores: Sequence[float]) -> str:
        if overall is None:
            return ""
        each = ", ".join(f"{name} {score:.2f}" for name, score in zip(self._names, scores, strict=False))
        return f"pseudo-Dice {overall:.3f}" + (f" ({each})" if len(scores) > 1 else "")

    def _regions_on(self, device: torch.device) -> Tensor | None:
        return None if self._regions_RK is None else self._regions_RK.to(device)


class SegmentationWithClass:
    """Classes or regions of every voxel, and one class of the image: the losses are added, the scores are those of both."""

    leading = Segmentation.leading

    def __init__(self, plan: Plan, configuration: Configuration) -> None:
        self._voxels, self._image = Segmentation(plan, configuration), Classification(configuration)

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self._voxels.columns, *self._image.columns)

    def judge(self, forward: Forward, batch: Batch) -> tuple[Tensor, Any]:
        told = forward(batch.images)
        of_voxels, voxels = self._voxels.judge(lambda images: told.voxels, batch)
        of_image, image = self._image.judge(lambda images: told.image, batch)
        return of_voxels + self._image.weight * of_image, (voxels, image)

    def tally(self, output: Any, batch: Batch) -> Tensor:
        voxels, image = output
        return torch.cat([self._voxels.tally(voxels, batch).flatten(), self._image.tally(image, batch)])

    def scores(self, total: Tensor) -> list[float]:
        split = 3 * len(self._voxels.columns)
        return self._voxels.scores(total[:split].view(3, -1)) + self._image.scores(total[split:])

    def overall(self, scores: Sequence[float]) -> float:
        return self._voxels.overall(scores[: len(self._voxels.columns)])

    def describe(self, overall: float | None, scores: Sequence[float]) -> str:
        split = len(self._voxels.columns)
        said = (self._voxels.describe(overall, scores[:split]), self._image.describe(None, scores[split:]))
        return ", ".join(filter(None, said))
