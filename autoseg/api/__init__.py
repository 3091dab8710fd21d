"""One function a command: paths and plain values in, dataclasses out, nothing printed. `autoseg` itself offers them all."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoseg.api._compare import Compared, compare
    from autoseg.api._crossval import CrossValidated, crossval
    from autoseg.api._demo import Demonstrated, demo
    from autoseg.api._ensemble import Ensembled, ensemble
    from autoseg.api._evaluate import Evaluated, evaluate
    from autoseg.api._fold import Trained
    from autoseg.api._leaderboard import Ranked, leaderboard
    from autoseg.api._locate import Located, locate
    from autoseg.api._plan import Planned, check, plan
    from autoseg.api._plan_files import CheckedPlan, check_plan, costs, plan_from_files
    from autoseg.api._predict import Predicted, predict
    from autoseg.api._recipes import recipes
    from autoseg.api._select import Selected, select
    from autoseg.api._train import train

__all__ = [
    "CheckedPlan", "Compared", "CrossValidated", "Demonstrated", "Ensembled", "Evaluated", "Located", "Planned", "Predicted", "Ranked", "Selected",
    "Trained", "check", "check_plan", "compare", "costs", "crossval", "demo", "ensemble", "evaluate", "leaderboard", "locate", "plan",
    "plan_from_files", "predict", "recipes", "select", "train",
]  # fmt: skip

_HOMES = {
    "check": "_plan", "plan": "_plan", "Planned": "_plan", "train": "_train", "Trained": "_fold", "predict": "_predict",
    "CheckedPlan": "_plan_files", "check_plan": "_plan_files", "costs": "_plan_files", "plan_from_files": "_plan_files",
    "Predicted": "_predict", "evaluate": "_evaluate", "Evaluated": "_evaluate", "demo": "_demo", "Demonstrated": "_demo",
    "compare": "_compare", "Compared": "_compare", "locate": "_locate", "Located": "_locate",
    "crossval": "_crossval", "CrossValidated": "_crossval", "ensemble": "_ensemble", "Ensembled": "_ensemble",
    "select": "_select", "Selected": "_select", "recipes": "_recipes", "leaderboard": "_leaderboard",
    "Ranked": "_leaderboard",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a function when it is first asked for: torch is not loaded to look at a plan."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
