"""Which training recipe was used, and what prediction may mirror for it."""

from collections.abc import Callable
from typing import Any

import pytest

from autoseg.errors import PlanError
from autoseg.planning.plan import Configuration, Plan
from autoseg.planning.training_recipe import mirror_axes, training_recipe

Plans = Callable[..., Plan]


def with_recipes(configuration: Configuration, **recipes: Any) -> Configuration:
    return configuration.model_copy(update={"training": configuration.training.model_copy(update={"recipes": recipes})})


def test_recipe_by_name_or_the_only_one(small_plan: Plans) -> None:
    configuration = small_plan().configuration("small")
    only = configuration.training.recipes["default"]
    assert training_recipe(configuration, "fast") is only
    with pytest.raises(PlanError, match=r"no 'slow'. It has: default, fast"):
        training_recipe(with_recipes(configuration, default=only, fast=only), "slow")


def test_only_what_was_mirrored_in_training_is_mirrored(small_plan: Plans) -> None:
    configuration = small_plan(learned_mirroring=(0, 2), inference={"mirror_axes": [1, 2]}).configuration("small")
    assert mirror_axes(configuration, "default") == (2,)
