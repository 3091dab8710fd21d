"""The published recipes, and which configuration comes from which."""

from autoseg.planning.zoo.recipe import Published


def published_of(configuration_name: str) -> tuple[Published, ...]:
    """The figures that the authors of a configuration's recipe report; empty where it comes from none."""
    return ()
