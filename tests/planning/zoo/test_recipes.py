"""Recipes as files: those that come with the program, those of a workspace, and what is wrong with one."""

import json
from pathlib import Path

import pytest

from autoseg.errors import AutosegError
from autoseg.planning.zoo.recipes import find_recipe, own_recipes, read_recipe, recipes_in

NAMES = {
    "unet3d_brats", "unet3d_dice_focal", "unet3d_regions", "resnet50_unet_2d", "deeplabv3plus_effb0_2d", "attention_unet_2d", "attention_unet_3d",
    "effb0_unet_2d", "effb0_unet_frozen_2d", "effb5_unetpp_2d", "unet_lgg_2d", "resnet50_unet_lgg_2d", "resnet50_attention_unet_lgg_2d",
}  # fmt: skip


def test_published_approaches_come_with_the_program() -> None:
    found = own_recipes()
    assert not NAMES - found.keys()
    for name, recipe in found.items():
        assert recipe.name == name and recipe.title.endswith(".") and recipe.source and recipe.needs
        assert all(figure.data and figure.differs and figure.where for figure in recipe.published)


def test_published_figures_are_ratios() -> None:
    assert [figure.value for figure in own_recipes()["unet_lgg_2d"].published] == [0.82, 0.746]
    assert all(0 < figure.value <= 1 for recipe in own_recipes().values() for figure in recipe.published)


def test_a_workspace_has_recipes_of_its_own(tmp_path: Path) -> None:
    mine = own_recipes()["effb0_unet_2d"].model_dump(mode="json", exclude_defaults=True) | {"name": "mine", "title": "Mine."}
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "mine.json").write_text(json.dumps(mine))
    assert recipes_in(tmp_path).keys() == own_recipes().keys() | {"mine"}
    assert find_recipe("mine", tmp_path).title == "Mine."
    assert find_recipe(str(tmp_path / "recipes" / "mine.json"), Path()) == find_recipe("mine", tmp_path)


def test_what_is_no_recipe_is_told(tmp_path: Path) -> None:
    with pytest.raises(AutosegError, match="There is no recipe 'unet_lgg'; did you mean 'unet_lgg_2d'"):
        find_recipe("unet_lgg", tmp_path)
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({"name": "bad", "dimensions": 4, "configuraton": {}}))
    with pytest.raises(AutosegError) as caught:
        read_recipe(path)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{path} is no recipe:"
    assert "  dimensions: must be 2 or 3 (found: 4); did you mean 3?" in lines
    assert "  configuraton: unknown key; did you mean configuration?" in lines
    assert "  title: is missing" in lines
    good = own_recipes()["unet_lgg_2d"].model_dump(mode="json", exclude_defaults=True)
    path.write_text(json.dumps(good))
    with pytest.raises(AutosegError, match=r"call the file unet_lgg_2d\.json, or the recipe bad"):
        read_recipe(path)


def test_a_broken_file_is_passed_over_until_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "mine.json").touch()
    said: list[str] = []
    assert recipes_in(tmp_path, said.append) == own_recipes()
    assert len(said) == 1 and "mine.json" in said[0]
    assert find_recipe("unet_lgg_2d", tmp_path) == own_recipes()["unet_lgg_2d"]
    with pytest.raises(AutosegError, match=r"mine\.json"):
        find_recipe("mine", tmp_path)
