"""Batches follow from seed and number, hold the foreground they must, and arrive in order."""

import threading
from collections.abc import Callable
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from autoseg.errors import AutosegError, PlanError
from autoseg.preprocessing.foreground import annotated_voxels, foreground_locations
from autoseg.preprocessing.store import CaseStore, StoredCase
from autoseg.training.batches import Batch, PatchSource, stream
from autoseg.training.draws import draw as make_draw
from autoseg.training.places import cut, patch_start


def same(one: Batch, other: Batch) -> bool:
    return torch.equal(one.images, other.images) and torch.equal(one.classes, other.classes)


@pytest.fixture
def source(make: SimpleNamespace, store: CaseStore, names: list[str]) -> PatchSource:
    configuration = make.plan().configuration("tiny")
    return PatchSource(store, names, configuration, configuration.training.recipes["fast"].augmentation, 5)


def batch_of(source: PatchSource, number: int) -> Batch:
    return source.assemble(source.load(number), "cpu")


def test_a_batch_follows_from_seed_and_number(make: SimpleNamespace, reopen: Callable[..., CaseStore], source: PatchSource, names: list[str]) -> None:
    configuration = make.plan().configuration("tiny")
    again = PatchSource(reopen(), names, configuration, configuration.training.recipes["fast"].augmentation, 5)
    other = PatchSource(reopen(), names, configuration, configuration.training.recipes["fast"].augmentation, 6)
    batches = [batch_of(source, number) for number in range(6)]
    assert same(batches[3], batch_of(again, 3))  # without those before it
    assert not same(batches[3], batch_of(other, 3))
    assert not any(same(batches[a], batches[b]) for a in range(6) for b in range(a))


def test_shapes_and_types(source: PatchSource) -> None:
    batch = batch_of(source, 0)
    assert batch.images.shape == (2, 4, 16, 16, 16) and batch.images.dtype == torch.float32
    assert batch.classes.shape == (2, 16, 16, 16) and batch.classes.dtype == torch.int64
    assert batch.classes.min() >= -1 and batch.classes.max() <= 3
    assert torch.isfinite(batch.images).all()


def test_slices_have_no_z(make: SimpleNamespace, store: CaseStore, names: list[str]) -> None:
    configuration = make.plan(dimensions=2, patch=(16, 12)).configuration("tiny")
    batch = batch_of(PatchSource(store, names, configuration, configuration.training.recipes["fast"].augmentation, 5), 1)
    assert batch.images.shape == (2, 4, 16, 12) and batch.classes.shape == (2, 16, 12)


def test_a_plan_that_mirrors_slices_along_a_third_axis_is_refused(make: SimpleNamespace) -> None:
    recipe = {"optimizer": "sgd", "learning_rate": 0.01, "augmentation": {"mirror_axes": [0, 2]}}
    with pytest.raises(PlanError, match="mirror_axes"):
        make.plan(dimensions=2, recipes={"default": recipe})


def test_slices_are_mirrored_along_their_own_axes(make: SimpleNamespace, store: CaseStore, names: list[str]) -> None:
    """Axes 0 and 1 of a 2D plan are Y and X; they and no other are flipped, each half of the time."""
    rules = make.augmentation(mirror_axes=[0, 1], rotation={"probability": 1, "range": [-180, 180]}, scaling={"probability": 1, "range": [0.7, 1.4]})
    source = PatchSource(store, names, make.plan(dimensions=2, batch_size=50).configuration("tiny"), rules, 5)
    draws = [sample.draw for number in range(4) for sample in source.load(number)]
    for axis, chance in ((0, 0.0), (1, 0.5), (2, 0.5)):
        assert abs(np.mean([axis in one.flips for one in draws]) - chance) < 0.15
    assert all(one.in_plane and one.angles[1:] == (0.0, 0.0) for one in draws)


def test_slice_wise_volumes_are_not_scaled_along_z(make: SimpleNamespace, store: CaseStore, names: list[str]) -> None:
    rules = make.augmentation(slice_wise=True, mirror_axes=[0, 1, 2], scaling={"probability": 1, "range": [1.2, 1.4]})
    source = PatchSource(store, names, make.plan(patch=(4, 16, 16)).configuration("tiny"), rules, 5)
    for sample in source.load(0):
        assert sample.classes.shape[0] == 4 and sample.classes.shape[1] > 16
    assert any(0 in sample.draw.flips for number in range(8) for sample in source.load(number))


