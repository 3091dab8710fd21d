"""Every case is a dot at its Dice."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from numpy.typing import NDArray
from scipy import ndimage

from autoseg.errors import AutosegError
from autoseg.reporting import canvas
from autoseg.reporting.scores import draw_scores, worst


def table(dice_of_target: dict[str, list[float]]) -> pd.DataFrame:
    rows = [
        {"case": f"case_{index}", "target": target, "dice": dice, "hd95": 1.0}
        for target, values in dice_of_target.items()
        for index, dice in enumerate(values)
    ]
    return pd.DataFrame(rows)


def dots(target: Path, colour: canvas.Colour) -> NDArray[np.floating]:
    """Relative (y, x) of each dot of a colour."""
    pixels = imread(target)[..., :3]
    dot = 0.8 * np.array(colour) + 0.2  # on white
    components, count = ndimage.label((np.abs(pixels - dot) < 0.03).all(axis=-1), np.ones((3, 3)))
    sizes = ndimage.sum_labels(np.ones_like(components), components, range(1, count + 1))
    centres = ndimage.center_of_mass(components > 0, components, [index + 1 for index in range(count) if sizes[index] > 8])
    return np.array(centres).reshape(-1, 2) / pixels.shape[:2]


def test_dots_stand_in_the_order_of_dice(tmp_path: Path) -> None:
    target = tmp_path / "scores.png"
    draw_scores(table({"whole tumour": [0.9, 0.1, 0.5, 0.3], "core": [0.2, np.nan]}), target)
    whole, core = dots(target, canvas.ORANGE), dots(target, canvas.SKY_BLUE)
    assert len(whole) == 4 and len(core) == 1
    assert whole[:, 0].max() < core[0, 0]  # the first target is above
    x = np.sort(whole[:, 1])
    expected = x[0] + (x[3] - x[0]) * np.array([0, 0.25, 0.5, 1])  # 0.1, 0.3, 0.5, 0.9
    np.testing.assert_allclose(x, expected, atol=0.004)
    assert core[0, 1] == pytest.approx((x[0] + x[1]) / 2, abs=0.004)  # 0.2


def test_worst_cases() -> None:
    cases = np.array(["d", "b", "a", "c", "e"], dtype=object)
    dice = np.array([0.5, 0.2, 0.2, np.nan, 0.1])
    assert worst(cases, dice) == [("e", 0.1), ("a", 0.2), ("b", 0.2)]
    assert worst(cases[:1], dice[:1]) == [("d", 0.5)]


def test_the_line_is_where_it_was_asked_for(tmp_path: Path) -> None:
    """Of 0.1, 0.2, 0.5 and 1 the median is 0.35, the mean 0.45."""
    places = []
    for centre in ("median", "mean"):
        draw_scores(table({"a": [0.1, 0.2, 0.5, 1.0]}), tmp_path / "scores.png", centre=centre)  # type: ignore[arg-type]
        pixels = imread(tmp_path / "scores.png")[..., :3]
        x = np.sort(dots(tmp_path / "scores.png", canvas.ORANGE)[:, 1])
        dark = (np.abs(pixels - np.array(canvas.INK)) < 0.02).all(axis=-1)[:, int(0.3 * pixels.shape[1]) :]  # beside the names
        column = 0.3 + dark.sum(axis=0).argmax() / pixels.shape[1]
        places.append((column - x[0]) / (x[3] - x[0]) * 0.9 + 0.1)
    assert places == pytest.approx([0.35, 0.45], abs=0.01)


def test_a_row_for_each_target(tmp_path: Path) -> None:
    heights = []
    for count in (1, 4):
        draw_scores(table({f"$class_{index}$" * 5: [0.9, np.nan] for index in range(count)}), tmp_path / "scores.png", title="$")
        heights.append(imread(tmp_path / "scores.png").shape[0])
    assert heights[1] - heights[0] == pytest.approx(3 * 1.05 * canvas.DPI, abs=2)


def test_targets_that_no_case_has(tmp_path: Path) -> None:
    draw_scores(table({"a": [np.nan, np.nan]}), tmp_path / "scores.png")
    assert len(dots(tmp_path / "scores.png", canvas.ORANGE)) == 0


def test_unusable_tables(tmp_path: Path) -> None:
    with pytest.raises(AutosegError, match="lacks the columns target, dice"):
        draw_scores(pd.DataFrame({"case": ["a"]}), tmp_path / "scores.png")
    with pytest.raises(AutosegError, match="no case"):
        draw_scores(pd.DataFrame({"case": [], "target": [], "dice": []}), tmp_path / "scores.png")
    assert not list(tmp_path.iterdir())


def test_strips_that_belong_together_share_a_colour_and_a_mean_may_be_given(tmp_path: Path) -> None:
    target = tmp_path / "scores.png"
    means = {"all": (0.4, 0.3, 0.7)}
    draw_scores(table({"all": [0.1, 0.9, 0.2], "one": [0.1, 0.9], "other": [0.2]}), target, colours={"all": 0, "one": 0, "other": 1}, means=means)
    ours = dots(target, canvas.ORANGE)
    other = dots(target, canvas.SKY_BLUE)
    assert len(ours) == 5 and len(other) == 1
    pixels = imread(target)[..., :3]
    band = (np.abs(pixels - (0.25 * np.array(canvas.ORANGE) + 0.75)) < 0.02).all(axis=-1)
    x = np.sort(ours[:, 1])
    at = (np.flatnonzero(band.sum(axis=0) > 20)[[0, -1]] / pixels.shape[1] - x[0]) / (x[-1] - x[0]) * 0.8 + 0.1
    assert at == pytest.approx([0.3, 0.7], abs=0.01)
    strip = slice(*np.flatnonzero(band.sum(axis=1) > 20)[[0, -1]])
    dark = (np.abs(pixels[strip] - np.array(canvas.INK)) < 0.02).all(axis=-1)[:, int(0.3 * pixels.shape[1]) :]
    line = (0.3 + dark.sum(axis=0).argmax() / pixels.shape[1] - x[0]) / (x[-1] - x[0]) * 0.8 + 0.1
    assert line == pytest.approx(0.4, abs=0.01)
