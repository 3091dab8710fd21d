"""Maps of anomalies and denoised scans: on the scan's own grid, exact where the network is, taken up where they were left."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from autoseg.data.dataset import Case
from autoseg.errors import AutosegError
from autoseg.imaging.image import Geometry, Image
from autoseg.imaging.read import read_image
from autoseg.imaging.write import write_image
from autoseg.inference.model_folder import Model
from autoseg.inference.predictor import Predictor
from autoseg.inference.reconstruction import Reconstructor, output_files, smoothed, validation_noise, with_noise
from autoseg.inference.run import Source, reconstruct_cases
from autoseg.planning.plan import Plan, file_content, validate_plan

Plans = Callable[..., Plan]
ROTATED = ((0.0, 0.9, 0.0, 3.0), (-0.9, 0.0, 0.0, 5.0), (0.0, 0.0, 2.0, -7.0), (0.0, 0.0, 0.0, 1.0))


class Same(nn.Module):
    """Gives what it is shown, and so much more."""

    def __init__(self, more: float = 0.0) -> None:
        super().__init__()
        self.more = nn.Parameter(torch.tensor(more))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.more


def reconstructing(small_plan: Plans, task: str, *, inference: dict[str, Any] | None = None, **settings: Any) -> Plan:
    content = file_content(small_plan(**settings))
    small = content["configurations"]["small"]
    small |= {"task": task, "network": {"family": "autoencoder", "width": 4, "stages": 2}}
    small["training"] |= {"deep_supervision": False, "loss": "mse"} | ({"noise": [0.2, 0.6]} if task == "denoising" else {})
    small["inference"] |= inference or {}
    return validate_plan(content, "the plan of the tests")


def predictor(plan: Plan, more: float = 0.0, folder: Path = Path("fold_0")) -> Predictor:
    return Predictor([Model(folder, plan, "small", Same(more).eval())], "cpu")


def scan(shape: tuple[int, int, int] = (19, 22, 25), channels: int = 2, seed: int = 0) -> Image:
    """A head in an empty margin."""
    array = np.zeros((channels, *shape), np.float32)
    inner = tuple(slice(3, size - 2) for size in shape)
    array[(slice(None), *inner)] = np.random.default_rng(seed).uniform(50, 90, (channels, *(part.stop - part.start for part in inner)))
    return Image(array, Geometry(shape, (2.0, 0.9, 0.9), ROTATED))


@pytest.mark.parametrize("settings", [{}, {"use_mask": True}, {"transpose": (2, 0, 1)}, {"patch": (16, 16)}], ids=str)
def test_a_perfect_reconstruction_gives_nothing_and_one_that_is_off_its_error(small_plan: Plans, settings: dict[str, Any]) -> None:
    plan = reconstructing(small_plan, "anomaly", **settings)
    image = scan()
    found = []
    for more in (0.0, 0.25):
        reconstructor = Reconstructor(predictor(plan, more))
        found.append(reconstructor.predict(reconstructor.prepare(image)).image)
    assert found[0].geometry == image.geometry and found[0].array.shape == (1, *image.array.shape[1:])
    assert np.abs(found[0].array).max() < 1e-3
    inside = image.array.any(0)
    np.testing.assert_allclose(found[1].array[0][inside], 0.25, atol=2e-3)
    assert not found[1].array[0][~inside].any()


def test_smoothing_takes_the_mean_over_the_head_alone(small_plan: Plans) -> None:
    plan = reconstructing(small_plan, "anomaly", inference={"smoothing": 3.0}, use_mask=True)
    reconstructor, image = Reconstructor(predictor(plan, 0.25)), scan()
    found = reconstructor.predict(reconstructor.prepare(image)).image.array[0]
    inside = image.array.any(0)
    np.testing.assert_allclose(found[inside], 0.25, atol=2e-3)  # a rim does not fade
    peak = np.zeros((9, 9, 9), np.float32)
    peak[4, 4, 4] = 1
    np.testing.assert_allclose(smoothed(peak, None, (2.0, 1.0, 1.0), 2.0), gaussian_filter(peak, (1, 2, 2)))
    half = np.ones((9, 9, 9), bool)
    half[:, :, 6:] = False
    weights = gaussian_filter(half.astype(np.float32), (1, 2, 2))
    np.testing.assert_allclose(smoothed(peak, half, (2.0, 1.0, 1.0), 2.0)[half], (gaussian_filter(peak, (1, 2, 2)) / weights)[half], rtol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"use_mask": True}, {"scheme": "rescale_to_0_1"}, {"transpose": (1, 2, 0)}], ids=str)
def test_what_is_not_changed_keeps_its_intensities_and_place(small_plan: Plans, settings: dict[str, Any]) -> None:
    reconstructor, image = Reconstructor(predictor(reconstructing(small_plan, "denoising", spacing=(2.0, 0.9, 0.9), **settings))), scan()
    if settings.get("transpose"):
        reconstructor = Reconstructor(predictor(reconstructing(small_plan, "denoising", spacing=(0.9, 0.9, 2.0), **settings)))
    found = reconstructor.predict(reconstructor.prepare(image)).image
    assert found.geometry == image.geometry
    np.testing.assert_allclose(found.array, image.array, atol=2e-3)


def test_noise_of_a_validation_is_the_same_every_time(small_plan: Plans) -> None:
    plan = reconstructing(small_plan, "denoising", use_mask=True)
    assert validation_noise(plan.configuration("small")) == pytest.approx(0.4)
    assert validation_noise(reconstructing(small_plan, "anomaly").configuration("small")) == 0
    ready = predictor(plan).prepare(scan())
    noisy = with_noise(ready, 0.4, plan.configuration("small"))
    np.testing.assert_array_equal(noisy.image, with_noise(ready, 0.4, plan.configuration("small")).image)
    outside = ~ready.image.any(0)
    assert not noisy.image[:, outside].any()
    assert (noisy.image - ready.image)[:, ~outside].std() == pytest.approx(0.4, rel=0.05)
    np.testing.assert_array_equal(Reconstructor(predictor(plan), noise=0.4).prepare(scan()).image, noisy.image)


def test_files_are_called_after_case_and_channel(small_plan: Plans) -> None:
    for ending, expected in ((".nii.gz", ".nii.gz"), (".png", ".tif"), (".nrrd", ".nrrd")):
        anomaly, denoising = (reconstructing(small_plan, task, ending=ending) for task in ("anomaly", "denoising"))
        assert [path.name for path in output_files(anomaly, "small", "a", Path("out"))] == [f"a{expected}"]
        assert [path.name for path in output_files(denoising, "small", "a", Path("out"))] == [f"a_0000{expected}", f"a_0001{expected}"]
    content = file_content(denoising)
    content["configurations"]["small"]["normalization"] = [{"channel": "t2", "scheme": "zscore"}]
    assert [path.name for path in output_files(validate_plan(content, "one"), "small", "a", Path("out"))] == ["a_0001.nrrd"]


def test_cases_are_passed_over_that_are_there(small_plan: Plans, tmp_path: Path) -> None:
    plan = reconstructing(small_plan, "denoising", spacing=(2.0, 0.9, 0.9))
    cases = []
    for name in ("a", "b"):
        image = scan(seed=len(cases))
        files = tuple(tmp_path / "in" / f"{name}_{channel}.nii.gz" for channel in range(2))
        for channel, file in enumerate(files):
            write_image(Image(image.array[channel : channel + 1], image.geometry), file)
            os.utime(file, (1, 1))
        cases.append(Case(name, files, None, name))
    reconstructor, out = Reconstructor(predictor(plan)), tmp_path / "out"
    source = Source("D", "small", ("0",), ("x",), 0.5, True, task="denoising")
    done = reconstruct_cases(reconstructor, cases, out, source)
    assert (done.skipped, done.files["b"].name) == ((), "b_0000.nii.gz")
    np.testing.assert_allclose(read_image((out / "b_0001.nii.gz",)).array, read_image((cases[1].channels[1],)).array, atol=2e-3)
    (out / "a_0001.nii.gz").unlink()
    assert reconstruct_cases(reconstructor, cases, out, source).skipped == ("b",)
    assert sorted(path.name for path in out.iterdir()) == [
        *(f"{case}_000{channel}.nii.gz" for case in "ab" for channel in range(2)),
        "predictions.json",
    ]
    with pytest.raises(AutosegError, match="another model"):
        reconstruct_cases(reconstructor, cases, out, Source("D", "small", ("0",), ("y",), 0.5, True, task="denoising"))
    with pytest.raises(AutosegError, match="Case a: the prediction would replace the image"):
        link = Case("a", (out / "a_0000.nii.gz", out / "a_0001.nii.gz"), None, "a")
        reconstruct_cases(reconstructor, [link], out, source)


def test_networks_that_segment_are_refused(small_plan: Plans, random_model: Callable[..., Model]) -> None:
    with pytest.raises(AutosegError, match="for the task segmentation: there is no reconstruction"):
        Reconstructor(Predictor([random_model(small_plan())], "cpu"))
