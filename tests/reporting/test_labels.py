"""Names beside points: none on another, none outside, none lost without a word."""

from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from autoseg.reporting.labels import overlap, place_labels

BOUNDS = (0.0, 0.0, 500.0, 400.0)


@given(st.lists(st.tuples(st.floats(10, 490), st.floats(10, 390), st.floats(10, 150)), min_size=1, max_size=15))
def test_no_name_lies_on_another_or_outside(points: list[tuple[float, float, float]]) -> None:
    places = np.array([point[:2] for point in points])
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in places]
    boxes = place_labels(places, np.array([(width, 12.0) for *_, width in points]), BOUNDS, taken)
    named = [box for box in boxes if box is not None]
    assert len(named) == len(points)  # there is room for 15
    assert not any(overlap(*pair) for pair in combinations(named, 2))
    assert not any(overlap(box, other) for box in named for other in taken)
    assert all(box[0] >= 0 and box[1] >= 0 and box[2] <= 500 and box[3] <= 400 for box in named)


def test_the_right_hand_side_comes_first_then_what_is_free() -> None:
    alone, at_the_edge = place_labels(np.array([[100.0, 300.0], [495.0, 100.0]]), np.array([[60.0, 10.0]] * 2), BOUNDS)
    assert alone == (107.0, 295.0, 167.0, 305.0)
    assert at_the_edge is not None and at_the_edge[2] <= 500


def test_a_name_without_room_is_left_out() -> None:
    assert place_labels(np.array([[50.0, 50.0]]), np.array([[600.0, 10.0]]), BOUNDS) == [None]
    one, other = place_labels(np.array([[5.0, 5.0], [6.0, 5.0]]), np.array([[60.0, 10.0]] * 2), (0, 0, 80, 12))
    assert (one is None) != (other is None)


def test_boxes_that_touch_do_not_overlap() -> None:
    assert not overlap((0, 0, 1, 1), (1, 0, 2, 1)) and overlap((0, 0, 1, 1), (0.9, 0.9, 2, 2)) and not overlap((0, 0, 1, 1), (0, 2, 1, 3))
