"""The lines that explain decisions: plain words and the numbers that led to them.

- One function a decision, named after it; they read what was decided and decide nothing themselves.
- Reasons that need what only a rule sees on its way (spacing, transposition, normalisation, augmentation) are written beside that rule.
"""

from math import prod

from autoseg.planning.lowres import SMALLEST_COVERAGE, SMALLEST_SAVING, LowResolution, coverage
from autoseg.planning.patch import SMALLEST_BATCH, Budget, Fit
from autoseg.planning.plan import Resampling
from autoseg.planning.presets import Preset
from autoseg.planning.spacing import Grid
from autoseg.planning.topology import SIMILAR_SPACING, SMALLEST_EDGE


def memory_reason(budget: Budget) -> str:
    scale = budget.gpu_memory_gb / budget.preset.reference_gb
    origin = "the preset's own target" if scale == 1 else f"{scale:.3g} times the preset's {budget.preset.reference_gb:g} GB"
    return (
        f"{budget.gpu_memory_gb:g} GB is {origin}; it allows {_millions(budget.reference(3))} million values from convolutions at a batch of"
        f" {budget.preset.volumes.reference_batch} in 3D, {_millions(budget.reference(2))} million at {budget.preset.slices.reference_batch} in 2D."
    )


def no_volumes_reason(grid: Grid) -> str:
    shape = _extents(grid.median_shape)
    return f"Not made: the median image has a single slice ({shape} voxels), so there is no third dimension to learn from."


def patch_size_reason(grid: Grid, budget: Budget, fit: Fit) -> str:
    allowed = budget.allowed(len(grid.spacing))
    covered = f"covers {_part(coverage(fit.patch_size, grid.median_shape))} {_extents(grid.median_shape)}"
    padded = f"sides are multiples of {_extents(fit.topology.divisors)}"
    if fit.reductions == 0:
        cost = f"{_millions(fit.cost)} of {_millions(allowed)} million values"
        return f"Starts from {_extents(fit.first_patch)} and fits as it is ({cost}); {covered}; {padded}."
    return (
        f"Starts from {_extents(fit.first_patch)} and is reduced {_times(fit.reductions)} where it covers most of the image, until"
        f" {_millions(fit.cost)} million values fit into {_millions(allowed)} million; {covered}; {padded}."
    )


def batch_size_reason(budget: Budget, fit: Fit) -> str:
    preset, dimensions = budget.preset, len(fit.patch_size)
    limit = preset.sizing(dimensions).max_batch
    share = f"{preset.dataset_share:.0%} of the dataset's voxels allow {fit.batch_by_dataset}"
    cap = "" if limit is None else f", the preset at most {limit}"
    return f"Memory allows {fit.batch_by_memory}, {share}{cap}, and no batch is smaller than {SMALLEST_BATCH}: {fit.batch_size}."


def network_reason(grid: Grid, budget: Budget, fit: Fit) -> str:
    bottleneck = tuple(size // divisor for size, divisor in zip(fit.patch_size, fit.topology.divisors, strict=True))
    poolings = tuple(divisor.bit_length() - 1 for divisor in fit.topology.divisors)
    return (
        f"{fit.topology.stages} stages, pooled {_extents(poolings)} times from {_extents(fit.patch_size)} to {_extents(bottleneck)}:"
        f" an axis is pooled while it keeps {SMALLEST_EDGE} voxels and is less than {SIMILAR_SPACING:g} times coarser than the finest"
        f" (spacing {_extents(grid.spacing)} mm); features double from {budget.preset.base_features} up to {max(fit.features)}."
    )


def resampling_reason(grid: Grid, resampling: Resampling) -> str:
    orders = "Images by cubic splines, labels and network outputs linearly"
    if len(grid.spacing) == 2:
        return f"{orders}, each slice within its plane."
    ratio = max(grid.spacing) / min(grid.spacing)
    side = "above" if ratio > resampling.separate_axis_above else "not above"
    return (
        f"{orders}; an axis more than {resampling.separate_axis_above:g} times coarser is resampled on its own, by nearest neighbour"
        f" (target spacing: ratio {ratio:.2f}, {side}; an image's own spacing decides first)."
    )


def training_reason(preset: Preset) -> str:
    steps = preset.epochs * preset.iterations_per_epoch
    length = f"{preset.epochs} epochs of {preset.iterations_per_epoch} steps, {steps:,} in all"
    return f"The preset's length: {length}. Trainings of less than `fast_below_steps` steps use the recipe `fast`."


def slices_batch_dice_reason() -> str:
    return "On: a slice often holds no foreground at all, so Dice is taken over the whole batch."


def volumes_batch_dice_reason(grid: Grid, fit: Fit, lower: LowResolution | None) -> str:
    seen = coverage(fit.patch_size, grid.median_shape)
    if seen >= SMALLEST_COVERAGE:
        enough = f"{SMALLEST_COVERAGE:.0%} or more"
        return f"Off: a patch sees {_part(seen)} ({enough}), so each patch has enough foreground for a Dice of its own."
    if lower is None:
        return (
            f"Off: a patch sees only {_part(seen)}, but a coarser grid on which it sees {SMALLEST_COVERAGE:.0%} would hold less than"
            f" {SMALLEST_SAVING:g} times fewer voxels."
        )
    saving = prod(lower.spacing) / prod(grid.spacing)
    return (
        f"On: a patch sees only {_part(seen)} (less than {SMALLEST_COVERAGE:.0%}; a grid of {_extents(lower.spacing)} mm,"
        f" {saving:.1f} times fewer voxels, would show it that much), so it may hold little foreground and Dice is taken over the whole batch."
    )


def inference_reason(dimensions: int) -> str:
    return (
        f"Windows overlap by half a patch. After the default recipe each is predicted {2**dimensions} times, mirrored along all axes as in training,"
        " and averaged; the fast recipe mirrors nothing, so neither does its prediction."
    )


def _part(share: float) -> str:
    return "the whole median image" if share >= 1 else f"{100 * share:.3g}% of the median image"


def _times(count: int) -> str:
    return "once," if count == 1 else f"{count} times, each time"


def _millions(values: float) -> str:
    return f"{values / 1e6:.4g}"


def _extents(values: tuple[float, ...]) -> str:
    return " x ".join(f"{value:.4g}" for value in values)
