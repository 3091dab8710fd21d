"""Fingerprint -> plan: every decision, each with the line that explains it.

- Pure: the same fingerprint gives the same plan; nothing is read, written or printed.
- Decisions are made where their rules live (spacing, topology, patch, normalisation, recipes); here they are put together.
- A dataset of single slices gets `2d` only; any other gets `2d` and `3d_fullres`.
"""

from math import isfinite, prod

import numpy as np

from autoseg.errors import AutosegError
from autoseg.imaging.image import Spacing3
from autoseg.planning.fingerprint import Fingerprint
from autoseg.planning.lowres import lower_resolution
from autoseg.planning.normalization import choose_normalization
from autoseg.planning.patch import Budget, Fit, fit_patch
from autoseg.planning.plan import Configuration, DatasetBlock, Inference, LabelsBlock, NetworkPlan, Normalization, Plan, Resampling, Training
from autoseg.planning.presets import find_preset
from autoseg.planning.recipes import augmentation_reason, recipes
from autoseg.planning.spacing import Grid, target_grid
from autoseg.planning.why import (
    batch_size_reason,
    inference_reason,
    memory_reason,
    network_reason,
    no_volumes_reason,
    patch_size_reason,
    resampling_reason,
    slices_batch_dice_reason,
    training_reason,
    volumes_batch_dice_reason,
)

NormalizationChoice = tuple[tuple[Normalization, ...], str]


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
        the preset is unknown, a number is not above zero, or no patch fits the memory target
    """
    chosen = find_preset(preset)
    memory = chosen.reference_gb if gpu_memory_gb is None else gpu_memory_gb
    _check_positive("memory target (--gpu-memory)", (memory,))
    _check_positive("target spacing (--spacing)", spacing or ())
    grid = target_grid(np.array(fingerprint.spacings, dtype=np.float64), np.array(fingerprint.shapes_after_crop, dtype=np.float64), spacing)
    budget = Budget(chosen, memory, _output_channels(dataset_block.labels), prod(grid.median_shape) * dataset_block.num_cases)
    normalization = choose_normalization(fingerprint.channel_names, fingerprint.intensities, fingerprint.median_relative_size_after_crop)
    why = {"preset": chosen.purpose, "gpu_memory_gb": memory_reason(budget), "transpose_forward": grid.why_transpose}
    configurations = {"2d": _slices(grid.plane(), budget, normalization)}
    if grid.median_shape[0] == 1:
        why["3d_fullres"] = no_volumes_reason(grid)
    else:
        configurations["3d_fullres"] = _volumes(grid, budget, normalization)
    return Plan(
        dataset=dataset_block,
        preset=preset,
        gpu_memory_gb=memory,
        transpose_forward=grid.transpose_forward,
        configurations=configurations,
        why=why,
    )


def _slices(grid: Grid, budget: Budget, normalization: NormalizationChoice) -> Configuration:
    fit = fit_patch(grid.spacing, grid.median_shape, budget)
    return _configuration(grid, budget, fit, normalization, (True, slices_batch_dice_reason()))


def _volumes(grid: Grid, budget: Budget, normalization: NormalizationChoice) -> Configuration:
    fit = fit_patch(grid.spacing, grid.median_shape, budget)
    lower = lower_resolution(grid.spacing, grid.median_shape, fit, budget)
    return _configuration(grid, budget, fit, normalization, (lower is not None, volumes_batch_dice_reason(grid, fit, lower)))


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
            "patch_size": patch_size_reason(grid, budget, fit),
            "batch_size": batch_size_reason(budget, fit),
            "network": network_reason(grid, budget, fit),
            "normalization": normalization[1],
            "resampling": resampling_reason(grid, resampling),
            "training": training_reason(preset),
            "batch_dice": batch_dice[1],
            "augmentation": augmentation_reason(fit.patch_size),
            "inference": inference_reason(len(grid.spacing)),
        },
    )


def _output_channels(labels: LabelsBlock) -> int:
    """Entries of the labels as the cost rule counts them: background, then regions or else classes, then the ignore label."""
    return 1 + (len(labels.regions) or len(labels.names) - 1) + (labels.ignore is not None)


def _check_positive(what: str, values: tuple[float, ...]) -> None:
    for value in values:
        if not (isfinite(value) and value > 0):
            raise AutosegError(f"The {what} is {value:g}; give a number above zero.")
