"""A dataset made ready: everything once, resumed after a kill, faults with case and file."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autoseg.data.dataset import Case
from autoseg.errors import AutosegError
from autoseg.imaging.image import Geometry, Image, LabelMap
from autoseg.imaging.read import read_image, read_labels
from autoseg.imaging.write import write_image, write_labels
from autoseg.planning.plan import Plan, write_plan
from autoseg.preprocessing.case import prepare
from autoseg.preprocessing.dataset import make_each, preprocess
from autoseg.preprocessing.store import CaseStore
from autoseg.progress import silent


@pytest.fixture
def plan(small_plan: Callable[..., Plan]) -> Plan:
    return small_plan(spacing=(0.9, 1.1, 1.0))


def store_of(folder: Path, plan: Plan) -> CaseStore:
    return CaseStore.of(folder, plan, plan.configuration("small"))


def test_every_case_is_made_once(plan: Plan, make_case: Callable[..., Case], tmp_path: Path) -> None:
    cases = [make_case(f"case{index}", index) for index in range(5)]
    store = store_of(tmp_path / "ready", plan)
    told: list[tuple[str, int, int]] = []
    assert preprocess(cases[:2], plan, {"small": store}) == {"small": 2}

    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        told.append((stage, done, total))

    made = preprocess(cases, plan, {"small": store}, workers=2, progress=progress, stage="s")
    assert made == {"small": 3}
    assert told == [("s", done, 5) for done in (2, 3, 4, 5)]
    assert preprocess(cases, plan, {"small": store}) == {"small": 0}
    for case in cases:
        expected = prepare(read_image(case.channels), read_labels(case.label), plan, plan.configuration("small"))  # type: ignore[arg-type]
        np.testing.assert_allclose(store.get(case.name).image[:], expected.image, rtol=0, atol=2.5e-4 * expected.image.std())
        np.testing.assert_array_equal(store.get(case.name).classes, expected.classes)


def twofold(plan: Plan, **changes: object) -> Plan:
    """With a second configuration that differs from the first."""
    first = plan.configuration("small")
    return plan.model_copy(update={"configurations": {"small": first, "other": first.model_copy(update=changes)}})


def stores_of(folder: Path, plan: Plan) -> dict[str, CaseStore]:
    return {name: CaseStore.of(folder / name, plan, configuration) for name, configuration in plan.configurations.items()}


def require_same(one: CaseStore, other: CaseStore, cases: list[Case]) -> None:
    for case in cases:
        a, b = one.get(case.name), other.get(case.name)
        np.testing.assert_array_equal(a.image[:], b.image[:])
        np.testing.assert_array_equal(a.classes, b.classes)
        np.testing.assert_equal(a.locations, b.locations)


FLAT = {"dimensions": 2, "patch_size": (16, 16), "spacing": (1.0, 1.0)}
VOXELS = ("image.b2nd", "classes.b2nd", "foreground.npz")


def test_the_same_voxels_lie_on_disk_once(small_plan: Callable[..., Plan], make_case: Callable[..., Case], tmp_path: Path) -> None:
    cases, plan = [make_case(f"case{index}", index) for index in range(3)], twofold(small_plan(), **FLAT)
    stores = stores_of(tmp_path / "ready", plan)
    assert preprocess(cases, plan, stores) == {"small": 3, "other": 3}
    assert all(store.has(case) for store in stores.values() for case in cases)
    require_same(stores["small"], stores["other"], cases)
    for file in VOXELS:
        assert (tmp_path / "ready" / "small" / f"case0.{file}").samefile(tmp_path / "ready" / "other" / f"case0.{file}")
    assert not (tmp_path / "ready" / "small" / "case0.json").samefile(tmp_path / "ready" / "other" / "case0.json")


def test_what_replaces_a_file_leaves_its_other_place_alone(small_plan: Callable[..., Plan], make_case: Callable[..., Case], tmp_path: Path) -> None:
    case, plan = make_case(), twofold(small_plan(), **FLAT)
    stores, fresh = stores_of(tmp_path / "ready", plan), stores_of(tmp_path / "fresh", plan)
    for made in (stores, fresh):
        preprocess([case], plan, made)
    unlike = make_case("unlike", 7, (9, 10, 11))
    scan, labels = read_image(unlike.channels), read_labels(unlike.label)  # type: ignore[arg-type]
    stores["small"].put(case, prepare(scan, labels, plan, plan.configuration("small")))
    assert stores["small"].shape("case") == (9, 10, 11)
    require_same(stores["other"], fresh["other"], [case])
    assert stores["other"].has(case)
    stores["other"].put_same(case, stores["small"])  # and back again, over what was there
    stores["other"].put_same(case, stores["small"])
    assert CaseStore.of(tmp_path / "ready" / "other", plan, plan.configuration("other")).shape("case") == (9, 10, 11)
    assert sorted(path.name for path in stores["other"].folder.iterdir()) == sorted(f"case.{ending}" for ending in (*VOXELS, "json"))


@pytest.mark.parametrize(
    ("change", "shared"),
    [
        ({"batch_size": 9}, True),
        (FLAT, True),
        ({"spacing": (1.01, 1.0, 1.0)}, True),  # rounds to as many voxels
        ({"spacing": (2.0, 1.0, 1.0)}, False),
        ({"from": (0.9, 0.9, 0.9), "spacing": (0.8, 0.9, 0.9)}, False),
        ({"from": (0.9, 0.9, 0.9), "spacing": (0.905, 0.9, 0.9)}, True),
        ({"normalization": "none"}, False),
    ],
)
def test_only_the_same_voxels_are_shared(
    change: dict[str, Any], shared: bool, small_plan: Callable[..., Plan], make_case: Callable[..., Case], tmp_path: Path
) -> None:
    change = dict(change)
    plain = small_plan(spacing=change.pop("from", None))
    if "normalization" in change:
        change = {"normalization": small_plan(scheme="none").configuration("small").normalization}
    plan, case = twofold(plain, **change), make_case()
    stores = stores_of(tmp_path / "ready", plan)
    preprocess([case], plan, stores)
    image = "case.image.b2nd"
    assert (tmp_path / "ready" / "small" / image).samefile(tmp_path / "ready" / "other" / image) == shared
    for name, store in stores.items():
        expected = prepare(read_image(case.channels), read_labels(case.label), plan, plan.configuration(name))  # type: ignore[arg-type]
        np.testing.assert_allclose(store.get("case").image[:], expected.image, rtol=0, atol=2.5e-4 * expected.image.std())
        np.testing.assert_array_equal(store.get("case").classes, expected.classes)


@pytest.mark.parametrize("resampled", [True, False])
def test_only_the_store_that_lacks_a_case_gets_it(
    resampled: bool, small_plan: Callable[..., Plan], make_case: Callable[..., Case], tmp_path: Path
) -> None:
    cases = [make_case(f"case{index}", index) for index in range(4)]
    plan = twofold(small_plan(), **({"spacing": (1.3, 0.9, 1.0)} if resampled else FLAT))
    stores, fresh = stores_of(tmp_path / "ready", plan), stores_of(tmp_path / "fresh", plan)
    preprocess(cases, plan, fresh)
    preprocess(cases[:3], plan, {"small": stores["small"]})
    preprocess(cases[:1], plan, {"other": stores["other"]})
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "ready").rglob("case*")}
    told: list[tuple[int, int]] = []
    made = preprocess(cases, plan, stores, progress=lambda stage, done, total, note="": told.append((done, total)))
    assert made == {"small": 1, "other": 3}
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for name, store in stores.items():
        assert all(store.has(case) for case in cases)
        require_same(store, fresh[name], cases)


def test_workers_compute_alone(make_case: Callable[..., Case]) -> None:
    before, seen = torch.get_num_threads(), []
    try:
        torch.set_num_threads(3)
        cases = [make_case(name=name) for name in "abcd"]
        make_each(cases, lambda _: seen.append(torch.get_num_threads()), 4, workers=2, progress=silent, stage="work")
        assert seen == [1] * 4 and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


KILLED = """
import os, signal, sys
from pathlib import Path
from autoseg.data.dataset import Case
from autoseg.planning.plan import read_plan
from autoseg.preprocessing.dataset import preprocess
from autoseg.preprocessing.store import CaseStore

