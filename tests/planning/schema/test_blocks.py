"""What a block of the plan refuses on its own; faults seen from the whole file are in test_plan.py."""

from typing import Any

import pytest
from pydantic import ValidationError

from autoseg.planning.schema.blocks import Augmentation, Normalization, Recipe, Training, Transform

STRONG = {"probability": 0.5, "range": (-0.5, 2.0)}


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


def test_a_training_has_a_recipe() -> None:
    recipe = Recipe(optimizer="sgd", learning_rate=0.01, augmentation=Augmentation())
    assert Training(batch_dice=True, recipes={"fast": recipe}).recipes.keys() == {"fast"}
    with pytest.raises(ValidationError, match="is empty: a plan needs"):
        Training(batch_dice=True, recipes={})
