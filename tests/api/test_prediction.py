"""Which channels a prediction can do without."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from autoseg.api._prediction import _unseen_channels
from autoseg.inference.cascade import TrainedFolds
from autoseg.inference.model_folder import Model
from autoseg.planning.plan import Plan, validate_plan

NAMES = ["FLAIR", "T1", "T1ce"]


def seeing(plan: Plan, *channels: str) -> Model:
    """A model whose configuration sees these channels of three."""
    content: dict[str, Any] = plan.model_dump(mode="json")
    content["dataset"]["channel_names"] = NAMES
    rule = content["configurations"]["small"]["normalization"][0]
    content["configurations"]["small"]["normalization"] = [rule | {"channel": channel} for channel in channels]
    return Model(Path("fold_0"), validate_plan(content, "the plan"), "small", nn.Identity())


def test_only_what_no_network_sees_may_be_missing(small_plan: Callable[..., Plan]) -> None:
    flair, enhanced, all_three = (seeing(small_plan(), *names) for names in (NAMES[:1], NAMES[2:], NAMES))
    assert _unseen_channels([TrainedFolds([flair], [])]) == {1, 2}
    assert _unseen_channels([TrainedFolds([flair], []), TrainedFolds([enhanced], [])]) == {1}
    assert _unseen_channels([TrainedFolds([flair], [all_three])]) == set()
    assert _unseen_channels([TrainedFolds([all_three], [])]) == set()
