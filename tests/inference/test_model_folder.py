"""The model folder: what was saved is loaded, and nothing in it is ever run."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from autoseg.errors import AutosegError, PlanError
from autoseg.inference.model_folder import (
    MODEL,
    PLAN,
    WEIGHTS,
    Model,
    is_trained,
    load_folds,
    load_model,
    save_weights,
    start_model_folder,
    weights_fingerprint,
)
from autoseg.networks.weights import weights_of
from autoseg.planning.plan import Plan

Plans, Models = Callable[..., Plan], Callable[..., Model]


@pytest.fixture
def saved(tmp_path: Path, small_plan: Plans, random_model: Models) -> Callable[..., Path]:
    def make(fold: str = "0", seed: int = 0, plan: Plan | None = None) -> Path:
        folder = tmp_path / f"fold_{fold}"
        model = random_model(plan or small_plan(), seed, folder)
        start_model_folder(folder, model.plan, "small", fold, "default")
        assert not is_trained(folder)
        save_weights(folder, weights_of(model.network))
        return folder

    return make


def test_round_trip(saved: Callable[..., Path], small_plan: Plans, random_model: Models) -> None:
    folder = saved()
    model = load_model(folder)
    assert is_trained(folder) and model.folder == folder
    assert model.plan == small_plan() and model.configuration == small_plan().configuration("small")
    x = torch.randn(1, 2, 16, 16, 16)
    assert torch.equal(model.network(x), random_model(small_plan(), 0).network(x))
    assert not model.network.training and not any(parameter.requires_grad for parameter in model.network.parameters())
    assert json.loads((folder / MODEL).read_text()) == {"dataset": "Dataset001_Small", "configuration": "small", "fold": "0", "recipe": "default"}
    assert sorted(path.name for path in folder.iterdir()) == sorted([MODEL, PLAN, WEIGHTS])


def test_weights_in_channels_last_are_the_same(saved: Callable[..., Path], small_plan: Plans, random_model: Models) -> None:
    folder = saved()
    network = random_model(small_plan(), 5).network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    save_weights(folder, weights_of(network))
    assert all(torch.equal(tensor, weights_of(network)[name]) for name, tensor in weights_of(load_model(folder).network).items())


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.target,)


def test_nothing_in_the_folder_is_run(saved: Callable[..., Path], tmp_path: Path) -> None:
    folder, burst = saved(), tmp_path / "burst"
    for name in (WEIGHTS, "checkpoint.pth"):
        (folder / name).write_bytes(pickle.dumps(Bomb(burst)))
    with pytest.raises(AutosegError, match="damaged or does not fit"):
        load_model(folder)
    torch.save({"weights": Bomb(burst)}, folder / WEIGHTS)
    with pytest.raises(AutosegError, match="damaged or does not fit"):
        load_model(folder)
    assert not burst.exists()


def test_missing_weights(saved: Callable[..., Path]) -> None:
    folder = saved()
    (folder / WEIGHTS).unlink()
    with pytest.raises(AutosegError, match=r"fold_0 holds no trained model \(weights\.safetensors is missing\)"):
        load_model(folder)


@pytest.mark.parametrize("content", [b"", b"hello", None])
def test_damaged_weights(content: bytes | None, saved: Callable[..., Path]) -> None:
    path = saved() / WEIGHTS
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    with pytest.raises(AutosegError, match=r"fold_0/weights\.safetensors is damaged"):
        load_model(path.parent)


@pytest.mark.parametrize("network", [{"features_per_stage": [4, 8, 12]}, {"blocks_per_stage": [2, 2, 1]}])
def test_weights_of_another_network(network: dict[str, list[int]], saved: Callable[..., Path], small_plan: Plans, random_model: Models) -> None:
    folder = saved()
    save_weights(folder, weights_of(random_model(small_plan(network=network)).network))
    with pytest.raises(AutosegError, match=r"weights\.safetensors .*does not fit the plan beside it"):
        load_model(folder)


def test_damaged_records(saved: Callable[..., Path]) -> None:
    folder = saved()
    for content in ("[]", '{"fold": "0"}', '{"configuration": 3}'):
        (folder / MODEL).write_text(content)
        with pytest.raises(AutosegError, match=r"model\.json does not say which configuration"):
            load_model(folder)
    (folder / MODEL).write_text('{"configuration": "large"}')
    with pytest.raises(PlanError, match=r"no configuration 'large'\. It has: small"):
        load_model(folder)
    (folder / MODEL).write_text('{"configuration": "small", "recipe": "fast"}')
    with pytest.raises(AutosegError, match=r"model\.json names the recipe 'fast'"):
        load_model(folder)
    (folder / PLAN).unlink()
    with pytest.raises(AutosegError, match=r"plan\.json does not exist"):
        load_model(folder)


def test_folds_must_belong_together(saved: Callable[..., Path], small_plan: Plans) -> None:
    first = saved("0", 0)
    assert [model.folder.name for model in load_folds([first, saved("1", 1)])] == ["fold_0", "fold_1"]
    for plan in (small_plan(values=(0, 1, 2, 3)), small_plan(channels=("t2", "t1"))):
        with pytest.raises(AutosegError, match=r"fold_2 and .*fold_0 were trained for other labels or channels"):
            load_folds([first, saved("2", 2, plan)])
        (first.parent / "fold_2" / WEIGHTS).unlink()
    with pytest.raises(AutosegError, match=r"fold_3 and .*fold_0 were trained with different plans"):
        load_folds([first, saved("3", 3, small_plan(spacing=(2, 1, 1)))])
    with pytest.raises(AutosegError, match="no model folder"):
        load_folds([])


def test_folds_whose_plans_explain_themselves_otherwise_belong_together(saved: Callable[..., Path], small_plan: Plans) -> None:
    plan = small_plan()
    reworded = plan.model_copy(update={"configurations": {"small": plan.configuration("small").model_copy(update={"why": {"spacing": "A whim."}})}})
    assert len(load_folds([saved("0", 0, plan), saved("1", 1, reworded)])) == 2


def test_fingerprint_changes_with_the_weights_alone(small_plan: Plans, random_model: Models) -> None:
    model = random_model(small_plan(), 3)
    before = weights_fingerprint(model)
    assert before == weights_fingerprint(random_model(small_plan(), 3)) != weights_fingerprint(random_model(small_plan(), 4))
    model.network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    assert weights_fingerprint(model) == before
    kernel = next(module for module in model.network.modules() if isinstance(module, nn.Conv3d)).weight
    with torch.no_grad():
        kernel.copy_(kernel.flip(0))  # the sum stays
    assert weights_fingerprint(model) != before
