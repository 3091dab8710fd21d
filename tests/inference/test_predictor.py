"""The predictor: exact where the network is, folds averaged as by hand, probabilities that belong to the labels."""

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autoseg.errors import AutosegError, PlanError
from autoseg.imaging.image import Geometry, Image
from autoseg.inference.decide import Prediction
from autoseg.inference.execution import Execution
from autoseg.inference.model_folder import Model
from autoseg.inference.predictor import Predictor
from autoseg.inference.sliding_window import predict_logits
from autoseg.planning.plan import Plan

Plans, Models, Scans = Callable[..., Plan], Callable[..., Model], Callable[..., Any]
NEAREST: dict[str, Any] = {"channels": ("t1",), "scheme": "none", "resampling": {"image_order": 0}}


def resized(*sizes: int, **settings: Any) -> dict[str, Any]:
    """Each voxel becomes one or several alike, so that nothing is lost on the way back."""
    return {"resampling": {"image_order": 0, "resize": sizes}} | settings


SAME = {"patch": (16, 16, 16), "spacing": (1.0, 1.0, 1.0)}
GRIDS = [
    *[((19, 22, 25), (1.0, 1.0, 1.0), SAME | {"transpose": order}) for order in itertools.permutations(range(3))],
    ((9, 12, 20), (1.0, 1.0, 1.0), SAME),  # smaller than the patch
    ((12, 13, 14), (1.0, 1.0, 1.0), SAME | {"spacing": (0.5, 0.5, 0.5)}),
    ((12, 13, 14), (1.0, 1.0, 1.0), SAME | {"spacing": (0.5, 1.0, 0.5), "transpose": (2, 0, 1)}),
    ((12, 13, 14), (5.0, 1.0, 1.0), SAME | {"spacing": (5.0, 0.5, 0.5)}),
    ((12, 13, 14), (5.0, 1.0, 1.0), SAME | {"spacing": (2.5, 1.0, 1.0)}),
    ((12, 13, 14), (1.0, 5.0, 1.0), SAME | {"spacing": (5.0, 0.5, 0.5), "transpose": (1, 0, 2)}),
    ((7, 20, 23), (3.0, 1.0, 1.0), {"patch": (16, 16), "spacing": (1.0, 0.5)}),
    ((20, 7, 23), (1.0, 3.0, 1.0), {"patch": (16, 16), "spacing": (1.0, 0.5), "transpose": (1, 0, 2)}),
    ((1, 30, 20), (1.0, 1.0, 1.0), {"patch": (16, 16), "spacing": (1.0, 1.0)}),
    *[((10, 9, 12), (3.0, 1.0, 0.7), {"patch": (16, 16, 16)} | resized(*sizes, transpose=order)) for sizes, order in (
        ((20, 18, 24), (0, 1, 2)), ((10, 9, 12), (0, 1, 2)), ((24, 30, 9), (2, 0, 1)), ((18, 20, 12), (1, 0, 2))
    )],
    ((8, 8, 8), (1.0, 1.0, 1.0), {"patch": (16, 16, 16)} | resized(16, 16, 16)),
    ((7, 20, 23), (3.0, 1.0, 1.0), {"patch": (16, 16)} | resized(40, 46)),
    ((20, 7, 23), (1.0, 3.0, 1.0), {"patch": (16, 16)} | resized(20, 46, transpose=(1, 0, 2))),
]  # fmt: skip


def soft_of(result: Prediction) -> np.ndarray:
    """All channels at once."""
    assert result.probabilities is not None
    return np.stack(list(result.probabilities))


@pytest.mark.parametrize(("shape", "spacing", "settings"), GRIDS)
def test_a_network_that_knows_gives_the_reference(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], settings: dict[str, Any], small_plan: Plans, knowing_model: Models,
    telling_scan: Scans,
) -> None:  # fmt: skip
    predictor = Predictor([knowing_model(small_plan(**NEAREST | settings))], "cpu")
    image, reference = telling_scan(Geometry.of(shape, spacing))
    result = predictor.predict(predictor.prepare(image), probabilities=True)
    np.testing.assert_array_equal(result.labels.array, reference.array)
    assert result.labels.array.dtype == np.uint8 and result.labels.geometry is image.geometry
    np.testing.assert_array_equal(np.array([0, 1, 2, 4])[soft_of(result).argmax(0)], reference.array)


