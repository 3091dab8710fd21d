"""What a block of the plan refuses on its own; faults seen from the whole file are in test_plan.py."""

from typing import Any

import pytest
from pydantic import ValidationError

from autoseg.planning.schema.blocks import Augmentation, NetworkPlan, Normalization, Recipe, Training, Transform

STRONG = {"probability": 0.5, "range": (-0.5, 2.0)}
UNET: dict[str, Any] = {
    "family": "plain_unet",
    "features_per_stage": (4, 8),
    "strides": ((1, 1), (2, 2)),
    "kernel_sizes": ((3, 3), (3, 3)),
    "blocks_per_stage": (2, 2),
    "convs_per_stage_decoder": (2,),
}


@pytest.mark.parametrize("key", ["lower", "upper", "mean", "std"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused(key: str, value: float) -> None:
    content: dict[str, Any] = {"channel": "CT", "scheme": "ct", "lower": -100.0, "upper": 200.0, "mean": 0.0, "std": 1.0}
    Normalization.model_validate(content)
    with pytest.raises(ValidationError, match=rf"{key}\n.*finite"):
        Normalization.model_validate(content | {key: value})


@pytest.mark.parametrize("name", ["scaling", "noise", "blur", "brightness", "contrast", "low_resolution", "gamma_inverted", "gamma"])
def test_only_a_rotation_may_be_negative(name: str) -> None:
    with pytest.raises(ValidationError, match=rf"{name}\.range: must .* \(found: \[-0\.5, 2\.0\]\)"):
        Augmentation(**{name: STRONG})  # type: ignore[arg-type]
    assert Augmentation(rotation=Transform(probability=1, range=(-30, 30))).rotation is not None


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


def test_a_training_has_a_recipe() -> None:
    recipe = Recipe(optimizer="sgd", learning_rate=0.01, augmentation=Augmentation())
    assert Training(batch_dice=True, recipes={"fast": recipe}).recipes.keys() == {"fast"}
    with pytest.raises(ValidationError, match="is empty: a plan needs"):
        Training(batch_dice=True, recipes={})
