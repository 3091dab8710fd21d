"""autoseg: self-configuring segmentation of medical images.

- `check`, `recipes`, `plan`, `train`, `crossval`, `leaderboard`, `select`, `predict`, `locate`, `ensemble`, `evaluate`, `compare` and `demo` are the
  commands of the same names; `plan_from_files`, `check_plan` and `costs` are what `autoseg plan` does without images. They take paths and plain
  values, return dataclasses and print nothing.
- Each is imported when it is first used, so that `import autoseg` costs nothing.
"""

from typing import TYPE_CHECKING, Any

from autoseg.errors import AutosegError

if TYPE_CHECKING:
    from autoseg.api import (
        CheckedPlan,
        Compared,
        CrossValidated,
        Demonstrated,
        Ensembled,
        Evaluated,
        Located,
        Planned,
        Predicted,
        Ranked,
        Selected,
        Trained,
        check,
        check_plan,
        compare,
        costs,
        crossval,
        demo,
        ensemble,
        evaluate,
        leaderboard,
        locate,
        plan,
        plan_from_files,
        predict,
        recipes,
        select,
        train,
    )

__all__ = [
    "AutosegError", "CheckedPlan", "Compared", "CrossValidated", "Demonstrated", "Ensembled", "Evaluated", "Located", "Planned", "Predicted",
    "Ranked", "Selected", "Trained", "check", "check_plan", "compare", "costs", "crossval", "demo", "ensemble", "evaluate", "leaderboard",
    "locate", "plan", "plan_from_files", "predict", "recipes", "select", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from autoseg import api

    return getattr(api, name)