def test_a_smooth_shape_survives_resampling(small_plan: Plans, knowing_model: Models) -> None:
    shape = (30, 32, 28)
    z, y, x = np.ogrid[:30, :32, :28]
    inside = (z - 14) ** 2 / 81 + (y - 16) ** 2 / 100 + (x - 13) ** 2 / 90 < 1
    image = Image(np.where(inside, 15, 5).astype(np.float32)[None], Geometry.of(shape, (1.3, 0.8, 1.0)))
    predictor = Predictor([knowing_model(small_plan(spacing=(0.9, 1.1, 1.2), channels=("t1",), scheme="none"))], "cpu")
    found = predictor.predict(predictor.prepare(image)).labels.array > 0
    assert 2 * (found & inside).sum() / (found.sum() + inside.sum()) > 0.97


def noise_scan(shape: tuple[int, int, int] = (20, 18, 22), spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Image:
    array = np.zeros((2, *shape), np.float32)
    array[:, 2:-1, 1:-3, 3:] = np.random.default_rng(1).normal(100, 20, array[:, 2:-1, 1:-3, 3:].shape)
    return Image(array, Geometry.of(shape, spacing))


@pytest.mark.parametrize("folds", [1, 2, 3])
def test_folds_are_the_mean_of_their_logits(folds: int, small_plan: Plans, random_model: Models) -> None:
    plan = small_plan(transpose=(2, 0, 1))
    models = [random_model(plan, seed) for seed in range(folds)]
    predictor = Predictor(models, "cpu")
    ready = predictor.prepare(noise_scan())
    result = predictor.predict(ready, probabilities=True)
    with torch.inference_mode():
        each = [
            predict_logits(model.network, torch.from_numpy(ready.image), (16, 16, 16), 4, predictor.execution, mirror_axes=(0, 1, 2))
            for model in models
        ]
        mean = torch.stack(each).mean(0)
    order = np.argsort((2, 0, 1))
    box = (slice(2, -1), slice(1, -3), slice(3, None))
    np.testing.assert_array_equal(result.labels.array[box], np.array([0, 1, 2, 4])[mean.argmax(0).numpy().transpose(order)])
    soft = mean.softmax(0).numpy().transpose(0, *(axis + 1 for axis in order))
    np.testing.assert_allclose(soft_of(result)[(slice(None), *box)], soft, atol=1.51 / 256)  # ties are broken by a step


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 1.2, 1.4)])
def test_probabilities_belong_to_the_labels(spacing: tuple[float, float, float], small_plan: Plans, random_model: Models) -> None:
    predictor = Predictor([random_model(small_plan(spacing=spacing))], "cpu", mirror=False)
    image = noise_scan()
    ready = predictor.prepare(image)
    result = predictor.predict(ready, probabilities=True)
    soft = soft_of(result)
    assert soft.dtype == np.float16 and soft.shape == (4, *image.geometry.shape)
    np.testing.assert_allclose(soft.astype(np.float32).sum(0), 1, atol=4 / 256)
    largest = soft.max(0)
    of_label = np.take_along_axis(soft, predictor.plan.labels.to_classes(result.labels.array)[None].astype(int), 0)[0]
    np.testing.assert_array_equal(of_label, largest)
    assert len(np.unique(result.labels.array)) > 1
    outside = ~(image.array != 0).any(0)
    assert (soft[0][outside] == 1).all() and (soft[1:][:, outside] == 0).all()
    without = predictor.predict(ready)
    assert without.probabilities is None
    np.testing.assert_array_equal(without.labels.array, result.labels.array)


