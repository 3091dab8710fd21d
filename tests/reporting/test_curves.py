"""The picture of a training shows what its log says."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from numpy.typing import NDArray

from autoseg.errors import AutosegError
from autoseg.reporting import canvas
from autoseg.reporting.curves import draw_progress, moving_average

HEAD = "epoch,step,elapsed_s,epoch_s,learning_rate,train_loss,validation_loss,pseudo_dice"


def falling(epoch: int) -> float:
    return 1 / (1 + epoch)


def write_log(
    path: Path,
    epochs: int,
    classes: Sequence[str] = ("edema", "core"),
    dice: float = 0.5,
    loss: Callable[[int], float] = falling,
    validation: bool = True,
) -> Path:
    lines = [",".join([HEAD, *(f"dice_{name}" for name in classes)])]
    for epoch in range(epochs):
        known = f"{loss(epoch) + 0.1}" if validation and epoch % 2 == 0 else ""
        values = [epoch, 250 * epoch, 30 * epoch, 30.0, 0.01, loss(epoch), known, dice, *[dice] * len(classes)]
        lines.append(",".join(map(str, values)))
    path.write_text("\n".join(lines) + "\n")
    return path


def pixels_of(pixels: NDArray[np.floating], colour: canvas.Colour) -> NDArray[np.floating]:
    """(y, x) of each pixel of a colour, relative to the picture."""
    return np.argwhere((np.abs(pixels[..., :3] - np.array(colour)) < 0.03).all(axis=-1)) / pixels.shape[:2]


def loss_curve(target: Path) -> NDArray[np.floating]:
    """Training loss: blue pixels of the upper left plot, without the legend at its right."""
    found = pixels_of(imread(target), canvas.BLUE)
    return found[(found[:, 0] < 0.6) & (found[:, 1] < 0.38)]


@pytest.mark.parametrize("epochs", [1, 2, 200])
def test_any_number_of_epochs(tmp_path: Path, epochs: int) -> None:
    target = tmp_path / "progress.png"
    draw_progress(write_log(tmp_path / "log.csv", epochs), target)
    height, width = imread(target).shape[:2]
    assert (width, height) == (1155, 704)
    assert len(loss_curve(target)) > 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv", "progress.png"]


def test_a_falling_loss_falls_in_the_picture(tmp_path: Path) -> None:
    target = tmp_path / "progress.png"
    for loss, sign in ((lambda epoch: 1 - epoch / 50, 1), (lambda epoch: epoch / 50, -1)):
        draw_progress(write_log(tmp_path / "log.csv", 50, loss=loss, validation=False), target)
        y, x = loss_curve(target).T
        assert sign * np.corrcoef(x, y)[0, 1] > 0.95  # y counts from the top


@pytest.mark.parametrize("dice", [0.25, 0.75])
def test_dice_stands_at_its_height(tmp_path: Path, dice: float) -> None:
    target = tmp_path / "progress.png"
    draw_progress(write_log(tmp_path / "log.csv", 60, classes=(), dice=dice), target)
    found = pixels_of(imread(target), canvas.INK)
    curve = found[(found[:, 1] > 0.58) & (found[:, 1] < 0.8) & (found[:, 0] > 0.14) & (found[:, 0] < 0.59)]
    top, bottom = 0.13, 0.606  # of the plot, as Dice 1 and 0
    assert (bottom - curve[:, 0].mean()) / (bottom - top) == pytest.approx(dice, abs=0.03)


def test_empty_values_are_left_out(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text(f"{HEAD},dice_a\n0,10,,,,0.5,,,\n1,20,,,,,,,\n2,30,60,30,0.01,0.3,0.4,nan,\n3,40,60\n")
    draw_progress(log, tmp_path / "progress.png")
    assert len(loss_curve(tmp_path / "progress.png")) > 5


def test_many_classes_and_odd_names(tmp_path: Path) -> None:
    for classes in ([f"organ {index}" for index in range(60)], ["$", "$^{", "_hidden", "a$b$"]):
        draw_progress(write_log(tmp_path / "log.csv", 30, classes=classes), tmp_path / "progress.png")
        assert imread(tmp_path / "progress.png").shape[:2] == (704, 1155)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch,step\n0,1\n", "lacks the columns elapsed_s"),
        (f"{HEAD}\n", "no epoch yet"),
        (f"{HEAD}\n0,1,2,3,4,5,6,7\n1,1,2,3,4,five,6,7\n", "'five' as train_loss in line 3"),
    ],
)
def test_unusable_logs(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(AutosegError, match=message):
        draw_progress(tmp_path / "log.csv", tmp_path / "progress.png")
    with pytest.raises(AutosegError, match="cannot be read"):
        draw_progress(tmp_path / "absent.csv", tmp_path / "progress.png")
    assert not (tmp_path / "progress.png").exists()


def test_moving_average() -> None:
    np.testing.assert_allclose(moving_average(np.array([1.0, 0.0, 1.0]), 0.9), [1.0, 0.5, 2 / 3])
    np.testing.assert_allclose(moving_average(np.array([1.0, 0.0, 1.0]), 0.5), [1.0, 0.5, 0.75])
    np.testing.assert_allclose(moving_average(np.array([0.5] * 20 + [1.0]), 0.9)[-1], 0.55)
    assert moving_average(np.zeros(0)).shape == (0,)


def test_takes_a_moment(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv", 1000)
    draw_progress(log, tmp_path / "progress.png")  # loads fonts
    start = time.process_time()
    draw_progress(log, tmp_path / "progress.png")
    assert time.process_time() - start < 1.0


def test_another_score_takes_the_place_of_the_pseudo_dice(tmp_path: Path) -> None:
    """Its line rises where its values do, on an axis of its own."""
    tops = []
    for name, values in (("rising", [20.0, 25.0, 30.0]), ("falling", [30.0, 25.0, 20.0])):
        rows = [f"{epoch},{epoch},{epoch},1,0.01,0.5,0.5,,{value}" for epoch, value in enumerate(values)]
        (tmp_path / f"{name}.csv").write_text("\n".join([f"{HEAD},psnr", *rows]) + "\n")
        draw_progress(tmp_path / f"{name}.csv", tmp_path / f"{name}.png")
        line = pixels_of(imread(tmp_path / f"{name}.png"), canvas.class_colour(0))
        line = line[(line[:, 0] > 0.18) & (line[:, 0] < 0.55) & (line[:, 1] > 0.6)]  # the upper right plot, below its title
        tops.append(line[line[:, 0].argmin(), 1])
    assert tops[0] > tops[1] + 0.1
