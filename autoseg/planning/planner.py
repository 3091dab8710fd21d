"""Fingerprint -> plan: every decision, each with the line that explains it.

- Pure: the same fingerprint gives the same plan; nothing is read, written or printed.
- Decisions are made where their rules live (spacing, topology, patch, coarser grid, normalisation, recipes); here they are put together.
- A dataset of single slices gets `2d` only; any other gets `2d` and `3d_fullres`, and where a patch sees too little of the image also
  `3d_lowres` and `3d_cascade_fullres`. What is not made is explained as well.
- What could not be trained is not made: a network that never pools, and a network for volumes whose patch is a single slice.
"""

from dataclasses import replace
from math import isfinite, prod

import numpy as np

from autoseg.errors import AutosegError
from autoseg.imaging.image import Spacing3
from autoseg.planning.fingerprint import Fingerprint
from autoseg.planning.plan import Configuration, DatasetBlock, Inference, LabelsBlock, NetworkPlan, Normalization, Plan, Resampling, Training
from autoseg.planning.presets import find_preset
from autoseg.planning.reasons import configurations as which
from autoseg.planning.reasons import decisions as why
from autoseg.planning.reasons.wording import extents
from autoseg.planning.rules.lowres import LowResolution, lower_resolution, wider_view
from autoseg.planning.rules.normalization import choose_normalization
from autoseg.planning.rules.patch import Budget, Fit, fit_patch
from autoseg.planning.rules.recipes import augmentation_reason, cascade_augmentation_reason, cascade_recipes, recipes
from autoseg.planning.rules.spacing import Grid, target_grid
from autoseg.planning.schema.configuration import MOST_VOXELS

SLICES, FULL, LOW, CASCADE = "2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres"
FEWEST_STAGES = 2
NormalizationChoice = tuple[tuple[Normalization, ...], str]
Made = dict[str, Configuration]
Reasons = dict[str, str]


def make_plan(
    fingerprint: Fingerprint,
    dataset_block: DatasetBlock,
    *,
    preset: str = "default",
    gpu_memory_gb: float | None = None,
    spacing: Spacing3 | None = None,
) -> Plan:
    """Make all decisions about a dataset (the rule of nnU-Net, Isensee et al. 2021).

    Parameters
    ----------
    fingerprint : facts about the dataset
    dataset_block : what the plan repeats of the dataset; `num_cases` is the number of training cases
    preset : a name in presets.py
    gpu_memory_gb : memory target in GB, above zero; by default the preset's own
    spacing : target spacing in millimetres along Z, Y, X of the files, instead of the rule's; 2D takes its in-plane part

    Raises
    ------
    AutosegError
        the preset is unknown, a number is not above zero, no patch fits the memory target, or the images are too small for any network
    """
    chosen = find_preset(preset)
    memory = chosen.reference_gb if gpu_memory_gb is None else gpu_memory_gb
    _check_positive("memory target (--gpu-memory)", (memory,))
    _check_positive("target spacing (--spacing)", spacing or ())
    grid = target_grid(np.array(fingerprint.spacings, dtype=np.float64), np.array(fingerprint.shapes_after_crop, dtype=np.float64), spacing)
    _check_grid(grid)
    budget = Budget(chosen, memory, _label_entries(dataset_block.labels), prod(grid.median_shape) * dataset_block.num_cases)
    normalization = choose_normalization(fingerprint.channel_names, fingerprint.intensities, fingerprint.median_relative_size_after_crop)
    pictures = grid.median_shape[0] == 1 and spacing is None
    slices, no_slices = _slices(grid.plane(), budget, normalization, view=chosen.slices.view if pictures else 0.0)
    volumes, no_volumes = _volumes(grid, budget, normalization)
    not_made = no_slices | no_volumes
    if not slices and not volumes:
        raise AutosegError(f"No network can be planned for {dataset_block.name}.\n{which.failures(not_made, (SLICES, FULL))}")
    return Plan(
        dataset=dataset_block,
        preset=preset,
        gpu_memory_gb=memory,
        transpose_forward=grid.transpose_forward,
        configurations=slices | volumes,
        why={
            **why.labels(dataset_block.labels),
            "preset": chosen.purpose,
            "gpu_memory_gb": why.memory(budget),
            "transpose_forward": grid.why_transpose,
            **why.number_of_cases(dataset_block.num_cases, len(fingerprint.spacings)),
            **not_made,
        },
    )


def _check_grid(grid: Grid) -> None:
    voxels, spacing = prod(grid.median_shape), extents(grid.spacing)
    if not 1 <= voxels <= MOST_VOXELS:
        size = "not one voxel" if voxels < 1 else f"{voxels:.2g} voxels"
        raise AutosegError(f"At a spacing of {spacing} mm the median image would have {size}. Give another spacing, or correct those of the cases.")


