"""`recipes`: the published approaches that a plan can take up."""

from collections.abc import Callable
from pathlib import Path

from autoseg.planning.zoo.recipe import ZooRecipe
from autoseg.planning.zoo.recipes import recipes_in
from autoseg.workspace import Workspace


def recipes(*, workspace: Path | str | None = None, notify: Callable[[str], None] = lambda text: None) -> dict[str, ZooRecipe]:
    """Name to recipe: those that come with autoseg, and those in the workspace's folder `recipes/`.

    Parameters
    ----------
    workspace : by default `AUTOSEG_WORKSPACE`, else the current folder
    notify : told of each file in that folder that is no recipe, with its faults
    """
    return recipes_in(Workspace.find(workspace).root, notify)
