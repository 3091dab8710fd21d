"""Learning to give the image again: losses and scores by hand, noise that follows from the seed, patches without foreground."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from autoseg.imaging.crop import bounding_box
from autoseg.planning.plan import Plan, file_content, validate_plan
from autoseg.preprocessing.foreground import foreground_locations
from autoseg.preprocessing.store import CaseStore, StoredCase
from autoseg.training.batches import Batch, PatchSource
from autoseg.training.objectives import objective_of
from autoseg.training.reconstruction import Reconstruction, psnr


def reconstructing(make: SimpleNamespace, task: str = "anomaly", *, dimensions: int = 3, **training: Any) -> Plan:
    content = file_content(make.plan(dimensions=dimensions, patch=(8,) * dimensions))
    tiny = content["configurations"]["tiny"]
    tiny |= {"task": task, "network": {"family": "autoencoder", "width": 4, "stages": 2}}
    tiny["training"] |= {"deep_supervision": False, "loss": "l1", "oversample_foreground": 0.0, "precision": "float32"} | training
    return validate_plan(content, "the plan of the tests")


def batch(images: Tensor) -> Batch:
    return Batch(images, torch.zeros(len(images), *images.shape[2:], dtype=torch.int64))


def objective(make: SimpleNamespace, task: str = "anomaly", **training: Any) -> Reconstruction:
    made = objective_of(reconstructing(make, task, **training), "tiny")
    assert isinstance(made, Reconstruction)
    return made


def test_losses_by_hand(make: SimpleNamespace) -> None:
    images = torch.tensor([0.0, 1.0, 2.0, 4.0]).reshape(1, 1, 2, 2)
    for loss, expected in (("l1", 0.5), ("mse", 0.5)):
        value, output = objective(make, loss=loss).judge(lambda shown: shown + torch.tensor([[0.0, 1.0], [0.0, -1.0]]), batch(images))
        assert value.item() == expected and output.shape == images.shape
    value, _ = objective(make, loss="mse").judge(lambda shown: shown + 3, batch(images))
    assert value.item() == 9


def test_psnr_by_hand() -> None:
    clean = torch.tensor([[0.0, 10.0], [5.0, 5.0], [0.0, 1.0]])
    found = psnr(clean + torch.tensor([[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]), clean)
    assert found[0].item() == pytest.approx(20)  # a hundredth of the squared range
    assert not found[1].isfinite()  # no range
    assert found[2].item() == pytest.approx(120)


def test_scores_are_means_over_the_patches_of_an_epoch(make: SimpleNamespace) -> None:
    made = objective(make)
    ramp = torch.linspace(0, 10, 16).reshape(1, 1, 4, 4)
    one, two = torch.cat([ramp, torch.zeros_like(ramp)]), ramp
    tallies = [made.tally(one + 1, batch(one)), made.tally(two + 0.1, batch(two))]
    assert made.scores(torch.stack(tallies).sum(0)) == [pytest.approx((20 + 40) / 2, abs=1e-3)]
    assert math.isnan(made.scores(torch.zeros(2))[0])
    assert (made.describe(None, []), made.describe(23.44, [23.0])) == ("", "PSNR 23.4 dB")


def test_noise_follows_from_the_seed_and_stays_off_what_is_outside(make: SimpleNamespace) -> None:
    made = objective(make, "denoising", noise=[0.5, 0.5])
    images = torch.ones(2, 4, 16, 16, 16)
    images[:, :, :4] = 0

    def shown(seed: int) -> Tensor:
        torch.manual_seed(seed)
        seen: list[Tensor] = []
        loss, _ = made.judge(lambda x: seen.append(x) or x, batch(images))  # type: ignore[func-returns-value]
        assert loss.item() == pytest.approx((seen[0] - images).abs().mean().item())  # the clean image is what is wanted
        return seen[0]

    first = shown(1)
    assert torch.equal(first, shown(1)) and not torch.equal(first, shown(2))
    assert not first[:, :, :4].any()
    assert (first - images)[:, :, 4:].std().item() == pytest.approx(0.5, rel=0.05)
    plain: list[Tensor] = []
    objective(make).judge(lambda x: plain.append(x) or x, batch(images))  # type: ignore[func-returns-value]
    assert torch.equal(plain[0], images)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_patches_hold_no_foreground(make: SimpleNamespace, store: CaseStore, names: list[str], dimensions: int) -> None:
    plan = reconstructing(make, dimensions=dimensions, slices="without_foreground")
    rules = plan.configuration("tiny").training.recipes["fast"].augmentation
    source = PatchSource(store, names, plan.configuration("tiny"), rules, 5)
    ever = PatchSource(store, names, reconstructing(make, dimensions=dimensions).configuration("tiny"), rules, 5)
    seen = [source.assemble(source.load(number), "cpu").classes for number in range(15)]
    assert not torch.stack(seen).any()
    assert torch.stack([ever.assemble(ever.load(number), "cpu").classes for number in range(15)]).any()
    again = PatchSource(store, names, plan.configuration("tiny"), rules, 5)
    assert torch.equal(source.assemble(source.load(7), "cpu").images, again.assemble(again.load(7), "cpu").images)


class Cases:
    """Ready cases in memory."""

    def __init__(self, **classes: np.ndarray) -> None:
        self._cases = {name: StoredCase(np.ones((4, *one.shape), np.float32), one, foreground_locations(one, name)) for name, one in classes.items()}

    def get(self, name: str) -> StoredCase:
        return self._cases[name]

    def foreground_slices(self, name: str) -> np.ndarray:
        return np.flatnonzero((self._cases[name].classes > 0).any(axis=(1, 2)))


def test_where_no_place_is_free_another_case_is_taken_or_the_least(make: SimpleNamespace) -> None:
    configuration = reconstructing(make, slices="without_foreground").configuration("tiny")
    full = np.ones((16, 16, 16), np.int16)
    free = np.zeros_like(full)
    source = PatchSource(Cases(full=full, free=free), ["full", "free"], configuration, None, 5)  # type: ignore[arg-type]
    assert not any(sample.classes.any() for number in range(10) for sample in source.load(number))
    full[:, :, :4] = 0  # the fewer of these the patch misses the better; unknown voxels are not free
    full[:2] = -1
    least = PatchSource(Cases(full=full), ["full"], configuration, None, 5)  # type: ignore[arg-type]
    usual = PatchSource(Cases(full=full), ["full"], reconstructing(make).configuration("tiny"), None, 5)  # type: ignore[arg-type]
    counts = [np.mean([int(s.classes.count_nonzero()) for n in range(20) for s in one.load(n)]) for one in (least, usual)]
    assert counts[0] < 0.75 * counts[1] and bounding_box(free != 0)


def test_validation_patches_have_the_same_noise_whatever_was_drawn_before(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    trainer = setting.trainer(reconstructing(make, "denoising", noise=[0.1, 0.4]), setting.decide(tmp_path / "a", steps=4))
    first = trainer._validate()
    torch.rand(7)
    assert trainer._validate() == first


def test_a_training_says_its_psnr_and_is_the_same_when_it_is_repeated(make: SimpleNamespace, setting: Any, tmp_path: Path) -> None:
    plan = reconstructing(make, "denoising", noise=[0.1, 0.4])
    logs = []
    for name in ("a", "b"):
        folder = setting.decide(tmp_path / name, steps=4)
        setting.trainer(plan, folder).train()
        lines = (folder / "log.csv").read_text().splitlines()
        columns = lines[0].split(",")
        kept = [index for index, column in enumerate(columns) if column not in ("elapsed_s", "epoch_s")]
        logs.append([[line.split(",")[index] for index in kept] for line in lines])
        row = dict(zip(columns, lines[-1].split(","), strict=True))
        assert float(row["psnr"]) > 0 and row["pseudo_dice"] == ""
    assert logs[0] == logs[1]
