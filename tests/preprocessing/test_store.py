"""The store: what is put in comes out, and what is stale, half-written or damaged is never taken for a case."""

import os
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoseg.data.dataset import Case
from autoseg.errors import AutosegError, PlanError
from autoseg.imaging.image import Geometry
from autoseg.planning.plan import Plan
from autoseg.preprocessing.arrays import ArrayOnDisk, write_array
from autoseg.preprocessing.case import ReadyCase
from autoseg.preprocessing.placement import Placement
from autoseg.preprocessing.store import CaseStore, settings_key, store_name

FILES = ("image.b2nd", "classes.b2nd", "foreground.npz", "json")


def ready(seed: int = 0, shape: tuple[int, int, int] = (12, 70, 33)) -> ReadyCase:
    rng = np.random.default_rng(seed)
    whole = (slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2]))
    placement = Placement(Geometry.of(shape), whole, (0, 1, 2), shape, (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    return ReadyCase(rng.normal(size=(2, *shape)).astype(np.float32), rng.choice([-1, 0, 0, 1, 3], shape).astype(np.int16), placement)


@pytest.fixture
def store(tmp_path: Path) -> CaseStore:
    return CaseStore(tmp_path / "ready", "settings")


def test_round_trip(store: CaseStore, make_case: Callable[..., Case]) -> None:
    case, content = make_case("a.b"), ready()
    assert not store.has(case)
    store.put(case, content)
    assert store.has(case)
    found = store.get("a.b")
    assert found.shape == store.shape("a.b") == (12, 70, 33)
    np.testing.assert_array_equal(found.image, content.image)
    np.testing.assert_array_equal(found.classes, content.classes)
    assert found.classes.dtype == np.int8
    assert found.locations.keys() == {1, 3}
    assert sorted(path.name for path in store.folder.iterdir()) == sorted(f"a.b.{ending}" for ending in FILES)


def test_many_classes_fit(store: CaseStore, make_case: Callable[..., Case]) -> None:
    content = ready()
    content.classes[0, 0, :3] = 127, 128, 300  # type: ignore[index]
    store.put(make_case(), content)
    np.testing.assert_array_equal(store.get("case").classes, content.classes)


def test_a_case_counts_as_missing_once_anything_it_was_made_from_changes(
    store: CaseStore, make_case: Callable[..., Case], tmp_path: Path, small_plan: Callable[..., Plan]
) -> None:
    case = make_case()
    store.put(case, ready())
    assert not CaseStore(store.folder, "other settings").has(case)
    assert not store.has(replace(case, channels=case.channels[::-1]))
    state = case.channels[1].stat()
    os.utime(case.channels[1], ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert not store.has(case)
    os.utime(case.channels[1], ns=(state.st_atime_ns, state.st_mtime_ns))
    assert store.has(case)
    content = case.label.read_bytes()  # type: ignore[union-attr]
    moment = case.label.stat().st_mtime_ns  # type: ignore[union-attr]
    case.label.write_bytes(content + b"x")  # type: ignore[union-attr]
    os.utime(case.label, ns=(moment, moment))  # type: ignore[arg-type]
    assert not store.has(case)


@pytest.mark.parametrize(
    "change", [{"spacing": (1, 1, 2)}, {"transpose": (1, 0, 2)}, {"scheme": "none"}, {"use_mask": True}, {"ignore": 9}, {"values": (0, 1, 2, 5)},
               {"resampling": {"label_order": 0}}, {"resampling": {"resize": (9, 9, 9)}}, {"scheme": "clahe"}, {"channels": ("t1",)}]
)  # fmt: skip
def test_settings_that_matter_change_the_key(change: dict[str, object], small_plan: Callable[..., Plan]) -> None:
    plan, other = small_plan(), small_plan(**change)
    assert settings_key(plan, plan.configuration("small")) != settings_key(other, other.configuration("small"))


def test_settings_that_do_not_matter_keep_the_key(small_plan: Callable[..., Plan]) -> None:
    plan, other = small_plan(), small_plan(patch=(24, 16, 16), inference={"step": 0.9}, precision="bfloat16")
    assert settings_key(plan, plan.configuration("small")) == settings_key(other, other.configuration("small"))


def test_configurations_that_make_cases_ready_alike_share_them(small_plan: Callable[..., Plan]) -> None:
    plan = small_plan()
    first = plan.configuration("small")
    others = {
        "large_batch": first.model_copy(update={"batch_size": 8}),
        "coarse": first.model_copy(update={"spacing": (2.0, 2.0, 2.0)}),
        "cascade": first.model_copy(update={"previous_stage": "coarse"}),
        "coarse_too": first.model_copy(update={"spacing": (2.0, 2.0, 2.0), "patch_size": (8, 8, 8)}),
    }
    plan = plan.model_copy(update={"configurations": {"small": first, **others}})
    assert {name: store_name(plan, name) for name in plan.configurations} == {
        "small": "small", "large_batch": "small", "coarse": "coarse", "cascade": "small", "coarse_too": "coarse",
    }  # fmt: skip
    with pytest.raises(PlanError, match="no configuration 'absent'"):
        store_name(plan, "absent")


@pytest.mark.parametrize("ending", FILES)
def test_a_missing_file_means_a_missing_case(ending: str, store: CaseStore, make_case: Callable[..., Case]) -> None:
    case = make_case()
    store.put(case, ready())
    (store.folder / f"case.{ending}").unlink()
    assert not store.has(case)


@pytest.mark.parametrize("content", ["", '{"format": 1, "sett', "[]"])  # a loss of power may leave it empty
def test_a_damaged_record_means_a_missing_case(content: str, store: CaseStore, make_case: Callable[..., Case]) -> None:
    case = make_case()
    store.put(case, ready())
    (store.folder / "case.json").write_text(content)
    assert not store.has(case)


def test_a_case_that_cannot_be_replaced_wholly_loses_its_record(store: CaseStore, make_case: Callable[..., Case]) -> None:
    case = make_case()
    store.put(case, ready())
    (store.folder / "case.classes.b2nd").unlink()
    (store.folder / "case.classes.b2nd").mkdir()
    with pytest.raises(AutosegError, match=r"Cannot write .*case\.classes\.b2nd"):
        store.put(case, ready(1))
    assert not (store.folder / "case.json").exists()


@pytest.mark.parametrize("ending", FILES[:3])
@pytest.mark.parametrize("damage", ["absent", "empty", "cut short", "overwritten"])
def test_damage_is_named(ending: str, damage: str, store: CaseStore, make_case: Callable[..., Case]) -> None:
    store.put(make_case(), ready())
    path = store.folder / f"case.{ending}"
    content = path.read_bytes()
    if damage == "absent":
        path.unlink()
    else:
        middle = len(content) // 2
        path.write_bytes({"empty": b"", "cut short": content[:middle], "overwritten": content[:middle] + bytes(len(content) - middle)}[damage])
    with pytest.raises(AutosegError, match=rf"case\.{ending} cannot be read .*Delete it and start again"):
        store.get("case")


def test_damage_shows_also_where_patches_come_from_the_disk(store: CaseStore, make_case: Callable[..., Case]) -> None:
    store.put(make_case(), ready())
    path = store.folder / "case.image.b2nd"
    content = bytearray(path.read_bytes())
    content[300:20_000] = b"\x5a" * 19_700
    path.write_bytes(content)
    case = CaseStore(store.folder, "settings", memory=1000).get("case")
    with pytest.raises(AutosegError, match=r"case\.image\.b2nd cannot be read"):
        case.image[:]


def test_notes_that_are_not_ours_are_damage(store: CaseStore, make_case: Callable[..., Case]) -> None:
    store.put(make_case(), ready())
    write_array(store.folder / "case.image.b2nd", np.zeros((2, 12, 70, 33), np.int16), {"other": 1})
    with pytest.raises(AutosegError, match=r"case\.image\.b2nd cannot be read"):
        store.get("case")


@pytest.mark.parametrize("shape", [(3, 4100, 5), (2, 70, 4100), (300, 260, 240)])
def test_any_shape_is_read_back(shape: tuple[int, int, int], tmp_path: Path) -> None:
    """Beyond the limits of a chunk along one axis, and of a whole chunk."""
    array = (np.arange(np.prod(shape)) % 251).astype(np.uint8).reshape(shape)
    write_array(tmp_path / "array.b2nd", array)
    found = ArrayOnDisk(tmp_path / "array.b2nd")
    assert found.notes is None and found.nbytes == array.nbytes
    np.testing.assert_array_equal(found[-3:, 1:90, 4:], array[-3:, 1:90, 4:])
    np.testing.assert_array_equal(found[:], array)


def test_memory_is_bounded_by_bytes(store: CaseStore, make_case: Callable[..., Case]) -> None:
    names = [f"case{index}" for index in range(6)]
    for index, name in enumerate(names):
        store.put(make_case(name), ready(index))
    size = 12 * 70 * 33 * (2 * 4 + 1)
    small = CaseStore(store.folder, "settings", memory=4 * size)
    first = [small.get(name) for name in names[:4]]
    assert all(small.get(name) is case for name, case in zip(names, first, strict=False))
    small.get(names[0])
    small.get(names[4])  # the one used longest ago goes
    assert small.get(names[0]) is first[0]
    assert small.get(names[1]) is not first[1]
    tiny = CaseStore(store.folder, "settings", memory=4 * size - 1).get(names[0])
    assert not isinstance(tiny.image, np.ndarray)  # a case above a quarter of the memory stays on the disk
    np.testing.assert_array_equal(tiny.image[..., 3:9, 60:70, 0:33], first[0].image[..., 3:9, 60:70, 0:33])
    np.testing.assert_array_equal(tiny.classes[2:4, 5:8, 1:2], first[0].classes[2:4, 5:8, 1:2])
    assert tiny.shape == first[0].shape


def test_faults_on_the_way_in_are_named(store: CaseStore, make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case()
    with pytest.raises(AutosegError, match="case has no segmentation"):
        store.put(case, replace(ready(), classes=None))
    case.channels[0].rename(tmp_path / "elsewhere")
    with pytest.raises(AutosegError, match=r"Case case: .*case_0000\.nii\.gz"):
        store.put(case, ready())


def test_a_folder_that_is_a_file(make_case: Callable[..., Case], tmp_path: Path) -> None:
    (tmp_path / "ready").write_text("not a folder")
    with pytest.raises(AutosegError, match=r"ready.* folder that you may write to"):
        CaseStore(tmp_path / "ready", "settings").put(make_case(), ready())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_read_only(store: CaseStore, make_case: Callable[..., Case]) -> None:
    case = make_case()
    store.put(case, ready())
    store.folder.chmod(0o555)
    try:
        with pytest.raises(AutosegError, match="Permission denied"):
            store.put(case, ready())
        assert store.has(case)
    finally:
        store.folder.chmod(0o755)


def test_a_full_disk(store: CaseStore, make_case: Callable[..., Case]) -> None:
    case = make_case()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(AutosegError, match=r"Cannot write .*case\.image\.b2nd.*Free the disk"):
            store.put(case, ready())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(store.folder.iterdir())


@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_annotated_voxels_come_with_the_case(memory: int, tmp_path: Path, make_case: Callable[..., Case]) -> None:
    store = CaseStore(tmp_path / "ready", "settings", memory=memory)
    content = ready()
    assert content.classes is not None
    classes = np.abs(content.classes)
    store.put(make_case("whole"), replace(content, classes=classes))
    assert store.get("whole").annotated is None
    classes = classes.copy()
    classes[3:] = -1
    store.put(make_case("slices"), replace(content, classes=classes))
    annotated = store.get("slices").annotated
    assert annotated is not None and set(annotated[:, 0].tolist()) == {0, 1, 2}


def test_a_nominal_spacing_does_not_matter(small_plan: Callable[..., Plan]) -> None:
    keys = {
        settings_key(plan, plan.configuration("small"))
        for plan in (small_plan(spacing=spacing, resampling={"resize": (9, 9, 9)}) for spacing in ((1, 1, 1), (2, 1, 1)))
    }
    assert len(keys) == 1
