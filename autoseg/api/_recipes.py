"""`recipes`: the published approaches that a plan can take up."""

from pathlib import Path

from autoseg.planning.zoo.recipe import ZooRecipe
from autoseg.planning.zoo.recipes import recipes_in
from autoseg.workspace import Workspace


def recipes(*, workspace: Path | str | None = None) -> dict[str, ZooRecipe]:
    """Name to recipe: those that come with autoseg, and those in the workspace's folder `recipes/`.

    Parameters
    ----------
    workspace : by default `AUTOSEG_WORKSPACE`, else the current folder

    Raises
    ------
    AutosegError
        a file in that folder is no recipe; its faults are named
    """
    return recipes_in(Workspace.find(workspace).root)
