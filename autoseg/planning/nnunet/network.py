"""The network that nnU-Net's plan describes, as a network of ours.

- Two styles: `architecture` with the arguments of a network's class, and the flat keys of the first 2.x versions.
- A plain U-Net or one with a residual encoder, with instance norm and leaky ReLU, is all that our plan can express: anything else is an error.
"""

from typing import Any

from pydantic import ValidationError

from autoseg.errors import PlanError
from autoseg.planning.nnunet.parts import Part, faults
from autoseg.planning.plan import NetworkPlan
from autoseg.planning.rules.cost import Family

FAMILIES: dict[str, Family] = {
    "dynamic_network_architectures.architectures.unet.PlainConvUNet": "plain_unet",
    "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet": "residual_unet",
    "dynamic_network_architectures.architectures.residual_unet.ResidualEncoderUNet": "residual_unet",
    "PlainConvUNet": "plain_unet",
    "ResidualEncoderUNet": "residual_unet",
}
BLOCKS = {"plain_unet": "n_conv_per_stage", "residual_unet": "n_blocks_per_stage"}
FLAT_KEYS = frozenset(
    {
        "UNet_class_name",
        "UNet_base_num_features",
        "unet_max_num_features",
        "n_conv_per_stage_encoder",
        "n_conv_per_stage_decoder",
        "num_pool_per_axis",
        "pool_op_kernel_sizes",
        "conv_kernel_sizes",
    }
)
_SIZES = {"n_stages", "features_per_stage", "kernel_sizes", "strides", "n_conv_per_stage_decoder"}
_MODULES = {"conv_op", "conv_bias", "norm_op", "norm_op_kwargs", "dropout_op", "dropout_op_kwargs", "nonlin", "nonlin_kwargs"}


def read_network(configuration: Part, dimensions: int) -> NetworkPlan:
    """The network of a configuration, in either style.

    Parameters
    ----------
    configuration : with all that it inherits
    dimensions : 2 or 3

    Raises
    ------
    PlanError
        a key is missing or unknown, or says what our plan cannot express
    """
    if "architecture" not in configuration.content:
        return _flat(configuration, dimensions)
    for key in sorted(FLAT_KEYS & set(configuration.content)):
        raise configuration.fault(key, "stands beside 'architecture', where nnU-Net passes it over. Remove it")
    architecture = configuration.part("architecture")
    architecture.require_known({"network_class_name", "arch_kwargs", "_kw_requires_import"})
    family = _family(architecture, "network_class_name")
    arguments = architecture.part("arch_kwargs")
    arguments.require_known(_SIZES | _MODULES | {BLOCKS[family]})
    _require_our_modules(arguments, dimensions)
    stages = _count(arguments, "n_stages")
    return _network(
        arguments,
        family=family,
        features_per_stage=_per_stage(arguments, "features_per_stage", stages),
        strides=_strides(arguments, "strides", stages, dimensions),
        kernel_sizes=_axes(arguments, "kernel_sizes", stages, dimensions),
        blocks_per_stage=_per_stage(arguments, BLOCKS[family], stages),
        convs_per_stage_decoder=_per_stage(arguments, "n_conv_per_stage_decoder", stages - 1),
    )


def _flat(configuration: Part, dimensions: int) -> NetworkPlan:
    family = _family(configuration, "UNet_class_name")
    strides = configuration.get("pool_op_kernel_sizes")
    if not isinstance(strides, list) or not strides:
        raise configuration.fault("pool_op_kernel_sizes", "must be a list with an entry for each stage")
    stages, base, most = len(strides), _count(configuration, "UNet_base_num_features"), _count(configuration, "unet_max_num_features")
    return _network(
        configuration,
        family=family,
        features_per_stage=tuple(min(base * 2**stage, most) for stage in range(stages)),
        strides=_strides(configuration, "pool_op_kernel_sizes", stages, dimensions),
        kernel_sizes=_axes(configuration, "conv_kernel_sizes", stages, dimensions),
        blocks_per_stage=_per_stage(configuration, "n_conv_per_stage_encoder", stages),
        convs_per_stage_decoder=_per_stage(configuration, "n_conv_per_stage_decoder", stages - 1),
    )


