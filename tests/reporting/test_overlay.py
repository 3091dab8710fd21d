"""Colours stand where the labels lie: read back from the pixels of the PNG."""

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread
from numpy.typing import NDArray

from autoseg.data.dataset import Labels
from autoseg.errors import AutosegError
from autoseg.imaging.image import Affine, Geometry, Shape3
from autoseg.reporting import canvas
from autoseg.reporting.overlay import Comparison, draw_comparison

RAS = Geometry.of((8, 32, 32)).affine
LPS = ((-1.0, 0.0, 0.0, 0.0), (0.0, -1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))


def box(y: slice | int, x: slice | int, value: int = 1, shape: Shape3 = (8, 32, 32), z: slice | int = slice(3, 5)) -> NDArray[np.uint8]:
    volume = np.zeros(shape, np.uint8)
    volume[z, y, x] = value
    return volume


def case(prediction: NDArray[Any], reference: NDArray[Any] | None = None, **facts: Any) -> Comparison:
    """Grey everywhere, so that nothing is cut off and colours blend the same all over."""
    return Comparison("case_1", np.ones(prediction.shape), prediction, reference, (1.0, 1.0, 1.0), window=(0.0, 2.0), **facts)


def picture(target: Path) -> NDArray[np.floating]:
    return imread(target)[..., :3].astype(float)


def blended(colour: canvas.Colour, grey: float = 0.5, opacity: float = 0.5) -> NDArray[np.floating]:
    return opacity * np.array(colour) + (1 - opacity) * grey


def where(pixels: NDArray[np.floating], colour: NDArray[np.floating]) -> NDArray[np.floating] | None:
    """Relative (y, x) of the centre of all pixels of a colour, or None."""
    found = np.argwhere((np.abs(pixels - colour) < 0.02).all(axis=-1))
    return None if len(found) < 20 else found.mean(axis=0) / pixels.shape[:2]


def column(pixels: NDArray[np.floating], index: int, of: int) -> NDArray[np.floating]:
    """One column of panels, without title, captions and legend."""
    width = pixels.shape[1]
    margin = 0.2 * canvas.DPI
    edges = np.linspace(margin, width - margin, of + 1).round().astype(int)
    return pixels[70:-60, edges[index] : edges[index + 1]]


@pytest.mark.parametrize(
    ("affine", "place"),
    [(None, (0.3, 0.2)), (LPS, (0.3, 0.2)), (RAS, (0.7, 0.8))],
    ids=["as stored", "LPS: first voxel is upper left", "RAS: first voxel is lower right"],
)
def test_prediction_stands_at_its_place(tmp_path: Path, affine: Affine | None, place: tuple[float, float]) -> None:
    target = tmp_path / "picture.png"
    draw_comparison([case(box(slice(6, 14), slice(3, 10)), box(slice(20, 28), slice(20, 28)), affine=affine)], target)
    pixels = picture(target)
    orange = blended(canvas.ORANGE)
    assert where(column(pixels, 0, 4), orange) is None  # the scan alone
    np.testing.assert_allclose(where(column(pixels, 2, 4), orange), place, atol=0.06)
    reference = 1 - np.array(place)
    assert np.abs(where(column(pixels, 1, 4), orange) - reference).max() < 0.12


def test_difference_has_three_colours(tmp_path: Path) -> None:
    target = tmp_path / "picture.png"
    reference = box(slice(4, 12), slice(4, 12)) + box(slice(20, 28), slice(4, 12), 2)
    prediction = box(slice(4, 12), slice(20, 28)) + box(slice(20, 28), slice(4, 12), 1)
    draw_comparison([case(prediction, reference)], target)
    panel = column(picture(target), 3, 4)
    dimmed = {"grey": 0.6 * 0.5, "opacity": 0.8}
    np.testing.assert_allclose(where(panel, blended(canvas.PURPLE, **dimmed)), (0.25, 0.75), atol=0.06)  # false positive
    np.testing.assert_allclose(where(panel, blended(canvas.YELLOW, **dimmed)), (0.25, 0.25), atol=0.06)  # false negative
    np.testing.assert_allclose(where(panel, blended(canvas.BLUE, **dimmed)), (0.75, 0.25), atol=0.06)  # wrong class
    draw_comparison([case(reference, reference)], target)
    panel = column(picture(target), 3, 4)
    assert all(where(panel, blended(colour, **dimmed)) is None for colour in (canvas.PURPLE, canvas.YELLOW, canvas.BLUE))


def test_a_flipped_prediction_moves_to_the_other_half(tmp_path: Path) -> None:
    prediction = box(slice(12, 20), slice(2, 10))
    places = []
    for array in (prediction, prediction[:, :, ::-1]):
        draw_comparison([case(array)], tmp_path / "picture.png")
        places.append(where(column(picture(tmp_path / "picture.png"), 1, 2), blended(canvas.ORANGE)))
    assert places[0][1] < 0.3 and places[1][1] > 0.7
    assert places[0][0] == pytest.approx(places[1][0], abs=0.01)


