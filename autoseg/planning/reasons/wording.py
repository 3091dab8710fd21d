"""How numbers are put into words, the same in every reason."""

from collections.abc import Sequence


def extents(values: Sequence[float]) -> str:
    """Numbers of the axes: 128 x 160 x 112."""
    return " x ".join(f"{value:.4g}" for value in values)


def millions(values: float) -> str:
    """So many millions: 560."""
    return f"{values / 1e6:.4g}"


def percent(share: float) -> str:
    """A share: 25.6%."""
    return f"{100 * share:.3g}%"


def part(share: float) -> str:
    """A share of the median image, which a padded patch may exceed."""
    return "the whole median image" if share >= 1 else f"{percent(share)} of the median image"
