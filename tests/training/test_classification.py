"""What networks that classify are taught: classes read from patches or told of cases, draws in the shares of the plan, scores of an epoch."""

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from autoseg.evaluation.classification import auroc
from autoseg.networks.head import Told
from autoseg.planning.plan import Plan, validate_plan
from autoseg.preprocessing.store import CaseStore
from autoseg.training.batches import Batch, PatchSource
from autoseg.training.classification import STEPS, Classification
from autoseg.training.objectives import objective_of
from autoseg.training.presence import PresenceDraws


def classifying(make: SimpleNamespace, *, dimensions: int = 2, block: dict[str, Any] | None = None, **training: Any) -> Plan:
    content = json.loads(make.plan(dimensions=dimensions, patch=(16,) * dimensions, batch_size=4).model_dump_json(exclude_none=True))
    content["dataset"]["attributes"] = {"grade": ["HGG", "LGG"]}
    one = content["configurations"]["tiny"]
    one |= {"task": "classification", "classification": block or {"target": "presence"}}
    one["training"] |= {"loss": "ce", "deep_supervision": False, "oversample_foreground": 0.5} | training
    return validate_plan(content, "a plan of the tests")


def batch(classes: list[list[int]], targets: list[int] | None = None) -> Batch:
    voxels = torch.tensor(classes).unsqueeze(1)
    return Batch(torch.zeros(len(classes), 1, *voxels.shape[1:]), voxels, None if targets is None else torch.tensor(targets))


def test_a_patch_is_positive_where_it_holds_any_foreground(make: SimpleNamespace) -> None:
    objective = Classification(classifying(make).configuration("tiny"))
    assert objective.targets(batch([[0, 0], [0, 3], [-1, 0], [-1, 1]])).tolist() == [0, 1, -1, 1]


def test_a_case_s_class_comes_with_the_batch(make: SimpleNamespace) -> None:
    plan = classifying(make, block={"target": "grade", "classes": ["LGG", "HGG"]})
    objective = objective_of(plan, "tiny")
    assert isinstance(objective, Classification) and objective.targets(batch([[0], [1]], [1, -1])).tolist() == [1, -1]


def test_the_loss_is_the_weighted_cross_entropy_of_what_is_known(make: SimpleNamespace) -> None:
    objective = objective_of(classifying(make, class_weights=[1.0, 3.0]), "tiny")
    logits = torch.tensor([[0.0, 0.0], [2.0, 0.0], [9.0, -9.0]])
    loss, output = objective.judge(lambda images: logits, batch([[0], [1], [-1]]))
    expected = (1 * np.log(2) + 3 * np.log1p(np.exp(2.0))) / 4
    assert float(loss) == pytest.approx(expected) and output is logits


def test_scores_of_an_epoch_are_those_of_its_batches_together(make: SimpleNamespace) -> None:
    objective = objective_of(classifying(make), "tiny")
    generator = torch.Generator().manual_seed(3)
    total: Tensor | int = 0
    truth, scores = [], []
    for _ in range(5):
        classes = torch.randint(-1, 2, (8, 1), generator=generator)
        positive = (torch.randint(0, STEPS + 1, (8,), generator=generator) / STEPS).clamp(1e-3, 1 - 1e-3)
        positive = torch.where(classes[:, 0] > 0, positive.sqrt().mul(STEPS).round() / STEPS, positive)
        logits = torch.stack([(1 - positive).log(), positive.log()], dim=1)
        total = total + objective.tally(logits, batch(classes.tolist()))
        known = classes[:, 0] >= 0
        truth += classes[known, 0].tolist()
        scores += positive[known].tolist()
    accuracy, area = objective.scores(torch.as_tensor(total))
    right = [(score > 0.5) == bool(one) for score, one in zip(scores, truth, strict=True)]
    assert accuracy == pytest.approx(np.mean(right))
    assert area == pytest.approx(auroc(np.round(scores, 6), np.array(truth, dtype=bool)), abs=1e-6)
    assert objective.describe(None, [accuracy, area]) == f"accuracy {accuracy:.3f}, AUROC {area:.3f}"


def test_one_kind_alone_has_no_auroc(make: SimpleNamespace) -> None:
    objective = objective_of(classifying(make), "tiny")
    accuracy, area = objective.scores(objective.tally(torch.tensor([[1.0, 0.0]]), batch([[0]])))
    assert accuracy == 1 and np.isnan(area) and np.isnan(objective.overall([accuracy, area]))
    assert objective.describe(None, [accuracy, area]) == "accuracy 1.000"


