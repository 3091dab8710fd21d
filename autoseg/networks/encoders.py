"""Networks for slices and pictures with an encoder of classification networks, from segmentation-models-pytorch.

- The library is imported when a plan names such a network; it belongs to the extra `zoo`.
- Attention gates (Oktay et al. 2018) stand where the library's decoder offers attention on the joined maps: the deeper map gates the skip.
- A frozen encoder takes no gradient, and its batch norms keep what they know: evaluation mode, whatever the network is in.
- Layers that only classification reads are taken out, so that every weight is learned.
- Encoders are built with random weights; `start_encoder` gives them those that the plan names, when a training begins.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from autoseg.errors import AutosegError, PlanError
from autoseg.networks._operators import declare_missing_operators
from autoseg.networks.convolution import make_faster
from autoseg.networks.extras import importing_zoo
from autoseg.networks.norm import GroupNorm, InstanceNorm2d
from autoseg.planning.plan import EncoderNetworkPlan

UNREAD = {"_conv_head", "_bn1"}  # what EfficientNet classifies with
MOMENTUM = 0.1  # PyTorch's own; EfficientNet's is a tenth of it, and would not know its statistics after a training of a hundred steps
CHANNELS = (256, 128, 64, 32, 16)  # of the decoder: the library's own
GATED = 2  # the channels of a gate are those of the skip, divided by this


class EncoderNetwork(nn.Module):
    """A network of the library: takes (B, C, Y, X), gives logits (B, K, Y, X)."""

    def __init__(self, body: nn.Module, *, frozen: bool) -> None:
        super().__init__()
        self.body = body
        self._frozen = frozen
        if frozen:
            self.encoder.requires_grad_(False)
            self.train()  # networks are born in training mode

    @property
    def encoder(self) -> nn.Module:
        return self.body.get_submodule("encoder")

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.body(x)
        return logits

    def train(self, mode: bool = True) -> "EncoderNetwork":
        super().train(mode)
        if self._frozen:
            self.encoder.eval()
        return self


class AttentionGate(nn.Module):
    """Gates the skip half of joined maps (B, G + S, Y, X) by the other half: additive attention, a weight for each pixel."""

    def __init__(self, gating: int, skip: int) -> None:
        super().__init__()
        inner = max(1, skip // GATED)
        self._gating = gating
        self.of_gating = nn.Sequential(nn.Conv2d(gating, inner, 1, bias=False), nn.BatchNorm2d(inner))
        self.of_skip = nn.Sequential(nn.Conv2d(skip, inner, 1, bias=False), nn.BatchNorm2d(inner))
        self.weight = nn.Sequential(nn.Conv2d(inner, 1, 1, bias=False), nn.BatchNorm2d(1))

    def forward(self, joined: Tensor) -> Tensor:
        gating, skip = joined[:, : self._gating], joined[:, self._gating :]
        weight = self.weight(F.relu(self.of_gating(gating) + self.of_skip(skip))).sigmoid()
        return torch.cat([gating, skip * weight], dim=1)


def build_encoder_network(network: EncoderNetworkPlan, dimensions: int, in_channels: int, num_classes: int) -> nn.Module:
    """The network with random weights; parameters as for `networks.build`."""
    body = _body(network, in_channels, num_classes)
    _leave_out_unread(body.get_submodule("encoder"))
    _learn_statistics_soon(body)
    if network.norm != "batch":
        _exchange_norms(body.get_submodule("decoder"), GroupNorm if network.norm == "group" else partial(InstanceNorm2d, affine=True))
    if network.attention_gates:
        _add_gates(body)
    body.segmentation_head = nn.Sequential(nn.Dropout2d(network.dropout), body.get_submodule("segmentation_head"))
    return EncoderNetwork(make_faster(body), frozen=network.frozen_encoder)


def library_encoder(network: EncoderNetworkPlan, in_channels: int) -> tuple[nn.Module, int]:
    """The encoder alone, which gives a list of maps, the deepest last; and the channels of that one."""
    smp = _library(network)
    encoder: nn.Module = smp.encoders.get_encoder(network.encoder, in_channels=in_channels, weights=None)
    _leave_out_unread(encoder)
    _learn_statistics_soon(encoder)
    features: int = encoder.out_channels[-1]  # type: ignore[index,assignment]
    return make_faster(encoder), features


def start_encoder(module: nn.Module, network: EncoderNetworkPlan, in_channels: int) -> str | None:
    """Give the encoder the weights that the plan names; what there is to say of it, None where it names none.

    Raises
    ------
    AutosegError
        the weights cannot be fetched or read, or are those of another encoder
    """
    if network.weights is None:
        return None
    encoder = module.get_submodule("encoder")
    if network.weights == "imagenet":
        _load(encoder, _fetched(network, in_channels), f"the ImageNet weights of {network.encoder}")
        return f"The encoder {network.encoder} starts from ImageNet."
    path = Path(network.weights).expanduser()
    _load(encoder, _fitted(_read(path), encoder, in_channels), str(path))
    return f"The encoder {network.encoder} starts from {path}."


def _body(network: EncoderNetworkPlan, in_channels: int, num_classes: int) -> nn.Module:
    smp = _library(network)
    common = {"encoder_name": network.encoder, "encoder_weights": None, "in_channels": in_channels, "classes": num_classes}
    body: nn.Module
    match network.family:
        case "unet":
            body = smp.Unet(**common, decoder_channels=CHANNELS)
        case "unetplusplus":
            body = smp.UnetPlusPlus(**common, decoder_channels=CHANNELS)
        case "deeplabv3plus":
            body = smp.DeepLabV3Plus(**common)
        case "encoder":
            raise ValueError("an encoder alone has no decoder")  # the plan's schema says so before
    return body


def _library(network: EncoderNetworkPlan) -> Any:
    declare_missing_operators()
    with importing_zoo(network.encoder if network.family == "encoder" else network.family):
        import segmentation_models_pytorch as smp
    return smp


def _leave_out_unread(encoder: nn.Module) -> None:
    for name in UNREAD & dict(encoder.named_children()).keys():
        setattr(encoder, name, nn.Identity())


def _learn_statistics_soon(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d) and layer.momentum is not None:
            layer.momentum = max(layer.momentum, MOMENTUM)


def _exchange_norms(module: nn.Module, norm: Callable[[int], nn.Module]) -> None:
    for name, layer in list(module.named_children()):
        if isinstance(layer, nn.BatchNorm2d):
            setattr(module, name, norm(layer.num_features))
        else:
            _exchange_norms(layer, norm)


def _add_gates(body: nn.Module) -> None:
    encoder_channels: list[int] = list(getattr(body.get_submodule("encoder"), "out_channels"))  # noqa: B009 - a library attribute that types do not know
    deeper = [encoder_channels[-1], *CHANNELS[:-1]]
    blocks = body.get_submodule("decoder.blocks")
    for block, gating, skip in zip(blocks.children(), deeper, encoder_channels[-2:0:-1], strict=False):  # the last block has no skip
        block.attention1 = AttentionGate(gating, skip)


def _fetched(network: EncoderNetworkPlan, in_channels: int) -> dict[str, Tensor]:
    """ImageNet's weights from the library's hub, or from its cache on this machine."""
    import segmentation_models_pytorch as smp

    try:
        encoder = smp.encoders.get_encoder(network.encoder, in_channels=in_channels, weights="imagenet")
    except Exception as error:  # whatever the hub's client raises: no network, no such host, a full disk
        reason = str(error).splitlines()[0]
        raise AutosegError(
            f"The ImageNet weights of {network.encoder} cannot be fetched ({type(error).__name__}: {reason}). On a computer with a network run once:"
            f" python -c \"import segmentation_models_pytorch as smp; smp.encoders.get_encoder('{network.encoder}', weights='imagenet')\" and copy"
            " ~/.cache/huggingface here; or give a file (network.weights: path); or start from random weights (network.weights: null)."
        ) from error
    return {name: tensor.detach().clone() for name, tensor in encoder.state_dict().items()}


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise AutosegError(f"The encoder's weights {path} (network.weights) do not exist. Correct the path, or use imagenet or null.")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise AutosegError(
            f"{path} holds no weights that can be read ({error}). Give a .safetensors file; of a .pth that you trust, make one with"
            " safetensors.torch.save_file(torch.load(FILE, weights_only=True), NEW)."
        ) from error


def _fitted(weights: dict[str, Tensor], encoder: nn.Module, in_channels: int) -> dict[str, Tensor]:
    """The weights with a first convolution for as many channels as the images have: kernels are repeated, their sum kept (as the library does)."""
    own = encoder.state_dict()
    for name, tensor in weights.items():
        if name in own and tensor.ndim == 4 and own[name].shape[1] == in_channels != tensor.shape[1] and own[name].shape[0] == tensor.shape[0]:
            repeated = tensor[:, [channel % tensor.shape[1] for channel in range(in_channels)]]
            return weights | {name: repeated * (tensor.shape[1] / in_channels)}
    return weights


def _load(encoder: nn.Module, weights: dict[str, Tensor], origin: str) -> None:
    own = encoder.state_dict()
    missing = sorted(own.keys() - weights.keys())
    unlike = [name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape]
    if missing or unlike:
        example = (missing or sorted(unlike))[0]
        raise PlanError(
            f"{origin} are those of another encoder: {len(missing)} tensors are missing and {len(unlike)} have other shapes, such as {example}."
        )
    encoder.load_state_dict({name: weights[name] for name in own})