class Counts(nn.Module):
    """Logits of the voxel before, and how often they were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.pause = 0, 0.0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        time.sleep(self.pause)
        return torch.cat([x.roll(1, -1), x], 1)


def counting(plan: Plan, **options: Any) -> tuple[Predictor, Counts]:
    network = Counts()
    predictor = Predictor([Model(None, plan, "small", network)], "cpu", **options)  # type: ignore[arg-type]
    network.calls = 0  # without those that were timed
    return predictor, network


@pytest.mark.parametrize(
    ("options", "inference", "calls"),
    [
        ({}, {}, 3 * 3 * 3 * 8),
        ({"mirror": False}, {}, 3 * 3 * 3),
        ({"step": 1.0, "mirror": False}, {}, 2 * 2 * 2),
        ({}, {"step": 1.0, "mirror_axes": [2]}, 2 * 2 * 2 * 2),
        ({"step": 0.5}, {"step": 1.0, "mirror_axes": []}, 3 * 3 * 3),
        ({"step": 1.0}, {"mirror_axes": [0, 1]}, 2 * 2 * 2 * 4),
    ],
)
def test_steps_and_flips(options: dict[str, Any], inference: dict[str, Any], calls: int, small_plan: Plans) -> None:
    predictor, network = counting(small_plan(inference=inference), **options)
    image = noise_scan((32 + 3, 32 + 4, 32 + 3))
    told: list[tuple[int, int]] = []
    predictor.predict(predictor.prepare(image), progress=lambda done, total: told.append((done, total)))
    assert network.calls == calls
    windows = told[-1][1]
    assert told == [(done, windows) for done in range(1, windows + 1)]
    assert calls % windows == 0


def test_expected_seconds_follow_windows_and_flips(small_plan: Plans) -> None:
    """A network that takes a hundredth of a second: 2 x 3 x 3 windows of the large scan, one of the small, each flipped four ways."""
    predictor, network = counting(small_plan(channels=("t1",), values=(0, 1), learned_mirroring=(0, 1)))
    network.pause = 0.01
    expected = predictor.expected_seconds([(17, 32, 30), (4, 5, 6)])
    assert network.calls == 2
    assert 0.01 * (2 * 3 * 3 + 1) * 4 <= expected < 5 * 0.01 * (2 * 3 * 3 + 1) * 4


def test_only_flips_that_training_showed(small_plan: Plans) -> None:
    predictor, network = counting(small_plan(learned_mirroring=(1,), inference={"step": 1.0}))
    predictor.predict(predictor.prepare(noise_scan((16 + 3, 16 + 4, 16 + 3))))
    assert network.calls == 2


def test_a_2d_patch_has_no_third_axis_to_flip(small_plan: Plans) -> None:
    with pytest.raises(PlanError, match="only 2 axes"):
        small_plan(patch=(16, 16), inference={"mirror_axes": [0, 1, 2]})


def test_progress_runs_over_all_folds(small_plan: Plans, random_model: Models) -> None:
    plan = small_plan()
    predictor = Predictor([random_model(plan, seed) for seed in range(2)], "cpu", mirror=False, step=1.0)
    told: list[tuple[int, int]] = []
    predictor.predict(predictor.prepare(noise_scan()), progress=lambda done, total: told.append((done, total)))
    assert told == [(done, len(told)) for done in range(1, len(told) + 1)]


@pytest.mark.parametrize("step", [0, 0.0, -0.5, 1.01, float("nan")])
def test_impossible_steps(step: float, small_plan: Plans, knowing_model: Models) -> None:
    with pytest.raises(AutosegError, match=f"The step {step} is not possible"):
        Predictor([knowing_model(small_plan())], "cpu", step=step)


def test_nothing_to_predict_with() -> None:
    with pytest.raises(AutosegError, match="no trained network"):
        Predictor([], "cpu")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_an_output_that_is_no_number(value: float, small_plan: Plans) -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = torch.cat([x, x], 1)
            y[..., 3] = value
            return y

    predictor = Predictor([Model(None, small_plan(), "small", Broken())], "cpu")  # type: ignore[arg-type]
    with pytest.raises(AutosegError, match=r"output is not a number \(cpu, float32"):
        predictor.predict(predictor.prepare(noise_scan()))


def test_the_plan_decides_the_precision(small_plan: Plans, random_model: Models) -> None:
    predictor = Predictor([random_model(small_plan(precision="bfloat16"))], "cpu")
    assert predictor.execution in (Execution("cpu", "bfloat16"), Execution("cpu", "bfloat16", True))
    ready = predictor.prepare(noise_scan())
    exact = Predictor([random_model(small_plan())], "cpu").predict(ready)
    assert (predictor.predict(ready).labels.array == exact.labels.array).mean() > 0.95


TUMOUR: dict[str, Any] = {"regions": {"WT": [1, 2, 4], "TC": [1, 4], "ET": [4]}, "region_order": [2, 1, 4]}


class KnowsRegions(nn.Module):
    """Whole tumour, core and enhancing tumour where the first channel tells classes 1 to 3 as 10 k + 5."""

    def forward(self, x: Tensor) -> Tensor:
        classes = ((x[:, :1] - 5) / 10).round()
        return torch.cat([40 * sum((classes == label).float() for label in region) - 20 for region in ((1, 2, 3), (1, 3), (3,))], 1)


@pytest.mark.parametrize(("shape", "spacing", "settings"), GRIDS[::4])
def test_regions_are_painted_with_the_users_values(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], settings: dict[str, Any], small_plan: Plans, telling_scan: Scans
) -> None:
    plan = small_plan(**NEAREST | settings | TUMOUR)
    assert (plan.output_channels, plan.output_names, plan.structure_names) == (3, ("WT", "TC", "ET"), ("WT", "TC", "ET"))
    predictor = Predictor([Model(Path("fold_0"), plan, "small", KnowsRegions().eval())], "cpu")
    image, reference = telling_scan(Geometry.of(shape, spacing))
    ready = predictor.prepare(image)
    result, plain = predictor.predict(ready, probabilities=True), predictor.predict(ready)
    np.testing.assert_array_equal(result.labels.array, reference.array)
    np.testing.assert_array_equal(plain.labels.array, reference.array)
    soft = soft_of(result)
    assert soft.shape == (3, *shape)
    for probability, values in zip(soft, TUMOUR["regions"].values(), strict=True):
        np.testing.assert_array_equal(probability > 0.5, np.isin(reference.array, values))


def test_regions_are_the_mean_of_the_folds_logits(small_plan: Plans, random_model: Models) -> None:
    plan = small_plan(**TUMOUR)
    models = [random_model(plan, seed) for seed in range(2)]
    both = Predictor(models, "cpu")
    ready = both.prepare(noise_scan())
    result = both.predict(ready, probabilities=True)
    soft = soft_of(result)
    alone = [soft_of(Predictor([model], "cpu").predict(ready, probabilities=True)) for model in models]
    inside = np.logical_and.reduce([(one > 0.1) & (one < 0.9) for one in alone])
    logits = sum(np.log(p[inside].astype(float) / (1 - p[inside].astype(float))) for p in alone) / 2
    assert inside.mean() > 0.2
    np.testing.assert_allclose(soft[inside], 1 / (1 + np.exp(-logits)), atol=2 / 256)
    painted = np.zeros(result.labels.array.shape, np.uint8)
    for probability, value in zip(soft, TUMOUR["region_order"], strict=True):
        painted[probability > 0.5] = value
    np.testing.assert_array_equal(painted, result.labels.array)


def test_a_network_takes_the_channels_that_its_configuration_sees(small_plan: Plans, random_model: Models) -> None:
    plan = small_plan()
    first = plan.configuration("small")
    plan = plan.model_copy(update={"configurations": {"small": first.model_copy(update={"normalization": first.normalization[1:]})}})
    alone = small_plan(channels=("t2",))
    image = noise_scan()
    found, expected = Predictor([random_model(plan)], "cpu"), Predictor([random_model(alone)], "cpu")
    segmentation = found.predict(found.prepare(image)).labels
    other = expected.predict(expected.prepare(Image(image.array[1:], image.geometry))).labels
    np.testing.assert_array_equal(segmentation.array, other.array)
    assert len(np.unique(other.array)) > 1 and found.expected_seconds([(16, 16, 16)]) > 0


def test_a_smooth_shape_survives_a_resize(small_plan: Plans, knowing_model: Models) -> None:
    shape = (30, 32, 28)
    z, y, x = np.ogrid[:30, :32, :28]
    inside = (z - 14) ** 2 / 81 + (y - 16) ** 2 / 100 + (x - 13) ** 2 / 90 < 1
    image = Image(np.where(inside, 15, 5).astype(np.float32)[None], Geometry.of(shape, (1.3, 0.8, 1.0)))
    plan = small_plan(channels=("t1",), scheme="none", transpose=(2, 0, 1), resampling={"resize": (24, 36, 26)})
    predictor = Predictor([knowing_model(plan)], "cpu")
    found = predictor.predict(predictor.prepare(image)).labels
    assert found.geometry is image.geometry and found.array.shape == shape
    assert 2 * ((found.array > 0) & inside).sum() / ((found.array > 0).sum() + inside.sum()) > 0.95
