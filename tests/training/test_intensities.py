"""Each change against a plain oracle: SciPy's filters, one's own interpolation, the field's toolbox."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from batchgenerators.augmentations.color_augmentations import augment_contrast, augment_gamma
from scipy import ndimage
from torch import Tensor

from autoseg.training import intensities
from autoseg.training.draws import Draw


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def changed(draw: Draw, image: Tensor) -> Tensor:
    return torch.stack(list(intensities.changed_channels(draw, image.unbind())))


def test_noise_has_its_strength_and_its_seed(make: SimpleNamespace) -> None:
    image = torch.zeros(2, 20, 20, 20)
    one = make.draw(2, noise=0.3, noise_seed=7)
    after = changed(one, image)
    assert after.std().item() == pytest.approx(0.3, rel=0.03) and abs(after.mean().item()) < 0.01
    assert torch.equal(after, changed(one, image))
    assert not torch.equal(after, changed(make.draw(2, noise=0.3, noise_seed=8), image))
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
    assert np.allclose(intensities.blurred(x, sigma).numpy(), expected, atol=1e-5)


def test_brightness_multiplies_one_channel(make: SimpleNamespace) -> None:
    x = noise(2, 4, 5, 6)
    after = changed(make.draw(2, brightness=(1.2, 1.0)), x)
    assert torch.equal(after[0], x[0] * 1.2) and torch.equal(after[1], x[1])


@pytest.mark.parametrize("factor", [0.75, 1.25])
def test_contrast_spreads_about_the_mean_within_the_range(make: SimpleNamespace, factor: float) -> None:
    x = noise(1, 6, 7, 8)
    after = changed(make.draw(contrast=(factor,)), x).numpy()
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
    assert np.allclose(intensities.at_low_resolution(x, scale).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("exponent", [0.7, 1.5])
def test_gamma_bends_but_keeps_mean_and_deviation(exponent: float) -> None:
    x = noise(8, 9, 10) * 3 + 2
    after = intensities.with_gamma(x, exponent)
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
    assert np.allclose(torch.stack([intensities.with_gamma(channel, exponent) for channel in x]).numpy(), peer, atol=0.01)
    peer = augment_contrast(x.numpy().copy(), (exponent, exponent), preserve_range=True, per_channel=True)
    assert np.allclose(changed(make.draw(2, contrast=(exponent,) * 2), x).numpy(), peer, atol=1e-4)


def test_inverted_gamma_bends_the_other_end(make: SimpleNamespace) -> None:
    x = noise(1, 8, 9, 10)
    after = changed(make.draw(gamma_inverted=(1.5,)), x)
    assert torch.allclose(after[0], -intensities.with_gamma(-x[0], 1.5))
    assert not torch.allclose(after[0], intensities.with_gamma(x[0], 1.5), atol=0.05)


def test_a_constant_image_stays_finite(make: SimpleNamespace) -> None:
    one = make.draw(contrast=(1.2,), gamma=(0.7,), gamma_inverted=(1.5,), blur=(0.8,), low_resolution=(0.5,))
    after = changed(one, torch.full((1, 5, 6, 7), 3.0))
    assert torch.allclose(after, torch.full((1, 5, 6, 7), 3.0), atol=1e-5)


def test_intensity_changes_happen_in_order(make: SimpleNamespace) -> None:
    x = noise(1, 8, 9, 10)
    one = make.draw(noise=0.1, blur=(0.7,), brightness=(1.1,), contrast=(0.8,), low_resolution=(0.6,), gamma_inverted=(0.8,), gamma=(1.3,))
    step = x
    for name in ("noise", "blur", "brightness", "contrast", "low_resolution", "gamma_inverted", "gamma"):
        step = changed(make.draw(**{name: getattr(one, name)}), step)
    assert torch.allclose(changed(one, x), step, atol=1e-5)


@pytest.mark.parametrize("scale", [0.5, 0.61, 0.75, 0.98])
@pytest.mark.parametrize("shape", [(20, 30, 17), (1, 33, 12)])
def test_low_resolution_on_a_cpu_is_that_of_other_devices(scale: float, shape: tuple[int, int, int]) -> None:
    x = noise(*shape)
    down = F.interpolate(x[None, None], size=[max(1, round(size * scale)) for size in shape], mode="nearest-exact")
    expected = F.interpolate(down, size=shape, mode="trilinear", align_corners=False)[0, 0]
    assert torch.allclose(intensities.at_low_resolution(x, scale), expected, atol=1e-5)


def test_gamma_and_contrast_hold_far_from_zero_and_with_outliers() -> None:
    """float32 sums of squares over large constant regions are not exact: a plane at a time they are."""
    x = torch.full((64, 96, 96), 1000.0)
    x[20:40, 30:60, 30:60] += noise(20, 30, 30)
    x[0, 0, 0] = 900.0
    exact = x.numpy().astype(np.float64)
    for exponent in (0.7, 1.5):
        unit = ((exact - exact.min()) / (exact.max() - exact.min())) ** exponent
        expected = (unit - unit.mean()) / unit.std() * exact.std() + exact.mean()
        assert np.abs(intensities.with_gamma(x, exponent).numpy() - expected).max() < 1e-2
    expected = np.clip((exact - exact.mean()) * 1.2 + exact.mean(), exact.min(), exact.max())
    assert np.abs(intensities.with_contrast(x, 1.2).numpy() - expected).max() < 1e-3


def test_a_view_is_never_written_to_and_changes_as_its_copy_does(make: SimpleNamespace) -> None:
    """To the last bit: a case from memory and one from the disk must give one batch."""
    case = noise(2, 20, 21, 22)
    x, before = case[:, 3:15, 2:18, 5:20], case.clone()
    for change in ({"noise": 0.1}, *({name: (value, value)} for name, value in CHANGES.items())):
        after = changed(make.draw(2, **change), x)
        assert torch.equal(after, changed(make.draw(2, **change), x.contiguous())) and not torch.equal(after, x)
        assert torch.equal(case, before)


CHANGES = {"blur": 0.7, "brightness": 1.1, "contrast": 0.8, "low_resolution": 0.6, "gamma_inverted": 0.8, "gamma": 1.3}
