"""Where structures lie: the box, the centroid and the volume of each, and of each of its connected parts.

- Voxels are counted as the file's array has them, along Z, Y, X from 0; a voxel's centre has whole numbers, and a box names its first and its last.
- In the world a voxel has its full extent: the box there goes from edge to edge, along the world's axes, however the grid lies.
- Parts are connected through faces, edges and corners, and come by size, the largest first; of equals, the one that the file has first.
- A flat picture has no place in the world, and neither have slices that were stacked; one that only counts pixels has no millimetres.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.evaluation.result import Target
from autoseg.imaging.components import boxes_of, components
from autoseg.imaging.crop import bounding_box
from autoseg.imaging.image import Geometry, LabelMap

Mask = NDArray[np.bool_]
Triple = tuple[float, float, float]
Index = tuple[int, int, int]


@dataclass(frozen=True)
class WorldPlace:
    """Where something lies in RAS millimetres: towards the patient's right, front and head.

    Attributes
    ----------
    centroid : mean of the voxels' centres
    low, high : corners of the smallest box along the world's axes that holds all of its voxels to their edges
    """

    centroid: Triple
    low: Triple
    high: Triple


@dataclass(frozen=True)
class Place:
    """Where something lies.

    Attributes
    ----------
    voxels : how many it has, at least one
    first, last : voxels Z, Y, X at the corners of its box; both belong to it
    centroid : Z, Y, X, mean of its voxels
    size : of its box, millimetres along Z, Y, X; None where nobody knows how large a voxel is
    content : cubic millimetres, or square ones of a flat picture; None as before
    flat : whether it is of a flat picture
    world : its place in the world; None of flat pictures, and where nobody knows how large a voxel is or how the patient lies
    """

    voxels: int
    first: Index
    last: Index
    centroid: Triple
    size: Triple | None
    content: float | None
    flat: bool
    world: WorldPlace | None


@dataclass(frozen=True)
class Structure:
    """A structure of a case; `whole` is None where the case has none of it, `parts` are its connected parts by size."""

    target: Target
    whole: Place | None
    parts: tuple[Place, ...]


def localise(labels: LabelMap, targets: Sequence[Target], *, measured: bool = True, placed: bool = True) -> tuple[Structure, ...]:
    """Find the places of structures and of their connected parts.

    Parameters
    ----------
    labels : a segmentation
    targets : structures, by the segmentation's values
    measured : whether the spacing is known, and not only assumed
    placed : whether it is known how the patient lies

    Returns
    -------
    a structure for each target, in their order
    """
    return tuple(_structure(np.isin(labels.array, target.values), target, labels.geometry, measured, placed) for target in targets)


def place_of(mask_ZYX: Mask, geometry: Geometry, *, offset: Index = (0, 0, 0), measured: bool = True, placed: bool = True) -> Place:
    """The place of all true voxels.

    Parameters
    ----------
    mask_ZYX : bool (Z, Y, X), with at least one true voxel
    geometry : of the grid that the mask is cut from
    offset : voxel Z, Y, X of the grid at which the mask begins
    measured, placed : whether the grid's spacing is known, and how the patient lies in it

    Raises
    ------
    ValueError
        the mask is empty
    """
    counts = [np.count_nonzero(mask_ZYX, axis=tuple(other for other in range(3) if other != axis)) for axis in range(3)]
    voxels = int(counts[0].sum())
    if not voxels:
        raise ValueError("an empty mask has no place")
    used = [np.flatnonzero(along) for along in counts]
    first, last = (_index(int(indices[end]) + start for indices, start in zip(used, offset, strict=True)) for end in (0, -1))
    centroid = _triple(float(along @ np.arange(start, start + len(along))) / voxels for along, start in zip(counts, offset, strict=True))
    if not measured:
        return Place(voxels, first, last, centroid, None, None, geometry.flat, None)
    size = _triple((b - a + 1) * mm for a, b, mm in zip(first, last, geometry.spacing, strict=True))
    content = voxels * float(np.prod(geometry.spacing[1:] if geometry.flat else geometry.spacing))
    world = _in_world(mask_ZYX, geometry, offset, centroid) if placed and not geometry.flat else None
    return Place(voxels, first, last, centroid, size, content, geometry.flat, world)


def as_json(structure: Structure) -> dict[str, Any]:
    """Plain values for a JSON document; what is not there, or not known, is null."""
    return {"values": list(structure.target.values), **_plain(structure.whole), "parts": [_plain(part) for part in structure.parts]}


def _structure(mask_ZYX: Mask, target: Target, geometry: Geometry, measured: bool, placed: bool) -> Structure:
    if not mask_ZYX.any():
        return Structure(target, None, ())
    box = bounding_box(mask_ZYX)
    inside, offset = mask_ZYX[box], _index(cut.start for cut in box)
    numbered, count = components(inside)
    parts = []
    for number, cut in enumerate(boxes_of(numbered, count), start=1):
        start = _index(edge.start + outer for edge, outer in zip(cut, offset, strict=True))
        parts.append(place_of(numbered[cut] == number, geometry, offset=start, measured=measured, placed=placed))
    parts.sort(key=lambda part: -part.voxels)
    return Structure(target, place_of(inside, geometry, offset=offset, measured=measured, placed=placed), tuple(parts))


def _in_world(mask_ZYX: Mask, geometry: Geometry, offset: Index, centroid: Triple) -> WorldPlace:
    affine = np.asarray(geometry.affine)
    # Where a linear function is largest on a line of voxels, it is at one of the line's ends.
    z, y = np.nonzero(mask_ZYX.any(axis=2))
    lines = mask_ZYX[z, y]
    ends = [lines.argmax(axis=1), lines.shape[1] - 1 - lines[:, ::-1].argmax(axis=1)]
    points = np.concatenate([np.stack([x + offset[2], y + offset[1], z + offset[0]]) for x in ends], axis=1)
    centres = affine[:3, :3] @ points + affine[:3, 3:]
    reach = np.abs(affine[:3, :3]).sum(axis=1) / 2  # from a voxel's centre to its farthest corner along each axis of the world
    middle = affine[:3, :3] @ np.array(centroid[::-1]) + affine[:3, 3]
    return WorldPlace(*(_triple(map(float, corner)) for corner in (middle, centres.min(axis=1) - reach, centres.max(axis=1) + reach)))


def _plain(place: Place | None) -> dict[str, Any]:
    if place is None:
        return {"voxels": 0, "volume_mm3": None, "area_mm2": None, "box": None, "centroid": None, "box_size_mm": None} | _NOWHERE
    return {
        "voxels": place.voxels,
        "volume_mm3": None if place.flat else _rounded(place.content),
        "area_mm2": _rounded(place.content) if place.flat else None,
        "box": {"first": list(place.first), "last": list(place.last)},
        "centroid": _rounded(place.centroid),
        "box_size_mm": _rounded(place.size),
    } | (_world(place.world) if place.world else _NOWHERE)


def _world(world: WorldPlace) -> dict[str, Any]:
    return {"centroid_ras_mm": _rounded(world.centroid), "box_ras_mm": {"low": _rounded(world.low), "high": _rounded(world.high)}}


_NOWHERE: dict[str, Any] = {"centroid_ras_mm": None, "box_ras_mm": None}


def _rounded(value: float | Triple | None) -> Any:
    """To a thousandth, which is less than any scan shows."""
    if value is None:
        return None
    return round(value, 3) + 0.0 if isinstance(value, float) else [round(number, 3) + 0.0 for number in value]


def _index(numbers: Any) -> Index:
    z, y, x = numbers
    return z, y, x


def _triple(numbers: Any) -> Triple:
    z, y, x = numbers
    return z, y, x
