"""Surfaces as elements with an area, and how far two of them lie apart.

- An element lies between eight voxels that are not all alike, at the corner that they share. Its patch of surface cuts the lines from
  voxels inside to voxels outside in the middle, as in marching cubes, and the patch's area is the element's weight.
- The side with fewer voxels is what the patch encloses, so a mask and its complement have one surface. Voxels that share no face are
  enclosed apart. A patch is the convex hull's; only the staircase of four voxels has a hollow one, made of four triangles.
- Areas of all 256 neighbourhoods are worked out once in units of voxels, and stretched by the spacing.
- What lies outside the image is background.
"""

from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from autoseg.imaging.image import Spacing3
from autoseg.imaging.surfaces import bounding_box

_CORNERS = tuple(product((0, 1), repeat=3))

Elements = tuple[NDArray[np.float64], NDArray[np.float64]]


def element_distances(a_ZYX: NDArray[np.bool_], b_ZYX: NDArray[np.bool_], spacing: Spacing3) -> tuple[Elements, Elements]:
    """Distance of each surface element to the nearest one of the other mask, and its area, both ways.

    Parameters
    ----------
    a_ZYX, b_ZYX : bool (Z, Y, X), neither empty
    spacing : millimetres along Z, Y, X

    Returns
    -------
    for a, then for b: float64 (elements,) distances in millimetres, float64 (elements,) areas in square millimetres

    Raises
    ------
    ValueError
        a mask is empty: it has no surface
    """
    box = bounding_box(a_ZYX | b_ZYX, margin=0)
    if box is None or not a_ZYX.any() or not b_ZYX.any():
        raise ValueError("a mask is empty")
    codes_a, codes_b = _codes(a_ZYX[box]), _codes(b_ZYX[box])
    mixed_a, mixed_b = _mixed(codes_a), _mixed(codes_b)
    areas = patch_areas(spacing)
    there, back = _nearest(mixed_a, mixed_b, spacing), _nearest(mixed_b, mixed_a, spacing)
    return (there, areas[codes_a[mixed_a]]), (back, areas[codes_b[mixed_b]])


@lru_cache(maxsize=64)
def patch_areas(spacing: Spacing3) -> NDArray[np.float64]:
    """Area of the surface between eight voxels.

    Parameters
    ----------
    spacing : millimetres along Z, Y, X

    Returns
    -------
    float64 (256,), square millimetres; bit 4 z + 2 y + x of the index is set where the voxel at (z, y, x) is inside
    """
    faces = np.prod(spacing) / np.asarray(spacing)  # a unit area seen along an axis covers the product of the other two spacings
    areas: NDArray[np.float64] = np.array([np.linalg.norm(normals * faces, axis=1).sum() for normals in _all_normals()])
    areas.flags.writeable = False
    return areas


def _codes(mask_ZYX: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Which of the eight voxels around each corner of the grid are inside."""
    padded = np.pad(mask_ZYX, 1).view(np.uint8)
    codes = np.zeros([size + 1 for size in mask_ZYX.shape], dtype=np.uint8)
    for bit, corner in enumerate(_CORNERS):
        codes |= padded[tuple(slice(start, start + size) for start, size in zip(corner, codes.shape, strict=True))] << bit
    return codes


def _mixed(codes_ZYX: NDArray[np.uint8]) -> NDArray[np.bool_]:
    mixed: NDArray[np.bool_] = (codes_ZYX != 0) & (codes_ZYX != 255)
    return mixed


def _nearest(from_ZYX: NDArray[np.bool_], to_ZYX: NDArray[np.bool_], spacing: Spacing3) -> NDArray[np.float64]:
    from scipy.spatial import cKDTree  # takes a third of a second, and only some schemes measure this

    apart = ~to_ZYX[from_ZYX]  # where surfaces coincide the distance is zero
    distances = np.zeros(len(apart))
    tree = cKDTree(np.argwhere(to_ZYX) * np.asarray(spacing), balanced_tree=False, compact_nodes=False)
    distances[apart] = tree.query(np.argwhere(from_ZYX)[apart] * np.asarray(spacing))[0]
    return distances


@lru_cache(maxsize=1)
def _all_normals() -> tuple[NDArray[np.float64], ...]:
    """For each neighbourhood the normals (triangles, 3) of its patch, as long as their triangle is large."""
    return tuple(_normals(np.array([code >> bit & 1 for bit in range(8)], dtype=bool).reshape(2, 2, 2)) for code in range(256))


def _normals(inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    from scipy.ndimage import label

    if np.count_nonzero(inside) > 4:
        inside = ~inside
    parts, count = label(inside)
    triangles = [triangle for part in range(1, count + 1) for triangle in _patch(np.argwhere(parts == part))]
    edges = np.array(triangles, dtype=float).reshape(-1, 3, 3)
    normals: NDArray[np.float64] = np.cross(edges[:, 1] - edges[:, 0], edges[:, 2] - edges[:, 0]) / 2
    return normals


def _patch(part: NDArray[np.intp]) -> list[NDArray[np.float64]]:
    """Triangles of the surface around voxels that hang together, inside the unit cube between eight of them."""
    from scipy.spatial import ConvexHull

    neighbours = (np.abs(part[:, None] - part).sum(axis=2) == 1).sum(axis=1)
    if sorted(neighbours) == [1, 1, 2, 2]:
        return _staircase(part, neighbours)
    cuts = [(voxel + other) / 2 for voxel in part for other in _across(voxel) if not (part == other).all(axis=1).any()]
    points = np.concatenate([part, cuts])
    triangles = points[ConvexHull(points).simplices]
    on_the_cube = ((triangles == triangles[:, :1]).all(axis=1) & np.isin(triangles[:, 0], (0, 1))).any(axis=1)
    return list(triangles[~on_the_cube])


def _staircase(part: NDArray[np.intp], neighbours: NDArray[np.intp]) -> list[NDArray[np.float64]]:
    """Four voxels in a chain that turns twice: of the six cuts, every second one spans the middle triangle, the others lie beyond its sides."""
    first, last = part[neighbours == 1]
    middle = part[neighbours == 2]
    second, third = middle if np.abs(middle[0] - first).sum() == 1 else middle[::-1]
    u, v, w = second - first, third - second, last - third
    cuts = [first + w / 2, first + v / 2, third - u / 2, last - u / 2, last - v / 2, second + w / 2]
    ears = [np.array([cuts[i], cuts[i + 1], cuts[(i + 2) % 6]]) for i in (0, 2, 4)]
    return [np.array(cuts[::2]), *ears]


def _across(voxel: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """The three of the eight voxels that share a face with this one."""
    return [np.where(np.arange(3) == axis, 1 - voxel, voxel) for axis in range(3)]
