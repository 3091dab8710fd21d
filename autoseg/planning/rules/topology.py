"""Where a U-Net pools and where it convolves across slices, from voxel spacing and patch size.

- An axis is pooled only while its voxels are about as fine as the finest: coarse slices are left alone until the in-plane voxels have caught up.
- A kernel spans an axis once its voxels are less than twice as coarse as the finest: before that, the next slice is too far away to be a neighbour.
- Plain numbers, no arrays: one call takes microseconds, and planning makes hundreds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

SMALLEST_EDGE = 4
SIMILAR_SPACING = 2.0


@dataclass(frozen=True)
class Topology:
    """Pooling and kernels of a U-Net.

    Attributes
    ----------
    patch_size : voxels an axis, the requested size padded up to a multiple of `divisors`
    divisors : 2 to the number of poolings, an axis
    strides, kernel_sizes : one entry a stage from full resolution down, each with one number an axis; the first stride is all ones
    """

    patch_size: tuple[int, ...]
    divisors: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    kernel_sizes: tuple[tuple[int, ...], ...]

    @property
    def stages(self) -> int:
        return len(self.strides)


def topology(spacing: Sequence[float], size: Sequence[float]) -> Topology:
    """Pooling and kernels for patches of about `size` voxels (the rule of nnU-Net, Isensee et al. 2021).

    Parameters
    ----------
    spacing : millimetres an axis, two or three axes
    size : voxels an axis, above zero; fractions are allowed (the median of an even number of shapes)
    """
    axes = range(len(spacing))
    current_spacing, current_size = list(spacing), list(size)
    kernel, divisors = [1] * len(spacing), [1] * len(spacing)
    strides, kernels = [(1,) * len(spacing)], []
    while pooled := _axes_to_pool(current_spacing, current_size):
        finest = min(current_spacing)
        for axis in axes:
            if current_spacing[axis] / finest < SIMILAR_SPACING:
                kernel[axis] = 3
        for axis in pooled:
            current_spacing[axis] *= 2
            current_size[axis] = ceil(current_size[axis] / 2)
            divisors[axis] *= 2
        strides.append(tuple([2 if axis in pooled else 1 for axis in axes]))
        kernels.append(tuple(kernel))
    kernels.append((3,) * len(spacing))
    padded = tuple(ceil(size[axis] / divisors[axis]) * divisors[axis] for axis in axes)
    return Topology(padded, tuple(divisors), tuple(strides), tuple(kernels))


def stage_voxels(patch_size: Sequence[int], strides: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Voxels of a patch at each stage, from full resolution down."""
    size, voxels = list(patch_size), []
    for stride in strides:
        size = [extent // step for extent, step in zip(size, stride, strict=True)]
        voxels.append(prod(size))
    return tuple(voxels)


def _axes_to_pool(spacing: Sequence[float], size: Sequence[float]) -> list[int]:
    large_enough = [axis for axis, extent in enumerate(size) if extent >= 2 * SMALLEST_EDGE]
    if not large_enough:
        return []
    finest = min([spacing[axis] for axis in large_enough])
    kept = [axis for axis in large_enough if spacing[axis] / finest < SIMILAR_SPACING]
    # a last axis on its own is pooled only where it is still long: nothing is gained by squeezing it alone
    return kept if len(kept) > 1 or size[kept[0]] >= 3 * SMALLEST_EDGE else []
