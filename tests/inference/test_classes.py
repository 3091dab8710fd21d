"""Scans classified: windows and slices against the obvious loop, and how they are put together."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autoseg.errors import AutosegError
from autoseg.imaging.image import Geometry, Image, Shape3
from autoseg.inference.classes import ClassPredictor, together
from autoseg.inference.model_folder import Model
from autoseg.planning.plan import Classification, Plan, validate_plan

GRADE = {"target": "grade", "classes": ["LGG", "HGG"]}


class Sees(nn.Module):
    """The logit of the second class is the mean of the window, as far as it lies in its upper left corner: flips see other corners."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        corner = tuple(slice(0, size // 2 if size > 1 else 1) for size in x.shape[2:])
        positive = self.factor * x[(slice(None), 0, *corner)].flatten(1).mean(1)
        return torch.stack([torch.zeros_like(positive), positive], dim=1)


def plan(dimensions: int, block: dict[str, Any] | None = None, transpose: tuple[int, ...] = (0, 1, 2), mirror: tuple[int, ...] = ()) -> Plan:
    augmentation = {"mirror_axes": list(mirror)}
    configuration = {
        "task": "classification", "classification": block or {"target": "presence"}, "dimensions": dimensions, "spacing": [1] * dimensions,
        "median_shape": [8] * dimensions, "patch_size": [4] * dimensions, "batch_size": 2, "normalization": [{"channel": "a", "scheme": "none"}],
        "network": {
            "family": "plain_unet", "features_per_stage": [2, 2], "strides": [[1] * dimensions, [2] * dimensions],
            "kernel_sizes": [[3] * dimensions] * 2, "blocks_per_stage": [1, 1], "convs_per_stage_decoder": [1],
        },
        "training": {
            "batch_dice": False, "deep_supervision": False, "loss": "ce", "precision": "float32",
            "recipes": {"default": {"optimizer": "adamw", "learning_rate": 0.1, "augmentation": augmentation}},
        },
        "inference": {"mirror_axes": list(mirror)},
    }  # fmt: skip
    dataset = {
        "name": "D", "layout": "brats", "channel_names": ["a"], "labels": {"names": ["background", "one"], "values": [0, 1]}, "num_cases": 2,
        "file_ending": ".nii.gz", "attributes": {"grade": ["HGG", "LGG"]},
    }  # fmt: skip
    content = {"dataset": dataset, "preset": "cpu", "gpu_memory_gb": 1.0, "transpose_forward": transpose, "configurations": {"tiny": configuration}}
    return validate_plan(content, "a plan of the tests")


def predictor(made: Plan, *factors: float, **options: Any) -> ClassPredictor:
    models = [Model(Path(f"fold_{index}"), made, "tiny", Sees(factor).eval()) for index, factor in enumerate(factors or (1.0,))]
    return ClassPredictor(models, "cpu", **options)


def scan(shape: Shape3, seed: int = 0) -> Image:
    array = np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32)
    return Image(array, Geometry.of(shape))


def sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def corner_of(slice_YX: NDArray[np.float32], y: int, x: int) -> float:
    return float(slice_YX[y : y + 2, x : x + 2].mean())


def test_a_slice_is_as_suspicious_as_its_most_suspicious_window_and_a_case_as_its_slice() -> None:
    image, made = scan((3, 6, 4)), predictor(plan(2))
    found = made.classify(made.prepare(image))
    expected = {z: max(sigmoid(corner_of(image.array[0, z], y, 0)) for y in (0, 2)) for z in range(3)}
    assert {z: p[1] for z, p in found.slices.items()} == pytest.approx(expected, abs=1e-6)
    assert found.case == max(found.slices.values(), key=lambda p: p[1]) and sum(found.case) == pytest.approx(1)


def test_a_grade_is_the_mean_over_windows_and_slices() -> None:
    image, made = scan((3, 6, 4)), predictor(plan(2, GRADE))
    found = made.classify(made.prepare(image))
    expected = [np.mean([sigmoid(corner_of(image.array[0, z], y, 0)) for y in (0, 2)]) for z in range(3)]
    assert [p[1] for p in found.slices.values()] == pytest.approx(expected, abs=1e-6)
    assert found.case[1] == pytest.approx(np.mean(expected), abs=1e-6)


def test_logits_of_folds_and_mirrored_images_are_averaged() -> None:
    image, made = scan((1, 4, 4)), predictor(plan(2, mirror=(1,)), 1.0, 3.0)
    only = image.array[0, 0]
    found = made.classify(made.prepare(image))
    expected = sigmoid(np.mean([factor * corner_of(one, 0, 0) for factor in (1, 3) for one in (only, only[:, ::-1])]))
    assert found.case[1] == pytest.approx(expected, abs=1e-6) and found.slices == {}
    plain = predictor(plan(2, mirror=(1,)), 1.0, 3.0, mirror=False)
    assert plain.classify(plain.prepare(image)).case[1] == pytest.approx(sigmoid(2 * corner_of(only, 0, 0)), abs=1e-6)


def test_slices_have_the_numbers_that_they_have_in_the_scan() -> None:
    """Cut along the scan's last axis, from what is left after cropping."""
    array = np.zeros((1, 4, 4, 7), np.float32)
    array[0, :, :, 3:6] = np.random.default_rng(1).normal(size=(4, 4, 3)) + 5
    made = predictor(plan(2, transpose=(2, 0, 1)))
    found = made.classify(made.prepare(Image(array, Geometry.of((4, 4, 7)))))
    assert {z: p[1] for z, p in found.slices.items()} == pytest.approx({z: sigmoid(array[0, :2, :2, z].mean()) for z in (3, 4, 5)}, abs=1e-6)


def test_a_volume_has_no_slices() -> None:
    image, made = scan((4, 4, 6)), predictor(plan(3))
    found = made.classify(made.prepare(image))
    expected = max(sigmoid(float(image.array[0, :2, :2, x : x + 2].mean())) for x in (0, 2))
    assert found.slices == {} and found.case[1] == pytest.approx(expected, abs=1e-6)


def test_many_windows_are_told_of_and_all_are_seen() -> None:
    image, made = scan((20, 4, 4)), predictor(plan(2))
    told: list[tuple[int, int]] = []
    found = made.classify(made.prepare(image), progress=lambda done, total: told.append((done, total)))
    assert told == [(8, 20), (16, 20), (20, 20)] and sorted(found.slices) == list(range(20))


def test_what_is_no_number_is_an_error() -> None:
    made = predictor(plan(2), float("nan"))
    with pytest.raises(AutosegError, match="not a number"):
        made.classify(made.prepare(scan((1, 4, 4))))


def test_a_step_that_is_not_possible_is_refused() -> None:
    with pytest.raises(AutosegError, match="The step 0 is not possible"):
        predictor(plan(2), step=0)


def test_parts_are_put_together_by_what_is_meant() -> None:
    parts = np.array([[0.9, 0.1], [0.4, 0.6]])
    assert together(parts, Classification()).tolist() == [0.4, 0.6]
    assert together(parts, Classification.model_validate(GRADE)) == pytest.approx([0.65, 0.35])
