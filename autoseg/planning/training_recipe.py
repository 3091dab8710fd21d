"""Which of a configuration's training recipes was used, and what follows from it for prediction."""

from autoseg.errors import PlanError
from autoseg.planning.plan import Configuration, Recipe


def training_recipe(configuration: Configuration, name: str) -> Recipe:
    """The recipe of that name, or the only one.

    Raises
    ------
    PlanError
        there are several and none is called so
    """
    recipes = {str(key): recipe for key, recipe in configuration.training.recipes.items()}
    if len(recipes) > 1 and name not in recipes:
        raise PlanError(f"training.recipes has no '{name}'. It has: {', '.join(recipes)}.")
    return recipes[name] if name in recipes else next(iter(recipes.values()))


def mirror_axes(configuration: Configuration, recipe: str) -> tuple[int, ...]:
    """Axes of the patch to mirror in prediction: the plan's, as far as the recipe mirrored them; others would show the network the unknown."""
    learned = training_recipe(configuration, recipe).augmentation.mirror_axes
    return tuple(axis for axis in configuration.inference.mirror_axes if axis in learned)
