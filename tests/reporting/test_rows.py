"""Rows of panels: boxes where they are said to be, written texts above them."""

import pytest
from matplotlib.figure import Figure

from autoseg.reporting.rows import Row, new_rows


def written(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def test_panels_stand_beside_each_other_and_rows_below() -> None:
    figure, places = new_rows([Row("one", "Dice 0.9", (30, 30)), Row("two", "", (10, 100))], ["Scan", "Map"])
    assert [len(boxes) for boxes in places] == [2, 2]
    (first, second), (third, _) = places
    assert first[2:] == (2.4, 2.4) and third[3] == pytest.approx(0.4 * 2.4)  # square; flat, but not flatter than 0.4
    assert second[:2] == (pytest.approx(first[0] + 2.46), first[1])
    assert third[1] + third[3] + 0.3 == pytest.approx(first[1])  # room for the caption
    assert figure.get_size_inches()[0] == pytest.approx(2 * 2.4 + 0.06 + 2 * 0.2)
    assert set(written(figure)) >= {"Scan", "Map", "one", "Dice 0.9", "two"}


def test_a_long_name_is_cut_where_the_facts_begin() -> None:
    figure, _ = new_rows([Row("x" * 90, "Dice 0.9", (30, 30))], ["Scan"])
    (name,) = (text for text in written(figure) if "xx" in text)
    assert len(name) == int(2.4 / 0.075) - len("Dice 0.9") - 2
