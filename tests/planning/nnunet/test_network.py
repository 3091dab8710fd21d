import json
from collections.abc import Callable
from typing import Any

import pytest

from autoseg.errors import PlanError
from autoseg.planning.nnunet.network import read_network
from autoseg.planning.nnunet.parts import Part
from tests.planning.nnunet_files import plan_file
from tests.planning.parity import vectors

VECTOR = next(vector for vector in vectors("planner_vectors") if vector.preset == "resenc_m" and "3d_fullres" in vector.configurations)
FLAT = plan_file(VECTOR, modern=False)["configurations"]["3d_fullres"]
MODERN = plan_file(VECTOR, modern=True)["configurations"]["3d_fullres"]
STAGES = VECTOR.configurations["3d_fullres"]["n_stages"]
Edit = Callable[[dict[str, Any]], None]


def read(content: dict[str, Any], edit: Edit = lambda content: None) -> Any:
    copy = json.loads(json.dumps(content))
    edit(copy)
    return read_network(Part(copy, "p.json", "configurations.x."), 3)


def argument(key: str, value: Any) -> Edit:
    return lambda content: content["architecture"]["arch_kwargs"].update({key: value})


def test_single_numbers_stand_for_every_stage_and_axis() -> None:
    def shorten(content: dict[str, Any]) -> None:
        content["architecture"]["arch_kwargs"] |= {
            "features_per_stage": 24,
            "kernel_sizes": 3,
            "strides": [1] + [2] * (STAGES - 1),
            "n_blocks_per_stage": 5,
            "n_conv_per_stage_decoder": 2,
        }

    network = read(MODERN, shorten)
    assert network.features_per_stage == (24,) * STAGES
    assert network.kernel_sizes == ((3, 3, 3),) * STAGES
    assert network.strides == ((1, 1, 1), *((2, 2, 2),) * (STAGES - 1))
    assert (network.blocks_per_stage, network.convs_per_stage_decoder) == ((5,) * STAGES, (2,) * (STAGES - 1))


def test_features_of_the_older_style_double_up_to_the_limit() -> None:
    features = read(FLAT, lambda content: content.update(UNet_base_num_features=20, unet_max_num_features=70)).features_per_stage
    assert features[:4] == (20, 40, 70, 70)


def test_what_torch_calls_by_two_names_is_one() -> None:
    renamed = argument("nonlin", "torch.nn.modules.activation.LeakyReLU"), argument("conv_op", "torch.nn.Conv3d"), argument("nonlin_kwargs", None)
    assert read(MODERN, lambda content: [edit(content) for edit in renamed]) == read(MODERN) == read(FLAT)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda content: content["architecture"].update(network_class_name="mine.PlainConvUNet"), r"network_class_name is a network .*'mine\.Plain"),
        (lambda content: content["architecture"].update(extra=1), r"architecture\.extra is a key"),
        (lambda content: content["architecture"].pop("arch_kwargs"), r"architecture\.arch_kwargs is missing"),
        (lambda content: content.update(UNet_base_num_features=64), r"UNet_base_num_features stands beside 'architecture'.*64"),
        (
            argument("norm_op", "torch.nn.modules.batchnorm.BatchNorm3d"),
            r"arch_kwargs\.norm_op cannot be expressed: the norm is InstanceNorm3d.*Batch",
        ),
        (argument("norm_op_kwargs", {"eps": 1e-3, "affine": True}), r"norm_op_kwargs\.eps cannot be expressed.*0\.001"),
        (argument("norm_op_kwargs", {"eps": 1e-5}), r"norm_op_kwargs\.affine is missing"),
        (argument("norm_op_kwargs", {"affine": True, "momentum": 0.1}), r"norm_op_kwargs\.momentum is a key"),
        (argument("dropout_op", "torch.nn.Dropout3d"), r"dropout_op cannot be expressed.*Dropout3d"),
        (argument("nonlin", "torch.nn.ReLU"), r"nonlin cannot be expressed.*'torch\.nn\.ReLU'"),
        (argument("nonlin_kwargs", {"negative_slope": 0.2}), r"nonlin_kwargs\.negative_slope cannot be expressed.*0\.2"),
        (argument("conv_op", "torch.nn.modules.conv.Conv2d"), r"conv_op cannot be expressed: spacing has 3 numbers"),
        (argument("conv_bias", False), r"conv_bias cannot be expressed.*False"),
        (argument("n_stages", "6"), r"n_stages must be a whole number.*'6'"),
        (argument("n_stages", STAGES + 1), rf"features_per_stage must have {STAGES + 1} whole numbers"),
        (argument("n_conv_per_stage_decoder", [1]), rf"n_conv_per_stage_decoder must have {STAGES - 1} whole numbers"),
        (argument("n_conv_per_stage", 2), r"n_conv_per_stage is a key"),
        (argument("kernel_sizes", [[3, 3]] * STAGES), rf"kernel_sizes must have {STAGES} entries of 3 whole numbers"),
        (argument("strides", 2), r"strides cannot be expressed: the first stage"),
        (argument("squeeze_excitation", True), r"squeeze_excitation is a key.*True"),
        (lambda content: content["architecture"].update(network_class_name=["PlainConvUNet"]), r"network_class_name is a network"),
        (argument("kernel_sizes", 2), r"arch_kwargs describes no network that can be built:\n  kernel_sizes\.0: kernels have a middle"),
    ],
)
def test_what_cannot_be_expressed_is_named(edit: Edit, text: str) -> None:
    with pytest.raises(PlanError, match=rf"^p\.json: configurations\.x\..*{text}"):
        read(MODERN, edit)


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda content: content.update(UNet_class_name="MedNeXt"), r"UNet_class_name is a network .*'MedNeXt'"),
        (lambda content: content.update(pool_op_kernel_sizes=[]), r"pool_op_kernel_sizes must be a list"),
        (lambda content: content.pop("unet_max_num_features"), r"unet_max_num_features is missing"),
        (lambda content: content.update(n_conv_per_stage_encoder=[1, True]), r"n_conv_per_stage_encoder must have"),
    ],
)
def test_faults_of_the_older_style_are_named(edit: Edit, text: str) -> None:
    with pytest.raises(PlanError, match=rf"^p\.json: configurations\.x\.{text}"):
        read(FLAT, edit)


def test_a_network_of_one_stage_is_refused() -> None:
    single = {
        "pool_op_kernel_sizes": [[1, 1, 1]], "conv_kernel_sizes": [[3, 3, 3]], "n_conv_per_stage_encoder": [2], "n_conv_per_stage_decoder": []
    }  # fmt: skip
    with pytest.raises(PlanError, match=r"^p\.json: configurations\.x describes no network.*\n  features_per_stage: a U-Net has at least 2 stages"):
        read(FLAT, lambda content: content.update(single))
