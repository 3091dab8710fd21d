"""The sliding window against the network applied at once, and against a plain double loop."""

import itertools
from collections.abc import Callable, Sequence
from math import ceil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from autoseg.imaging.image import Shape3
from autoseg.inference.execution import Execution
from autoseg.inference.sliding_window import gaussian, pad_to_patch, predict_logits, windows

CPU = Execution("cpu")
SIZES = st.tuples(*[st.integers(1, 9)] * 3)


class Pointwise(nn.Module):
    """Three logits of each voxel alone; any number of axes."""

    def forward(self, x: Tensor) -> Tensor:
        a, b = x[:, :1], x[:, 1:]
        return torch.cat([a * b, a.sin() + 2, b.square() - a], 1)


class Shift(nn.Module):
    """The voxel before, along every axis: not the same after a flip."""

    def forward(self, x: Tensor) -> Tensor:
        return x.roll((1,) * (x.ndim - 2), tuple(range(2, x.ndim))) * 2


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def run(network: nn.Module, image: Tensor, patch: Shape3, classes: int, **options: object) -> Tensor:
    with torch.inference_mode():
        return predict_logits(network, image, patch, classes, CPU, **options).clone()  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 200), st.floats(0.05, 1))
def test_the_rule_of_windows(length: int, patch: int, step: float) -> None:
    length = max(length, patch)
    found = [place[1] for place in windows((1, length, 1), (1, patch, 1), step)]
    distance = max(1.0, patch * step)
    assert len(found) == ceil((length - patch) / distance) + 1
    starts = [place.start for place in found]
    assert all(place.stop - place.start == patch for place in found)
    assert starts[0] == 0 and starts[-1] == length - patch
    gaps = [after - before for before, after in itertools.pairwise(starts)]
    assert all(1 <= gap <= ceil(distance) for gap in gaps)
    assert not gaps or max(gaps) - min(gaps) <= 2  # evenly spaced, up to rounding at both ends


@settings(max_examples=40, deadline=None)
@given(SIZES, SIZES, st.floats(0.2, 1))
def test_every_voxel_is_seen(extra: Shape3, patch: Shape3, step: float) -> None:
    shape = tuple(size + more - 1 for size, more in zip(patch, extra, strict=True))
    seen = np.zeros(shape, int)
    for place in windows(shape, patch, step):  # type: ignore[arg-type]
        seen[place] += 1
    assert seen.min() >= 1


def test_a_2d_network_sees_each_slice_once() -> None:
    places = windows((7, 16, 16), (1, 16, 16), 0.5)
    assert [place[0].start for place in places] == list(range(7))


def test_published_numbers_of_windows() -> None:
    assert len(windows((155, 240, 240), (128, 128, 128), 0.5)) == 2 * 3 * 3
    assert len(windows((128, 128, 128), (128, 128, 128), 0.5)) == 1


