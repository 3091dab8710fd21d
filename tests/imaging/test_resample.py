"""Resampling against scikit-image, the plain argmax, and cases worked out by hand."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import resize

from autoseg.imaging.channels import largest_channel, paint
from autoseg.imaging.resample import Planes, coarse_axis, resample, resample_labels, slabs

SIZES = st.tuples(*[st.integers(1, 16)] * 3)
ORDERS = st.sampled_from([0, 1, 3])


def noise(channels: int, shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(10, 50, (channels, *shape)).astype(np.float32))


def by_skimage(x_CZYX: torch.Tensor, shape: tuple[int, ...], order: int) -> np.ndarray:
    return np.stack([resize(c.numpy().astype(float), shape, order=order, mode="edge", anti_aliasing=False, clip=True) for c in x_CZYX])


@settings(max_examples=40, deadline=None)
@given(SIZES, SIZES, ORDERS, st.integers(0, 99))
def test_gives_what_scikit_image_gives(shape_in: tuple[int, int, int], shape_out: tuple[int, int, int], order: int, seed: int) -> None:
    x = noise(2, shape_in, seed)
    expected = by_skimage(x, shape_out, order)
    assert np.abs(resample(x, shape_out, order=order).numpy() - expected).max() <= 1e-5 * max(float(x.max() - x.min()), 1.0)


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize(("shape_in", "shape_out"), [((90, 3, 40), (67, 5, 101)), ((4, 130, 70), (7, 40, 70)), ((33, 65, 2), (70, 64, 1))])
def test_long_axes_are_made_in_pieces(shape_in: tuple[int, int, int], shape_out: tuple[int, int, int], order: int) -> None:
    x = noise(2, shape_in, 5)
    found = resample(x, shape_out, order=order).numpy()
    assert np.abs(found - by_skimage(x, shape_out, order)).max() <= 3e-6 * float(x.max() - x.min())
    slabs_of_it = torch.cat([*by_slabs(x, shape_out, order)], dim=1).numpy()
    assert np.abs(found - slabs_of_it).max() <= 1e-6 * float(x.max() - x.min())


def nearest_then_rest(x: torch.Tensor, shape: tuple[int, ...], order: int, axis: int | None) -> torch.Tensor:
    n_in, n_out = x.shape[axis + 1], shape[axis]
    source = np.floor((np.arange(n_out) + 0.5) * n_in / n_out).astype(int)
    return resample(x.index_select(axis + 1, torch.from_numpy(source)), shape, order=order)


@settings(max_examples=30, deadline=None)
@given(SIZES, SIZES, st.sampled_from([0, 1, 2]))
def test_the_nearest_axis_is_taken_slice_by_slice(shape_in: tuple[int, int, int], shape_out: tuple[int, int, int], axis: int | None) -> None:
    x = noise(1, shape_in)
    torch.testing.assert_close(resample(x, shape_out, order=1, nearest_axis=axis), nearest_then_rest(x, shape_out, 1, axis), atol=1e-3, rtol=0)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_nearest_axis_beside_cubic_ones(axis: int | None) -> None:
    x, shape = noise(1, (5, 6, 7)), (13, 11, 15)
    torch.testing.assert_close(resample(x, shape, order=3, nearest_axis=axis), nearest_then_rest(x, shape, 3, axis), atol=1e-3, rtol=0)


def test_equal_sizes_change_nothing() -> None:
    x = noise(2, (5, 6, 7))
    assert resample(x, (5, 6, 7), order=3) is x
    only_z = resample(x, (9, 6, 7), order=0)
    assert torch.equal(only_z[:, 4], x[:, 2])


def test_a_constant_stays_and_the_range_is_kept() -> None:
    assert torch.equal(resample(torch.full((1, 4, 4, 4), 3.7), (9, 5, 2), order=3), torch.full((1, 9, 5, 2), 3.7))
    step = torch.zeros(2, 8, 8, 8)
    step[0, :, :, 4:] = 1
    step[1, :, 4:] = -5
    result = resample(step, (21, 19, 23), order=3)
    assert (result[0].min(), result[0].max()) == (0, 1)
    assert (result[1].min(), result[1].max()) == (-5, 0)


def test_linear_by_hand() -> None:
    x = torch.tensor([0.0, 4.0]).reshape(1, 1, 1, 2)
    assert resample(x, (1, 1, 4), order=1).flatten().tolist() == [0, 1, 3, 4]


def test_there_and_back_keeps_a_smooth_image() -> None:
    grid = torch.linspace(0, 3.14, 24)
    x = (grid[:, None, None].sin() * grid[:, None].cos() + grid)[None]
    back = resample(resample(x, (36, 36, 36), order=3), (24, 24, 24), order=3)
    assert (back - x)[:, 3:-3, 3:-3, 3:-3].abs().max() < 2e-3


@pytest.mark.parametrize("device", ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def test_full_precision_whatever_the_caller_allows(device: str) -> None:
    x = noise(1, (12, 12, 12)).to(device)
    expected = resample(x, (17, 18, 19), order=3)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast(device, dtype=torch.bfloat16):
            found = resample(x, (17, 18, 19), order=3)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(ValueError, match="order 2"):
        resample(noise(1, (3, 3, 3)), (4, 4, 4), order=2)


def slow_labels(classes: torch.Tensor, shape: tuple[int, ...], order: int, axis: int | None, num_classes: int) -> torch.Tensor:
    values = [*range(num_classes), -1]
    one_hot = torch.stack([(classes == value).float() for value in values])
    return torch.tensor(values)[resample(one_hot, shape, order=order, nearest_axis=axis).argmax(0)]


@settings(max_examples=25, deadline=None)
@given(SIZES, SIZES, st.sampled_from([0, 1]), st.sampled_from([None, 0, 1, 2]), st.integers(0, 99))
def test_labels_go_to_the_largest_share(
    shape_in: tuple[int, int, int], shape_out: tuple[int, int, int], order: int, axis: int | None, seed: int
) -> None:
    classes = torch.from_numpy(np.random.default_rng(seed).integers(-1, 4, shape_in).astype(np.int16))
    result = resample_labels(classes, shape_out, 4, order=order, nearest_axis=axis)
    assert result.dtype == torch.int16
    assert torch.equal(result.long(), slow_labels(classes, shape_out, order, axis, 4))


@settings(max_examples=60, deadline=None)
@given(SIZES, SIZES, st.sampled_from([0, 1, 3]), st.sampled_from([None, 0, 1, 2]), st.integers(0, 99), st.sampled_from([-1, 0, 2]))
def test_small_structures_in_a_large_background(
    shape_in: tuple[int, int, int], shape_out: tuple[int, int, int], order: int, axis: int | None, seed: int, common: int
) -> None:
    rng = np.random.default_rng(seed)
    classes = np.full(shape_in, common, np.int16)
    z, y, x = (slice(start, start + rng.integers(1, 5)) for start in (rng.integers(0, size) for size in shape_in))
    classes[z, y, x] = rng.integers(-1, 4, classes[z, y, x].shape)
    found = resample_labels(torch.from_numpy(classes), shape_out, 4, order=order, nearest_axis=axis)
    values = [0, 1, 2, 3, -1]
    shares = resample(torch.stack([torch.from_numpy(classes == value).float() for value in values]), shape_out, order=order, nearest_axis=axis)
    won = shares.gather(0, torch.tensor([4, 0, 1, 2, 3])[found.long() + 1][None])[0]
    assert (won >= shares.amax(0) - 1e-6).all(), "a class with a smaller share won"


def test_a_tie_of_shares_goes_to_the_smaller_class_and_never_to_nobody() -> None:
    classes = torch.tensor([[[2, 1, -1, -1, 3, 0]]], dtype=torch.int16)
    assert resample_labels(classes, (1, 1, 3), 4, order=1).flatten().tolist() == [1, -1, 0]
    assert resample_labels(classes[..., 1:3], (1, 1, 1), 4, order=1).item() == 1


def test_a_thin_line_survives_as_it_would_not_in_the_mean() -> None:
    classes = torch.zeros(1, 6, 6, dtype=torch.int16)
    classes[0, :, 2] = 3
    result = resample_labels(classes, (1, 9, 9), 4, order=1)
    assert (result == 3).any(dim=2).all()
    assert set(result.unique().tolist()) == {0, 3}


def test_labels_that_stay_and_labels_out_of_range() -> None:
    classes = torch.tensor([[[0, 1], [2, -1]]], dtype=torch.int16)
    assert resample_labels(classes, (1, 2, 2), 3, order=1) is classes
    with pytest.raises(ValueError, match="2"):
        resample_labels(classes, (1, 3, 3), 2, order=1)


def by_slabs(logits: torch.Tensor, shape: tuple[int, int, int], order: int, axis: int | None = None, *, thickness: int = 4) -> Iterator[torch.Tensor]:
    planes = Planes.of(logits, shape, order=order, nearest_axis=axis)
    return (planes.at(where) for where in slabs(shape[0], thickness))


@pytest.mark.parametrize("thickness", [1, 4, 100])
@pytest.mark.parametrize(("order", "axis"), [(0, None), (1, None), (1, 0), (1, 2), (3, None)])
@pytest.mark.parametrize("shape", [(25, 11, 30), (7, 20, 13), (12, 16, 14)])
def test_slabs_give_the_argmax_of_the_whole(thickness: int, order: int, axis: int | None, shape: tuple[int, int, int]) -> None:
    logits = noise(5, (12, 16, 14)).half().float()
    expected = resample(logits, shape, order=order, nearest_axis=axis).argmax(0)
    for given_logits in (logits, logits.half()):
        made = list(by_slabs(given_logits, shape, order, axis, thickness=thickness))
        assert len(made) == -(-shape[0] // thickness)
        assert torch.equal(torch.cat([largest_channel(slab) for slab in made]).long(), expected)


def test_the_first_class_wins_a_tie() -> None:
    logits = torch.from_numpy(np.random.default_rng(0).integers(0, 3, (6, 8, 9, 10))).float()
    for order in (0, 1):
        result = torch.cat([largest_channel(slab) for slab in by_slabs(logits, (8, 18, 5), order)])
        assert torch.equal(result.long(), resample(logits, (8, 18, 5), order=order).argmax(0))


@pytest.mark.parametrize(
    ("current", "new", "axis"),
    [
        ((1, 1, 1), (2, 1, 1), None),
        ((5, 1, 1), (1, 1, 1), 0),
        ((3, 1, 1), (1, 1, 1), None),  # not above the threshold
        ((1, 1, 4), (5, 1, 1), 2),  # the current grid comes first
        ((1, 1, 1), (1, 4, 1), 1),
        ((0.24, 1.25, 1.25), (1, 1, 1), None),  # two coarse axes
        ((0.24, 1.25, 1.25), (9, 1, 1), None),
    ],
)
def test_the_coarse_axis(current: tuple[float, float, float], new: tuple[float, float, float], axis: int | None) -> None:
    assert coarse_axis(current, new) == axis


def test_the_threshold_of_the_coarse_axis() -> None:
    assert coarse_axis((3, 1, 1), (1, 1, 1), threshold=2.0) == 0


@pytest.mark.parametrize("thickness", [1, 4, 100])
@pytest.mark.parametrize(("order", "axis"), [(0, None), (1, None), (1, 2), (3, None)])
@pytest.mark.parametrize("shape", [(25, 11, 30), (12, 16, 14)])
def test_slabs_paint_the_regions_of_the_whole(thickness: int, order: int, axis: int | None, shape: tuple[int, int, int]) -> None:
    logits = noise(3, (12, 16, 14))
    expected = torch.zeros(shape, dtype=torch.long)
    for region, painted in zip(resample(logits, shape, order=order, nearest_axis=axis), (2, 1, 3), strict=True):
        expected = torch.where(region > 0, painted, expected)
    result = torch.cat([paint(slab, (2, 1, 3), above=0.0) for slab in by_slabs(logits, shape, order, axis, thickness=thickness)])
    assert torch.equal(result.long(), expected)
