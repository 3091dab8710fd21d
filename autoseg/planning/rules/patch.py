"""Patch size, network depth and batch size that fit a memory target.

- The patch starts as large as the median image allows, in the proportions of equal millimetres, and is reduced where it covers most of the image
  until a step fits; each reduction draws the topology anew, because a smaller patch is pooled less often.
- What memory is left over goes into the batch, but a batch never covers more than the preset's share of the dataset.
- Where two axes cover equally much the later one is reduced. The original leaves that to a sort that promises no order of equal values, but which
  keeps it for so few of them (seen with and without the processor's vector instructions): the later one there too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from autoseg.errors import AutosegError
from autoseg.planning.presets import Preset
from autoseg.planning.rules.cost import estimate
from autoseg.planning.rules.topology import Topology, topology

SMALLEST_BATCH = 2
_FIRST_EDGE = {3: 256, 2: 2048}
Strides = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Budget:
    """What a configuration may cost.

    Attributes
    ----------
    preset : see presets.py
    gpu_memory_gb : memory target; the preset's references scale with it
    num_classes : channels of the network's output, background included
    dataset_voxels : voxels of all training cases together
    """

    preset: Preset
    gpu_memory_gb: float
    num_classes: int
    dataset_voxels: float

    def reference(self, dimensions: int) -> float:
        """Convolution outputs that fit the memory target at the reference batch."""
        return self.preset.sizing(dimensions).reference * (self.gpu_memory_gb / self.preset.reference_gb)

    def allowed(self, dimensions: int) -> float:
        """Convolution outputs that one patch may cost."""
        sizing = self.preset.sizing(dimensions)
        return self.reference(dimensions) * sizing.reference_batch / sizing.room_for

    def most_voxels(self, dimensions: int) -> float:
        """A bound on the voxels of any patch that fits: no network costs less than one of a single stage."""
        return self.allowed(dimensions) / _cost((1,) * dimensions, ((1,) * dimensions,), self.preset, self.num_classes)


@dataclass(frozen=True)
class Fit:
    """A patch with its network and batch, and the numbers that led to them.

    Attributes
    ----------
    first_patch : the size before reductions, before padding
    topology : poolings, kernels and the padded patch
    features, blocks : one entry a stage; `decoder_convs` one less
    cost : convolution outputs for one patch
    reductions : how often the patch was reduced
    batch_size : the batch
    batch_by_memory, batch_by_dataset : what memory and the share of the dataset allow
    """

    first_patch: tuple[float, ...]
    topology: Topology
    features: tuple[int, ...]
    blocks: tuple[int, ...]
    decoder_convs: tuple[int, ...]
    cost: int
    reductions: int
    batch_size: int
    batch_by_memory: int
    batch_by_dataset: int

    @property
    def patch_size(self) -> tuple[int, ...]:
        return self.topology.patch_size


def fit_patch(spacing: Sequence[float], median_shape: Sequence[float], budget: Budget) -> Fit:
    """Largest patch, deepest network and batch for a memory target (the rule of nnU-Net, Isensee et al. 2021).

    Parameters
    ----------
    spacing : millimetres an axis, two or three axes, transposed
    median_shape : voxels an axis at that spacing
    budget : see `Budget`

    Raises
    ------
    AutosegError
        not even the smallest patch fits
    """
    dimensions = len(spacing)
    sizing, reference = budget.preset.sizing(dimensions), budget.reference(dimensions)
    first = _first_patch(spacing, median_shape)
    shape = topology(spacing, first)
    cost, reductions = _cost(shape.patch_size, shape.strides, budget.preset, budget.num_classes), 0
    while cost * sizing.room_for > reference * sizing.reference_batch:
        shape = _reduce(shape, spacing, median_shape, budget)
        cost, reductions = _cost(shape.patch_size, shape.strides, budget.preset, budget.num_classes), reductions + 1
    by_memory = round(reference / cost * sizing.reference_batch)
    by_dataset = round(budget.dataset_voxels * budget.preset.dataset_share / prod(shape.patch_size))
    batch = max(min(by_memory, by_dataset), SMALLEST_BATCH)
    features, blocks, decoder_convs = _stages(shape.strides, budget.preset)
    return Fit(
        first_patch=first,
        topology=shape,
        features=features,
        blocks=blocks,
        decoder_convs=decoder_convs,
        cost=cost,
        reductions=reductions,
        batch_size=batch if sizing.max_batch is None else min(batch, sizing.max_batch),
        batch_by_memory=by_memory,
        batch_by_dataset=by_dataset,
    )


def _first_patch(spacing: Sequence[float], median_shape: Sequence[float]) -> tuple[float, ...]:
    """A cube of 256 voxels an edge (2D: a square of 2048) reshaped to equal millimetres, no larger than the median image."""
    density = [1 / millimetres for millimetres in spacing]
    scale = (_FIRST_EDGE[len(spacing)] ** len(spacing) / prod(density)) ** (1 / len(spacing))
    return tuple(min(round(value * scale), extent) for value, extent in zip(density, median_shape, strict=True))


def _reduce(shape: Topology, spacing: Sequence[float], median_shape: Sequence[float], budget: Budget) -> Topology:
    """One step smaller along the axis that covers most of the image."""
    coverage = [size / extent for size, extent in zip(shape.patch_size, median_shape, strict=True)]
    axis = max(range(len(coverage)), key=lambda candidate: (coverage[candidate], candidate))
    size = list(shape.patch_size)
    size[axis] -= shape.divisors[axis]
    if size[axis] < 1:
        raise AutosegError(
            f"No patch fits {budget.gpu_memory_gb:g} GB: {list(shape.patch_size)} voxels are still too many with {budget.num_classes} classes."
            " Give a larger memory target (--gpu-memory)."
        )
    reduced = topology(spacing, size)
    if reduced.divisors[axis] == shape.divisors[axis]:
        return reduced
    # the smaller patch is pooled less often there: with its finer step no size is skipped
    size[axis] = shape.patch_size[axis] - reduced.divisors[axis]
    return topology(spacing, size)


def _cost(patch_size: tuple[int, ...], strides: Strides, preset: Preset, num_classes: int) -> int:
    features, blocks, decoder_convs = _stages(strides, preset)
    return estimate(preset.family, patch_size, strides, features, blocks, decoder_convs, num_classes)


def _stages(strides: Strides, preset: Preset) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Features and blocks of each stage, convolutions of each decoder stage."""
    limit = preset.sizing(len(strides[0])).max_features
    stages = range(len(strides))
    features = tuple(min(limit, preset.base_features * 2**stage) for stage in stages)
    blocks = tuple(preset.encoder_blocks[min(stage, len(preset.encoder_blocks) - 1)] for stage in stages)
    return features, blocks, (preset.decoder_convs,) * (len(strides) - 1)