def _slices(grid: Grid, budget: Budget, normalization: NormalizationChoice, *, view: float) -> tuple[Made, Reasons]:
    """The configuration that sees slices, of coarser ones where a patch is to see a larger part (`view`) of them than it does."""
    fit = fit_patch(grid.spacing, grid.median_shape, budget)
    wider = wider_view(grid.spacing, grid.median_shape, fit, budget, view)
    if wider is not None:
        why_spacing, why_shape = which.wider_spacing(grid, fit, wider, view), which.lower_shape(wider)
        grid = replace(grid, spacing=wider.spacing, median_shape=wider.median_shape, why_spacing=why_spacing, why_shape=why_shape)
        fit = wider.fit
    if not _is_trainable(fit):
        return {}, {SLICES: which.too_small(grid, fit)}
    return {SLICES: _configuration(grid, budget, fit, normalization, (True, which.slices_batch_dice()))}, {}


def _volumes(grid: Grid, budget: Budget, normalization: NormalizationChoice) -> tuple[Made, Reasons]:
    """The configurations that see three dimensions."""
    if grid.median_shape[0] == 1:
        return {}, {FULL: which.no_volumes(grid), LOW: which.no_full(FULL), CASCADE: which.no_full(FULL)}
    fit = fit_patch(grid.spacing, grid.median_shape, budget)
    if not _is_trainable(fit):
        return {}, {FULL: which.too_small(grid, fit), LOW: which.no_full(FULL), CASCADE: which.no_full(FULL)}
    lower = lower_resolution(grid.spacing, grid.median_shape, fit, budget)
    if lower is None or not lower.is_worth_having or not _is_trainable(lower.fit):
        full = _configuration(grid, budget, fit, normalization, (False, which.full_alone_batch_dice(grid, fit, lower)))
        return {FULL: full}, {LOW: which.no_lower(grid, fit, lower), CASCADE: which.no_cascade(LOW)}
    full = _configuration(grid, budget, fit, normalization, (True, which.full_batch_dice(grid, fit)))
    coarse = _lower(grid, budget, fit, lower, normalization)
    return {LOW: coarse, FULL: full, CASCADE: _cascade(full, coarse)}, {}


def _lower(grid: Grid, budget: Budget, full: Fit, lower: LowResolution, normalization: NormalizationChoice) -> Configuration:
    coarse = replace(
        grid,
        spacing=lower.spacing,
        median_shape=lower.median_shape,
        why_spacing=which.lower_spacing(grid, full, lower),
        why_shape=which.lower_shape(lower),
    )
    return _configuration(coarse, budget, lower.fit, normalization, (False, which.lower_batch_dice(coarse, lower.fit)))


def _cascade(full: Configuration, coarse: Configuration) -> Configuration:
    """The network at full resolution once more, with the coarse segmentation beside the image."""
    training = full.training.model_copy(update={"recipes": cascade_recipes(full.training.recipes)})
    reasons = {
        "inherits": which.cascade_inherits(FULL),
        "previous_stage": which.cascade_previous(LOW, coarse),
        "augmentation": cascade_augmentation_reason(),
    }
    return full.model_copy(update={"inherits": FULL, "previous_stage": LOW, "training": training, "why": reasons})


def _configuration(grid: Grid, budget: Budget, fit: Fit, normalization: NormalizationChoice, batch_dice: tuple[bool, str]) -> Configuration:
    preset, resampling = budget.preset, Resampling()
    return Configuration(
        dimensions=3 if len(grid.spacing) == 3 else 2,
        spacing=grid.spacing,
        median_shape=grid.median_shape,
        patch_size=fit.patch_size,
        batch_size=fit.batch_size,
        normalization=normalization[0],
        resampling=resampling,
        network=NetworkPlan(
            family=preset.family,
            features_per_stage=fit.features,
            strides=fit.topology.strides,
            kernel_sizes=fit.topology.kernel_sizes,
            blocks_per_stage=fit.blocks,
            convs_per_stage_decoder=fit.decoder_convs,
        ),
        training=Training(
            epochs=preset.epochs,
            iterations_per_epoch=preset.iterations_per_epoch,
            validation_iterations=preset.validation_iterations,
            batch_dice=batch_dice[0],
            recipes=recipes(fit.patch_size, preset.base_features),
        ),
        inference=Inference(mirror_axes=(0, 1, 2) if len(grid.spacing) == 3 else (0, 1)),
        why={
            "spacing": grid.why_spacing,
            "median_shape": grid.why_shape,
            "patch_size": why.patch_size(grid, budget, fit),
            "batch_size": why.batch_size(budget, fit),
            "network": why.network(grid, budget, fit),
            "normalization": normalization[1],
            "resampling": why.resampling(grid, resampling),
            "training": why.training(preset),
            "batch_dice": batch_dice[1],
            "augmentation": augmentation_reason(fit.patch_size),
            "inference": why.inference(len(grid.spacing)),
        },
    )


def _is_trainable(fit: Fit) -> bool:
    return fit.topology.stages >= FEWEST_STAGES and (len(fit.patch_size) == 2 or fit.patch_size[0] > 1)


def _label_entries(labels: LabelsBlock) -> int:
    """Entries of the labels as the cost rule counts them: background, then regions or else classes, then the ignore label;
    it counts regions also where classes are learned."""
    return 1 + (len(labels.regions) or len(labels.names) - 1) + (labels.ignore is not None)


def _check_positive(what: str, values: tuple[float, ...]) -> None:
    for value in values:
        if not (isfinite(value) and value > 0):
            raise AutosegError(f"The {what} is {value:g}; give a number above zero.")
