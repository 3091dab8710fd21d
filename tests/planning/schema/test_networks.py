"""What the network's block refuses, and how a whole plan says it."""

from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from autoseg.errors import PlanError
from autoseg.planning.plan import EncoderNetworkPlan, LibraryNetworkPlan, NetworkPlan, file_content, validate_plan
from autoseg.planning.planner import make_plan
from autoseg.planning.schema.json_schema import plan_schema

UNET: dict[str, Any] = {
    "family": "plain_unet",
    "features_per_stage": (4, 8),
    "strides": ((1, 1), (2, 2)),
    "kernel_sizes": ((3, 3), (3, 3)),
    "blocks_per_stage": (2, 2),
    "convs_per_stage_decoder": (2,),
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features_per_stage": (4,), "strides": ((1, 1),), "kernel_sizes": ((3, 3),), "blocks_per_stage": (2,), "convs_per_stage_decoder": ()},
         r"features_per_stage\n.*at least 2 stages, here is 1"),
        ({"features_per_stage": ()}, r"at least 2 stages, here are 0"),
        ({"strides": ((2, 1), (2, 2))}, r"strides\.0: .* \(found: \[2, 1\]\); nearest valid: \[1, 1\]"),
        ({"kernel_sizes": ((3, 2), (4, 3))},
         r"kernel_sizes\.0: .*\(found: \[3, 2\]\); nearest valid: \[3, 3\]; kernel_sizes\.1: .*\(found: \[4, 3\]\); nearest valid: \[5, 3\]"),
    ],
)  # fmt: skip
def test_what_is_no_unet(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        NetworkPlan(**UNET | change)


@pytest.mark.parametrize("key", ["strides", "kernel_sizes", "blocks_per_stage", "convs_per_stage_decoder"])
def test_every_list_of_a_network_fits_its_stages(key: str) -> None:
    NetworkPlan(**UNET)
    with pytest.raises(ValidationError, match=key):
        NetworkPlan(**UNET | {key: (*UNET[key], UNET[key][-1])})


@pytest.mark.parametrize(
    ("network", "side", "line"),
    [
        ({"family": "attention_net"}, 64, "network.family: there is no such choice (found: 'attention_net'); did you mean 'attention_unet'? choose"
         " from plain_unet, residual_unet, unet, unetplusplus, deeplabv3plus, encoder, attention_unet, segresnet, swin_unetr, unetplusplus_monai,"
         " autoencoder"),
        ({}, 64, "network.family: is missing"),
        ({"family": "unet", "encoder": "resnet5"}, 64, None),
        ({"family": "unet", "encoder": "resnet18", "wdth": 3}, 64, "network.wdth: unknown key; choose from family, encoder, weights, frozen_encoder,"
         " attention_gates, norm, dropout"),
        ({"family": "unetplusplus", "encoder": "resnet18", "attention_gates": True}, 64,
         "network.attention_gates: only family unet has them (found: true)"),
        ({"family": "segresnet", "width": 12}, 64, "network.width: must be a multiple of 8 for segresnet, whose norm has 8 groups; nearest valid: 16"
         " (found: 12)"),
        ({"family": "swin_unetr", "width": 12}, 64, "network.stages: must be 6 for swin_unetr (found: 5)"),
        ({"family": "unet", "encoder": "resnet18"}, 80, "patch_size: 80 on axis 0 is not divisible by 32, the product of the strides there;"
         " 80 on axis 1 is not divisible by 32, the product of the strides there (found: [80, 80]); nearest valid patch_size: [64, 64]"),
        ({"family": "deeplabv3plus", "encoder": "resnet18"}, 80, None),
        ({"family": "attention_unet", "width": 16, "stages": 4}, 40, None),
    ],
)  # fmt: skip
def test_networks_of_libraries_in_a_plan(network: dict[str, Any], side: int, line: str | None, facts_of: Callable[..., Any]) -> None:
    content = file_content(make_plan(*facts_of(shapes=[(1, 256, 256)] * 4, spacings=[(1.0, 1.0, 1.0)] * 4)))
    planned = content["configurations"]["2d"]
    planned |= {"network": network, "patch_size": [side, side], "training": planned["training"] | {"deep_supervision": False}}
    if line is None and network.get("encoder") != "resnet5":
        assert validate_plan(content, "it").configuration("2d").network.family == network["family"]
        assert not list(Draft202012Validator(plan_schema()).iter_errors(content))
        return
    with pytest.raises(PlanError) as caught:
        validate_plan(content, "it")
    text = str(caught.value).splitlines()[1]
    assert text == f"  configurations.2d.{line}" if line else "network.encoder: must be 'resnet18'" in text and "(found: 'resnet5')" in text


def test_a_network_of_a_library_gives_no_coarser_stages(facts_of: Callable[..., Any]) -> None:
    content = file_content(make_plan(*facts_of(shapes=[(1, 256, 256)] * 4, spacings=[(1.0, 1.0, 1.0)] * 4)))
    content["configurations"]["2d"]["network"] = {"family": "unet", "encoder": "resnet18"}
    with pytest.raises(
        PlanError, match=r"2d\.training\.deep_supervision: must be false: only plain_unet and residual_unet give .* and family is unet"
    ):
        validate_plan(content, "it")


def test_encoders_are_for_slices(facts_of: Callable[..., Any]) -> None:
    content = file_content(make_plan(*facts_of(shapes=[(64, 64, 64)] * 4, spacings=[(1.0, 1.0, 1.0)] * 4)))
    content["configurations"]["3d_fullres"]["network"] = {"family": "unet", "encoder": "resnet18"}
    with pytest.raises(
        PlanError, match=r"3d_fullres\.network\.family: 'unet' has encoders for 2D only, and dimensions is 3; in 3D choose from plain_unet,"
    ):
        validate_plan(content, "it")


def test_another_network_may_be_inherited_in_part(facts_of: Callable[..., Any]) -> None:
    content = file_content(make_plan(*facts_of(shapes=[(1, 256, 256)] * 4, spacings=[(1.0, 1.0, 1.0)] * 4)))
    own = content["configurations"]["2d"]["network"]
    gone = dict.fromkeys(own.keys() - {"family"})
    content["configurations"]["mine"] = {
        "inherits": "2d", "network": gone | {"family": "unet", "encoder": "resnet18", "dropout": 0.5}, "training": {"deep_supervision": False},
    }  # fmt: skip
    content["configurations"]["mine"]["network"].pop("norm", None)
    content["configurations"]["deeper"] = {"inherits": "mine", "network": {"encoder": "resnet34"}}
    made = validate_plan(content, "it")
    assert made.configuration("deeper").network == EncoderNetworkPlan(family="unet", encoder="resnet34", norm=own["norm"], dropout=0.5)
    assert validate_plan(file_content(made), "it") == made
    assert not list(Draft202012Validator(plan_schema()).iter_errors(content))


def test_what_patches_are_multiples_of() -> None:
    assert NetworkPlan(**UNET).divisors(2) == (2, 2)
    assert EncoderNetworkPlan(family="deeplabv3plus", encoder="resnet18").divisors(2) == (16, 16)
    assert LibraryNetworkPlan(family="segresnet", width=8, stages=4).divisors(3) == (8, 8, 8)
