"""Edges stand where masks end: read back from the pixels of the PNG."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread
from numpy.typing import NDArray

from autoseg.errors import AutosegError
from autoseg.evaluation.result import Target
from autoseg.imaging.image import Geometry
from autoseg.reporting import canvas
from autoseg.reporting.location import Location, draw_location, draw_sheet

LPS = ((-1.0, 0.0, 0.0, 0.0), (0.0, -1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
RAS = Geometry.of((8, 8, 8)).affine
ONE, TWO = Target("one", (1,)), Target("two", (2,))


def flat(mask: NDArray[Any], image: NDArray[Any] | None = None, **facts: Any) -> Location:
    return Location("case", np.full((1, *mask.shape), 0.5) if image is None else image, mask, (1.0, 1.0, 1.0), None, flat=True, **facts)


def chequered(n: int) -> NDArray[Any]:
    """A volume (1, n, n, n) of which nothing is cut off."""
    return np.indices((n, n, n)).sum(axis=0)[None] % 2


def content(picture: Path) -> NDArray[np.floating]:
    """The pixels of the panels, in 0..1."""
    left, top, right, bottom = json.loads(canvas.notes_of(picture)["panels"])
    return imread(picture)[top:bottom, left:right, :3].astype(float)


def near(pixels: NDArray[np.floating], colour: canvas.Colour, tolerance: float = 0.03) -> NDArray[np.bool_]:
    return (np.abs(pixels - np.array(colour)) < tolerance).all(axis=-1)


def distance_to_edge(mask: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.floating]:
    """For each pixel of a picture of that shape, how far it is from the nearest edge of the mask, in the mask's pixels: by looking at every edge."""
    y, x = ((np.arange(n) + 0.5) / n * size for n, size in zip(shape, mask.shape, strict=True))
    best = np.full(shape, np.inf)
    padded = np.pad(mask.astype(bool), 1)
    for j, i in np.argwhere(padded[:-1, 1:-1] != padded[1:, 1:-1]):  # the horizontal edge above row j, from column i to i + 1
        best = np.minimum(best, np.hypot((y - j)[:, None], np.maximum(np.abs(x - i - 0.5) - 0.5, 0)[None]))
    for j, i in np.argwhere(padded[1:-1, :-1] != padded[1:-1, 1:]):
        best = np.minimum(best, np.hypot(np.maximum(np.abs(y - j - 0.5) - 0.5, 0)[:, None], (x - i)[None]))
    return best


@pytest.mark.parametrize("seed", range(2))
def test_contour_pixels_agree_with_the_edge_of_the_mask(tmp_path: Path, seed: int) -> None:
    blob = np.zeros((1, 24, 32), np.uint8)
    rng = np.random.default_rng(seed)
    for _ in range(3):
        y, x = rng.integers(0, 16), rng.integers(0, 24)
        blob[0, y : y + 7, x : x + 6] = 1
    draw_location(flat(blob), [ONE], tmp_path / "p.png", notes={})
    pixels = content(tmp_path / "p.png")
    drawn = near(pixels, canvas.class_colour(0))
    away = distance_to_edge(blob[0], drawn.shape)
    assert drawn.sum() > 500
    assert away[drawn].max() < 0.5  # edges cut corners by less than half a pixel of the mask
    straight = away < 0.02
    assert straight.sum() > 200 and drawn[straight].mean() > 0.85  # and they are drawn all along, but for their corners


@pytest.mark.parametrize(("affine", "place"), [(LPS, (0.25, 0.25)), (RAS, (0.75, 0.75)), (None, (0.25, 0.25))], ids=["LPS", "RAS", "as stored"])
def test_volumes_are_shown_upright_in_three_planes(tmp_path: Path, affine: Any, place: tuple[float, float]) -> None:
    mask = np.zeros((40, 40, 40), np.uint8)
    mask[30, 10, 10] = 1
    mask[29:32, 8:13, 8:13] = 1
    case = Location("case", chequered(40), mask, (1.0, 1.0, 1.0), affine)
    draw_location(case, [ONE], tmp_path / "p.png", notes={"mine": "kept"})
    assert canvas.notes_of(tmp_path / "p.png")["mine"] == "kept"
    pixels = content(tmp_path / "p.png")
    drawn = near(pixels, canvas.class_colour(0))
    panels = np.array_split(drawn, 3, axis=1)
    centres = [np.argwhere(panel).mean(axis=0) / panel.shape for panel in panels]
    np.testing.assert_allclose(centres[0], place, atol=0.03)  # axial: rows from anterior, columns from the right
    superior = 0.75 if affine is None else 0.25
    assert centres[1][0] == pytest.approx(superior, abs=0.03) and centres[2][0] == pytest.approx(superior, abs=0.03)