def test_slice_of_largest_reference_is_shown_and_ignored_voxels_do_not_count(tmp_path: Path) -> None:
    reference = box(slice(4, 12), slice(4, 12), z=2)
    reference[5] = 9
    prediction = box(slice(0, 32), slice(0, 32), 2, z=6)
    prediction[2, 20:28, 20:28] = 1
    labels = Labels(("background", "a", "b"), (0, 1, 2), ignore=9)
    draw_comparison([case(prediction, reference)], tmp_path / "all.png")
    draw_comparison([case(prediction, reference)], tmp_path / "ignoring.png", labels=labels)
    assert where(column(picture(tmp_path / "all.png"), 2, 4), blended(canvas.ORANGE)) is None
    np.testing.assert_allclose(where(column(picture(tmp_path / "ignoring.png"), 2, 4), blended(canvas.ORANGE)), (0.75, 0.75), atol=0.06)


def test_to_scale_in_millimetres(tmp_path: Path) -> None:
    """A label of 8 x 8 voxels at 1 x 3 mm is three times as wide as high."""
    one = replace(case(box(slice(12, 20), slice(12, 20))), spacing=(1.0, 1.0, 3.0))
    draw_comparison([one], tmp_path / "picture.png")
    pixels = picture(tmp_path / "picture.png")
    found = np.argwhere((np.abs(pixels - blended(canvas.ORANGE)) < 0.02).all(axis=-1))
    found = found[found[:, 0] < pixels.shape[0] - 60]
    height, width = found.max(axis=0) - found.min(axis=0)
    assert width / height == pytest.approx(3, rel=0.2)


def test_rows_make_the_picture_higher_and_odd_names_are_drawn(tmp_path: Path) -> None:
    heights = []
    for count in (1, 3):
        rows = [replace(case(box(4, 4)), name="a $ of _ names $" * 9, note="Dice 0.9")] * count
        draw_comparison(rows, tmp_path / f"{count}.png", labels=Labels(("background", "_$x$^"), (0, 1)), title="A title" * 20)
        heights.append(picture(tmp_path / f"{count}.png").shape[0])
    assert heights[1] - heights[0] == pytest.approx(2 * (2.4 + 0.3) * canvas.DPI, abs=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.png", "3.png"]


def test_errors_name_the_case(tmp_path: Path) -> None:
    wrong = case(box(4, 4), box(4, 4, shape=(8, 32, 31)))
    with pytest.raises(AutosegError, match=r"case_1: the reference has shape \(8, 32, 31\)"):
        draw_comparison([wrong], tmp_path / "picture.png")
    with pytest.raises(AutosegError, match="0 cases"):
        draw_comparison([], tmp_path / "picture.png")
    assert not list(tmp_path.iterdir())


def test_threads_draw_the_same_picture(tmp_path: Path) -> None:
    def draw(name: str) -> None:
        draw_comparison([case(box(slice(4, 12), slice(4, 12)), box(slice(5, 12), slice(4, 12)))], tmp_path / name)

    threads = [threading.Thread(target=draw, args=(f"{index}.png",)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({(tmp_path / f"{index}.png").read_bytes() for index in range(3)}) == 1


def test_takes_a_moment(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    volume = rng.random((40, 200, 200))
    rows = [Comparison("case", volume, (volume > 0.999).astype(int), (volume > 0.9995).astype(int), (1, 1, 1), affine=LPS)] * 4
    start = time.process_time()
    draw_comparison(rows, tmp_path / "picture.png")
    assert time.process_time() - start < 8


def test_uncertainty_glows_where_it_is_and_chooses_the_slice(tmp_path: Path) -> None:
    heat = np.zeros((8, 32, 32))
    heat[4, 20:26, 4:12] = 1.0
    heat[4, 4:10, 20:28] = 0.1
    heat[7] = 0.9  # nothing was found there
    row = case(box(slice(4, 10), slice(20, 28)), uncertainty=heat)
    draw_comparison([row], tmp_path / "a.png")
    glow = column(picture(tmp_path / "a.png"), 2, of=3)
    bright = where(glow, np.array([0.988, 1.0, 0.645]))  # the upper end of matplotlib's inferno
    assert bright is not None and bright[0] > 0.65 and bright[1] == pytest.approx(0.25, abs=0.06)
    low = glow[int(0.2 * len(glow)), int(0.75 * glow.shape[1])]
    assert not np.allclose(low, 0.3, atol=0.02)  # a tenth is seen too
    drawn_without = replace(row, uncertainty=None)
    draw_comparison([drawn_without], tmp_path / "b.png")
    assert picture(tmp_path / "b.png").shape[1] < picture(tmp_path / "a.png").shape[1]
    with pytest.raises(AutosegError, match="the uncertainty has shape"):
        draw_comparison([replace(row, uncertainty=heat[:4])], tmp_path / "c.png")
