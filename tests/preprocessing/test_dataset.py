"""A dataset made ready: everything once, resumed after a kill, faults with case and file."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from autoseg.data.dataset import Case
from autoseg.errors import AutosegError
from autoseg.imaging.image import Geometry, Image, LabelMap
from autoseg.imaging.read import read_image, read_labels
from autoseg.imaging.write import write_image, write_labels
from autoseg.planning.plan import Plan, write_plan
from autoseg.preprocessing.case import prepare
from autoseg.preprocessing.dataset import preprocess
from autoseg.preprocessing.store import CaseStore


@pytest.fixture
def plan(small_plan: Callable[..., Plan]) -> Plan:
    return small_plan(spacing=(0.9, 1.1, 1.0))


def store_of(folder: Path, plan: Plan) -> CaseStore:
    return CaseStore.of(folder, plan, plan.configuration("small"))


def test_every_case_is_made_once(plan: Plan, make_case: Callable[..., Case], tmp_path: Path) -> None:
    cases = [make_case(f"case{index}", index) for index in range(5)]
    store = store_of(tmp_path / "ready", plan)
    told: list[tuple[str, int, int]] = []
    assert preprocess(cases[:2], plan, plan.configuration("small"), store) == 2

    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        told.append((stage, done, total))

    made = preprocess(cases, plan, plan.configuration("small"), store, workers=2, progress=progress, stage="s")
    assert made == 3
    assert told == [("s", done, 5) for done in (2, 3, 4, 5)]
    assert preprocess(cases, plan, plan.configuration("small"), store) == 0
    for case in cases:
        expected = prepare(read_image(case.channels), read_labels(case.label), plan, plan.configuration("small"))  # type: ignore[arg-type]
        np.testing.assert_array_equal(store.get(case.name).image, expected.image)
        np.testing.assert_array_equal(store.get(case.name).classes, expected.classes)


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

preprocess(cases, plan, plan.configuration("small"), CaseStore.of(root / "ready", plan, plan.configuration("small")), workers=2, progress=die)
"""


def test_a_killed_run_is_taken_up(plan: Plan, make_case: Callable[..., Case], tmp_path: Path) -> None:
    cases = [make_case(f"case{index}", index, (20, 22, 24)) for index in range(8)]
    write_plan(plan, tmp_path / "plan.json")
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), "8"], env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
    assert ended.returncode == -signal.SIGKILL
    store, fresh = store_of(tmp_path / "ready", plan), store_of(tmp_path / "fresh", plan)
    there = sum(store.has(case) for case in cases)
    assert 3 <= there < 8
    assert preprocess(cases, plan, plan.configuration("small"), store) == 8 - there
    preprocess(cases, plan, plan.configuration("small"), fresh)
    for case in cases:
        one, other = store.get(case.name), fresh.get(case.name)
        np.testing.assert_array_equal(one.image, other.image)
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
        preprocess([good, bad], plan, plan.configuration("small"), store, workers=1)
    assert store.has(good) and not store.has(bad)


def test_a_normalisation_that_does_not_suit_names_the_case(small_plan: Callable[..., Plan], make_case: Callable[..., Case], tmp_path: Path) -> None:
    plan = small_plan(scheme="rgb_to_0_1")
    case = make_case()
    write_image(Image(np.full((1, 12, 14, 16), 300, np.float32), Geometry.of((12, 14, 16))), case.channels[0])
    with pytest.raises(AutosegError, match=r"^Case case: .*0 to 255"):
        preprocess([case], plan, plan.configuration("small"), store_of(tmp_path / "ready", plan))
