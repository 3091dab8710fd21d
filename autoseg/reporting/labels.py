"""Names beside points, so that none lies on another, on a point or on a bar.

- Each name takes the first free place on rings around its point, the right-hand side first; points are served from the top down.
- A name that finds no place is left out and told of, never drawn over another.
"""

from collections.abc import Sequence
from math import cos, hypot, pi, sin

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]  # left, bottom, right, top

_ANGLES = [side * step * pi / 8 for step in range(9) for side in (1, -1)]  # from the right-hand side to the left
_FIRST, _STEP = 7.0, 4.0  # radii of the rings


def place_labels(points_N2: NDArray[np.float64], sizes_N2: NDArray[np.float64], bounds: Box, taken: Sequence[Box] = ()) -> list[Box | None]:
    """Find a place for each name.

    Parameters
    ----------
    points_N2 : x, y of the points, in pixels
    sizes_N2 : width, height of the names, in pixels
    bounds : names stay within
    taken : what they must not lie on

    Returns
    -------
    the box of each name, in the order given; None where there was no room
    """
    filled = list(taken)
    places: list[Box | None] = [None] * len(points_N2)
    reach = hypot(bounds[2] - bounds[0], bounds[3] - bounds[1])
    for index in sorted(range(len(points_N2)), key=lambda index: (-points_N2[index, 1], points_N2[index, 0])):
        (x, y), (width, height) = points_N2[index], sizes_N2[index]
        for radius in np.arange(_FIRST, reach, _STEP):
            around = (_beside(x, y, width, height, radius, angle) for angle in _ANGLES)
            box = next((box for box in around if _within(box, bounds) and not any(overlap(box, other) for other in filled)), None)
            if box is not None:
                places[index] = box
                filled.append(box)
                break
    return places


def overlap(one: Box, other: Box) -> bool:
    """Whether two boxes share more than an edge."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _beside(x: float, y: float, width: float, height: float, radius: float, angle: float) -> Box:
    """A box that the ring touches: its middle lies away from the point by the radius and by half of itself."""
    left, bottom = x + cos(angle) * (radius + width / 2) - width / 2, y + sin(angle) * (radius + height / 2) - height / 2
    return left, bottom, left + width, bottom + height


def _within(box: Box, bounds: Box) -> bool:
    return bounds[0] <= box[0] and bounds[1] <= box[1] and box[2] <= bounds[2] and box[3] <= bounds[3]
