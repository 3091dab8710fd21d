"""The previous stage's segmentation: the labels' own way to the ready grid, channels of zeros and ones, and stores that are taken up."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from autoseg.data.dataset import Case
from autoseg.errors import AutosegError, GeometryMismatch
from autoseg.imaging.image import Geometry, Image, LabelMap
from autoseg.imaging.read import read_image, read_labels
from autoseg.imaging.write import write_labels
from autoseg.planning.plan import Plan
from autoseg.preprocessing.case import place, prepare
from autoseg.preprocessing.dataset import preprocess
from autoseg.preprocessing.previous import bring_to_grid, preprocess_previous, with_previous
from autoseg.preprocessing.previous_store import PreviousStore
from autoseg.preprocessing.store import CaseStore

Plans = Callable[..., Plan]
Cases = Callable[..., Case]


def test_one_channel_a_foreground_class_after_the_image() -> None:
    image = torch.arange(16, dtype=torch.float32).reshape(2, 2, 2, 2)
    previous = np.array([[[0, 1], [2, 3]], [[3, 3], [0, 2]]], np.int8)
    whole = with_previous(image, previous, 5)
    assert whole.shape == (6, 2, 2, 2) and whole.dtype == torch.float32
    assert torch.equal(whole[:2], image)
    for label in range(1, 5):
        assert np.array_equal(whole[1 + label].numpy(), (previous == label).astype(np.float32))
    assert torch.equal(whole, with_previous(image, torch.from_numpy(previous).long(), 5))
    assert with_previous(image.half(), previous, 5).dtype == torch.float16


def scan(spacing: tuple[float, float, float]) -> tuple[Image, LabelMap]:
    """A head in an empty scan, and a segmentation that also has voxels outside it."""
    rng = np.random.default_rng(0)
    array = np.zeros((2, 10, 12, 13), np.float32)
    array[:, 2:9, 1:11, 3:12] = rng.uniform(1, 9, (2, 7, 10, 9))
    labels = np.repeat(np.repeat(rng.choice([0, 1, 2, 4], (5, 6, 13)), 2, 0), 2, 1).astype(np.uint8)
    geometry = Geometry.of((10, 12, 13), spacing)
    return Image(array, geometry), LabelMap(labels, geometry)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize(("spacing", "target"), [((1, 1, 1), (1, 1, 1)), ((1.5, 1, 0.8), (0.7, 1, 1.3)), ((5, 1, 1), (1, 1, 1))])
def test_it_takes_the_way_of_the_labels(
    order: tuple[int, int, int], spacing: tuple[float, float, float], target: tuple[float, float, float], small_plan: Plans
) -> None:
    image, labels = scan(spacing)
    plan = small_plan(transpose=order, spacing=target)
    configuration = plan.configuration("small")
    ready = prepare(image, labels, plan, configuration)
    assert ready.classes is not None
    brought = bring_to_grid(labels, ready.placement, ready.classes.shape, plan, configuration)
    assert brought.dtype == np.int16 and set(np.unique(brought)) == {0, 1, 2, 3}
    np.testing.assert_array_equal(brought, ready.classes)
    assert place(image, plan, configuration) == (ready.placement, ready.classes.shape)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_it_is_resized_with_the_whole_scan(order: tuple[int, int, int], small_plan: Plans) -> None:
    image, labels = scan((1.5, 1, 0.8))
    plan = small_plan(transpose=order, resampling={"resize": (14, 9, 11)})
    configuration = plan.configuration("small")
    ready = prepare(image, labels, plan, configuration)
    placement, shape = place(image, plan, configuration)
    assert shape == (14, 9, 11)
    np.testing.assert_array_equal(bring_to_grid(labels, placement, shape, plan, configuration), ready.classes)  # type: ignore[arg-type]


def test_what_does_not_fit_is_refused(small_plan: Plans) -> None:
    image, labels = scan((1, 1, 1))
    plan = small_plan(ignore=9)
    configuration = plan.configuration("small")
    placement, shape = place(image, plan, configuration)
    elsewhere = LabelMap(labels.array, Geometry.of((10, 12, 13), (2, 1, 1)))
    with pytest.raises(GeometryMismatch, match=r"scan's grid: spacing \(2, 1, 1\) mm instead of \(1, 1, 1\) mm"):
        bring_to_grid(elsewhere, placement, shape, plan, configuration)
    for value in (7, 9):  # a prediction leaves nothing unknown
        with pytest.raises(AutosegError, match=rf"holds the values {value}; the plan's classes are 0, 1, 2, 4"):
            bring_to_grid(LabelMap(np.where(labels.array == 4, value, labels.array), labels.geometry), placement, shape, plan, configuration)


class Setting:
    """Three ready cases, and for each the file that a previous stage made: its own labels, moved by a voxel."""

    def __init__(self, plan: Plan, make_case: Cases, root: Path) -> None:
        self.plan, self.configuration, self.root = plan, plan.configuration("small"), root
        self.cases = [make_case(f"case{index}", index) for index in range(3)]
        self.images = CaseStore.of(root / "ready", plan, self.configuration)
        preprocess(self.cases, plan, {"small": self.images})
        self.files = {case.name: root / "stage" / f"{case.name}.nii.gz" for case in self.cases}
        for case in self.cases:
            labels = read_labels(case.label)
            write_labels(LabelMap(np.roll(labels.array, 1, 2), labels.geometry), self.files[case.name])

    def store(self, **options: int) -> PreviousStore:
        return PreviousStore(self.root / "ready", self.images, "settings", **options)

    def run(self, store: PreviousStore, **options: object) -> int:
        return preprocess_previous(self.cases, self.files, self.plan, self.configuration, store, **options)


@pytest.fixture
def setting(small_plan: Plans, make_case: Cases, tmp_path: Path) -> Setting:
    return Setting(small_plan(spacing=(0.9, 1.1, 1.0)), make_case, tmp_path)


def test_every_case_is_brought_once(setting: Setting) -> None:
    told: list[tuple[str, int, int]] = []

    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        told.append((stage, done, total))

    store = setting.store()
    assert setting.run(store, workers=2, progress=progress, stage="s") == 3
    assert told == [("s", done, 3) for done in range(4)]
    assert setting.run(setting.store()) == 0
    for case in setting.cases:
        found = store.get(case.name)
        expected = prepare(read_image(case.channels), read_labels(setting.files[case.name]), setting.plan, setting.configuration)
        np.testing.assert_array_equal(found.previous, expected.classes)
        assert found.image is setting.images.get(case.name).image  # shared, not copied
        assert found.shape == store.shape(case.name) == found.previous.shape
        assert setting.images.get(case.name).previous is None


def test_a_file_that_was_made_anew_is_read_anew(setting: Setting) -> None:
    store = setting.store()
    setting.run(store)
    file = setting.files["case1"]
    state = file.stat()
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert [store.has(case, setting.files[case.name]) for case in setting.cases] == [True, False, True]
    assert setting.run(store) == 1
    assert not store.has(setting.cases[0], file)  # another file
    scan = setting.cases[0].channels[0]
    os.utime(scan, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert not store.has(setting.cases[0], setting.files["case0"])  # the crop box may be another
    file.unlink()
    assert not store.has(setting.cases[1], file)


@pytest.mark.parametrize("ending", ["previous.b2nd", "previous.json"])
def test_half_a_segmentation_is_none(setting: Setting, ending: str) -> None:
    store = setting.store()
    setting.run(store)
    (store.folder / f"case1.{ending}").unlink()
    assert [store.has(case, setting.files[case.name]) for case in setting.cases] == [True, False, True]


def test_the_record_is_gone_before_and_written_after_the_voxels(setting: Setting) -> None:
    store, case = setting.store(), setting.cases[0]
    setting.run(store)
    array = store.folder / "case0.previous.b2nd"
    array.unlink()
    array.mkdir()
    with pytest.raises(AutosegError, match=r"Cannot write .*case0\.previous\.b2nd"):
        store.put(case, setting.files["case0"], np.zeros(store.shape("case0"), np.int16))
    assert not (store.folder / "case0.previous.json").exists()


def test_other_settings_are_none(setting: Setting) -> None:
    store = setting.store()
    setting.run(store)
    other = PreviousStore(store.folder, setting.images, "other settings")
    assert not any(other.has(case, setting.files[case.name]) for case in setting.cases)


def test_memory_is_bounded(setting: Setting) -> None:
    store = setting.store()
    setting.run(store)
    assert store.get("case0").previous is store.get("case0").previous
    tiny = setting.store(memory=1000).get("case0")
    assert not isinstance(tiny.previous, np.ndarray)
    np.testing.assert_array_equal(tiny.previous[2:5, 1:4, 0:9], store.get("case0").previous[2:5, 1:4, 0:9])


def test_faults_have_case_and_file(setting: Setting) -> None:
    store, file = setting.store(), setting.files["case1"]
    labels = read_labels(file)
    write_labels(LabelMap(labels.array[:, 1:], Geometry.of((12, 13, 16))), file)
    with pytest.raises(GeometryMismatch, match=r"^Case case1: .*stage/case1\.nii\.gz for .*case1_0000\.nii\.gz: .*shape \(12, 13, 16\) instead of"):
        setting.run(store)
    write_labels(LabelMap(np.full_like(labels.array, 3), labels.geometry), file)
    with pytest.raises(AutosegError, match=r"^Case case1: .*stage/case1\.nii\.gz .*values 3; .*predict the case anew"):
        setting.run(store)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(AutosegError, match=r"^Case case1: .*stage/case1\.nii\.gz"):
        setting.run(store)
    file.unlink()
    with pytest.raises(AutosegError, match=r"^Case case1: .*stage/case1\.nii\.gz"):
        setting.run(store)
    assert not store.has(setting.cases[1], file)
    setting.files = {"case0": file}
    with pytest.raises(AutosegError, match=r"no segmentation of case1, case2\. Predict them first"):
        setting.run(store)


def test_a_configuration_names_its_own_settings(setting: Setting) -> None:
    store, case = PreviousStore.of(setting.root / "ready", setting.images, setting.plan, setting.configuration), setting.cases[0]
    setting.run(store)
    assert store.has(case, setting.files[case.name])
    assert not setting.store().has(case, setting.files[case.name])


def test_voxels_of_another_shape_are_refused(setting: Setting) -> None:
    store, case = setting.store(), setting.cases[0]
    z, y, x = store.shape("case0")
    with pytest.raises(AutosegError, match=r"Case case0: .*the ready case has"):
        store.put(case, setting.files["case0"], np.zeros((z, y, x + 1), np.int16))
    with pytest.raises(AutosegError, match=r"gone\.nii\.gz.*Predict it anew"):
        store.put(case, Path("gone.nii.gz"), np.zeros((z, y, x), np.int16))
