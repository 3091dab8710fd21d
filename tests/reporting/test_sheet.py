"""Titles above pictures of any width."""

import pytest

from autoseg.reporting.sheet import new_sheet

TITLE = "Where structures lie in ten cases"


@pytest.mark.parametrize(("width", "shown", "smaller"), [(6.0, TITLE, False), (3.0, TITLE, True), (1.0, "Where struc", True)])
def test_a_title_becomes_smaller_before_it_is_cut(width: float, shown: str, smaller: bool) -> None:
    figure = new_sheet(width, 1.0, TITLE, {}).figure
    (text,) = figure.texts
    assert text.get_text().startswith(shown) and (float(text.get_fontsize()) < 12) == smaller
    assert text.get_window_extent(figure.canvas.get_renderer()).width < (width + 0.2) * figure.dpi  # type: ignore[attr-defined]
