"""Whether a network at lower resolution is worth having, and at which spacing.

- Patches that see little of the image lack context; a coarser grid gives it. The grid is coarsened until a patch covers a quarter of the image.
- A grid that holds nearly as many voxels as the full one would learn the same again, so it is dropped.
- Pictures have no other configuration that could give the context. Where a preset asks for it, their one grid is made coarser until a patch sees
  nearly all of a picture, but at most twice as coarse: small structures must not vanish.
"""

from dataclasses import dataclass, replace
from math import prod

from autoseg.planning.rules.patch import Budget, Fit, fit_patch

SMALLEST_COVERAGE = 0.25
SMALLEST_SAVING = 2.0
COARSEST = 2.0  # times the spacing of pictures
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


def wider_view(spacing: tuple[float, ...], median_shape: tuple[float, ...], full: Fit, budget: Budget, least: float) -> LowResolution | None:
    """The first coarser grid of pictures on which a patch sees a part of them.

    Parameters
    ----------
    spacing, median_shape, full : of the pictures as they are, two axes
    budget : of the pictures as they are; the share of the dataset is taken at the coarser grid
    least : the part to see, 0 to 1; 0: never coarser

    Returns
    -------
    LowResolution | None : None where a patch sees that much already; at most `COARSEST` times as coarse, seeing less where that is not enough
    """
    cases, found = budget.dataset_voxels / prod(median_shape), None
    seen, factor, steps = coverage(full.patch_size, median_shape), 1.0, 0
    while seen < least and factor * _STEP <= COARSEST:
        factor, steps = factor * _STEP, steps + 1
        shape = tuple(max(1, round(extent / factor)) for extent in median_shape)
        fit = fit_patch(tuple(value * factor for value in spacing), shape, replace(budget, dataset_voxels=prod(shape) * cases))
        found = LowResolution(tuple(value * factor for value in spacing), shape, fit, steps, prod(median_shape) / prod(shape))
        seen = coverage(fit.patch_size, shape)
    return found


def _coarsen(spacing: tuple[float, ...]) -> tuple[float, ...]:
    """Fine axes alone while any is less than half as coarse as the coarsest, then all."""
    coarsest = max(spacing)
    fine = [coarsest / value > 2 for value in spacing]
    return tuple(value * _STEP if finer or not any(fine) else value for value, finer in zip(spacing, fine, strict=True))
