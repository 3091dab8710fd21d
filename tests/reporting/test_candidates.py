"""The picture of a selection."""

from math import nan
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.image import imread

from autoseg.errors import AutosegError
from autoseg.reporting.candidates import draw_candidates


def table(count: int = 3, *, interval: bool = True) -> pd.DataFrame:
    rows = [
        {
            "candidate": f"$candidate_{index}", "cost": 10.0 / (index + 1), "dice": 0.9 - 0.01 * index,
            "low": 0.85 - 0.01 * index if interval else nan, "high": 0.93 if interval else nan, "difference": -0.01 * index,
            "difference_low": -0.012 * index if interval else nan, "difference_high": -0.005 * index if interval else nan,
        }
        for index in range(count)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_line_for_each_candidate(tmp_path: Path) -> None:
    draw_candidates(table(), "$candidate_1", tmp_path / "a.png", margin=0.001, title="Three")
    draw_candidates(table(40), "$candidate_1", tmp_path / "b.png", margin=0.001, title="Twenty of forty")
    small, large = imread(tmp_path / "a.png"), imread(tmp_path / "b.png")
    assert large.shape[0] - small.shape[0] == pytest.approx(17 * 0.42 * 110, abs=3)
    blue = (abs(small[:, :, :3] - (0.0, 0.447, 0.698)) < 0.02).all(axis=2)
    rows = blue.any(axis=1).nonzero()[0]
    assert len(rows) and rows.max() - rows.min() < 30  # one candidate is in colour, in both panels on one line


def test_a_single_case_has_no_interval(tmp_path: Path) -> None:
    draw_candidates(table(1, interval=False), "$candidate_0", tmp_path / "a.png", margin=0.001, title="One")
    assert imread(tmp_path / "a.png").shape[0] > 100


def test_nothing_to_draw_is_said(tmp_path: Path) -> None:
    with pytest.raises(AutosegError, match="lack the columns cost, high"):
        draw_candidates(table().drop(columns=["cost", "high"]), "x", tmp_path / "a.png", margin=0.001, title="")
    with pytest.raises(AutosegError, match="no candidate to draw"):
        draw_candidates(table(0).reindex(columns=table().columns), "x", tmp_path / "a.png", margin=0.001, title="")
