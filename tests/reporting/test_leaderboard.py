"""The picture of a leaderboard."""

from math import nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from autoseg.errors import AutosegError
from autoseg.reporting.leaderboard import draw_leaderboard

ORANGE, SKY_BLUE = (0.902, 0.624, 0.0), (0.337, 0.706, 0.914)


def table(count: int = 2) -> pd.DataFrame:
    rows = [
        {
            "configuration": f"$name_{index}", "dice": 0.9 - 0.01 * index, "low": 0.88 - 0.01 * index, "high": 0.92 - 0.01 * index,
            "training_seconds": 60.0 * 4**index, "case_seconds": 0.5 * 3**index,
        }
        for index in range(count)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def columns(path: Path, colour: tuple[float, float, float]) -> np.ndarray:
    """Where in the picture's width a colour is."""
    image = imread(path)[:, :, :3]
    found: np.ndarray = (abs(image - colour) < 0.02).all(axis=2).any(axis=0).nonzero()[0]
    return found


def test_a_configuration_is_a_point_in_both_panels_the_slower_to_the_right(tmp_path: Path) -> None:
    draw_leaderboard(table(), tmp_path / "a.png", title="Two")
    first, second = columns(tmp_path / "a.png", ORANGE), columns(tmp_path / "a.png", SKY_BLUE)
    half = imread(tmp_path / "a.png").shape[1] / 2
    for one, other in ((first[first < half], second[second < half]), (first[first > half], second[second > half])):
        assert len(one) and len(other) and one.max() < other.min()


def test_a_time_that_nobody_knows_is_not_drawn(tmp_path: Path) -> None:
    draw_leaderboard(table().assign(case_seconds=[0.5, nan]), tmp_path / "a.png", title="Two")
    half = imread(tmp_path / "a.png").shape[1] / 2
    assert (columns(tmp_path / "a.png", ORANGE) > half).any() and not (columns(tmp_path / "a.png", SKY_BLUE) > half).any()
    draw_leaderboard(table().assign(case_seconds=nan), tmp_path / "b.png", title="None timed")
    assert not (columns(tmp_path / "b.png", ORANGE) > half).any()


def test_many_have_room_and_one_alone_has_no_interval(tmp_path: Path) -> None:
    draw_leaderboard(table(1).assign(low=nan, high=nan), tmp_path / "a.png", title="One")
    draw_leaderboard(table(20), tmp_path / "b.png", title="Twenty")
    assert imread(tmp_path / "b.png").shape[0] - imread(tmp_path / "a.png").shape[0] == pytest.approx(10 * 0.22 * 110, abs=3)


def test_nothing_to_draw_is_said(tmp_path: Path) -> None:
    with pytest.raises(AutosegError, match="lack the columns low, case_seconds"):
        draw_leaderboard(table().drop(columns=["low", "case_seconds"]), tmp_path / "a.png", title="")
    with pytest.raises(AutosegError, match="no configuration to draw"):
        draw_leaderboard(table(0).reindex(columns=table().columns), tmp_path / "a.png", title="")