def test_largest_slice_of_each_plane_is_shown(tmp_path: Path) -> None:
    """One structure is large along Z at slice 3, another stands along X: what is drawn has the width of the larger."""
    mask = np.zeros((20, 20, 20), np.uint8)
    mask[3, 5:15, 5:15] = 1
    mask[10, 9, 9] = 1
    case = Location("case", chequered(20), mask, (1.0, 1.0, 1.0), LPS)
    draw_location(case, [ONE], tmp_path / "p.png", notes={})
    axial = np.array_split(near(content(tmp_path / "p.png"), canvas.class_colour(0)), 3, axis=1)[0]
    columns = np.flatnonzero(axial.any(axis=0))
    assert (columns[-1] - columns[0]) / axial.shape[1] == pytest.approx(0.5, abs=0.04)


def test_a_picture_keeps_its_own_colours_and_its_margins(tmp_path: Path) -> None:
    image = np.zeros((3, 1, 20, 40))
    image[0, 0, :, 20:], image[2, 0, :, 20:] = 200.0, 100.0  # the left half is black, and stays
    draw_location(flat(np.zeros((1, 20, 40), np.uint8), image, colours=True), [ONE], tmp_path / "p.png", notes={})
    pixels = content(tmp_path / "p.png")
    assert pixels.shape[1] / pixels.shape[0] == pytest.approx(2.0, abs=0.02)
    height, width = pixels.shape[:2]
    np.testing.assert_allclose(pixels[height // 2, width * 3 // 4], (200 / 255, 0, 100 / 255), atol=0.01)
    np.testing.assert_allclose(pixels[height // 2, width // 4], 0, atol=0.01)
    deep = image * 257  # sixteen bits
    draw_location(flat(np.zeros((1, 20, 40), np.uint8), deep, colours=True), [ONE], tmp_path / "deep.png", notes={})
    np.testing.assert_allclose(content(tmp_path / "deep.png"), pixels, atol=0.01)


def test_of_edges_at_one_place_all_are_seen(tmp_path: Path) -> None:
    mask = np.zeros((1, 30, 30), np.uint8)
    mask[0, 8:22, 8:22] = 2
    draw_location(flat(mask), [Target("all", (1, 2), True), TWO], tmp_path / "p.png", notes={})
    pixels = content(tmp_path / "p.png")
    beneath, above = (near(pixels, canvas.class_colour(k), 0.3).sum() for k in range(2))  # a rim of half a point blends with what is beside it
    assert beneath > 400 and above > 400
    assert json.loads(canvas.notes_of(tmp_path / "p.png")["found"]) == ["all", "two"]


def test_a_sheet_shows_every_case_and_names_what_was_found(tmp_path: Path) -> None:
    mask = np.zeros((1, 20, 20), np.uint8)
    mask[0, 4:16, 4:16] = 2
    pictures = {}
    for case in ("a", "b", "c"):
        pictures[case] = tmp_path / f"{case}.png"
        draw_location(flat(mask if case != "b" else 0 * mask), [ONE, TWO], pictures[case], notes={})
    draw_sheet(pictures, [ONE, TWO], tmp_path / "sheet.png", title="three", notes={"cases": "abc"})
    assert canvas.notes_of(tmp_path / "sheet.png")["cases"] == "abc"
    pixels = imread(tmp_path / "sheet.png")[..., :3].astype(float)
    cells = np.array_split(pixels[:-60], 3, axis=1)
    reddish = [(np.abs(cell - np.array(canvas.class_colour(1))) < 0.15).all(axis=-1).sum() for cell in cells]
    assert reddish[0] > 50 and reddish[1] == 0 and reddish[2] > 50
    legend = pixels[-60:]
    assert near(legend, canvas.class_colour(1)).any() and not near(legend, canvas.class_colour(0)).any()


def test_what_cannot_be_drawn_is_named(tmp_path: Path) -> None:
    with pytest.raises(AutosegError, match=r"case: the segmentation has shape \(1, 4, 4\), the image \(1, 5, 5\)"):
        draw_location(flat(np.zeros((1, 4, 4), np.uint8), np.zeros((1, 1, 5, 5))), [ONE], tmp_path / "p.png", notes={})
    with pytest.raises(AutosegError, match="0 cases"):
        draw_sheet({}, [ONE], tmp_path / "s.png", title="", notes={})
    (tmp_path / "foreign.png").write_bytes(b"no picture")
    with pytest.raises(AutosegError, match=r"foreign\.png was not made by autoseg"):
        draw_sheet({"a": tmp_path / "foreign.png"}, [ONE], tmp_path / "s.png", title="", notes={})
