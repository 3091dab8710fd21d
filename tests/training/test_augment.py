"""Each change against a plain oracle: rotations by right angles, one's own interpolation, SciPy's filters."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from batchgenerators.augmentations.color_augmentations import augment_contrast, augment_gamma
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from autoseg.training import augment
from autoseg.training.draws import Draw, nothing


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def centre_cut(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The middle of the last three axes."""
    for axis, size in enumerate(shape, start=x.ndim - 3):
        x = x.narrow(axis, (x.shape[axis] - size) // 2, size)
    return x


def blob(shape: tuple[int, int, int], centre: tuple[int, int, int]) -> Tensor:
    classes = torch.zeros(shape, dtype=torch.int64)
    z, y, x = centre
    classes[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2] = 2
    return classes


def test_nothing_is_the_identity_and_copies_nothing() -> None:
    image, classes = noise(2, 6, 7, 8), torch.randint(-1, 3, (6, 7, 8))
    after, target = augment.apply(nothing(2), image, classes, (6, 7, 8), keep_zero=True)
    assert after is image and target is classes
    assert augment.box_shape(nothing(2), (6, 7, 8)) == (6, 7, 8)


@pytest.mark.parametrize("flips", [(0,), (1,), (2,), (0, 2), (0, 1, 2)])
def test_flips_are_exact_and_undo_themselves(make: SimpleNamespace, flips: tuple[int, ...]) -> None:
    image, classes = noise(2, 5, 6, 7), torch.randint(-1, 3, (5, 6, 7))
    one = make.draw(2, flips=flips)
    after, target = augment.apply(one, image, classes, (5, 6, 7), keep_zero=False)
    assert np.array_equal(after.numpy(), np.flip(image.numpy(), [axis + 1 for axis in flips]))
    assert np.array_equal(target.numpy(), np.flip(classes.numpy(), flips))
    back, again = augment.apply(one, after, target, (5, 6, 7), keep_zero=False)
    assert torch.equal(back, image) and torch.equal(again, classes)


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
    matrix = augment.affine(make.draw(angles=(20.0, -35.0, 50.0)))
    z = augment.affine(make.draw(angles=(20.0, 0.0, 0.0)))
    y = augment.affine(make.draw(angles=(0.0, -35.0, 0.0)))
    x = augment.affine(make.draw(angles=(0.0, 0.0, 50.0)))
    assert torch.allclose(matrix, z @ y @ x)
    assert torch.allclose(matrix @ matrix.T, torch.eye(3, dtype=torch.float64)) and torch.linalg.det(matrix) == pytest.approx(1)


def test_scale_above_one_shows_more(make: SimpleNamespace) -> None:
    """A box of nine voxels seen at scale 2 is about four and a half wide, about the same centre."""
    image = torch.zeros(1, 33, 33, 33)
    image[:, 12:21, 12:21, 12:21] = 1
    one = make.draw(scale=2.0)
    assert augment.box_shape(one, (17, 17, 17)) == (33, 33, 33)
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
    assert augment.box_shape(scaled, (6, 15, 15)) == (6, 21, 21)
    assert torch.equal(augment.affine(scaled), torch.diag(torch.tensor([1, 1.4, 1.4], dtype=torch.float64)))
    slices = torch.arange(6.0).view(1, 6, 1, 1).expand(1, 6, 21, 21)
    after, _ = augment.apply(scaled, slices, torch.zeros(6, 21, 21, dtype=torch.int64), (6, 15, 15), keep_zero=False)
    assert torch.allclose(after, centre_cut(slices, (6, 15, 15)), atol=1e-4)


def test_a_patch_of_one_slice_stays_one_slice(make: SimpleNamespace) -> None:
    image = noise(1, 1, 15, 15)
    one = make.draw(angles=(90.0, 0.0, 0.0), in_plane=True)
    after, _ = augment.apply(one, image, torch.zeros(1, 15, 15, dtype=torch.int64), (1, 15, 15), keep_zero=False)
    assert torch.allclose(after, torch.rot90(image, -1, (2, 3)), atol=1e-4)
    assert augment.box_shape(make.draw(angles=(45.0, 0.0, 0.0), scale=1.3, in_plane=True), (1, 14, 14))[0] == 1


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
    box = augment.box_shape(one, patch)
    assert all(wide >= size and (wide - size) % 2 == 0 for wide, size in zip(box, patch, strict=True))
    large = tuple(size + 20 for size in box)
    image, classes = noise(1, *large), (noise(*large, seed=1) > 0).long() + 1
    after, target = augment.move(one, centre_cut(image, box), centre_cut(classes, box), patch)
    expected, classes_expected = augment.move(one, image, classes, patch)
    assert torch.allclose(after, expected, atol=2e-4)
    assert (target == classes_expected).float().mean() > 0.98  # ties may fall either way
    assert (target > 0).all()


@settings(deadline=None, max_examples=20)
@example((0.0, 0.0, 1e-155), 1.0)
@given(st.tuples(ANGLES, ANGLES, ANGLES), st.floats(0.7, 1.4))
def test_moving_equals_scipy(angles: tuple[float, float, float], scale: float) -> None:
    one = Draw(angles, scale, False, (), 0.0, 0, (0.0,), *[(1.0,)] * 5)
    patch = (5, 6, 7)
    box = augment.box_shape(one, patch)
    image = noise(1, *box)
    after, _ = augment.move(one, image, torch.zeros(box, dtype=torch.int64), patch)
    matrix = augment.affine(one).numpy()
    offset = (np.array(box) - 1) / 2 - matrix @ ((np.array(patch) - 1) / 2)
    expected = ndimage.affine_transform(image[0].numpy().astype(np.float64), matrix, offset, output_shape=patch, order=1, mode="grid-constant")
    assert np.allclose(after[0].numpy(), expected, atol=2e-4)


def test_classes_move_with_the_image(make: SimpleNamespace) -> None:
    patch = (24, 24, 24)
    for angles, scale, flips in [((25.0, 0.0, 0.0), 1.0, ()), ((10.0, -30.0, 20.0), 0.8, (0,)), ((-30.0, 15.0, 30.0), 1.3, (1, 2))]:
        one = make.draw(angles=angles, scale=scale, flips=flips)
        box = augment.box_shape(one, patch)
        classes = blob(box, (box[0] // 2 + 3, box[1] // 2 - 4, box[2] // 2 + 5))
        image = torch.from_numpy(ndimage.gaussian_filter((classes > 0).float().numpy(), 1.0))[None]
        after, target = augment.apply(one, image, classes, patch, keep_zero=False)
        assert set(target.unique().tolist()) == {0, 2}
        centre = np.array(ndimage.center_of_mass(after[0].numpy()))
        assert np.abs(centre - ndimage.center_of_mass((target == 2).numpy())).max() < 0.5
        # and it is where the matrix says: scan offset = M @ patch offset
        offset = centre - (np.array(patch) - 1) / 2
        offset[list(flips)] *= -1
        expected = np.array([box[0] // 2 + 3, box[1] // 2 - 4, box[2] // 2 + 5]) - (np.array(box) - 1) / 2
        assert np.abs(augment.affine(one).numpy() @ offset - expected).max() < 0.2


@pytest.mark.parametrize("change", [{"flips": (1,)}, {"angles": (10.0, -30.0, 20.0), "scale": 0.8, "flips": (0,)}, {"scale": 1.3}])
def test_label_maps_move_alike_and_as_if_alone(make: SimpleNamespace, change: dict[str, object]) -> None:
    one, patch = make.draw(2, blur=(0.7, 0.0), **change), (12, 13, 14)
    box = augment.box_shape(one, patch)
    image, classes, other = noise(2, *box), blob(box, (6, 7, 8)).to(torch.int8), noise(*box).round().clip(-1, 2).to(torch.int8)
    together, maps = augment.apply(one, image, torch.stack([classes, other, classes]), patch, keep_zero=False)
    assert maps.dtype == torch.int8 and maps.shape == (3, *patch)
    for found, source in zip(maps, (classes, other, classes), strict=True):
        alone, expected = augment.apply(one, image, source, patch, keep_zero=False)
        assert torch.equal(together, alone) and torch.equal(found, expected)


def test_unannotated_voxels_survive(make: SimpleNamespace) -> None:
    tilted = make.draw(angles=(10.0, 0.0, 0.0))
    large = augment.box_shape(tilted, (24, 24, 24))
    whole = blob(large, (8, 12, 12))
    whole[14:20, 10:18, 10:18] = -1
    classes = centre_cut(whole, (24, 24, 24))
    one = make.draw(angles=(0.0, 0.0, 180.0), flips=(2,))
    _, target = augment.apply(one, noise(1, 24, 24, 24), classes, (24, 24, 24), keep_zero=False)
    assert torch.equal(target, classes.flip([0, 1, 2]))
    _, target = augment.apply(tilted, noise(1, *large), whole, (24, 24, 24), keep_zero=False)
    assert abs(int((target == -1).sum()) - int((classes == -1).sum())) < 40


def test_noise_has_its_strength_and_its_seed(make: SimpleNamespace) -> None:
    image = torch.zeros(2, 20, 20, 20)
    one = make.draw(2, noise=0.3, noise_seed=7)
    after = augment.change_intensities(one, image)
    assert after.std().item() == pytest.approx(0.3, rel=0.03) and abs(after.mean().item()) < 0.01
    assert torch.equal(after, augment.change_intensities(one, image))
    assert not torch.equal(after, augment.change_intensities(make.draw(2, noise=0.3, noise_seed=8), image))
    assert not torch.equal(after[0], after[1]) and (image == 0).all()


@pytest.mark.parametrize("sigma", [0.3, 0.5, 0.8, 1.0, 1.7])
@pytest.mark.parametrize("shape", [(9, 10, 11), (1, 12, 9), (3, 4, 20)])
def test_blur_equals_scipy(sigma: float, shape: tuple[int, int, int]) -> None:
    x = noise(*shape)
    radius = max(1, math.ceil(3 * sigma))
    expected = x.numpy().astype(np.float64)
    for axis, size in enumerate(shape):
        if size > 1:
            expected = ndimage.gaussian_filter1d(expected, sigma, axis, mode="nearest", radius=radius)
    assert np.allclose(augment.blurred(x, sigma).numpy(), expected, atol=1e-5)


def test_brightness_multiplies_one_channel(make: SimpleNamespace) -> None:
    x = noise(2, 4, 5, 6)
    after = augment.change_intensities(make.draw(2, brightness=(1.2, 1.0)), x)
    assert torch.equal(after[0], x[0] * 1.2) and torch.equal(after[1], x[1])


@pytest.mark.parametrize("factor", [0.75, 1.25])
def test_contrast_spreads_about_the_mean_within_the_range(make: SimpleNamespace, factor: float) -> None:
    x = noise(1, 6, 7, 8)
    after = augment.change_intensities(make.draw(contrast=(factor,)), x).numpy()
    expected = np.clip((x.numpy() - x.numpy().mean()) * factor + x.numpy().mean(), x.numpy().min(), x.numpy().max())
    assert np.allclose(after, expected, atol=1e-5)
    assert after.min() >= x.min() and after.max() <= x.max()


@pytest.mark.parametrize("scale", [0.5, 0.6, 0.83])
def test_low_resolution_equals_nearest_down_and_linear_up(scale: float) -> None:
    x = noise(1, 12, 15)[0][None]
    down = x.numpy()
    small = [1, *(round(size * scale) for size in x.shape[1:])]
    for axis, (size, count) in enumerate(zip(x.shape, small, strict=True)):
        down = down.take(np.floor((np.arange(count) + 0.5) * size / count).astype(int), axis)
    expected = down.astype(np.float64)
    for axis, (size, count) in enumerate(zip(x.shape, small, strict=True)):
        at = np.clip((np.arange(size) + 0.5) * count / size - 0.5, 0, count - 1)
        low = np.floor(at).astype(int)
        high, weight = np.minimum(low + 1, count - 1), at - low
        weight = np.expand_dims(weight, [other for other in range(3) if other != axis])
        expected = expected.take(low, axis) * (1 - weight) + expected.take(high, axis) * weight
    assert np.allclose(augment.at_low_resolution(x, scale).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("exponent", [0.7, 1.5])
def test_gamma_bends_but_keeps_mean_and_deviation(exponent: float) -> None:
    x = noise(8, 9, 10) * 3 + 2
    after = augment.with_gamma(x, exponent)
    assert after.mean().item() == pytest.approx(x.mean().item(), abs=1e-4)
    assert after.std().item() == pytest.approx(x.std().item(), rel=1e-4)
    assert torch.equal(after.flatten().argsort(), x.flatten().argsort())
    unit = ((x - x.min()) / (x.max() - x.min())) ** exponent
    assert torch.allclose((after - after.mean()) / after.std(), (unit - unit.mean()) / unit.std(), atol=1e-4)


@pytest.mark.parametrize("exponent", [1.1, 1.5])
def test_gamma_and_contrast_are_those_of_the_field(make: SimpleNamespace, exponent: float) -> None:
    """batchgenerators, with the only strength that its range leaves."""
    x = noise(2, 8, 9, 10) * 3 + 2
    peer = augment_gamma(x.numpy().copy(), (exponent, exponent), per_channel=True, retain_stats=True)
    assert np.allclose(torch.stack([augment.with_gamma(channel, exponent) for channel in x]).numpy(), peer, atol=0.01)
    peer = augment_contrast(x.numpy().copy(), (exponent, exponent), preserve_range=True, per_channel=True)
    assert np.allclose(augment.change_intensities(make.draw(2, contrast=(exponent,) * 2), x).numpy(), peer, atol=1e-4)


def test_inverted_gamma_bends_the_other_end(make: SimpleNamespace) -> None:
    x = noise(1, 8, 9, 10)
    after = augment.change_intensities(make.draw(gamma_inverted=(1.5,)), x)
    assert torch.allclose(after[0], -augment.with_gamma(-x[0], 1.5))
    assert not torch.allclose(after[0], augment.with_gamma(x[0], 1.5), atol=0.05)


def test_a_constant_image_stays_finite(make: SimpleNamespace) -> None:
    one = make.draw(contrast=(1.2,), gamma=(0.7,), gamma_inverted=(1.5,), blur=(0.8,), low_resolution=(0.5,))
    after = augment.change_intensities(one, torch.full((1, 5, 6, 7), 3.0))
    assert torch.allclose(after, torch.full((1, 5, 6, 7), 3.0), atol=1e-5)


def test_intensity_changes_happen_in_order(make: SimpleNamespace) -> None:
    x = noise(1, 8, 9, 10)
    one = make.draw(noise=0.1, blur=(0.7,), brightness=(1.1,), contrast=(0.8,), low_resolution=(0.6,), gamma_inverted=(0.8,), gamma=(1.3,))
    step = x
    for name in ("noise", "blur", "brightness", "contrast", "low_resolution", "gamma_inverted", "gamma"):
        step = augment.change_intensities(make.draw(**{name: getattr(one, name)}), step)
    assert torch.allclose(augment.change_intensities(one, x), step, atol=1e-5)


def test_outside_of_the_head_is_zero_again(make: SimpleNamespace) -> None:
    image = noise(2, 10, 10, 10)
    image[:, :4] = 0
    image[0, 5] = 0  # one channel only: still inside
    one = make.draw(2, noise=0.2, brightness=(1.2, 0.8), contrast=(1.2, 1.2), flips=(0,))
    classes = torch.zeros(10, 10, 10, dtype=torch.int64)
    after, _ = augment.apply(one, image, classes, (10, 10, 10), keep_zero=True)
    after = after.flip(1)
    assert (after[:, :4] == 0).all() and (after[:, 4:] != 0).any(0).all()
    changed, _ = augment.apply(one, image, classes, (10, 10, 10), keep_zero=False)
    assert (changed.flip(1)[:, :4] != 0).any()
    assert (image[:, :4] == 0).all()  # the sample itself is left alone
