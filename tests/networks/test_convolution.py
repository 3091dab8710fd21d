"""Convolutions against PyTorch's own, in value and gradient, over kernels, strides, sizes and memory formats."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from autoseg.networks import gathering
from autoseg.networks.convolution import FORMATS, Conv2d, Conv3d, ConvTranspose2d, ConvTranspose3d, make_faster

PAIRS: list[tuple[type[nn.Module], type[nn.Module], int]] = [
    (nn.Conv2d, Conv2d, 2), (nn.Conv3d, Conv3d, 3), (nn.ConvTranspose2d, ConvTranspose2d, 2), (nn.ConvTranspose3d, ConvTranspose3d, 3),
]  # fmt: skip


def same(settings_: dict[str, Any], library: type[nn.Module], size: tuple[int, ...], *, channels_last: bool = True) -> tuple[Tensor, Tensor]:
    """Assert that both layers agree in value and in every gradient; returns both values."""
    torch.manual_seed(0)
    theirs = library(**settings_)
    ours = make_faster(library(**settings_))
    ours.load_state_dict(theirs.state_dict())
    layout = FORMATS[len(size) - 2] if channels_last else torch.contiguous_format
    x = torch.randn(size).to(memory_format=layout)
    results = []
    for layer in (theirs, ours):
        leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
        value = layer(leaf)
        (value * torch.linspace(-1, 1, value.numel()).view_as(value)).sum().backward()  # type: ignore[no-untyped-call]
        results.append([value.detach(), leaf.grad, *(parameter.grad for parameter in layer.parameters())])
    for right, found in zip(*results, strict=True):
        torch.testing.assert_close(found, right, atol=1e-4 * max(1.0, float(right.abs().max())), rtol=1e-4)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), results[1][0])
    return results[0][0], results[1][0]


@pytest.mark.parametrize(("library", "faster", "axes"), PAIRS)
def test_every_layer_is_exchanged_and_keeps_its_weights(library: type[nn.Module], faster: type[nn.Module], axes: int) -> None:
    layer = library(3, 5, 2, stride=2)
    names = list(layer.state_dict())
    network = make_faster(nn.Sequential(layer, nn.ReLU()))
    assert type(network[0]) is faster and network[0] is layer and list(layer.state_dict()) == names
    assert type(network[1]) is nn.ReLU


@pytest.fixture(params=["AVX2", "AVX512"])
def processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the layers take the processor for; either way of each runs on any, and on narrow layers too."""
    monkeypatch.setattr(gathering, "WIDE_ENOUGH", 8)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: request.param)
    return str(request.param)


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("size", [(1, 12, 6, 7, 5), (2, 9, 5, 6, 4), (3, 8, 1, 4, 6), (1, 2, 4, 4, 4)])
@pytest.mark.parametrize("kernel", [(3, 3, 3), (1, 3, 3), (3, 1, 1), (5, 3, 3), (1, 1, 1)])
@pytest.mark.parametrize("stride", [1, 2, (1, 2, 2)])
def test_a_3d_convolution_equals_the_library(size: tuple[int, ...], kernel: tuple[int, ...], stride: int | tuple[int, ...]) -> None:
    padding = [length // 2 for length in kernel]
    same({"in_channels": size[1], "out_channels": 10, "kernel_size": kernel, "stride": stride, "padding": padding}, nn.Conv3d, size)


@pytest.mark.parametrize("size", [(1, 4, 6, 7), (3, 9, 8, 5)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
def test_a_2d_convolution_equals_the_library(size: tuple[int, ...], stride: int, bias: bool) -> None:
    same({"in_channels": size[1], "out_channels": 8, "kernel_size": 3, "stride": stride, "padding": 1, "bias": bias}, nn.Conv2d, size)


@pytest.mark.parametrize("kernel", [(2, 2, 2), (1, 2, 2), (1, 1, 1), (2, 3, 1)])
@pytest.mark.parametrize("bias", [False, True])
def test_a_transposed_convolution_equals_the_library(kernel: tuple[int, ...], bias: bool) -> None:
    settings_ = {"in_channels": 6, "out_channels": 5, "kernel_size": kernel, "stride": kernel, "bias": bias}
    _, value = same(settings_, nn.ConvTranspose3d, (2, 6, 3, 4, 5))
    assert value.is_contiguous(memory_format=torch.channels_last_3d)
    same(settings_ | {"kernel_size": kernel[1:], "stride": kernel[1:]}, nn.ConvTranspose2d, (2, 6, 4, 5))


@pytest.mark.parametrize(
    ("library", "settings_"),
    [
        (nn.Conv3d, {"kernel_size": 3, "padding": 2, "dilation": 2}),
        (nn.Conv3d, {"kernel_size": 3, "padding": 1, "groups": 2}),
        (nn.Conv3d, {"kernel_size": 3, "padding": "same"}),
        (nn.Conv3d, {"kernel_size": 3, "padding": 1, "padding_mode": "circular"}),
        (nn.Conv3d, {"kernel_size": 3, "padding": 0}),
        (nn.Conv3d, {"kernel_size": 2, "padding": 1}),
        (nn.ConvTranspose3d, {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1}),
        (nn.ConvTranspose3d, {"kernel_size": 2, "stride": 2, "groups": 2}),
    ],
)
def test_other_kinds_equal_the_library_too(library: type[nn.Module], settings_: dict[str, Any]) -> None:
    same({"in_channels": 8, "out_channels": 8} | settings_, library, (2, 8, 5, 6, 4))


@pytest.mark.parametrize(("library", "faster", "axes"), PAIRS)
def test_channels_first_and_other_precisions_are_the_librarys(library: type[nn.Module], faster: type[nn.Module], axes: int) -> None:
    size = (2, 8, *(4, 5, 6)[:axes])
    same({"in_channels": 8, "out_channels": 8, "kernel_size": 2, "stride": 2}, library, size, channels_last=False)
    layer = make_faster(library(8, 8, 2, stride=2))
    x = torch.randn(size).to(memory_format=FORMATS[axes])
    exact = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    torch.testing.assert_close(layer.double()(x.double()).float(), exact)


@settings(max_examples=30, deadline=None)
@given(
    size=st.tuples(st.integers(1, 2), st.integers(1, 9), *[st.integers(1, 6)] * 3),
    outputs=st.integers(1, 9),
    kernel=st.tuples(*[st.sampled_from([1, 3, 5])] * 3),
    gathered=st.sampled_from([1, 50, 1000, 1 << 19]),
)
def test_the_gradient_of_the_weights_equals_the_library(size: tuple[int, ...], outputs: int, kernel: tuple[int, ...], gathered: int) -> None:
    torch.manual_seed(sum(size))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathering, "GATHERED", gathered)
        x, gradient = torch.randn(size), torch.randn(size[0], outputs, *size[2:])
        found = gathering.weight_gradient(*(one.to(memory_format=torch.channels_last_3d) for one in (x, gradient)), kernel)
    weight = torch.zeros(outputs, size[1], *kernel, requires_grad=True)
    value = nn.functional.conv3d(x, weight, padding=[length // 2 for length in kernel])
    value.backward(gradient)
    torch.testing.assert_close(found, weight.grad, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("frozen", ["weight", "bias", "input"])
def test_what_needs_no_gradient_gets_none(frozen: str) -> None:
    layer = make_faster(nn.Conv3d(8, 8, 3, padding=1))
    x = torch.randn(1, 8, 4, 4, 4).to(memory_format=torch.channels_last_3d).requires_grad_(frozen != "input")
    for name, parameter in layer.named_parameters():
        parameter.requires_grad_(name != frozen)
    layer(x).sum().backward()
    tensors: dict[str, Tensor] = {"input": x, **dict(layer.named_parameters())}
    assert {name for name, tensor in tensors.items() if tensor.grad is None} == {frozen}


def test_images_without_a_batch_and_sizes_that_are_asked_for() -> None:
    torch.manual_seed(0)
    convolution_, transposed = nn.Conv3d(3, 4, 3, padding=1), nn.ConvTranspose3d(3, 2, 2, stride=2)
    x = torch.randn(3, 4, 5, 6)
    expected = convolution_(x), transposed(x[None], output_size=[9, 10, 12])
    make_faster(convolution_), make_faster(transposed)
    torch.testing.assert_close((convolution_(x), transposed(x[None], output_size=[9, 10, 12])), expected)


def test_one_small_window_goes_to_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []
    own: Callable[..., Tensor] = torch.mkldnn_convolution
    monkeypatch.setattr(torch, "mkldnn_convolution", lambda x, *rest: asked.append(tuple(x.shape)) or own(x, *rest))
    with torch.inference_mode():
        make_faster(nn.Conv3d(1, 2, 3, padding=1))(torch.zeros(1, 1, 4, 4, 4))
    assert asked == [(1, 1, 4, 4, 4)]
