"""Moving against plain oracles: rotations by right angles, SciPy, one-hot label maps sampled with the image."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from autoseg.imaging.image import Shape3
from autoseg.training import augment, moving
from autoseg.training.draws import Draw


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def centre_cut(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The middle of the last three axes."""
    for axis, size in enumerate(shape, start=x.ndim - 3):
        x = x.narrow(axis, (x.shape[axis] - size) // 2, size)
    return x


@pytest.mark.parametrize(("axis", "plane"), [(0, (1, 2)), (1, (2, 0)), (2, (0, 1))])
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_right_angles_equal_rot90(make: SimpleNamespace, axis: int, plane: tuple[int, int], turns: int) -> None:
    image, classes = noise(2, 9, 9, 9), torch.randint(-1, 4, (9, 9, 9))
    angles = tuple(90.0 * turns if index == axis else 0.0 for index in range(3))
    one = make.draw(2, angles=angles)
    after, target = augment.apply(one, image, classes, (9, 9, 9), keep_zero=False)
    # voxel i of the result is voxel M i of the scan: the picture turns the other way
    expected = torch.rot90(image, -turns, tuple(dim + 1 for dim in plane))
    assert torch.allclose(after, expected, atol=1e-4)
    assert torch.equal(target, torch.rot90(classes, -turns, plane))


def test_rotations_are_chained_x_first(make: SimpleNamespace) -> None:
    matrix = moving.affine(make.draw(angles=(20.0, -35.0, 50.0)))
    z = moving.affine(make.draw(angles=(20.0, 0.0, 0.0)))
    y = moving.affine(make.draw(angles=(0.0, -35.0, 0.0)))
    x = moving.affine(make.draw(angles=(0.0, 0.0, 50.0)))
    assert torch.allclose(matrix, z @ y @ x)
    assert torch.allclose(matrix @ matrix.T, torch.eye(3, dtype=torch.float64)) and torch.linalg.det(matrix) == pytest.approx(1)


def test_scale_above_one_shows_more(make: SimpleNamespace) -> None:
    """A box of nine voxels seen at scale 2 is about four and a half wide, about the same centre."""
    image = torch.zeros(1, 33, 33, 33)
    image[:, 12:21, 12:21, 12:21] = 1
    one = make.draw(scale=2.0)
    assert moving.box_shape(one, (17, 17, 17)) == (33, 33, 33)
    after, target = augment.apply(one, image, image[0].long(), (17, 17, 17), keep_zero=False)
    assert after.sum() == pytest.approx(5**3, rel=1e-3)  # every other voxel
    assert torch.equal(target, (after[0] > 0.5).long())
    assert torch.equal(after, after.flip(1)) and torch.equal(after, after.flip(3))


def test_in_plane_leaves_slices_apart(make: SimpleNamespace) -> None:
    image = noise(1, 6, 15, 15)
    one = make.draw(angles=(90.0, 0.0, 0.0), scale=1.0, in_plane=True)
    after, _ = augment.apply(one, image, torch.zeros(6, 15, 15, dtype=torch.int64), (6, 15, 15), keep_zero=False)
    assert torch.allclose(after, torch.rot90(image, -1, (2, 3)), atol=1e-4)
    scaled = make.draw(scale=1.4, in_plane=True)
    assert moving.box_shape(scaled, (6, 15, 15)) == (6, 21, 21)
    assert torch.equal(moving.affine(scaled), torch.diag(torch.tensor([1, 1.4, 1.4], dtype=torch.float64)))
    slices = torch.arange(6.0).view(1, 6, 1, 1).expand(1, 6, 21, 21)
    after, _ = augment.apply(scaled, slices, torch.zeros(6, 21, 21, dtype=torch.int64), (6, 15, 15), keep_zero=False)
    assert torch.allclose(after, centre_cut(slices, (6, 15, 15)), atol=1e-4)


def test_a_patch_of_one_slice_stays_one_slice(make: SimpleNamespace) -> None:
    image = noise(1, 1, 15, 15)
    one = make.draw(angles=(90.0, 0.0, 0.0), in_plane=True)
    after, _ = augment.apply(one, image, torch.zeros(1, 15, 15, dtype=torch.int64), (1, 15, 15), keep_zero=False)
    assert torch.allclose(after, torch.rot90(image, -1, (2, 3)), atol=1e-4)
    assert moving.box_shape(make.draw(angles=(45.0, 0.0, 0.0), scale=1.3, in_plane=True), (1, 14, 14))[0] == 1


ANGLES = st.floats(-180, 180, allow_subnormal=False)
SIZES = st.integers(4, 9)


@settings(deadline=None, max_examples=40)
@given(st.tuples(ANGLES, ANGLES, ANGLES), st.floats(0.6, 1.5), st.tuples(SIZES, SIZES, SIZES), st.booleans())
def test_the_box_is_large_enough_and_has_the_same_centre(
    angles: tuple[float, float, float], scale: float, patch: tuple[int, int, int], in_plane: bool
) -> None:
    """Moving within the box equals moving within a much larger one: no border comes in."""
    one = Draw(
        (angles[0], 0.0, 0.0) if in_plane else angles, scale, in_plane, (), 0.0, 0, (0.0,), *[(1.0,)] * 5,
    )  # fmt: skip
    box = moving.box_shape(one, patch)
    assert all(wide >= size and (wide - size) % 2 == 0 for wide, size in zip(box, patch, strict=True))
    large = tuple(size + 20 for size in box)
    image, classes = noise(1, *large), (noise(*large, seed=1) > 0).long() + 1
    after, target = moving.move(one, centre_cut(image, box), centre_cut(classes, box), patch)
    expected, classes_expected = moving.move(one, image, classes, patch)
    assert torch.allclose(after, expected, atol=2e-4)
    assert (target == classes_expected).float().mean() > 0.98  # ties may fall either way
    assert (target > 0).all()


@settings(deadline=None, max_examples=20)
@example((0.0, 0.0, 1e-155), 1.0)
@given(st.tuples(ANGLES, ANGLES, ANGLES), st.floats(0.7, 1.4))
def test_moving_equals_scipy(angles: tuple[float, float, float], scale: float) -> None:
    one = Draw(angles, scale, False, (), 0.0, 0, (0.0,), *[(1.0,)] * 5)
    patch = (5, 6, 7)
    box = moving.box_shape(one, patch)
    image = noise(1, *box)
    after, _ = moving.move(one, image, torch.zeros(box, dtype=torch.int64), patch)
    matrix = moving.affine(one).numpy()
    offset = (np.array(box) - 1) / 2 - matrix @ ((np.array(patch) - 1) / 2)
    expected = ndimage.affine_transform(image[0].numpy().astype(np.float64), matrix, offset, output_shape=patch, order=1, mode="grid-constant")
    assert np.allclose(after[0].numpy(), expected, atol=2e-4)


MOVES = [
    {"angles": (20.0, -15.0, 10.0)},
    {"angles": (-30.0, 28.0, 29.0), "scale": 1.4},
    {"angles": (5.0, 170.0, -100.0), "scale": 0.7},
    {"angles": (25.0, 0.0, 0.0), "scale": 0.813},
    {"angles": (140.0, 0.0, 0.0), "scale": 1.2, "in_plane": True},
    {"scale": 0.71},
    {"scale": 1.33},
    {"scale": 1.33, "in_plane": True},
]


@pytest.mark.parametrize("change", MOVES)
@pytest.mark.parametrize("patch", [(24, 70, 66), (17, 9, 130)])
def test_a_cpu_gives_what_sampling_everything_at_once_gives(make: SimpleNamespace, change: dict[str, object], patch: Shape3) -> None:
    """Across the borders of blocks; labels down to the last voxel, but for shares that tie."""
    one = make.draw(2, **change)
    box = moving.box_shape(one, patch)
    z, y, x = (size + 2 for size in box)  # a view, as of a case in memory
    image = torch.nn.functional.avg_pool3d(noise(2, z, y, x)[None], 3, stride=1, padding=1)[0][:, 1:-1, 1:-1, 1:-1]
    labels = torch.stack([(image[0] * 5).round().clip(-1, 3), (image[1] * 9).floor().clip(0, 2)]).to(torch.int8)
    before = image.clone()
    after, moved = moving.move(one, image, labels, patch)
    expected, expected_labels = moving.sampled(moving.affine(one), image, labels, patch)
    assert after.shape == (2, *patch) and moved.dtype == torch.int8
    assert (after - expected).abs().max() < 1e-3 and (after - expected).abs().mean() < 5e-5
    assert (moved != expected_labels).float().mean() < 5e-5
    assert torch.equal(image, before)


@pytest.mark.parametrize("change", MOVES[-4:])
def test_one_slice_moves_as_sampling_says(make: SimpleNamespace, change: dict[str, object]) -> None:
    one, patch = make.draw(**{**change, "in_plane": True}), (1, 20, 30)
    box = moving.box_shape(one, patch)
    image, labels = noise(1, *box), (noise(1, *box, seed=1) * 2).round().to(torch.int64)
    after, moved = moving.move(one, image, labels, patch)
    expected, expected_labels = moving.sampled(moving.affine(one), image, labels, patch)
    assert torch.allclose(after, expected, atol=1e-4) and torch.equal(moved, expected_labels)


def test_ties_go_to_the_smaller_label(make: SimpleNamespace) -> None:
    """Half a voxel off along Y, between columns of 2 and of 1: both have half."""
    labels = torch.tensor([2, 1, 2, 1, 2, 1], dtype=torch.int8).view(1, 1, 6, 1).expand(1, 4, 6, 4)
    one, patch = make.draw(scale=0.5), (2, 6, 2)
    moved = moving.move(one, noise(1, 4, 6, 4), labels, patch)[1]
    assert moved[0, 0, :, 0].tolist() == [1, 2, 2, 1, 1, 2]
