"""Whether a network at lower resolution is worth having, and at which spacing.

- Patches that see little of the image lack context; a coarser grid gives it. The grid is coarsened until a patch covers a quarter of the image.
- A grid that holds nearly as many voxels as the full one would learn the same again, so it is dropped.
"""

from dataclasses import dataclass, replace
from math import prod

from autoseg.planning.rules.patch import Budget, Fit, fit_patch

SMALLEST_COVERAGE = 0.25
SMALLEST_SAVING = 2.0
_STEP = 1.03


@dataclass(frozen=True)
class LowResolution:
    """A coarser grid with its patch.

    Attributes
    ----------
    spacing : millimetres along the transposed axes
    median_shape : voxels at that spacing
    fit : patch, network and batch
    steps : how often the grid was made 3 % coarser
    saving : how many times fewer voxels the median image has on it
    """

    spacing: tuple[float, ...]
    median_shape: tuple[int, ...]
    fit: Fit
    steps: int
    saving: float

    @property
    def is_worth_having(self) -> bool:
        """Whether a network on this grid would see something else than one at full resolution."""
        return self.saving >= SMALLEST_SAVING


def coverage(patch_size: tuple[int, ...], median_shape: tuple[float, ...]) -> float:
    """Part of the median image that one patch sees."""
    return prod(patch_size) / prod(median_shape)


def lower_resolution(spacing: tuple[float, ...], median_shape: tuple[float, ...], full: Fit, budget: Budget) -> LowResolution | None:
    """The first coarser grid on which a patch sees a quarter of the image (the rule of nnU-Net, Isensee et al. 2021).

    Parameters
    ----------
    spacing, median_shape, full : of the configuration at full resolution, three axes, transposed
    budget : of the configuration at full resolution; the share of the dataset is taken at the coarser grid

    Returns
    -------
    LowResolution | None : None where a patch at full resolution sees that much already; `is_worth_having` says whether to keep it
    """
    full_voxels = voxels = prod(median_shape)
    cases, largest = budget.dataset_voxels / full_voxels, budget.most_voxels(len(spacing))
    found, coarser, steps, patch_voxels = None, spacing, 0, float(prod(full.patch_size))
    while patch_voxels / voxels < SMALLEST_COVERAGE:
        coarser, steps = _coarsen(coarser), steps + 1
        extents = [before / after * extent for before, after, extent in zip(spacing, coarser, median_shape, strict=True)]
        voxels = prod(extents)
        if largest / voxels < SMALLEST_COVERAGE:
            continue  # no patch at all would be enough yet: the same answer, sooner
        shape = tuple(max(1, round(extent)) for extent in extents)
        fit = fit_patch(coarser, shape, replace(budget, dataset_voxels=voxels * cases))
        found, patch_voxels = LowResolution(coarser, shape, fit, steps, full_voxels / voxels), prod(fit.patch_size)
    return found


def _coarsen(spacing: tuple[float, ...]) -> tuple[float, ...]:
    """Fine axes alone while any is less than half as coarse as the coarsest, then all."""
    coarsest = max(spacing)
    fine = [coarsest / value > 2 for value in spacing]
    return tuple(value * _STEP if finer or not any(fine) else value for value, finer in zip(spacing, fine, strict=True))