def _network(part: Part, **decisions: Any) -> NetworkPlan:
    try:
        return NetworkPlan(**decisions)
    except ValidationError as error:
        where = f"{part.source}: {part.at.removesuffix('.')} describes no network that can be built:"
        raise PlanError("\n".join([where, *faults(error, NetworkPlan, {})])) from None


def _family(part: Part, key: str) -> Family:
    name = part.get(key)
    if not isinstance(name, str) or name not in FAMILIES:
        raise part.fault(key, "is a network that autoseg does not have. It has PlainConvUNet and ResidualEncoderUNet")
    return FAMILIES[name]


def _require_our_modules(arguments: Part, dimensions: int) -> None:
    """The parts that our networks are made of cannot be chosen."""
    norm, activation = f"InstanceNorm{dimensions}d", "LeakyReLU"
    arguments.require("conv_op", _paths(f"Conv{dimensions}d", "conv"), f"spacing has {dimensions} numbers, so convolutions are {dimensions}D")
    arguments.require("conv_bias", (True,), "convolutions have a bias")
    arguments.require("norm_op", _paths(norm, "instancenorm"), f"the norm is {norm}")
    norm_options = arguments.part("norm_op_kwargs")
    norm_options.require("affine", (True,), "the norm has weights")
    _require_options(norm_options, {"affine": (True,), "eps": (1e-5,)}, "the norm has eps 1e-5")
    if arguments.content.get("dropout_op") is not None:
        raise arguments.fault("dropout_op", "cannot be expressed: there is no dropout")
    arguments.require("nonlin", _paths(activation, "activation"), f"the activation is {activation}")
    if arguments.content.get("nonlin_kwargs") is not None:
        _require_options(arguments.part("nonlin_kwargs"), {"negative_slope": (0.01,), "inplace": (True, False)}, "the slope below zero is 0.01")


def _require_options(options: Part, allowed: dict[str, tuple[Any, ...]], meaning: str) -> None:
    """Each of these may be left out; other keys are refused."""
    options.require_known(allowed)
    for key in options.content:
        options.require(key, allowed[key], meaning)


def _paths(name: str, module: str) -> tuple[str, str]:
    return f"torch.nn.modules.{module}.{name}", f"torch.nn.{name}"


def _count(part: Part, key: str) -> int:
    value = part.get(key)
    if not _is_count(value):
        raise part.fault(key, "must be a whole number above zero")
    return int(value)


def _per_stage(part: Part, key: str, stages: int) -> tuple[int, ...]:
    """One number a stage; a single number stands for all."""
    value = part.get(key)
    entries = value if isinstance(value, list) else [value] * stages
    if len(entries) != stages or not all(map(_is_count, entries)):
        raise part.fault(key, f"must have {stages} whole numbers above zero")
    return tuple(entries)


def _axes(part: Part, key: str, stages: int, dimensions: int) -> tuple[tuple[int, ...], ...]:
    """One number an axis for each stage; a single number stands for all axes, or for all stages."""
    value = part.get(key)
    rows = value if isinstance(value, list) else [value] * stages
    rows = [row if isinstance(row, list) else [row] * dimensions for row in rows]
    if len(rows) != stages or not all(len(row) == dimensions and all(map(_is_count, row)) for row in rows):
        raise part.fault(key, f"must have {stages} entries of {dimensions} whole numbers above zero")
    return tuple(map(tuple, rows))


def _strides(part: Part, key: str, stages: int, dimensions: int) -> tuple[tuple[int, ...], ...]:
    strides = _axes(part, key, stages, dimensions)
    if set(strides[0]) != {1}:
        raise part.fault(key, "cannot be expressed: the first stage has full resolution, its strides are 1")
    return strides


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