@settings(max_examples=30, deadline=None)
@given(SIZES, st.floats(0.02, 2))
def test_gaussian(patch: Shape3, sigma: float) -> None:
    weight = gaussian(patch, sigma)
    assert tuple(weight.shape) == patch and weight.dtype == torch.float32
    assert weight.max() == 1 and weight.min() >= 1e-12
    for axis in range(3):
        torch.testing.assert_close(weight.flip(axis), weight)
        assert (weight.diff(dim=axis).narrow(axis, 0, (patch[axis] - 1) // 2) >= 0).all()  # rises towards the middle


def test_gaussian_by_hand() -> None:
    weight = gaussian((1, 1, 9), 0.125)[0, 0]
    assert abs(float(weight[1]) - np.exp(-0.5 * (3 / (9 / 8)) ** 2)) < 1e-6


@settings(max_examples=25, deadline=None)
@given(SIZES, SIZES, st.sampled_from([0.3, 0.5, 1.0]), st.sampled_from([(), (0,), (1, 2), (0, 1, 2)]))
def test_a_pointwise_network_is_not_changed_by_windows(shape: Shape3, patch: Shape3, step: float, axes: Sequence[int]) -> None:
    patch = (max(2, patch[0]), patch[1], patch[2])
    image = noise(2, *shape)
    before = image.clone()
    found = run(Pointwise(), image, patch, 3, step=step, mirror_axes=axes)
    assert tuple(found.shape) == (3, *shape) and found.dtype == torch.float32
    torch.testing.assert_close(found, Pointwise()(image[None])[0], atol=1e-5, rtol=1e-5)
    assert torch.equal(image, before)


def test_a_2d_network_gets_slices() -> None:
    image, ranks = noise(2, 5, 11, 13), []

    class Flat(Pointwise):
        def forward(self, x: Tensor) -> Tensor:
            ranks.append(tuple(x.shape))
            return super().forward(x)

    found = run(Flat(), image, (1, 8, 6), 3, mirror_axes=(1, 2))
    torch.testing.assert_close(found, Pointwise()(image[None])[0], atol=1e-5, rtol=1e-5)
    assert set(ranks) == {(1, 2, 8, 6)}
    assert len(ranks) == 5 * 2 * 4 * 4  # slices, windows along Y, along X, flips


def test_a_constant_network_stays_constant() -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tensor([2.5, -1.0]).reshape(1, 2, 1, 1, 1).expand(1, 2, *x.shape[2:]).clone()

    found = run(Constant(), noise(1, 20, 21, 22), (8, 7, 6), 2, sigma=0.05, mirror_axes=(0, 1, 2))
    torch.testing.assert_close(found, torch.tensor([2.5, -1.0]).reshape(2, 1, 1, 1).expand(2, 20, 21, 22))


def slow_logits(network: nn.Module, image: Tensor, patch: Shape3, step: float, axes: Sequence[int]) -> Tensor:
    """What is meant, in double precision: flips averaged in each window, windows averaged with Gaussian weights."""
    total, norm = torch.zeros(image.shape, dtype=torch.float64), torch.zeros(image.shape[1:], dtype=torch.float64)
    grids = torch.meshgrid(*[(torch.arange(size).double() - (size - 1) / 2) / (size / 8) for size in patch], indexing="ij")
    weight = torch.exp(-sum(grid**2 for grid in grids) / 2)
    weight = weight / weight.max()
    for place in windows(image.shape[1:], patch, step):  # type: ignore[arg-type]
        window = image[(slice(None), *place)].double()
        outputs = []
        for chosen in itertools.product([False, True], repeat=len(axes)):
            dims = [axis + 1 for axis, flipped in zip(axes, chosen, strict=True) if flipped]
            outputs.append(network(window.flip(dims)[None])[0].flip(dims))
        total[(slice(None), *place)] += torch.stack(outputs).mean(0) * weight
        norm[place] += weight
    return total / norm


@pytest.mark.parametrize("axes", [(), (0,), (2,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("network", [Shift(), nn.Conv3d(2, 2, 3, padding=1, dtype=torch.float64)])
def test_equals_the_plain_double_loop(network: nn.Module, axes: Sequence[int]) -> None:
    image, patch = noise(2, 11, 14, 9), (6, 8, 4)
    with torch.no_grad():
        expected = slow_logits(network, image, patch, 0.5, axes)
    single: nn.Module = network if isinstance(network, Shift) else nn.Conv3d(2, 2, 3, padding=1)
    single.load_state_dict(network.state_dict())
    torch.testing.assert_close(run(single, image, patch, 2, mirror_axes=axes).double(), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_with_mirroring_a_flipped_scan_gives_flipped_logits(axis: int) -> None:
    image = noise(2, 12, 16, 12)

    def logits(x: Tensor, axes: Sequence[int]) -> Tensor:
        return run(Shift(), x, (6, 8, 4), 2, mirror_axes=axes, step=1.0)  # windows beside each other: the flip maps them onto themselves

    flipped = logits(image.flip(axis + 1), (0, 1, 2)).flip(axis + 1)
    torch.testing.assert_close(flipped, logits(image, (0, 1, 2)), atol=1e-4, rtol=1e-4)
    assert (logits(image.flip(axis + 1), ()).flip(axis + 1) - logits(image, ())).abs().max() > 0.5


@pytest.mark.parametrize("shape", [(3, 20, 5), (1, 1, 1), (8, 8, 7)])
def test_a_scan_smaller_than_the_patch_lies_in_the_middle_of_zeros(shape: Shape3) -> None:
    image, patch = noise(2, *shape) + 5, (8, 8, 8)
    padded, inner = pad_to_patch(image, patch)
    assert tuple(padded.shape[1:]) == tuple(max(size, length) for size, length in zip(patch, shape, strict=True))
    assert torch.equal(padded[(slice(None), *inner)], image)
    assert float(padded.sum()) == pytest.approx(float(image.sum()), rel=1e-5)
    for place, length, whole in zip(inner, shape, padded.shape[1:], strict=True):
        assert place.stop - place.start == length and 0 <= (whole - place.stop) - place.start <= 1
    torch.testing.assert_close(run(Pointwise(), image, patch, 3), Pointwise()(image[None])[0], atol=1e-4, rtol=1e-5)


def test_windows_are_counted_aloud() -> None:
    told: list[tuple[int, int]] = []
    report: Callable[[int, int], None] = lambda done, total: told.append((done, total))  # noqa: E731
    run(Pointwise(), noise(2, 8, 8, 12), (8, 8, 8), 3, on_window=report)
    assert told == [(1, 2), (2, 2)]


def test_the_precision_is_that_of_the_execution() -> None:
    seen: list[torch.dtype] = []

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv3d(2, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            seen.append((y := self.conv(x)).dtype)
            return y

    with torch.inference_mode():
        found = predict_logits(Spy(), noise(2, 8, 8, 8), (8, 8, 8), 3, Execution("cpu", "bfloat16", True))
    assert seen == [torch.bfloat16] and found.dtype == torch.float32
