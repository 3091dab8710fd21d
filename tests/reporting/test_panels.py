"""What a panel holds, worked out by hand."""

import numpy as np

from autoseg.data.dataset import Labels
from autoseg.reporting import canvas
from autoseg.reporting.panels import classes_of, difference, legend_of, take_panel
from autoseg.reporting.planes import view


def test_difference_of_classes() -> None:
    reference = np.array([0, 0, 1, 1, 1, -1, -1, 2])
    prediction = np.array([0, 1, 0, 1, 2, 1, 0, 2])
    assert difference(prediction, reference).tolist() == [0, 1, 2, 0, 3, 0, 0, 0]


def test_margins_are_cut_but_no_label() -> None:
    image = np.zeros((1, 100, 200))
    image[0, 40:60, 90:130] = 100.0
    prediction = np.zeros(image.shape, np.uint8)
    prediction[0, 10, 5] = 1
    panel = take_panel(image, prediction, None, view(0, None), 0, spacing=(1.0, 2.0, 0.5))
    # content: rows 10..59 at 2 mm, columns 5..129 at 0.5 mm; the longer side has 100 mm, so 3 mm are kept around it
    assert panel.grey.shape == (1 + 50 + 1, 5 + 125 + 6)
    assert panel.size == (104.0, 68.0)
    assert np.argwhere(panel.prediction).tolist() == [[1, 5]]


def test_window_and_percentiles() -> None:
    ramp = np.arange(1000.0).reshape(1, 20, 50)
    nothing = np.zeros(ramp.shape, np.uint8)
    by_itself = take_panel(ramp, nothing, None, view(0, None), 0, spacing=(1, 1, 1))
    assert by_itself.grey.min() == 0 and by_itself.grey.max() == 1
    np.testing.assert_allclose(np.median(by_itself.grey[by_itself.grey > 0.05]), 0.525, atol=0.01)
    given = take_panel(ramp, nothing, None, view(0, None), 0, spacing=(1, 1, 1), window=(-1000.0, 1000.0))
    np.testing.assert_allclose(given.grey, (ramp[0] + 1000) / 2000)
    flat = take_panel(np.full((1, 4, 4), 7.0), np.zeros((1, 4, 4), int), None, view(0, None), 0, spacing=(1, 1, 1))
    assert np.isfinite(flat.grey).all()


def test_classes_and_legend() -> None:
    image = np.ones((1, 4, 4))
    prediction, reference = np.zeros((1, 4, 4), int), np.zeros((1, 4, 4), int)
    prediction[0, 0, :3] = (4, 7, 0)
    reference[0, 1, :2] = (2, 9)
    panel = take_panel(image, prediction, reference, view(0, None), 0, spacing=(1, 1, 1))
    labels = Labels(("background", "core", "edema", "enhancing"), (0, 1, 2, 4), ignore=9)
    classes = classes_of([panel], labels)
    assert classes.values == (0, 1, 2, 4, 7) and classes.names[-1] == "label 7" and classes.ignore == 9
    expected = {"edema": canvas.class_colour(1), "enhancing": canvas.class_colour(2), "label 7": canvas.class_colour(3)}
    assert legend_of([panel], classes) == expected
    assert classes_of([panel], None).names == ("background", "label 2", "label 4", "label 7", "label 9")


def test_colours_differ() -> None:
    assert len({canvas.class_colour(k) for k in range(21)}) == 21
    assert all(0 <= part <= 1 for k in range(21) for part in canvas.class_colour(k))
