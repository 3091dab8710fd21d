"""What a network is taught that gives the image again: the clean one, from the image itself or from a noisy one.

- The loss is the mean difference over all voxels and channels, in float32: squared (`mse`) or absolute (`l1`).
- Noise is Gaussian, of a strength drawn for each patch; voxels that normalisation made 0 outside the head stay 0, as they are in every scan.
- Noise follows from PyTorch's seed, which the trainer sets for every batch.
- The score is the peak signal-to-noise ratio of a patch in dB, its own range being the peak, as a mean over the patches of an epoch. Patches of one
  intensity have no range and do not count.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from autoseg.planning.plan import Configuration
from autoseg.training.batches import Batch
from autoseg.training.objective import Forward

SMALLEST = 1e-12  # mean squared difference, relative to the range: 120 dB are as good as nothing to mend


class Reconstruction:
    """The image, from what the network is shown of it."""

    columns = ("psnr",)
    leading = "psnr"

    def __init__(self, configuration: Configuration) -> None:
        self._loss = configuration.training.loss
        self._noise = configuration.training.noise if configuration.task == "denoising" else None
        self._keep_zero = configuration.keeps_zero

    def judge(self, forward: Forward, batch: Batch) -> tuple[Tensor, Tensor]:
        shown = batch.images if self._noise is None else self._noisy(batch.images, self._noise)
        output: Tensor = forward(shown)
        difference = output.float() - batch.images.to(output.device)
        return difference.square().mean() if self._loss == "mse" else difference.abs().mean(), output

    def tally(self, output: Tensor, batch: Batch) -> Tensor:
        found = psnr(output.float().flatten(1), batch.images.to(output.device).flatten(1))
        known = found.isfinite()
        return torch.stack([found[known].double().sum(), known.sum().double()]).cpu()

    def scores(self, total: Tensor) -> list[float]:
        decibels, patches = total.tolist()
        return [decibels / patches if patches else float("nan")]

    def overall(self, scores: Sequence[float]) -> float:
        return scores[0] if scores else float("nan")

    def describe(self, overall: float | None, scores: Sequence[float]) -> str:
        return "" if overall is None else f"PSNR {overall:.1f} dB"

    def _noisy(self, images: Tensor, strengths: tuple[float, float]) -> Tensor:
        low, high = strengths
        sigma = low + (high - low) * torch.rand(len(images), *(1,) * (images.ndim - 1), device=images.device)
        noise = sigma * torch.randn_like(images)
        return images + (noise * (images != 0).any(1, keepdim=True) if self._keep_zero else noise)


def psnr(output_BN: Tensor, clean_BN: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each row (B,); the range of the clean row is its peak, and without any it is not a number."""
    low, high = clean_BN.aminmax(dim=1)
    mean = (output_BN - clean_BN).square().mean(1) / (high - low).square()
    return -10 * mean.clamp_min(SMALLEST).log10()
