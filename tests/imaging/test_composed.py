"""Drawings painted: what is sound is filled, what is damaged is refused before the library that fills outlines sees it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from autoseg.errors import AutosegError
from autoseg.imaging._composed import LONGEST_OUTLINE, painted
from autoseg.imaging.sources import Drawing, Drawn

HEIGHT, WIDTH = 6, 8
SQUARE = (2.0, 1.0, 5.0, 1.0, 5.0, 4.0, 2.0, 4.0)  # columns 2 to 4 of rows 1 to 3
NAN, INFINITE = float("nan"), float("inf")


def paint(*objects: Drawn, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.integer]:
    return painted(Drawing(Path("_annotations.coco.json"), "a.png", height, width, objects))[0][0]


def outline(*numbers: float) -> Drawn:
    return Drawn(1, (SQUARE, numbers))


def test_outlines_may_lie_across_the_border_or_outside() -> None:
    assert paint(Drawn(1, ((-8, -6, 16, -6, 16, 12, -8, 12),))).all()
    assert not paint(Drawn(1, ((9, 1, 12, 1, 12, 4),))).any()
    assert paint(Drawn(3, (SQUARE,))).sum() == 27 and paint(outline(3, 3, 3, 3, 3, 3)).sum() == 9


@pytest.mark.parametrize("bad", [NAN, INFINITE, -INFINITE, 5e8, -5e8, 1e300, 17, -9])
@pytest.mark.parametrize("place", [0, 5])
def test_coordinates_far_outside_are_refused(bad: float, place: int) -> None:
    numbers = [2.0, 1.0, 5.0, 1.0, 5.0, 4.0]
    numbers[place] = bad
    with pytest.raises(AutosegError, match=r"a\.png\): object 1 cannot be drawn: an outline leads far out of the picture of 6 x 8"):
        paint(outline(*numbers))


@pytest.mark.parametrize("numbers", [(), (1,), (1, 1), (1, 1, 3, 3), (1, 1, 3, 3, 5), (*SQUARE, 1)])
def test_outlines_of_fewer_than_three_points_are_refused(numbers: Sequence[float]) -> None:
    # the library would take four numbers for a box
    for polygons in ((tuple(numbers),), (SQUARE, tuple(numbers))):
        with pytest.raises(AutosegError, match=rf"object 2 cannot be drawn: an outline has {len(numbers)} numbers"):
            paint(Drawn(1, (SQUARE,)), Drawn(1, polygons))


def test_endless_outlines_are_refused() -> None:
    across = (0.0, 0.0, 8.0, 6.0) * (LONGEST_OUTLINE // 16)  # nine pixels a point
    with pytest.raises(AutosegError, match=r"outlines are 2,[\d,]+ pixels long"):
        paint(Drawn(1, (across,)))
    resting = (3.0, 3.0) * (LONGEST_OUTLINE // 2 + 1)  # points count, however close they lie
    with pytest.raises(AutosegError, match=r"outlines are 2,[\d,]+ pixels long"):
        paint(Drawn(1, (resting, resting)))


@pytest.mark.parametrize(("height", "width"), [(0, 8), (6, 0), (-6, 8), (-6, -8), (1, 100_001), (20_000, 20_000)])
def test_pictures_without_pixels_or_with_too_many_are_refused(height: int, width: int) -> None:
    with pytest.raises(AutosegError, match=rf"a\.png\): a picture of {height} x {width} pixels cannot be drawn on"):
        paint(Drawn(1, (SQUARE,)), height=height, width=width)


def test_runs_are_of_the_picture_that_they_were_made_for() -> None:
    runs = (13, 3, 3, 3, 3, 3, 20)  # the square, down columns of six pixels
    np.testing.assert_array_equal(paint(Drawn(1, runs=runs)), paint(Drawn(1, (SQUARE,))))
    np.testing.assert_array_equal(paint(Drawn(1, runs=runs, runs_of=(6, 8))), paint(Drawn(1, (SQUARE,))))
    for other in ((8, 6), (4, 12)):
        with pytest.raises(AutosegError, match=rf"its runs are of {other[0]} x {other[1]} pixels, the picture has 6 x 8"):
            paint(Drawn(1, runs=runs, runs_of=other))
