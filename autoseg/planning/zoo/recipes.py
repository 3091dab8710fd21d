"""The recipes there are: those that come with the program, those of a workspace, and a file that somebody names.

- A file is JSON and called `<name>.json`; nothing in it is code.
"""

import json
from collections.abc import Callable
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from autoseg.errors import AutosegError
from autoseg.files import read_json
from autoseg.planning.schema.faults import advice, as_written, in_words
from autoseg.planning.zoo.recipe import ZooRecipe

FOLDER = "recipes"  # in a workspace


def own_recipes() -> dict[str, ZooRecipe]:
    """Name to recipe, of those that come with the program, by name."""
    return dict(_built_in())


def recipes_in(workspace: Path, notify: Callable[[str], None] = lambda text: None) -> dict[str, ZooRecipe]:
    """The program's recipes and those in a workspace's folder `recipes/`, which take the place of others of their name.

    Parameters
    ----------
    workspace : its folder
    notify : told of each file there that is no recipe, which is passed over
    """
    found = own_recipes()
    for path in sorted((workspace / FOLDER).glob("*.json")):
        try:
            recipe = read_recipe(path)
        except AutosegError as error:
            notify(f"Passed over: {error}")
        else:
            found[recipe.name] = recipe
    return found


def find_recipe(name: str, workspace: Path) -> ZooRecipe:
    """The recipe of a name, or in a file `*.json`.

    Raises
    ------
    AutosegError
        there is none, or the file is no recipe
    """
    if name.endswith(".json"):
        return read_recipe(Path(name))
    if (mine := workspace / FOLDER / f"{name}.json").is_file():
        return read_recipe(mine)
    found = recipes_in(workspace)
    if name not in found:
        raise AutosegError(f"There is no recipe '{name}'{advice(name, sorted(found))}. autoseg recipes describes them.")
    return found[name]


def read_recipe(path: Path) -> ZooRecipe:
    """Read a recipe's file.

    Raises
    ------
    AutosegError
        it is missing, no JSON, or no recipe; its faults are named
    """
    return _recipe(read_json(path), str(path), path.stem)


@lru_cache(maxsize=1)
def _built_in() -> dict[str, ZooRecipe]:
    folder = files("autoseg.planning.zoo") / FOLDER
    entries = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".json")), key=lambda entry: entry.name)
    found = [_recipe(json.loads(entry.read_text(encoding="utf-8")), entry.name, entry.name.removesuffix(".json")) for entry in entries]
    return {recipe.name: recipe for recipe in found}


def _recipe(content: Any, source: str, stem: str) -> ZooRecipe:
    try:
        recipe = as_written(ZooRecipe, content)
    except ValidationError as error:
        raise AutosegError("\n".join([f"{source} is no recipe:", *(f"  {fault}" for fault in in_words(error, ZooRecipe))])) from error
    if recipe.name != stem:
        raise AutosegError(f"{source} holds the recipe '{recipe.name}': call the file {recipe.name}.json, or the recipe {stem}.")
    return recipe
