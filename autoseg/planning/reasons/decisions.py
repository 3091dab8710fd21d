"""The lines that explain decisions: plain words and the numbers that led to them.

- One function a decision, named after it; they read what was decided and decide nothing themselves.
- Reasons that need what only a rule sees on its way (spacing, transposition, normalisation, augmentation) are written beside that rule;
  which configurations there are, and why not others, is explained in `why_configurations.py`.
"""

from autoseg.planning.plan import LabelsBlock, Resampling
from autoseg.planning.presets import Preset
from autoseg.planning.reasons.wording import extents, millions, part
from autoseg.planning.rules.lowres import coverage
from autoseg.planning.rules.patch import SMALLEST_BATCH, Budget, Fit
from autoseg.planning.rules.spacing import Grid
from autoseg.planning.rules.topology import SIMILAR_SPACING, SMALLEST_EDGE


def memory(budget: Budget) -> str:
    scale = budget.gpu_memory_gb / budget.preset.reference_gb
    origin = "the preset's own target" if scale == 1 else f"{scale:.3g} times the preset's {budget.preset.reference_gb:g} GB"
    return (
        f"{budget.gpu_memory_gb:g} GB is {origin}. Memory fills with what the convolutions produce in a training step: at most"
        f" {millions(budget.reference(3) * budget.preset.volumes.reference_batch)} million values in 3D,"
        f" {millions(budget.reference(2) * budget.preset.slices.reference_batch)} million in 2D."
    )


def labels(block: LabelsBlock) -> dict[str, str]:
    """Why classes or regions are learned, under the key of the plan; nothing where there are no regions."""
    if not block.regions:
        return {}
    names = ", ".join(block.regions)
    if block.trained == "regions":
        written = ", ".join(map(str, block.region_order))
        reason = f"The regions {names} are declared, and may overlap: a sigmoid each, written as {written} in this order, later over earlier."
    elif block.region_order:
        reason = f"Classes are learned, as was wished; the regions {names} are judged."
    else:
        reason = f"Classes are learned: the regions {names} are declared without the value that each is written as. They are judged."
    return {"labels": reason}


def patch_size(grid: Grid, budget: Budget, fit: Fit) -> str:
    whole = tuple(fit.first_patch) == tuple(grid.median_shape)
    start = f"Starts at {extents(fit.first_patch)} ({'the median image' if whole else 'equal millimetres along every axis, within the median image'})"
    times = "once" if fit.reductions == 1 else f"{fit.reductions} times, always"
    smaller = f"is made smaller {times} along the axis that saw most of the image, until it fits" if fit.reductions else "fits as it is"
    allowed = millions(budget.allowed(len(grid.spacing)))
    return (
        f"{start} and {smaller}: {millions(fit.cost)} of {allowed} million values a patch. It sees"
        f" {part(coverage(fit.patch_size, grid.median_shape))}; its sides are multiples of {extents(fit.topology.divisors)} for the poolings."
    )


def batch_size(budget: Budget, fit: Fit) -> str:
    preset, dimensions = budget.preset, len(fit.patch_size)
    limit = preset.sizing(dimensions).max_batch
    share = f"{preset.dataset_share:.0%} of the dataset's voxels allow {fit.batch_by_dataset}"
    cap = "" if limit is None else f", the preset at most {limit}"
    return f"Memory allows {fit.batch_by_memory}, {share}{cap}, and no batch is smaller than {SMALLEST_BATCH}: {fit.batch_size}."


def network(grid: Grid, budget: Budget, fit: Fit) -> str:
    bottleneck = tuple(size // divisor for size, divisor in zip(fit.patch_size, fit.topology.divisors, strict=True))
    poolings = tuple(divisor.bit_length() - 1 for divisor in fit.topology.divisors)
    return (
        f"{fit.topology.stages} stages, pooled {extents(poolings)} times from {extents(fit.patch_size)} to {extents(bottleneck)}:"
        f" an axis is pooled while it keeps {SMALLEST_EDGE} voxels and is less than {SIMILAR_SPACING:g} times coarser than the finest"
        f" (spacing {extents(grid.spacing)} mm); features double from {budget.preset.base_features} up to {max(fit.features)}."
    )


def resampling(grid: Grid, chosen: Resampling) -> str:
    orders = "Images by cubic splines, labels and network outputs linearly"
    if len(grid.spacing) == 2:
        return f"{orders}, each slice within its plane."
    ratio = max(grid.spacing) / min(grid.spacing)
    side = "above" if ratio > chosen.separate_axis_above else "not above"
    return (
        f"{orders}; an axis more than {chosen.separate_axis_above:g} times coarser is resampled on its own, by nearest neighbour"
        f" (target spacing: ratio {ratio:.2f}, {side}; an image's own spacing decides first)."
    )


def training(preset: Preset) -> str:
    steps = preset.epochs * preset.iterations_per_epoch
    length = f"{preset.epochs} epochs of {preset.iterations_per_epoch} steps, {steps:,} in all"
    return f"The preset's length: {length}. Trainings of less than `fast_below_steps` steps use the recipe `fast`."


def inference(dimensions: int) -> str:
    return (
        f"Windows overlap by half a patch. After the default recipe each is predicted {2**dimensions} times, mirrored along all axes as in training,"
        " and averaged; the fast recipe mirrors nothing, so neither does its prediction."
    )


def number_of_cases(counted: int, described: int) -> dict[str, str]:
    """Where a dataset.json and a fingerprint do not tell the same number of cases."""
    if counted == described:
        return {}
    return {
        "num_cases": f"The dataset.json tells {counted} training cases, the fingerprint describes {described}: {counted} is taken, as nnU-Net does."
        " If the two files do not belong together, this plan is of no use."
    }