@pytest.mark.parametrize(("batch_size", "forced"), [(1, 0), (2, 1), (3, 1), (4, 1), (5, 2), (12, 4)])
def test_the_last_third_is_forced(make: SimpleNamespace, store: CaseStore, names: list[str], batch_size: int, forced: int) -> None:
    """nnU-Net's rule: sample j is forced if j >= round(batch size * 0.67)."""
    configuration = make.plan(batch_size=batch_size, patch=(8, 4, 4)).configuration("tiny")
    source = PatchSource(store, names, configuration, None, 5)
    with_tumour = np.array([[bool((sample.classes > 0).any()) for sample in source.load(number)] for number in range(60)])
    share = with_tumour.mean(0)
    assert (share[batch_size - forced :] == 1).all()
    assert (share[: batch_size - forced] < 0.9).all()


def test_forced_patches_are_centred_on_a_class_drawn_uniformly(store: CaseStore, names: list[str]) -> None:
    case = store.get(names[0])
    classes, generator = case.classes, np.random.default_rng(0)
    patch, centred = (6, 5, 4), dict.fromkeys(case.locations, 0)
    assert len(centred) >= 2
    for _ in range(900):
        start = patch_start(generator, case, patch, forced=True)
        inside = all(0 < first < length - size for first, length, size in zip(start, case.shape, patch, strict=True))
        assert all(0 <= first <= length - size for first, length, size in zip(start, case.shape, patch, strict=True))
        if inside:
            label = int(classes[tuple(first + size // 2 for first, size in zip(start, patch, strict=True))])
            centred[label] += 1  # a KeyError where the centre is background
    counts = np.array(list(centred.values())) / sum(centred.values())
    assert np.abs(counts - 1 / len(counts)).max() < 0.1


def test_free_patches_are_uniform_over_every_position() -> None:
    case = StoredCase(np.zeros((1, 6, 4, 4), np.float32), np.zeros((6, 4, 4), np.int8), {1: np.array([[5, 3, 3]], np.int16)})
    generator = np.random.default_rng(0)
    starts = np.array([patch_start(generator, case, (3, 4, 4), forced=False) for _ in range(4000)])
    assert np.abs(np.bincount(starts[:, 0], minlength=4) / 4000 - 0.25).max() < 0.04
    assert not starts[:, 1:].any()
    assert patch_start(generator, case, (3, 4, 4), forced=True) == [3, 0, 0]  # clipped by the border


def test_a_case_without_foreground_gives_free_patches() -> None:
    case = StoredCase(np.zeros((1, 6, 4, 4), np.float32), np.zeros((6, 4, 4), np.int8), {})
    starts = {tuple(patch_start(np.random.default_rng(seed), case, (3, 4, 4), forced=True)) for seed in range(30)}
    assert starts == {(first, 0, 0) for first in range(4)}


@pytest.mark.parametrize("forced", [False, True])
def test_small_cases_are_padded_with_zeros_on_both_sides(forced: bool) -> None:
    image = np.arange(1, 61, dtype=np.float32).reshape(1, 3, 4, 5)
    case = StoredCase(image, np.ones((3, 4, 5), np.int8), {1: np.array([[0, 0, 0]], np.int16)})
    start = patch_start(np.random.default_rng(0), case, (8, 7, 5), forced=forced)
    assert start == [-2, -1, 0]
    assert np.array_equal(cut(image, start, (8, 7, 5)).numpy(), np.pad(image, ((0, 0), (2, 3), (1, 2), (0, 0))))
    assert np.array_equal(cut(case.classes, start, (8, 7, 5)).numpy(), np.pad(case.classes, ((2, 3), (1, 2), (0, 0))))


def test_patches_larger_than_the_case_go_all_the_way(make: SimpleNamespace, store: CaseStore, names: list[str]) -> None:
    configuration = make.plan(patch=(40, 40, 40)).configuration("tiny")
    sample = PatchSource(store, names[:1], configuration, None, 5).load(0)[0]
    case = store.get(names[0])
    pads = [(0, 0), *(((40 - size) // 2, 40 - size - (40 - size) // 2) for size in case.shape)]
    assert np.array_equal(sample.image.numpy(), np.pad(case.image, pads))


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_cut_equals_padding(data: st.DataObject) -> None:
    lengths = data.draw(st.tuples(*[st.integers(1, 6)] * 3))
    box = data.draw(st.tuples(*[st.integers(1, 9)] * 3))
    corner = [data.draw(st.integers(1 - wide, length - 1)) for wide, length in zip(box, lengths, strict=True)]
    array = np.random.default_rng(0).normal(size=(2, *lengths)).astype(np.float32)
    padded = np.pad(array, [(0, 0), *[(10, 10)] * 3])
    z, y, x = (slice(10 + first, 10 + first + wide) for first, wide in zip(corner, box, strict=True))
    assert np.array_equal(cut(array, corner, box).numpy(), padded[:, z, y, x])
    assert np.array_equal(cut(array[0], corner, box).numpy(), padded[0, z, y, x])


def test_cases_on_disk_give_the_same_batches(make: SimpleNamespace, reopen: Callable[..., CaseStore], source: PatchSource, names: list[str]) -> None:
    configuration = make.plan().configuration("tiny")
    rules = configuration.training.recipes["fast"].augmentation
    on_disk = reopen(memory=0)
    assert not isinstance(on_disk.get(names[0]).image, np.ndarray)
    for number in range(4):
        assert same(batch_of(source, number), batch_of(PatchSource(on_disk, names, configuration, rules, 5), number))


def test_what_is_loaded_has_its_own_memory_unless_views_will_do(make: SimpleNamespace, reopen: Callable[..., CaseStore], names: list[str]) -> None:
    store, configuration = reopen(), make.plan().configuration("tiny")
    source = PatchSource(store, names[:1], configuration, None, 5)
    whole = torch.from_numpy(store.get(names[0]).image)
    own, views = source.load(0), source.load(0, contiguous=False)
    assert all(sample.image.is_contiguous() for sample in own)
    assert all(np.shares_memory(sample.image.numpy(), whole.numpy()) for sample in views)
    assert not any(np.shares_memory(sample.image.numpy(), whole.numpy()) for sample in own)
    before = whole.clone()
    assert same(source.assemble(own, "cpu"), source.assemble(views, "cpu")) and torch.equal(whole, before)


def test_validation_patches_are_untouched(make: SimpleNamespace, store: CaseStore, names: list[str]) -> None:
    source = PatchSource(store, names[:1], make.plan().configuration("tiny"), None, 5)
    case = store.get(names[0])
    for sample in source.load(0):
        windows = np.lib.stride_tricks.sliding_window_view(np.asarray(case.image[0]), (16, 16, 16))
        assert any(np.array_equal(sample.image[0].numpy(), window) for window in windows.reshape(-1, 16, 16, 16))


def test_the_augmented_patch_lies_where_the_plain_one_does(make: SimpleNamespace, store: CaseStore, names: list[str]) -> None:
    """A change of intensities draws no other place; flips undo."""
    configuration = make.plan().configuration("tiny")
    plain = PatchSource(store, names, configuration, make.augmentation(), 5).load(2)
    for sample in plain:
        assert not sample.draw.moves and sample.image.shape[1:] == (16, 16, 16)
    turned = PatchSource(store, names, configuration, make.augmentation(mirror_axes=[0, 1, 2]), 5)
    samples = turned.load(2)
    assert torch.equal(samples[0].image, plain[0].image)
    flips = samples[0].draw.flips
    assert torch.equal(turned.assemble(samples, "cpu").classes[0].flip(list(flips)), plain[0].classes.long())


def test_the_stream_gives_numbers_in_order_from_anywhere(source: PatchSource) -> None:
    expected = [batch_of(source, number) for number in range(7)]
    batches = stream(source, 0, "cpu")
    assert all(same(one, other) for one, other in zip(islice(batches, 7), expected, strict=True))
    batches.close()
    resumed = stream(source, 4, "cpu", ahead=1)
    assert all(same(one, other) for one, other in zip(islice(resumed, 3), expected[4:], strict=True))
    resumed.close()


def test_a_closed_stream_leaves_no_thread(source: PatchSource) -> None:
    batches = stream(source, 0, "cpu")
    next(batches)
    assert any(thread.name.startswith("batches") for thread in threading.enumerate())
    batches.close()
    assert not any(thread.name.startswith("batches") for thread in threading.enumerate())


def test_an_error_while_loading_reaches_the_caller(make: SimpleNamespace, reopen: Callable[..., CaseStore], names: list[str]) -> None:
    configuration = make.plan().configuration("tiny")
    source = PatchSource(reopen(), ["not_there"], configuration, None, 5)
    with pytest.raises(AutosegError, match="not_there"):
        next(stream(source, 0, "cpu"))


def labelled(classes: NDArray[np.integer]) -> StoredCase:
    locations = foreground_locations(classes, "case")
    return StoredCase(np.zeros((1, *classes.shape), np.float32), classes, locations, annotated=annotated_voxels(classes, "case"))


def centres(case: StoredCase, count: int, *, forced: bool, regions: list[tuple[int, ...]] | None = None) -> list[int]:
    """The classes that patches of one voxel are centred on."""
    generator = np.random.default_rng(0)
    starts = (patch_start(generator, case, (1, 1, 1), forced=forced, regions=regions) for _ in range(count))
    return [int(case.classes[tuple(start)]) for start in starts]


def test_regions_are_drawn_alike_and_then_their_voxels() -> None:
    classes = np.zeros((20, 10, 10), np.int16)
    classes[:12], classes[12:15], classes[15:16] = 2, 1, 3  # 1200, 300 and 100 voxels
    drawn = np.bincount(centres(labelled(classes), 6000, forced=True, regions=[(1, 2, 3), (1, 3), (3,)]), minlength=4) / 6000
    expected = [0, (300 / 1600 + 300 / 400) / 3, 1200 / 1600 / 3, (100 / 1600 + 100 / 400 + 1) / 3]
    assert np.abs(drawn - expected).max() < 0.02


def test_classes_as_regions_are_drawn_as_classes() -> None:
    classes = np.random.default_rng(1).integers(0, 4, (9, 8, 7)).astype(np.int16)
    case = labelled(classes)
    assert centres(case, 50, forced=True) == centres(case, 50, forced=True, regions=[(1,), (2,), (3,)])


def test_regions_that_a_case_lacks_are_passed_over() -> None:
    classes = np.zeros((9, 8, 7), np.int16)
    classes[4] = 2
    assert set(centres(labelled(classes), 50, forced=True, regions=[(1, 2), (1, 3), (3,)])) == {2}
    assert 0 in centres(labelled(classes), 50, forced=True, regions=[(1, 3), (3,)])  # none of them: anywhere


def test_patches_hold_what_was_annotated() -> None:
    classes = np.full((30, 12, 12), -1, np.int16)
    classes[7], classes[7, 5, 5:8] = 0, 2
    case = labelled(classes)
    assert {-1}.isdisjoint(centres(case, 300, forced=False)) and set(centres(case, 50, forced=True)) == {2}
    assert set(centres(case, 300, forced=True, regions=[(1, 3)])) == {0, 2}  # no such region: any annotated voxel
    generator = np.random.default_rng(0)
    for forced in (False, True):
        for _ in range(100):
            z, y, x = patch_start(generator, case, (8, 8, 8), forced=forced)
            assert (classes[z : z + 8, y : y + 8, x : x + 8] >= 0).any()


def test_the_sequence_with_the_defaults_is_what_it_was(make: SimpleNamespace, store: CaseStore, names: list[str]) -> None:
    """Case, place and change of each sample, in the order that trainings so far drew them."""
    configuration, rules = make.plan(batch_size=3).configuration("tiny"), make.augmentation(mirror_axes=[0, 1, 2])
    for number in range(4):
        generator = np.random.default_rng([5, number])
        for index, sample in enumerate(PatchSource(store, names, configuration, rules, 5).load(number)):
            case = store.get(names[generator.integers(len(names))])
            start = patch_start(generator, case, (16, 16, 16), forced=index >= 2)
            assert sample.draw == make_draw(generator, rules, 4, in_plane=False)
            assert torch.equal(sample.image, cut(case.image, start, (16, 16, 16)))


@pytest.mark.parametrize(("batch_size", "per_case"), [(6, 2), (5, 3), (4, 9)])
def test_patches_of_a_case_come_together(make: SimpleNamespace, store: CaseStore, names: list[str], batch_size: int, per_case: int) -> None:
    configuration = make.plan(batch_size=batch_size, patches_per_case=per_case, patch=(8, 8, 8)).configuration("tiny")
    source, owners = PatchSource(store, names, configuration, None, 5), []
    images = {name: torch.from_numpy(np.ascontiguousarray(store.get(name).image)) for name in names}
    for number in range(12):
        samples = source.load(number)
        found = [next(name for name, image in images.items() if holds(image, sample.image)) for sample in samples]
        assert all(found[index] == found[index - index % per_case] for index in range(batch_size))
        assert len({tuple(sample.image.flatten().tolist()) for sample in samples}) > 1  # but not all from one place
        owners += found[::per_case]
        assert same(batch_of(source, number), batch_of(PatchSource(store, names, configuration, None, 5), number))
    assert len(set(owners)) > 2


def holds(image: torch.Tensor, patch: torch.Tensor) -> bool:
    """Whether a patch is a part of an image, by the brightest voxel of the patch."""
    peak = int(patch.flatten().argmax())
    channel, *place = np.unravel_index(peak, patch.shape)
    for found in (image[channel] == patch.flatten()[peak]).nonzero().tolist():
        start = [one - other for one, other in zip(found, place, strict=True)]
        part = image[(slice(None), *(slice(max(0, first), first + size) for first, size in zip(start, patch.shape[1:], strict=True)))]
        if torch.equal(part, patch):
            return True
    return False


class Slices:
    """Three made-up cases: one with foreground in slices 2 and 7 of 9, one without any, one of a single slice with a voxel."""

    def __init__(self, *, empty: bool = False) -> None:
        classes = {"few": np.zeros((9, 8, 8), np.int16), "none": np.zeros((9, 8, 8), np.int16), "one": np.zeros((1, 8, 8), np.int16)}
        if not empty:
            classes["few"][2, :4], classes["few"][7, 6, 6], classes["one"][0, 1, 3] = 1, 2, 2
        self.cases = {}
        for index, (name, labels) in enumerate(classes.items()):
            image = np.broadcast_to(100 * index + np.arange(len(labels), dtype=np.float32)[:, None, None], labels.shape)[None]
            self.cases[name] = StoredCase(image, labels, foreground_locations(labels, name))

    def get(self, name: str) -> StoredCase:
        return self.cases[name]

    def foreground_slices(self, name: str) -> NDArray[np.intp]:
        return np.flatnonzero((self.cases[name].classes > 0).any((1, 2)))


def slices_of(make: SimpleNamespace, cases: Slices, **training: object) -> list[tuple[int, torch.Tensor]]:
    """Which slice (100 for each case before it) each of many samples shows, and its classes."""
    configuration = make.plan(dimensions=2, patch=(4, 8), batch_size=3, **training).configuration("tiny")
    source = PatchSource(cases, ["few", "none", "one"], configuration, None, 5)
    return [(int(sample.image[0, 0, 0, 0]), sample.classes) for number in range(200) for sample in source.load(number)]


def test_slices_with_foreground_are_drawn_alike_and_no_others(make: SimpleNamespace) -> None:
    drawn = slices_of(make, Slices(), slices="with_foreground")
    counts = {place: sum(one == place for one, _ in drawn) / len(drawn) for place in {one for one, _ in drawn}}
    assert counts.keys() == {2, 7, 200}  # cases alike, then their slices, however much foreground they hold
    assert counts == {2: pytest.approx(0.25, abs=0.06), 7: pytest.approx(0.25, abs=0.06), 200: pytest.approx(0.5, abs=0.06)}
    assert all((classes > 0).any() for _, classes in drawn[2::3])  # forced ones hold it in the patch
    assert not all((classes > 0).any() for _, classes in drawn)
    assert {one for one, _ in slices_of(make, Slices())} > {0, 2, 7, 104, 200}


def test_without_any_foreground_all_slices_are_drawn(make: SimpleNamespace) -> None:
    assert {one for one, _ in slices_of(make, Slices(empty=True), slices="with_foreground")} == {*range(9), *range(100, 109), 200}


def test_the_store_knows_its_slices_with_foreground(store: CaseStore, names: list[str]) -> None:
    for name in names:
        classes = np.asarray(store.get(name).classes)
        assert store.foreground_slices(name).tolist() == [z for z, one in enumerate(classes) if (one > 0).any()]
        assert 0 < len(store.foreground_slices(name)) < len(classes)
