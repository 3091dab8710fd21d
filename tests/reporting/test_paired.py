"""A line for each case from contestant to contestant."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from scipy import ndimage

from autoseg.errors import AutosegError
from autoseg.reporting import canvas
from autoseg.reporting.paired import _draw_panel, draw_pairs


def values(structures: int = 1, cases: int = 3) -> pd.DataFrame:
    rows = [
        {"case": f"case_{case}", "target": f"_t${target}", "metric": metric, "a": 0.2 + 0.2 * case, "$b_": 0.9 - 0.2 * case}
        for metric in ("dice", "hd95")
        for target in range(structures)
        for case in range(cases)
    ]
    return pd.DataFrame(rows)


def dots(target: Path, colour: canvas.Colour) -> int:
    return len(sizes(target, colour))


def sizes(target: Path, colour: canvas.Colour) -> np.ndarray:
    """Pixels of each dot."""
    pixels = imread(target)[..., :3]
    found, count = ndimage.label((np.abs(pixels - np.array(colour)) < 0.06).all(axis=-1), np.ones((3, 3)))
    pixels_of = ndimage.sum_labels(np.ones_like(found), found, range(1, count + 1))
    return pixels_of[pixels_of > 6]


def test_every_case_has_a_dot_for_each_contestant(tmp_path: Path) -> None:
    target = tmp_path / "pairs.png"
    draw_pairs(values(cases=4), ["a", "$b_"], ["_t$0"], {"dice": "Dice"}, target, title="$ four cases")
    assert dots(target, canvas.ORANGE) == dots(target, canvas.SKY_BLUE) == 4


def test_a_case_without_a_number_is_left_out(tmp_path: Path) -> None:
    table = values()
    table.loc[0, "a"] = np.nan
    draw_pairs(table, ["a", "$b_"], ["_t$0"], {"dice": "Dice"}, tmp_path / "pairs.png", title="")
    assert dots(tmp_path / "pairs.png", canvas.ORANGE) == dots(tmp_path / "pairs.png", canvas.SKY_BLUE) == 2


def test_no_dot_hides_under_the_bar_of_the_median(tmp_path: Path) -> None:
    """Of three cases the middle one is the median."""
    draw_pairs(values(), ["a", "$b_"], ["_t$0"], {"dice": "Dice"}, tmp_path / "pairs.png", title="")
    for colour in (canvas.ORANGE, canvas.SKY_BLUE):
        of_dots = sizes(tmp_path / "pairs.png", colour)
        assert len(of_dots) == 3 and of_dots.min() > 0.8 * of_dots.max()


def test_lines_and_bars_are_explained_below_the_heading(tmp_path: Path) -> None:
    draw_pairs(values(), ["a", "$b_"], ["_t$0"], {"dice": "Dice"}, tmp_path / "pairs.png", title="")
    below = imread(tmp_path / "pairs.png")[int(0.45 * canvas.DPI) : int(0.65 * canvas.DPI), :, :3]
    assert (below < 0.6).any(axis=(0, 2)).sum() > 100  # columns with ink


@pytest.mark.parametrize("numbers", [[0.0, 0.01, 0.02], [0.0, 0.5, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.98, 0.99, 1.0], [0.4, 0.5, 0.6]])
def test_the_axis_of_dice_has_no_number_that_no_dice_has(numbers: list[float]) -> None:
    axes = canvas.new_figure(3, 3).add_axes((0.2, 0.2, 0.7, 0.7))
    _draw_panel(axes, np.repeat(np.array(numbers)[:, None], 2, axis=1), ["a", "b"], "WT", "Dice")
    low, high = axes.get_ylim()
    ticks = axes.get_yticks()
    assert low < min(numbers) and high > max(numbers)  # no dot is cut
    assert len(ticks) > 1 and ticks.min() >= 0 and ticks.max() <= 1
    assert low > -0.05 and high < 1.05


def test_a_panel_for_each_structure_and_metric(tmp_path: Path) -> None:
    shapes = []
    for structures, metrics in ((2, {"dice": "Dice"}), (3, {"dice": "Dice", "hd95": "HD95, mm"}), (9, {"dice": "Dice"}), (6, {"dice": "Dice"})):
        names = [f"_t${index}" for index in range(structures)]
        draw_pairs(values(structures), ["a", "$b_"], names, metrics, tmp_path / "pairs.png", title="all")
        shapes.append(imread(tmp_path / "pairs.png").shape[:2])
    assert shapes[1][0] > shapes[0][0] and shapes[1][1] > shapes[0][1]
    assert shapes[2] == shapes[3]  # six at most


def test_nothing_to_draw_is_said(tmp_path: Path) -> None:
    with pytest.raises(AutosegError, match="nothing to draw"):
        draw_pairs(values(), ["a"], ["_t$0"], {"dice": "Dice"}, tmp_path / "pairs.png", title="")
