"""Pictures of maps: rows and columns as asked for, the anomaly bright where it is."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from autoseg.errors import AutosegError
from autoseg.reporting.maps import MapRow, draw_maps


def row(*, brightness: float = 1.0, with_map: bool = True) -> MapRow:
    scan = np.zeros((6, 30, 40), np.float32)
    scan[:, 5:25, 5:35] = 100
    ball = np.zeros(scan.shape, bool)
    ball[2:4, 10:15, 10:15] = True
    return MapRow("case", "AUROC 0.9", {"Scan": scan, "Reconstruction": scan * 0.9}, ball, ball * brightness if with_map else None, (2.0, 1.0, 1.0))


def test_a_row_has_a_panel_for_each_image_and_the_map(tmp_path: Path) -> None:
    draw_maps([row()], tmp_path / "one.png")
    draw_maps([row(with_map=False), row(with_map=False)], tmp_path / "two.png")
    one, two = imread(tmp_path / "one.png"), imread(tmp_path / "two.png")
    assert one.shape[1] > 1.3 * two.shape[1] and two.shape[0] > 1.6 * one.shape[0]


def test_the_anomaly_is_the_one_thing_with_colour(tmp_path: Path) -> None:
    for brightness in (1.0, 0.0):
        draw_maps([row(brightness=brightness)], tmp_path / "map.png")
        picture = imread(tmp_path / "map.png")[..., :3]
        coloured = (np.ptp(picture, axis=-1) > 0.3) & (picture[..., 0] > picture[..., 2])  # reds and yellows, not the outline
        assert coloured.any() == bool(brightness)
        if brightness:
            assert np.flatnonzero(coloured.any(axis=0)).min() > picture.shape[1] / 2  # in the last panel


def test_nothing_to_show_is_said(tmp_path: Path) -> None:
    with pytest.raises(AutosegError, match="would show no case"):
        draw_maps([], tmp_path / "none.png")
