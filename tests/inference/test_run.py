"""Many cases in one go: what is finished stays, what is foreign is left alone, and faults name the case."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoseg.data.dataset import Case
from autoseg.errors import AutosegError, Interrupted
from autoseg.files import read_json, write_json
from autoseg.imaging.image import Geometry, Image, LabelMap, require_same_grid
from autoseg.imaging.read import read_image, read_labels
from autoseg.imaging.write import write_image
from autoseg.inference.model_folder import Model, load_model, save_weights, start_model_folder
from autoseg.inference.predictor import Predictor
from autoseg.inference.run import RECORD, Outcome, Source, predict_cases, record_of
from autoseg.networks.weights import weights_of
from autoseg.planning.plan import Plan

Plans, Models, Scans = Callable[..., Plan], Callable[..., Model], Callable[..., Any]
SHAPE = (18, 17, 19)
OBLIQUE = ((0.9, 0.1, 0.0, -30.0), (-0.1, 0.9, 0.05, 12.0), (0.0, -0.05, 1.2, 5.5), (0.0, 0.0, 0.0, 1.0))
SPACING = (float(np.hypot(0.05, 1.2)), float(np.linalg.norm([0.1, 0.9, -0.05])), float(np.hypot(0.9, 0.1)))
TELLING: dict[str, Any] = {"channels": ("t1",), "scheme": "none", "spacing": SPACING, "inference": {"step": 1.0, "mirror_axes": []}}


class Bench:
    """Cases on disk, a predictor that knows their labels, and a folder for its predictions."""

    def __init__(self, root: Path, plan: Plan, model: Model, scan: Scans, geometry: Geometry) -> None:
        self.raw, self.output, self.plan, self._scan, self._geometry = root / "in", root / "out", plan, scan, geometry
        self.use(model)
        self.labels: dict[str, np.ndarray] = {}
        self.told: list[str] = []

    def use(self, model: Model, **options: Any) -> None:
        self.predictor = Predictor([model], "cpu", **options)
        self.source = Source.of([model], self.predictor)

    def case(self, name: str, ending: str = ".nii.gz", seed: int = 0, dtype: Any = "float32") -> Case:
        image, labels = self._scan(self._geometry, seed)
        path = self.raw / f"{name}{ending}"
        write_image(image, path, dtype=dtype)
        self.labels[name] = labels.array
        return Case(name, (path,), None, name)

    def predict(self, cases: Sequence[Case], **options: Any) -> Outcome:
        return predict_cases(self.predictor, cases, self.output, self.source, **{"progress": self._progress} | options)

    def done(self) -> list[str]:
        return sorted(path.name for path in self.output.iterdir() if path.name != RECORD)

    def _progress(self, stage: str, done: int, total: int, note: str = "") -> None:
        self.told.append(f"{stage} {done}/{total} {note}")


@pytest.fixture
def bench(tmp_path: Path, small_plan: Plans, knowing_model: Models, telling_scan: Scans) -> Bench:
    plan = small_plan(**TELLING)
    return Bench(tmp_path, plan, knowing_model(plan), telling_scan, Geometry(SHAPE, SPACING, OBLIQUE))


def test_predictions_lie_where_the_scans_lie_with_the_users_values(bench: Bench) -> None:
    cases = [bench.case("one", seed=1), bench.case("with.dots.v2", seed=2)]
    outcome = bench.predict(cases, stage="s")
    assert outcome.files == {name: bench.output / f"{name}.nii.gz" for name in ("one", "with.dots.v2")} and outcome.skipped == ()
    assert bench.done() == ["one.nii.gz", "with.dots.v2.nii.gz"]
    for case in cases:
        found = read_labels(outcome.files[case.name])
        np.testing.assert_array_equal(found.array, bench.labels[case.name])
        assert found.array.dtype == np.uint8 and set(np.unique(found.array)) == {0, 1, 2, 4}
        require_same_grid(read_image(case.channels).geometry, found.geometry, tolerance=1e-6)
    assert bench.told[0] == "s 0/2000 " and bench.told[-1] == "s 2000/2000 case 2 of 2: with.dots.v2"
    assert read_json(bench.output / RECORD) == record_of(bench.source)


@pytest.mark.parametrize(("ending", "into"), [(".nii.gz", ".nrrd"), (".nrrd", ".nii.gz"), (".mha", ".mha")])
def test_other_formats(ending: str, into: str, tmp_path: Path, small_plan: Plans, knowing_model: Models, telling_scan: Scans) -> None:
    plan = small_plan(**TELLING, ending=into)
    bench = Bench(tmp_path, plan, knowing_model(plan), telling_scan, Geometry(SHAPE, SPACING, OBLIQUE))
    case = bench.case("a.b", ending)
    found = read_labels(bench.predict([case]).files["a.b"])
    np.testing.assert_array_equal(found.array, bench.labels["a.b"])
    require_same_grid(read_image(case.channels).geometry, found.geometry, tolerance=1e-5)
    assert bench.done() == [f"a.b{into}"]


def test_pictures(tmp_path: Path, small_plan: Plans, knowing_model: Models, telling_scan: Scans) -> None:
    plan = small_plan(patch=(16, 16), channels=("grey",), scheme="none", ending=".png")
    bench = Bench(tmp_path, plan, knowing_model(plan), telling_scan, Geometry.of((1, 40, 30), flat=True))
    found = read_labels(bench.predict([bench.case("a", ".png", dtype="uint8")]).files["a"])
    np.testing.assert_array_equal(found.array, bench.labels["a"])
    assert found.geometry.flat


def test_finished_cases_are_passed_over(bench: Bench) -> None:
    cases = [bench.case("a"), bench.case("b"), bench.case("c")]
    bench.predict(cases[:2])
    before = {name: (bench.output / name).stat().st_mtime_ns for name in bench.done()}
    bench.told.clear()
    outcome = bench.predict(cases)
    assert outcome.skipped == ("a", "b") and outcome.files.keys() == {"a", "b", "c"}
    assert bench.told[0] == "predict 0/1000 2 of 3 cases were there already"
    assert all((bench.output / name).stat().st_mtime_ns == moment for name, moment in before.items())
    assert bench.predict(cases).skipped == ("a", "b", "c")
    assert bench.predict(cases, overwrite=True).skipped == ()
    assert all((bench.output / name).stat().st_mtime_ns > moment for name, moment in before.items())


def test_times_are_told_case_by_case_and_add_up_to_the_clock(bench: Bench) -> None:
    told: dict[str, tuple[float, float]] = {}
    cases = [bench.case("a"), bench.case("b"), bench.case("c")]
    bench.predict(cases[:1])
    begun = time.perf_counter()
    bench.predict(cases, timed=lambda case, seconds, elapsed: told.update({case: (seconds, elapsed)}))
    passed = time.perf_counter() - begun
    assert list(told) == ["b", "c"]  # "a" was there already
    assert all(0 < seconds <= elapsed for seconds, elapsed in told.values())
    assert sum(elapsed for _, elapsed in told.values()) <= passed


def test_an_image_that_changed_is_predicted_again(bench: Bench) -> None:
    cases = [bench.case("a", seed=1), bench.case("b", seed=2)]
    bench.predict(cases)
    bench.case("a", seed=3)
    outcome = bench.predict(cases)
    assert outcome.skipped == ("b",)
    np.testing.assert_array_equal(read_labels(outcome.files["a"]).array, bench.labels["a"])


def test_probabilities_are_made_up_for(bench: Bench) -> None:
    cases = [bench.case("a.b")]
    bench.predict(cases)
    assert bench.predict(cases, probabilities=True).skipped == ()
    assert bench.predict(cases, probabilities=True).skipped == bench.predict(cases).skipped == ("a.b",)
    assert bench.done() == ["a.b.nii.gz", "a.b.npz"]
    with np.load(bench.output / "a.b.npz", allow_pickle=False) as archive:
        assert archive.files == ["probabilities", "names"]
        assert tuple(archive["names"].tolist()) == bench.plan.output_names == bench.plan.labels.names
        assert archive["probabilities"].shape == (4, *SHAPE) and archive["probabilities"].dtype == np.float16
        np.testing.assert_array_equal(np.array([0, 1, 2, 4])[archive["probabilities"].argmax(0)], bench.labels["a.b"])


def test_segmentations_are_finished_before_they_are_written(bench: Bench) -> None:
    cases, rules = [bench.case("a", seed=1)], [{"rule": "without", "class": 2, "of": (1, 2)}]

    def without_two(labels: LabelMap) -> LabelMap:
        return LabelMap(np.where(labels.array == 2, 0, labels.array), labels.geometry)

    outcome = bench.predict(cases, finish=without_two, rules=rules, probabilities=True)
    kept = np.where(bench.labels["a"] == 2, 0, bench.labels["a"])
    np.testing.assert_array_equal(read_labels(outcome.files["a"]).array, kept)
    with np.load(bench.output / "a.npz") as archive:
        np.testing.assert_array_equal(np.array([0, 1, 2, 4])[archive["probabilities"].argmax(0)], bench.labels["a"])
    record = read_json(bench.output / RECORD)
    assert record == record_of(bench.source) | {"postprocessing": [{"rule": "without", "class": 2, "of": [1, 2]}]}
    assert bench.predict(cases, finish=without_two, rules=rules).skipped == ("a",)
    for other in ({}, {"finish": without_two, "rules": [{"rule": "another"}]}):
        with pytest.raises(AutosegError, match="another model or with other settings"):
            bench.predict(cases, **other)
    for half in ({"finish": without_two}, {"rules": rules}):
        with pytest.raises(ValueError, match="belong together"):
            bench.predict(cases, **half)


def test_a_fault_in_finishing_names_the_case(bench: Bench) -> None:
    def fails(labels: LabelMap) -> LabelMap:
        raise AutosegError("no such structure")

    with pytest.raises(AutosegError, match="Case a: no such structure"):
        bench.predict([bench.case("a")], finish=fails, rules=[{"rule": "x"}])
    assert bench.done() == []


def test_predictions_of_another_model_are_refused(bench: Bench, random_model: Models) -> None:
    cases = [bench.case("a")]
    bench.predict(cases)
    content = (bench.output / "a.nii.gz").read_bytes()
    for model, options in ((random_model(bench.plan), {}), (random_model(bench.plan), {"step": 0.5}), (random_model(bench.plan), {"mirror": False})):
        bench.use(model, **options)
        with pytest.raises(AutosegError, match=r"holds predictions of another model .* -o, or replace them with --overwrite"):
            bench.predict(cases)
    assert (bench.output / "a.nii.gz").read_bytes() == content
    assert bench.predict(cases, overwrite=True).skipped == ()
    assert bench.predict(cases).skipped == ("a",)


def test_sources_differ_by_what_matters(bench: Bench, random_model: Models) -> None:
    models = [random_model(bench.plan, seed, Path(f"fold_{seed}")) for seed in range(3)]
    one, two, three = models

    def source(*chosen: Model, **options: Any) -> Source:
        return Source.of(chosen, Predictor(list(chosen), "cpu", **options))

    sources = [source(one), source(two), source(one, two), source(one, two, three), source(one, step=0.25), source(one, mirror=False)]
    assert len(set(sources)) == len(sources)
    assert source(one) == sources[0] and sources[3].folds == ("0", "1", "2")


def test_an_interrupted_replacement_leaves_nothing_old_among_the_new(bench: Bench, random_model: Models) -> None:
    cases = [bench.case(name, seed=seed) for seed, name in enumerate("abcd")]
    bench.predict(cases)
    bench.use(random_model(bench.plan))

    def stop(stage: str, done: int, total: int, note: str = "") -> None:
        if note.endswith(": c"):
            raise Interrupted("stop")

    with pytest.raises(Interrupted):
        bench.predict(cases, overwrite=True, progress=stop)
    outcome = bench.predict(cases)
    assert outcome.skipped == ("a", "b")
    for case in cases:
        alone = bench.predictor.predict(bench.predictor.prepare(read_image(case.channels)))
        np.testing.assert_array_equal(read_labels(outcome.files[case.name]).array, alone.labels.array)


def test_foreign_files_are_left_alone(bench: Bench) -> None:
    cases = [bench.case("a"), bench.case("b")]
    bench.output.mkdir()
    (bench.output / "b.nii.gz").write_text("somebody's work")
    with pytest.raises(AutosegError, match=r"b\.nii\.gz is there already, and no predictions\.json beside it says what made it"):
        bench.predict(cases)
    assert bench.done() == ["b.nii.gz"] and (bench.output / "b.nii.gz").read_text() == "somebody's work"
    assert bench.predict(cases, overwrite=True).skipped == ()


def test_images_are_never_replaced(bench: Bench, tmp_path: Path) -> None:
    cases = [bench.case("a")]
    content = cases[0].channels[0].read_bytes()
    bench.output.symlink_to(bench.raw)
    for overwrite in (False, True):
        with pytest.raises(AutosegError, match="Case a: the prediction would replace the image"):
            bench.predict(cases, overwrite=overwrite)
    assert cases[0].channels[0].read_bytes() == content and not (bench.raw / RECORD).exists()


def damage(bench: Bench, kind: str) -> Case:
    case = bench.case("bad")
    path, grid = case.channels[0], Geometry.of(SHAPE)
    if kind == "nan":
        write_image(Image(np.full((1, *SHAPE), np.nan, np.float32), grid), path)
    elif kind == "channels":
        write_image(Image(np.ones((2, *SHAPE), np.float32), grid), path)
    elif kind == "cut":
        path.write_bytes(path.read_bytes()[:-50])
    else:
        path.unlink()
    return case


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nan", r"bad\.nii\.gz holds values that are no numbers \(NaN or infinity\) in channel t1"),
        ("channels", r"bad\.nii\.gz holds 2 channels, but the plan wants 1: t1"),
        ("cut", r"bad\.nii\.gz"),
        ("absent", r"bad\.nii\.gz does not exist"),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_faults_name_the_case_and_finished_ones_stay(place: int, kind: str, message: str, bench: Bench) -> None:
    cases = [bench.case("one", seed=1), bench.case("two", seed=2)]
    cases.insert(place, damage(bench, kind))
    with pytest.raises(AutosegError, match=rf"^Case bad: .*{message}"):
        bench.predict(cases)
    assert bench.done() == ["one.nii.gz", "two.nii.gz"][:place]
    for name in bench.done():
        np.testing.assert_array_equal(read_labels(bench.output / name).array, bench.labels[name.removesuffix(".nii.gz")])


def test_what_cannot_be_written_reaches_the_user(bench: Bench) -> None:
    cases = [bench.case("a"), bench.case("b")]
    bench.predict([])
    (bench.output / "a.nii.gz").mkdir()
    with pytest.raises(AutosegError, match=r"Cannot write .*a\.nii\.gz"):
        bench.predict(cases)
    bench.output = bench.raw / "a.nii.gz"
    with pytest.raises(AutosegError, match=r"Cannot write .*predictions\.json"):
        bench.predict(cases)


def test_a_damaged_record_is_named(bench: Bench) -> None:
    write_json(bench.output / RECORD, {})
    (bench.output / RECORD).write_text("{")
    with pytest.raises(AutosegError, match=r"predictions\.json is not valid JSON"):
        bench.predict([bench.case("a")])


def test_nothing_to_do(bench: Bench) -> None:
    assert bench.predict([]) == Outcome({}, ())


KILLED = """
import os, signal, sys
from pathlib import Path
from autoseg.data.dataset import Case
from autoseg.inference.model_folder import load_model
from autoseg.inference.predictor import Predictor
from autoseg.inference.run import Source, predict_cases

root = Path(sys.argv[1])
model = load_model(root / "fold_0")
predictor = Predictor([model], "cpu")

def die(stage, done, total, note=""):
    if done >= 2500:
        os.kill(os.getpid(), signal.SIGKILL)

cases = [Case(name, (root / "in" / f"{name}.nii.gz",), None, name) for name in "abcd"]
predict_cases(predictor, cases, root / "out", Source.of([model], predictor), progress=die)
"""


def test_a_killed_run_is_taken_up(bench: Bench, random_model: Models, tmp_path: Path) -> None:
    cases = [bench.case(name, seed=seed) for seed, name in enumerate("abcd")]
    start_model_folder(tmp_path / "fold_0", bench.plan, "small", "0", "default")
    save_weights(tmp_path / "fold_0", weights_of(random_model(bench.plan).network))
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
    assert ended.returncode == -signal.SIGKILL
    bench.use(load_model(tmp_path / "fold_0"))
    outcome = bench.predict(cases)
    assert "a" in outcome.skipped and "c" not in outcome.skipped
    for case in cases:
        alone = bench.predictor.predict(bench.predictor.prepare(read_image(case.channels)))
        np.testing.assert_array_equal(read_labels(outcome.files[case.name]).array, alone.labels.array)
