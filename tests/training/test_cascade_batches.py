"""Batches of a cascade: what the previous stage decided goes with its patch, is damaged by chance, and becomes channels."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from autoseg.planning.plan import Configuration
from autoseg.preprocessing.store import CaseStore, StoredCase
from autoseg.training.batches import Batch, PatchSource
from autoseg.training.previous import damaged


def same(one: Batch, other: Batch) -> bool:
    return torch.equal(one.images, other.images) and torch.equal(one.classes, other.classes)


def batch_of(source: PatchSource, number: int) -> Batch:
    return source.assemble(source.load(number), "cpu")


class WithPrevious:
    """Ready cases whose previous stage decided what `make` makes of the labels."""

    def __init__(self, store: CaseStore, make: Callable[[np.ndarray], np.ndarray]) -> None:
        self.store, self.make = store, make

    def get(self, name: str) -> StoredCase:
        case = self.store.get(name)
        return replace(case, previous=self.make(np.asarray(case.classes[:])).astype(np.int8))

    def shape(self, name: str) -> tuple[int, int, int]:
        return self.store.shape(name)

    def foreground_slices(self, name: str) -> NDArray[np.intp]:
        return self.store.foreground_slices(name)


MOVES = {"rotation": {"probability": 0.7, "range": [-30, 30]}, "scaling": {"probability": 0.5, "range": [0.7, 1.4]}, "mirror_axes": [0, 1, 2]}
DAMAGE = {"previous_morphology": {"probability": 0.5, "range": [1, 4]}, "previous_removal": {"probability": 0.5, "range": [0, 0.15]}}


@pytest.fixture
def cascade(make: SimpleNamespace) -> Configuration:
    configuration: Configuration = make.plan(batch_size=3).configuration("tiny")
    return configuration.model_copy(update={"previous_stage": "tiny"})


def one_hot(classes: torch.Tensor) -> torch.Tensor:
    return torch.stack([(classes == label).float() for label in (1, 2, 3)], dim=1)


@pytest.mark.parametrize("augmented", [True, False])
def test_what_the_previous_stage_decided_moves_with_the_labels(
    augmented: bool, make: SimpleNamespace, store: CaseStore, names: list[str], cascade: Configuration
) -> None:
    """Where it decided the labels themselves, its channels are the target's; patches of 40 voxels reach beyond the case."""
    cascade = cascade.model_copy(update={"patch_size": (16, 40, 16)})
    source = PatchSource(
        WithPrevious(store, lambda x: x.clip(0)), names, cascade, make.augmentation(**MOVES) if augmented else None, 5, num_classes=4
    )
    moved = 0
    for number in range(6):
        samples = source.load(number)
        moved += sum(sample.draw.moves for sample in samples)
        batch = source.assemble(samples, "cpu")
        assert batch.images.shape == (3, 4 + 3, 16, 40, 16) and batch.images.dtype == torch.float32
        assert batch.classes.dtype == torch.int64
        assert torch.equal(batch.images[:, 4:], one_hot(batch.classes))
    assert (moved > 4) == augmented


def test_image_and_labels_are_those_without_a_previous_stage(
    make: SimpleNamespace, store: CaseStore, names: list[str], cascade: Configuration
) -> None:
    """Nothing of a batch's first draw changes: what concerns the previous stage is drawn last."""
    cascade = cascade.model_copy(update={"batch_size": 1})
    plain = cascade.model_copy(update={"previous_stage": None})
    rules = make.augmentation(**MOVES, **DAMAGE)
    for number in range(8):
        one = batch_of(PatchSource(WithPrevious(store, lambda x: x.clip(0)), names, cascade, rules, 5, num_classes=4), number)
        other = batch_of(PatchSource(store, names, plain, rules, 5, num_classes=4), number)
        assert other.images.shape[1] == 4
        assert torch.equal(one.images[:, :4], other.images) and torch.equal(one.classes, other.classes)


def test_damage_follows_from_the_number_and_spares_the_target(
    make: SimpleNamespace, store: CaseStore, names: list[str], cascade: Configuration
) -> None:
    rules, ready = make.augmentation(**MOVES, **DAMAGE), WithPrevious(store, lambda x: x.clip(0))
    source, again = (PatchSource(ready, names, cascade, rules, 5, num_classes=4) for _ in range(2))
    kinds = set()
    for number in range(10):
        samples = source.load(number)
        batch = source.assemble(samples, "cpu")
        assert same(batch, batch_of(again, number))
        seen = batch.images[:, 4:]
        assert set(seen.unique().tolist()) <= {0.0, 1.0} and seen.sum(1).max() <= 1
        for sample, channels, target in zip(samples, seen, one_hot(batch.classes), strict=True):
            drawn = bool(sample.draw.morphology or sample.draw.removal)
            assert drawn or torch.equal(channels, target)
            kinds.add((sample.draw.moves, drawn, torch.equal(channels, target)))
    assert {(True, True, False), (False, True, False)} <= kinds  # damaged where it moves and where it does not


def test_damage_comes_after_the_move(make: SimpleNamespace, store: CaseStore, names: list[str], cascade: Configuration) -> None:
    """A ball is one in the patch, whatever the scale; where nothing moves, before or after the flip is the same."""
    rules = make.augmentation(**MOVES, previous_morphology={"probability": 1, "range": [2, 4]})
    source = PatchSource(WithPrevious(store, lambda x: x.clip(0)), names, cascade, rules, 5, num_classes=4)
    for number in range(5):
        samples = source.load(number)
        batch = source.assemble(samples, "cpu")
        for sample, channels, target in zip(samples, batch.images[:, 4:], batch.classes, strict=True):
            assert torch.equal(channels, one_hot(damaged(sample.draw, target.clamp_min(0))[None])[0])


def test_a_cascade_needs_the_number_of_classes(make: SimpleNamespace, store: CaseStore, names: list[str], cascade: Configuration) -> None:
    with pytest.raises(ValueError, match="num_classes"):
        PatchSource(store, names, cascade, None, 5)


def test_many_classes_pass_through(make: SimpleNamespace, store: CaseStore, names: list[str], cascade: Configuration) -> None:
    """A previous stage that holds more classes than the case's labels do."""

    class Large(WithPrevious):
        def get(self, name: str) -> StoredCase:
            case = self.store.get(name)
            return replace(case, previous=np.full(case.shape, 199, np.int16))

    source = PatchSource(Large(store, lambda x: x), names, cascade.model_copy(update={"patch_size": (8, 8, 8)}), None, 5, num_classes=200)
    images = batch_of(source, 0).images
    assert images.shape[1] == 4 + 199 and (images[:, -1] == 1).all() and not images[:, 4:-1].any()
