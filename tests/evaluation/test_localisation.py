"""Places worked out by hand, and by the slow obvious way: every corner of every voxel, carried into the world."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from autoseg.evaluation.localisation import as_json, localise, place_of
from autoseg.evaluation.result import Target
from autoseg.imaging.image import Affine, Geometry, LabelMap, Shape3

WT, ET, GONE = Target("WT", (1, 2, 4), True), Target("ET", (4,), True), Target("gone", (7,))


def labels_of(shape: Shape3, boxes: list[tuple[Any, int]], geometry: Geometry | None = None) -> LabelMap:
    array = np.zeros(shape, np.uint8)
    for place, value in boxes:
        array[place] = value
    return LabelMap(array, geometry or Geometry.of(shape))


def test_boxes_centroids_and_volumes_of_structures_and_parts() -> None:
    geometry = Geometry.of((10, 12, 14), (3.0, 2.0, 0.5))
    labels = labels_of((10, 12, 14), [(np.s_[1:3, 4:5, 6:9], 2), (np.s_[2:3, 4:5, 8:9], 4), (np.s_[7:8, 9:11, 0:5], 1)], geometry)
    whole, enhancing, gone = localise(labels, [WT, ET, GONE])
    assert whole.whole is not None and [part.voxels for part in whole.parts] == [10, 6]  # the largest first
    assert (whole.whole.voxels, whole.whole.content) == (16, 48.0)
    assert (whole.whole.first, whole.whole.last) == ((1, 4, 0), (7, 10, 8))
    small = whole.parts[1]
    assert (small.first, small.last, small.centroid) == ((1, 4, 6), (2, 4, 8), (1.5, 4.0, 7.0))
    assert (small.size, small.content) == ((6.0, 2.0, 1.5), 18.0)
    assert small.world is not None
    assert small.world.centroid == (3.5, 8.0, 4.5)  # 7 x 0.5, 4 x 2, 1.5 x 3
    assert small.world.low == (2.75, 7.0, 1.5) and small.world.high == (4.25, 9.0, 7.5)
    np.testing.assert_allclose(whole.whole.centroid, np.argwhere(labels.array).mean(axis=0))
    assert enhancing.whole is not None and enhancing.parts == (enhancing.whole,)
    assert (enhancing.whole.first, enhancing.whole.last, enhancing.whole.voxels) == ((2, 4, 8), (2, 4, 8), 1)
    assert (gone.whole, gone.parts) == (None, ())


def test_corners_connect_parts_and_equal_ones_come_as_the_file_has_them() -> None:
    labels = labels_of((4, 4, 8), [(np.s_[0:1, 0:1, 0:1], 1), (np.s_[1:2, 1:2, 1:2], 1), (np.s_[0:1, 0:1, 6:8], 1)])
    (found,) = localise(labels, [Target("one", (1,))])
    assert [(part.first, part.last) for part in found.parts] == [((0, 0, 0), (1, 1, 1)), ((0, 0, 6), (0, 0, 7))]


def test_flipped_affine_puts_the_box_where_the_patient_is() -> None:
    """LPS at 1 mm with the origin at (10, 20, -5): x runs to the left, y to the back."""
    affine = ((-1.0, 0.0, 0.0, 10.0), (0.0, -1.0, 0.0, 20.0), (0.0, 0.0, 1.0, -5.0), (0.0, 0.0, 0.0, 1.0))
    geometry = Geometry((6, 6, 6), (1.0, 1.0, 1.0), affine)
    (found,) = localise(labels_of((6, 6, 6), [(np.s_[2:4, 1:2, 3:6], 1)], geometry), [Target("one", (1,))])
    assert found.whole is not None and found.whole.world is not None
    world = found.whole.world
    assert world.centroid == (6.0, 19.0, -2.5)  # voxel (x 4, y 1, z 2.5)
    assert (world.low, world.high) == ((4.5, 18.5, -3.5), (7.5, 19.5, -1.5))


def oblique(spacing_zyx: tuple[float, float, float]) -> Affine:
    a, b = np.deg2rad(20), np.deg2rad(-35)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_x @ np.diag([-spacing_zyx[2], spacing_zyx[1], spacing_zyx[0]])
    affine[:3, 3] = (11.0, -7.0, 30.0)
    return tuple(map(tuple, affine.tolist()))


def corners_in_world(mask: NDArray[Any], affine: Affine) -> NDArray[np.floating]:
    """Every corner of every voxel, (n, 3) in R, A, S."""
    found = [[x + i, y + j, z + k, 1.0] for z, y, x in np.argwhere(mask) for k, j, i in product((-0.5, 0.5), repeat=3)]
    return (np.array(found) @ np.asarray(affine).T)[:, :3]


@pytest.mark.parametrize("seed", range(4))
def test_oblique_grid_against_every_corner_of_every_voxel(seed: int) -> None:
    spacing = (2.5, 0.9, 1.1)
    geometry = Geometry((7, 9, 8), spacing, oblique(spacing))
    mask = np.random.default_rng(seed).random((7, 9, 8)) > 0.97
    mask[3, 4, 5] = True
    place = place_of(mask, geometry)
    corners = corners_in_world(mask, geometry.affine)
    assert place.world is not None
    np.testing.assert_allclose(place.world.low, corners.min(axis=0), atol=1e-9)
    np.testing.assert_allclose(place.world.high, corners.max(axis=0), atol=1e-9)
    np.testing.assert_allclose(place.world.centroid, corners.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(place.centroid, np.argwhere(mask).mean(axis=0))
    cut = np.s_[2:7, 1:9, 0:8]
    mask[:2] = mask[:, :1] = False
    assert place_of(mask[cut], geometry, offset=(2, 1, 0)) == place_of(mask, geometry)


def test_flat_pictures_have_an_area_and_no_place_in_the_world() -> None:
    geometry = Geometry.of((1, 20, 30), (1.0, 0.5, 0.25), flat=True)
    labels = labels_of((1, 20, 30), [(np.s_[0, 2:6, 10:20], 1)], geometry)
    (known,) = localise(labels, [Target("one", (1,))])
    assert known.whole is not None
    assert (known.whole.first, known.whole.last, known.whole.centroid) == ((0, 2, 10), (0, 5, 19), (0.0, 3.5, 14.5))
    assert (known.whole.content, known.whole.size, known.whole.world) == (5.0, (1.0, 2.0, 2.5), None)
    plain = as_json(known)
    assert (plain["area_mm2"], plain["volume_mm3"], plain["box_ras_mm"]) == (5.0, None, None)
    (unknown,) = localise(labels, [Target("one", (1,))], measured=False)
    assert unknown.whole is not None
    assert (unknown.whole.voxels, unknown.whole.content, unknown.whole.size, unknown.whole.world) == (40, None, None, None)
    assert {key for key, value in as_json(unknown).items() if value is None} == {
        "volume_mm3", "area_mm2", "box_size_mm", "centroid_ras_mm", "box_ras_mm",
    }  # fmt: skip


def test_what_is_absent_is_null_and_no_mask_is_no_place() -> None:
    (gone,) = localise(labels_of((3, 3, 3), []), [GONE])
    plain = as_json(gone)
    assert (plain["voxels"], plain["parts"], plain["values"]) == (0, [], [7])
    assert plain["box"] is None and plain["centroid"] is None
    with pytest.raises(ValueError, match="empty"):
        place_of(np.zeros((2, 2, 2), bool), Geometry.of((2, 2, 2)))


def test_stacked_slices_have_a_volume_and_no_place_in_the_world() -> None:
    labels = labels_of((4, 6, 8), [(np.s_[1:3, 2:4, 3:5], 1)], Geometry.of((4, 6, 8), (5.0, 1.0, 0.5)))
    (found,) = localise(labels, [Target("one", (1,))], placed=False)
    assert found.whole is not None and found.parts == (found.whole,)
    assert (found.whole.size, found.whole.content, found.whole.world) == ((10.0, 2.0, 1.0), 20.0, None)
    plain = as_json(found)
    assert (plain["volume_mm3"], plain["area_mm2"], plain["centroid_ras_mm"], plain["box_ras_mm"]) == (20.0, None, None, None)
