"""Uncertainty on disk: maps on the scans' grids, a table that follows the cases, and nothing that outlives its model."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoseg.data.dataset import Case
from autoseg.errors import AutosegError, Interrupted
from autoseg.imaging.image import Geometry, Image, LabelMap, require_same_grid
from autoseg.imaging.read import read_image, read_labels
from autoseg.imaging.write import write_image
from autoseg.inference.model_folder import Model
from autoseg.inference.predictor import Predictor
from autoseg.inference.run import Outcome, Source, predict_cases
from autoseg.inference.uncertainty import Uncertainty
from autoseg.inference.uncertainty_files import UncertaintyTable, map_files
from autoseg.planning.plan import Plan

Plans, Models = Callable[..., Plan], Callable[..., Model]
SPACING = (1.5, 0.8, 1.0)
REGIONS: dict[str, Any] = {"regions": {"WT": [1, 2, 4], "TC": [1, 4], "ET": [4]}, "region_order": [2, 1, 4]}


class Bench:
    """Noise on disk and networks that were never trained."""

    def __init__(self, root: Path, random_model: Models, plan: Plan, folds: int = 2) -> None:
        self.raw, self.output, self.plan = root / "in", root / "out", plan
        self.use([random_model(plan, seed, Path(f"fold_{seed}")) for seed in range(folds)])

    def use(self, models: list[Model]) -> None:
        self.predictor = Predictor(models, "cpu")
        self.source = Source.of(models, self.predictor)

    def case(self, name: str, seed: int = 0, ending: str = ".nii.gz", flat: bool = False) -> Case:
        shape = (1, 20, 22) if flat else (18, 17, 19)
        array = np.zeros((1, *shape), np.float32)
        array[:, :, 2:-1, 3:-2] = np.random.default_rng(seed).integers(1, 200, array[:, :, 2:-1, 3:-2].shape)
        image = Image(array, Geometry.of(shape, flat=True) if flat else Geometry.of(shape, SPACING))
        write_image(image, self.raw / f"{name}{ending}", dtype="uint8")
        return Case(name, (self.raw / f"{name}{ending}",), None, name)

    def predict(self, cases: Sequence[Case], **options: Any) -> Outcome:
        return predict_cases(self.predictor, cases, self.output, self.source, **{"uncertainty": True} | options)

    def rows(self) -> list[dict[str, str]]:
        with (self.output / "uncertainty.csv").open() as file:
            return list(csv.DictReader(file))

    def alone(self, case: Case) -> Uncertainty:
        found = self.predictor.predict(self.predictor.prepare(read_image(case.channels)), uncertainty=True).uncertainty
        assert found is not None
        return found


SETTINGS: dict[str, Any] = {"channels": ("t1",), "spacing": SPACING, "inference": {"step": 1.0, "mirror_axes": []}}


@pytest.fixture
def bench(tmp_path: Path, small_plan: Plans, random_model: Models) -> Bench:
    return Bench(tmp_path, random_model, small_plan(**SETTINGS))


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha", ".tif"])
@pytest.mark.parametrize("kind", [{}, REGIONS])
def test_maps_lie_where_the_scan_lies(ending: str, kind: dict[str, Any], tmp_path: Path, small_plan: Plans, random_model: Models) -> None:
    bench = Bench(tmp_path, random_model, small_plan(**SETTINGS, ending=ending, **kind))
    case = bench.case("with.dots", ending=ending)
    outcome = bench.predict([case])
    expected = bench.alone(case)
    for name, values in (("entropy", expected.entropy), ("disagreement", expected.disagreement)):
        found = read_image([bench.output / "uncertainty" / f"with.dots_{name}{ending}"])
        np.testing.assert_allclose(found.array[0], values, atol=0.51 / 1024)
        assert found.array.max() > 0.1
        require_same_grid(read_labels(outcome.files["with.dots"]).geometry, found.geometry)
    (row,) = bench.rows()
    structures = bench.plan.structure_names
    assert list(row) == ["case", "doubt", *(f"stability_{name}" for name in structures), "foreground_entropy", "member_agreement"]
    assert row["case"] == "with.dots" and float(row["doubt"]) == pytest.approx(expected.doubt, abs=1e-6)
    assert [float(row[f"stability_{name}"]) for name in structures] == pytest.approx(list(expected.stability.values()), abs=1e-6)
    assert float(row["foreground_entropy"]) == pytest.approx(expected.foreground_entropy, abs=1e-6)
    assert float(row["member_agreement"]) == pytest.approx(expected.agreement, abs=1e-6)


def test_pictures_get_grey_values(tmp_path: Path, small_plan: Plans, random_model: Models) -> None:
    plan = small_plan(patch=(16, 16), channels=("grey",), ending=".png")
    bench = Bench(tmp_path, random_model, plan)
    case = bench.case("a", ending=".png", flat=True)
    bench.predict([case])
    found = read_image([bench.output / "uncertainty" / "a_entropy.png"]).array[0]
    np.testing.assert_array_equal(found, np.rint(bench.alone(case).entropy * 255))
    assert found.max() > 100


def test_one_member_has_no_other_to_disagree_with(tmp_path: Path, small_plan: Plans, random_model: Models) -> None:
    bench = Bench(tmp_path, random_model, small_plan(**SETTINGS), folds=1)
    cases = [bench.case("a")]
    bench.predict(cases)
    assert [path.name for path in (bench.output / "uncertainty").iterdir()] == ["a_entropy.nii.gz"]
    assert bench.rows()[0]["member_agreement"] == "" and bench.predict(cases).skipped == ("a",)


def test_labels_and_probabilities_are_the_same_as_without(bench: Bench) -> None:
    case = bench.case("a")
    ready = bench.predictor.prepare(read_image(case.channels))
    plain = bench.predictor.predict(ready, probabilities=True)
    found = bench.predictor.predict(ready, probabilities=True, uncertainty=True)
    np.testing.assert_array_equal(plain.labels.array, found.labels.array)
    assert plain.probabilities is not None and found.probabilities is not None
    np.testing.assert_array_equal(list(plain.probabilities), list(found.probabilities))


def test_post_processing_does_not_change_doubt(bench: Bench) -> None:
    case = bench.case("a")
    bench.predict([case], finish=lambda labels: LabelMap(np.zeros_like(labels.array), labels.geometry), rules=[{"rule": "nothing stays"}])
    assert not read_labels(bench.output / "a.nii.gz").array.any()
    assert float(bench.rows()[0]["doubt"]) == pytest.approx(bench.alone(case).doubt, abs=1e-6)


def test_rows_stand_in_the_order_of_the_cases_and_stay(bench: Bench) -> None:
    cases = [bench.case(name, seed) for seed, name in enumerate("cab")]
    bench.predict(cases[1:])
    before = bench.rows()
    outcome = bench.predict(cases)
    assert outcome.skipped == ("a", "b")
    assert [row["case"] for row in bench.rows()] == ["c", "a", "b"] and bench.rows()[1:] == before
    bench.predict([bench.case("d", 9)])
    assert [row["case"] for row in bench.rows()] == ["d", "c", "a", "b"]


def test_a_case_is_finished_with_its_files_and_its_row(bench: Bench) -> None:
    cases = [bench.case(name, seed) for seed, name in enumerate("ab")]
    bench.predict(cases, uncertainty=False)
    assert not (bench.output / "uncertainty").exists() and not (bench.output / "uncertainty.csv").exists()
    assert bench.predict(cases).skipped == ()
    assert bench.predict(cases).skipped == ("a", "b") == bench.predict(cases, uncertainty=False).skipped
    (bench.output / "uncertainty" / "a_disagreement.nii.gz").unlink()
    assert bench.predict(cases).skipped == ("b",)
    table = bench.output / "uncertainty.csv"
    rows = bench.rows()
    table.write_text("\n".join(table.read_text().splitlines()[:-1]))
    assert bench.predict(cases).skipped == ("a",)
    table.unlink()
    assert bench.predict(cases).skipped == () and bench.rows() == rows


def test_no_row_of_another_model_stays(bench: Bench, random_model: Models) -> None:
    cases = [bench.case(name, seed) for seed, name in enumerate("abc")]
    bench.predict(cases)
    bench.use([random_model(bench.plan, seed) for seed in (7, 8)])

    def stop(stage: str, done: int, total: int, note: str = "") -> None:
        if note.endswith(": c"):
            raise Interrupted("stop")

    with pytest.raises(Interrupted):
        bench.predict(cases, overwrite=True, progress=stop)
    assert [row["case"] for row in bench.rows()] == ["a", "b"]
    bench.predict(cases)
    for row, case in zip(bench.rows(), cases, strict=True):
        assert float(row["doubt"]) == pytest.approx(bench.alone(case).doubt, abs=1e-6)


def test_tables_of_others_are_left_alone(bench: Bench) -> None:
    cases = [bench.case("a")]
    bench.predict(cases)
    for content in ("name,score\na,1\n", "", bench.plan.dataset.name + "\n"):
        (bench.output / "uncertainty.csv").write_text(content)
        with pytest.raises(AutosegError, match=r"uncertainty\.csv is not a table of these predictions: it lacks .*stability_class 1"):
            bench.predict(cases)


def test_maps_that_nobody_accounts_for_are_left_alone(bench: Bench) -> None:
    (bench.output / "uncertainty").mkdir(parents=True)
    (bench.output / "uncertainty" / "a_entropy.nii.gz").write_text("somebody's work")
    with pytest.raises(AutosegError, match=r"a_entropy\.nii\.gz is there already"):
        bench.predict([bench.case("a")])


def test_names_with_commas(tmp_path: Path) -> None:
    (tmp_path / "predictions.json").touch()
    doubtful = Uncertainty(np.zeros((1, 1, 1), np.float32), None, {"left, upper": 0.25, 'the "other"': 0.5}, None, None)
    table = UncertaintyTable(tmp_path, ["a, b"], list(doubtful.stability))
    table.put("a, b", doubtful)
    again = UncertaintyTable(tmp_path, [], list(doubtful.stability))
    assert "a, b" in again and "a" not in again
    with (tmp_path / "uncertainty.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["doubt"] == "0.625000" and row["stability_left, upper"] == "0.250000" and row["foreground_entropy"] == ""


def test_names_of_maps() -> None:
    assert [str(path) for path in map_files(Path("out/a.b.nii.gz"), 1)] == ["out/uncertainty/a.b_entropy.nii.gz"]
    assert [path.name for path in map_files(Path("out/a.bmp"), 3)] == ["a_entropy.png", "a_disagreement.png"]