def test_half_of_a_batch_of_slices_holds_foreground_and_half_does_not(make: SimpleNamespace, store: CaseStore, names: list[str]) -> None:
    plan = classifying(make)
    source = PatchSource(store, names, plan.configuration("tiny"), None, seed=1)
    for number in range(10):
        found = source.assemble(source.load(number), "cpu")
        assert (found.classes > 0).flatten(1).any(1).tolist() == [False, False, True, True]
        assert found.targets is not None and found.targets.tolist() == [-1] * 4


def test_volumes_that_are_to_hold_foreground_do(make: SimpleNamespace, store: CaseStore, names: list[str]) -> None:
    plan = classifying(make, dimensions=3)
    source = PatchSource(store, names, plan.configuration("tiny"), None, seed=1)
    for number in range(5):
        assert (source.assemble(source.load(number), "cpu").classes[2:] > 0).flatten(1).any(1).all()


def test_patches_know_the_class_of_their_case(make: SimpleNamespace, store: CaseStore, names: list[str]) -> None:
    plan = classifying(make, block={"target": "grade", "classes": ["LGG", "HGG"]})
    targets = {name: index % 2 for index, name in enumerate(names)}
    for index, name in enumerate(names):
        source = PatchSource(store, [name], plan.configuration("tiny"), None, seed=1, targets=targets)
        found = source.assemble(source.load(0), "cpu")
        assert found.targets is not None and found.targets.tolist() == [index % 2] * 4


def test_where_there_is_but_one_kind_all_are_of_it() -> None:
    slices = {"a": np.array([2, 5])}
    generator = np.random.default_rng(0)
    draws = PresenceDraws(slices, {}, ("a",), flat=True)
    assert {draws.draw(generator, foreground=False) for _ in range(20)} == {("a", 2), ("a", 5)}
    draws = PresenceDraws({}, slices, ("a",), flat=True)
    assert {draws.draw(generator, foreground=True) for _ in range(20)} == {("a", 2), ("a", 5)}


def test_slices_are_drawn_of_cases_that_have_such() -> None:
    draws = PresenceDraws({"a": np.array([1])}, {"a": np.array([0]), "b": np.array([0, 1])}, ("a", "b"), flat=True)
    generator = np.random.default_rng(0)
    assert {draws.draw(generator, foreground=True) for _ in range(20)} == {("a", 1)}
    assert {draws.draw(generator, foreground=False) for _ in range(50)} == {("a", 0), ("b", 0), ("b", 1)}


def test_beside_a_segmentation_losses_are_added_and_scores_put_in_a_row(make: SimpleNamespace) -> None:
    plain = json.loads(make.plan(dimensions=2, patch=(16, 16)).model_dump_json(exclude_none=True))
    voxels = objective_of(validate_plan(plain, "a plan"), "tiny")
    plain["configurations"]["tiny"]["classification"] = {"target": "presence", "weight": 0.5}
    both = objective_of(validate_plan(plain, "a plan"), "tiny")
    classes = torch.zeros(2, 8, 8, dtype=torch.long)
    classes[1, :3] = 2
    seen, maps, image = Batch(torch.zeros(2, 1, 8, 8), classes), torch.randn(2, 4, 8, 8), torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    alone, output = voxels.judge(lambda images: [maps], seen)
    loss, told = both.judge(lambda images: Told([maps], image), seen)
    assert float(loss) == pytest.approx(float(alone) + 0.5 * (np.log(2) + np.log1p(np.e)) / 2)
    assert both.columns == (*voxels.columns, "accuracy", "auroc")
    found, expected = both.scores(both.tally(told, seen)), voxels.scores(voxels.tally(output, seen))
    assert found == pytest.approx([*expected, 0.5, 0.0], nan_ok=True)
    assert both.overall(found) == pytest.approx(voxels.overall(expected))
    assert both.describe(0.25, found).endswith("accuracy 0.500, AUROC 0.000") and both.describe(0.25, found).startswith("pseudo-Dice 0.250")


def test_a_run_that_was_stopped_ends_with_the_weights_of_one_that_was_not(make: SimpleNamespace, setting: Any, tmp_path: Any) -> None:
    plan = classifying(make)
    setting.train(plan, setting.decide(tmp_path / "whole", steps=6))
    setting.interrupted(plan, setting.decide(tmp_path / "stopped", steps=6), after=3)
    setting.train(plan, tmp_path / "stopped")
    assert setting.same_weights(tmp_path / "whole", tmp_path / "stopped")
    assert all(0 <= row["accuracy"] <= 1 and np.isnan(row["pseudo_dice"]) for row in setting.log_of(tmp_path / "stopped"))