root, count = Path(sys.argv[1]), int(sys.argv[2])
raw, plan = root / "raw", read_plan(root / "plan.json")
names = [f"case{index}" for index in range(count)]
cases = [Case(name, (raw / f"{name}_0000.nii.gz", raw / f"{name}_0001.nii.gz"), raw / f"{name}.nii.gz", name) for name in names]

def die(stage, done, total, note=""):
    if done == 3:
        os.kill(os.getpid(), signal.SIGKILL)

preprocess(cases, plan, {"small": CaseStore.of(root / "ready", plan, plan.configuration("small"))}, workers=2, progress=die)
"""


def test_a_killed_run_is_taken_up(plan: Plan, make_case: Callable[..., Case], tmp_path: Path) -> None:
    cases = [make_case(f"case{index}", index, (20, 22, 24)) for index in range(8)]
    write_plan(plan, tmp_path / "plan.json")
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), "8"], env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
    assert ended.returncode == -signal.SIGKILL
    store, fresh = store_of(tmp_path / "ready", plan), store_of(tmp_path / "fresh", plan)
    there = sum(store.has(case) for case in cases)
    assert 3 <= there < 8
    assert preprocess(cases, plan, {"small": store}) == {"small": 8 - there}
    preprocess(cases, plan, {"small": fresh})
    for case in cases:
        one, other = store.get(case.name), fresh.get(case.name)
        np.testing.assert_array_equal(one.image[:], other.image[:])
        np.testing.assert_array_equal(one.classes, other.classes)
        assert one.locations.keys() == other.locations.keys()
        assert all((one.locations[label] == other.locations[label]).all() for label in one.locations)


def spoil_label_value(case: Case) -> None:
    labels = read_labels(case.label)  # type: ignore[arg-type]
    write_labels(LabelMap(np.where(np.arange(16) == 3, 7, labels.array), labels.geometry), case.label)  # type: ignore[arg-type]


def spoil_label_shape(case: Case) -> None:
    write_image(Image(np.zeros((1, 12, 14, 15), np.float32), Geometry.of((12, 14, 15))), case.label, dtype="uint8")  # type: ignore[arg-type]


def spoil_voxel(case: Case) -> None:
    scan = read_image(case.channels[1:])
    write_image(Image(np.where(np.arange(16) == 3, np.float32(np.nan), scan.array), scan.geometry), case.channels[1])


def spoil_channels(case: Case) -> None:
    grid = Geometry.of((12, 14, 16))
    write_image(Image(np.ones((2, *grid.shape), np.float32), grid), case.channels[0])


def cut_short(case: Case) -> None:
    case.channels[0].write_bytes(case.channels[0].read_bytes()[:-40])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_label_value, r"bad\.nii\.gz holds the label values 7; declared are 0, 1, 2, 4"),
        (spoil_label_shape, r"bad\.nii\.gz does not lie on the grid of .*bad_0000\.nii\.gz: shape \(12, 14, 15\) instead of \(12, 14, 16\)"),
        (spoil_voxel, r"bad_0001\.nii\.gz holds values that are no numbers \(NaN or infinity\) in channel t2"),
        (spoil_channels, r"bad_0000\.nii\.gz, .* holds 3 channels, but the plan wants 2: t1, t2"),
        (cut_short, r"bad_0000\.nii\.gz"),
    ],
)
def test_faults_have_case_and_file_and_others_stay(
    spoil: Callable[[Case], None], message: str, plan: Plan, make_case: Callable[..., Case], tmp_path: Path
) -> None:
    good, bad = make_case("good", 1), make_case("bad", 2)
    spoil(bad)
    store = store_of(tmp_path / "ready", plan)
    with pytest.raises(AutosegError, match=rf"^Case bad: .*{message}"):
        preprocess([good, bad], plan, {"small": store}, workers=1)
    assert store.has(good) and not store.has(bad)


def test_a_normalisation_that_does_not_suit_names_the_case(small_plan: Callable[..., Plan], make_case: Callable[..., Case], tmp_path: Path) -> None:
    plan = small_plan(scheme="rgb_to_0_1")
    case = make_case()
    write_image(Image(np.full((1, 12, 14, 16), 300, np.float32), Geometry.of((12, 14, 16))), case.channels[0])
    with pytest.raises(AutosegError, match=r"^Case case: .*0 to 255"):
        preprocess([case], plan, {"small": store_of(tmp_path / "ready", plan)})


@pytest.mark.parametrize(("margin", "sizes", "shared"), [(False, (12, 14, 16), True), (False, (14, 16), True), (True, (12, 14, 16), False)])
def test_whole_and_cropped_scans_share_where_nothing_is_cropped(
    margin: bool, sizes: tuple[int, ...], shared: bool, small_plan: Callable[..., Plan], make_case: Callable[..., Case], tmp_path: Path
) -> None:
    case, plain = make_case(), small_plan()
    if margin:
        for path in case.channels:
            image = read_image((path,))
            array = image.array.copy()
            array[:, :3] = 0
            write_image(Image(array, image.geometry), path)
    whole = small_plan(patch=(16,) * len(sizes), resampling={"resize": sizes}).configuration("small")
    plan = plain.model_copy(update={"configurations": {"small": plain.configuration("small"), "other": whole, "nominal": whole}})
    stores = stores_of(tmp_path / "ready", plan)
    assert preprocess([case], plan, stores) == {"small": 1, "other": 1, "nominal": 1}
    files = [tmp_path / "ready" / name / "case.image.b2nd" for name in ("small", "other", "nominal")]
    assert files[1].samefile(files[2]) and files[0].samefile(files[1]) == shared
    for name, store in stores.items():
        expected = prepare(read_image(case.channels), read_labels(case.label), plan, plan.configuration(name))  # type: ignore[arg-type]
        np.testing.assert_allclose(store.get("case").image[:], expected.image, rtol=0, atol=2.5e-4 * expected.image.std())
        np.testing.assert_array_equal(store.get("case").classes, expected.classes)
    assert stores["small"].shape("case") == ((9, 14, 16) if margin else (12, 14, 16))
    assert stores["other"].shape("case") == (12, 14, 16)
