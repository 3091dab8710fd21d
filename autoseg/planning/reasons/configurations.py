"""The lines that explain which configurations there are: the coarser grid, the cascade, batch Dice, and what was not made.

- A line about something that does not exist begins with "Not made: ".
"""

from collections.abc import Mapping, Sequence
from math import prod

from autoseg.planning.plan import Configuration
from autoseg.planning.reasons.wording import extents, part, percent
from autoseg.planning.rules.lowres import COARSEST, SMALLEST_COVERAGE, SMALLEST_SAVING, LowResolution, coverage
from autoseg.planning.rules.patch import Fit
from autoseg.planning.rules.spacing import Grid
from autoseg.planning.rules.topology import SIMILAR_SPACING, SMALLEST_EDGE

NOT_MADE = "Not made: "


def no_volumes(grid: Grid) -> str:
    return f"{NOT_MADE}the median image is a single slice ({extents(grid.median_shape)} voxels), so there is no third dimension to learn from."


def no_full(name: str) -> str:
    return f"{NOT_MADE}there is no {name} that it could help."


def too_small(grid: Grid, fit: Fit) -> str:
    """Why the patch that fits makes no network."""
    patch, larger = extents(fit.patch_size), "give a larger memory target (--gpu-memory)"
    if fit.topology.stages > 1:
        return f"{NOT_MADE}only a patch of {patch} voxels fits the memory target, a single slice, which is what 2d is for; {larger} to see more."
    needs = (
        f"a U-Net cannot pool there: that takes an axis of {2 * SMALLEST_EDGE} voxels ({3 * SMALLEST_EDGE} if it is alone) that is less than"
        f" {SIMILAR_SPACING:g} times coarser than the finest"
    )
    if fit.reductions:
        return f"{NOT_MADE}only a patch of {patch} voxels fits the memory target, and {needs}; {larger}."
    shape = extents(grid.median_shape)
    return f"{NOT_MADE}the median image has {shape} voxels at {extents(grid.spacing)} mm, and {needs}; a finer or more even --spacing helps."


def no_lower(grid: Grid, full: Fit, lower: LowResolution | None) -> str:
    seen = coverage(full.patch_size, grid.median_shape)
    if lower is None:
        return f"{NOT_MADE}a patch at full resolution sees {part(seen)}, and {percent(SMALLEST_COVERAGE)} is enough."
    if not lower.is_worth_having:
        return (
            f"{NOT_MADE}a patch at full resolution sees {part(seen)}, less than {percent(SMALLEST_COVERAGE)}, but a grid on which it sees that much"
            f" ({extents(lower.spacing)} mm) holds only {lower.saving:.3g} times fewer voxels, less than {SMALLEST_SAVING:g}."
        )
    return (
        f"{NOT_MADE}on the coarser grid of {extents(lower.spacing)} mm the patch of {extents(lower.fit.patch_size)} voxels is too small to pool once."
    )


def no_cascade(name: str) -> str:
    return f"{NOT_MADE}there is no {name} whose segmentation it could refine."


def lower_spacing(grid: Grid, full: Fit, lower: LowResolution) -> str:
    seen, now = coverage(full.patch_size, grid.median_shape), coverage(lower.fit.patch_size, lower.median_shape)
    kept = [
        f"{'zyx'[axis]} stays" for axis, before, after in zip(grid.transpose_forward, grid.spacing, lower.spacing, strict=True) if before == after
    ]
    fine_first = max(grid.spacing) / min(grid.spacing) > 2
    uneven = "" if not fine_first else "; the fine axes first, until the coarsest is at most twice as coarse"
    stayed = f" ({kept[0]})" if kept else ""
    return (
        f"At {extents(grid.spacing)} mm a patch of {extents(full.patch_size)} sees {part(seen)}, less than {percent(SMALLEST_COVERAGE)}."
        f" Made 3% coarser {lower.steps} times{uneven}{stayed}: at {extents(lower.spacing)} mm a patch of {extents(lower.fit.patch_size)} sees"
        f" {percent(now)}, and the image has {lower.saving:.3g} times fewer voxels."
    )


def wider_spacing(grid: Grid, full: Fit, wider: LowResolution, view: float) -> str:
    seen, now = coverage(full.patch_size, grid.median_shape), coverage(wider.fit.patch_size, wider.median_shape)
    enough = "" if now >= view else f"; one more step would be more than {COARSEST:g} times as coarse"
    return (
        f"{grid.why_spacing} There a patch of {extents(full.patch_size)} sees {part(seen)}, less than the {percent(view)} that the preset wants:"
        f" made 3% coarser {wider.steps} times, to {extents(wider.spacing)} mm, where a patch of {extents(wider.fit.patch_size)} sees"
        f" {percent(now)}{enough}."
    )


def lower_shape(lower: LowResolution) -> str:
    return f"The median image at full resolution, brought to {extents(lower.spacing)} mm."


def slices_batch_dice() -> str:
    return "On: a slice often holds no foreground at all, so Dice is taken over the whole batch."


def full_batch_dice(grid: Grid, fit: Fit) -> str:
    seen = part(coverage(fit.patch_size, grid.median_shape))
    return f"On: a patch sees only {seen}, so it may hold little foreground, and Dice is taken over the whole batch."


def full_alone_batch_dice(grid: Grid, fit: Fit, lower: LowResolution | None) -> str:
    seen = part(coverage(fit.patch_size, grid.median_shape))
    if lower is None:
        return f"Off: a patch sees {seen} ({percent(SMALLEST_COVERAGE)} or more), so each has enough foreground for a Dice of its own."
    return f"Off: a patch sees only {seen}, but no coarser grid was worth having (see 3d_lowres), so each patch has a Dice of its own."


def lower_batch_dice(grid: Grid, fit: Fit) -> str:
    seen = percent(coverage(fit.patch_size, grid.median_shape))
    return f"Off: on this grid a patch sees {seen} of the median image, so each has enough foreground for a Dice of its own."


def cascade_inherits(name: str) -> str:
    return f"The same as {name} in everything but the line below and the augmentation: the network sees the same image, with more beside it."


def cascade_previous(name: str, coarse: Configuration) -> str:
    seen = percent(prod(coarse.patch_size) / prod(coarse.median_shape))
    return (
        f"{name} sees {seen} of the image at once and knows where things are; its segmentation, one channel a class, is shown to this network, which"
        " draws the borders."
    )


def failures(not_made: Mapping[str, str], names: Sequence[str]) -> str:
    """The same as an error, one line a configuration."""
    return "\n".join(f"  {name}: {not_made[name].removeprefix(NOT_MADE)}" for name in names)
