"""Half the multiplications, the same sums: against PyTorch's own convolution in double precision, over sizes, kernels and threads."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from autoseg.networks import convolution, winograd
from autoseg.networks.convolution import Conv3d

LAST = torch.channels_last_3d


def exact(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    padding = [length // 2 for length in weight.shape[2:]]
    return F.conv3d(x.double(), weight.double(), None if bias is None else bias.double(), padding=padding)


def assert_near(found: Tensor, right: Tensor, *, share: float = 2e-5) -> None:
    assert found.shape == right.shape
    assert float((found.double() - right).abs().max()) <= share * max(1.0, float(right.abs().max()))


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 13), st.integers(1, 7), st.integers(1, 7)),
    outputs=st.integers(1, 9),
    plane=st.tuples(*[st.sampled_from([1, 3, 5])] * 2),
    biased=st.booleans(),
    at_a_time=st.sampled_from([1, 2000, 1 << 20]),
)
def test_values_and_gradients_are_those_of_direct_sums(
    size: tuple[int, ...], outputs: int, plane: tuple[int, int], biased: bool, at_a_time: int
) -> None:
    torch.manual_seed(sum(size))
    x, weight = torch.randn(size).to(memory_format=LAST), torch.randn(outputs, size[1], 3, *plane)
    bias = torch.randn(outputs) if biased else None
    gradient = torch.randn(size[0], outputs, *size[2:]).to(memory_format=LAST)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "AT_A_TIME", at_a_time)
        value, of_weight = winograd.convolve(x, weight, bias), winograd.weight_gradient(x, gradient, weight.shape[2:])
    assert value.is_contiguous(memory_format=LAST)
    assert_near(value, exact(x, weight, bias))
    leaf = weight.double().requires_grad_()
    exact(x, leaf).backward(gradient.double())
    assert leaf.grad is not None
    assert_near(of_weight, leaf.grad)


def test_threads_share_the_blocks_and_change_nothing(threads: int) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 32, 10, 6, 5).to(memory_format=LAST), torch.randn(33, 32, 3, 3, 3)
    gradient = torch.randn(2, 33, 10, 6, 5).to(memory_format=LAST)
    with torch.inference_mode():
        assert_near(winograd.convolve(x, weight, None), exact(x, weight))
    assert torch.get_num_threads() == threads
    first, second = (winograd.weight_gradient(x, gradient, (3, 3, 3)) for _ in range(2))
    assert torch.equal(first, second)
    leaf = weight.double().requires_grad_()
    exact(x, leaf).backward(gradient.double())
    assert leaf.grad is not None
    assert_near(first, leaf.grad)


def test_a_layer_takes_this_way_where_it_pays(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    taken = []
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr(winograd, "WORK_ENOUGH", 1)
    for name in ("convolve", "weight_gradient"):
        whole = getattr(winograd, name)
        monkeypatch.setattr(winograd, name, lambda *given, name=name, whole=whole: taken.append(name) or whole(*given))
    torch.manual_seed(0)
    layer = nn.Conv3d(32, 32, 3, padding=1)
    ours = Conv3d(32, 32, 3, padding=1)
    ours.load_state_dict(layer.state_dict())
    x = torch.randn(2, 32, 12, 16, 16).to(memory_format=LAST)
    leaves = [x.clone(memory_format=torch.preserve_format).requires_grad_() for _ in range(2)]
    values = [one(leaf) for one, leaf in zip((layer, ours), leaves, strict=True)]
    for value in values:
        (value * torch.linspace(-1, 1, value.numel()).view_as(value)).sum().backward()  # type: ignore[no-untyped-call]
    assert taken == ["convolve", "convolve", "weight_gradient"]
    assert_near(values[1].detach(), values[0].detach())
    for right, found in zip((leaves[0], *layer.parameters()), (leaves[1], *ours.parameters()), strict=True):
        assert right.grad is not None and found.grad is not None
        assert_near(found.grad, right.grad)
    taken.clear()
    with torch.inference_mode():
        for few in (x[:, :, :5], x[:, :, :, :15], x[:, :, :1]):  # two tiles for five planes, small planes, nothing along Z
            wide = few.repeat(9, 1, 1, 1, 1).contiguous(memory_format=LAST)  # tiles enough for any number of threads
            assert ours(wide).shape == wide.shape
    assert taken == []
    ours(x).mul_(2)  # what a layer gives is its own


@pytest.mark.parametrize(("tiles", "count"), [(17, 8), (5, 3), (9, 4), (2, 8)])
def test_every_thread_has_tiles(monkeypatch: pytest.MonkeyPatch, tiles: int, count: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    shares: list[int] = []
    monkeypatch.setattr(winograd, "map_in_order", lambda work, pieces: shares.extend(map(len, pieces)) or [])
    try:
        winograd.convolve(torch.zeros(1, 1, 4 * tiles, 2, 2).to(memory_format=LAST), torch.zeros(1, 1, 3, 3, 3), None)
    finally:
        torch.set_num_threads(before)
    assert len(shares) == min(tiles, count) and sum(shares) == tiles and max(shares) - min(shares) <= 1


@pytest.mark.parametrize("other", ["AVX512", "DEFAULT"])
def test_other_processors_keep_direct_sums(monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: other)
    monkeypatch.setattr(winograd, "pays", lambda *_: pytest.fail("was asked"))
    x = torch.randn(1, 32, 8, 16, 16).to(memory_format=LAST).requires_grad_()
    layer = convolution.make_faster(nn.Conv3d(32, 32, 3, padding=1))
    layer(x).sum().backward()
