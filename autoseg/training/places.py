"""Where patches lie: on a voxel of a class, in a slice, or anywhere; and how they are cut out of a case."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autoseg.imaging.image import Shape3
from autoseg.preprocessing.foreground import annotated_voxels, foreground_locations
from autoseg.preprocessing.store import ReadyCases, StoredCase


def patch_start(
    generator: np.random.Generator, case: StoredCase, patch: Shape3, *, forced: bool, regions: Sequence[Sequence[int]] | None = None
) -> list[int]:
    """The first voxel of a random patch, negative where the case is smaller than the patch.

    Parameters
    ----------
    forced : centre the patch on a voxel of a class, or region, that the case has, as far as its borders allow; one that is not forced is centred
        on any annotated voxel of a case that is annotated in part
    regions : the classes of each region, or None to draw classes
    """
    missing = [max(0, size - length) for size, length in zip(patch, case.shape, strict=True)]
    lowest = [-(count // 2) for count in missing]
    highest = [length + count - count // 2 - size for size, length, count in zip(patch, case.shape, missing, strict=True)]
    centre = _foreground_voxel(generator, case, regions) if forced else None
    if centre is None and case.annotated is not None:
        centre = case.annotated[generator.integers(len(case.annotated))]
    if centre is not None:
        wanted = [int(middle) - size // 2 for middle, size in zip(centre, patch, strict=True)]
        return [min(max(first, low), high) for first, low, high in zip(wanted, lowest, highest, strict=True)]
    return [int(generator.integers(low, high + 1)) for low, high in zip(lowest, highest, strict=True)]


def corner_of(start: Sequence[int], box: Shape3, patch: Shape3) -> list[int]:
    """The first voxel of a box around a patch."""
    return [first - (wide - size) // 2 for first, wide, size in zip(start, box, patch, strict=True)]


def cut(array: Any, corner: Sequence[int], box: Shape3) -> Tensor:
    """Cut a box that overlaps the last three axes of an array, or of an array on disk; what lies outside is 0.

    A view of an array that the box lies in.
    """
    lengths = array.shape[-3:]
    z, y, x = (slice(max(0, first), min(length, first + size)) for first, size, length in zip(corner, box, lengths, strict=True))
    part: NDArray[Any] = np.asarray(array[..., z, y, x])
    if part.shape[-3:] == box:
        return torch.from_numpy(part)
    whole = np.zeros((*array.shape[:-3], *box), dtype=part.dtype)
    z, y, x = (slice(place.start - first, place.stop - first) for place, first in zip((z, y, x), corner, strict=True))
    whole[..., z, y, x] = part
    return torch.from_numpy(whole)


def foreground_slices(store: ReadyCases, names: Sequence[str]) -> dict[str, NDArray[np.intp]]:
    """The slices with foreground of each case that has any."""
    slices = {name: store.foreground_slices(name) for name in names}
    return {name: found for name, found in slices.items() if len(found)}


def slice_of(case: StoredCase, z: int) -> StoredCase:
    """One slice of a case, with the places of what is in it."""
    if case.shape[0] == 1:
        return case
    classes_1YX: NDArray[np.integer] = np.asarray(case.classes[z : z + 1])
    return StoredCase(case.image, classes_1YX, foreground_locations(classes_1YX, ""), annotated=annotated_voxels(classes_1YX, ""))


def _foreground_voxel(generator: np.random.Generator, case: StoredCase, regions: Sequence[Sequence[int]] | None) -> NDArray[np.int32] | None:
    """A voxel of a class or region that the case has; None where it has none."""
    groups = [[label] for label in sorted(case.locations)] if regions is None else regions
    present = [there for group in groups if (there := [case.locations[label] for label in group if label in case.locations])]
    if not present:
        return None
    drawn = present[generator.integers(len(present))]
    index = int(generator.integers(sum(map(len, drawn))))
    for voxels in drawn:
        if index < len(voxels):
            break
        index -= len(voxels)
    chosen: NDArray[np.int32] = voxels[index]
    return chosen
