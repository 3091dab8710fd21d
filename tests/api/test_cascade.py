"""A cascade: its previous stage is trained first, out of fold, and never tells it of a case that it has seen."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

import autoseg
from autoseg.api._cascade import segment_out_of_fold
from autoseg.api._job import Length, make_job
from autoseg.data.layouts import open_dataset
from autoseg.data.phantom import MODALITIES, write_phantoms
from autoseg.errors import AutosegError, Interrupted
from autoseg.files import read_json
from autoseg.imaging.read import read_image, read_labels
from autoseg.inference.cascade import load_trained
from autoseg.inference.model_folder import load_model, stored_fingerprint
from autoseg.inference.predictor import Predictor
from autoseg.planning.plan import Plan, read_plan, validate_plan, write_plan
from autoseg.preprocessing.case import prepare
from autoseg.preprocessing.previous import bring_to_grid
from autoseg.preprocessing.previous_store import PreviousStore
from autoseg.preprocessing.store import CaseStore, store_name
from autoseg.workspace import Workspace

NAME = "DatasetPhantom20"
LOW, FULL, CASCADE = "3d_lowres", "3d_fullres", "3d_cascade_fullres"


@dataclass
class Bench:
    """A workspace, and what training and prediction said there."""

    place: Path
    notes: list[str]

    def train(self, configuration: str, fold: str, **options: Any) -> list[autoseg.Trained]:
        self.notes.clear()
        return autoseg.train(configuration, fold, workspace=self.place, device="cpu", notify=self.notes.append, **options)

    def predict(self, output: str, **options: Any) -> autoseg.Predicted:
        self.notes.clear()
        scans = [self.place / "raw_data" / NAME / case for case in options.pop("cases", ["BraTS20_Training_001"])]
        return autoseg.predict(scans, self.place / output, device="cpu", notify=self.notes.append, **{"workspace": self.place} | options)

    def folder(self, configuration: str, fold: object) -> Path:
        return self.place / "models" / NAME / configuration / f"fold_{fold}"

    def said(self, part: str) -> bool:
        return any(part in note for note in self.notes)

    def stored(self, case: str) -> np.ndarray:
        """The previous stage's segmentation as the cascade's training sees it."""
        plan = read_plan(self.place / "plans" / f"{NAME}.json")
        ready = self.place / "preprocessed" / NAME
        images = CaseStore.of(ready / store_name(plan, CASCADE), plan, plan.configuration(CASCADE))
        return np.asarray(PreviousStore.of(ready / CASCADE, images, plan, plan.configuration(CASCADE)).get(case).previous)


def weights(folder: Path) -> tuple[int, bytes]:
    path = folder / "weights.safetensors"
    return path.stat().st_mtime_ns, path.read_bytes()


def make_plan() -> Plan:
    """Networks on voxels of 2 mm and of 1 mm, and one that builds on the former; steps so large that few of them part the folds."""
    recipe = {"optimizer": "adamw", "learning_rate": 0.005, "augmentation": {"previous_removal": {"probability": 0.5, "range": [0, 0.2]}}}
    full = {
        "dimensions": 3, "spacing": [1.0] * 3, "median_shape": [20.0] * 3, "patch_size": [16] * 3, "batch_size": 2,
        "normalization": [{"channel": name, "scheme": "zscore", "use_mask": True} for name in MODALITIES],
        "network": {
            "family": "plain_unet", "features_per_stage": [4, 8], "strides": [[1] * 3, [2] * 3], "kernel_sizes": [[3] * 3] * 2,
            "blocks_per_stage": [1, 1], "convs_per_stage_decoder": [1],
        },
        "training": {
            "epochs": 4, "iterations_per_epoch": 2, "validation_iterations": 1, "batch_dice": False, "precision": "float32",
            "recipes": {"default": recipe},
        },
        "inference": {"step": 1.0, "mirror_axes": []},
    }  # fmt: skip
    labels = {"names": ["background", "necrosis", "edema", "enhancing"], "values": [0, 1, 2, 4]}
    dataset = {"name": NAME, "layout": "brats", "channel_names": MODALITIES, "labels": labels, "num_cases": 3, "file_ending": ".nii.gz"}
    configurations = {FULL: full, LOW: full | {"spacing": [2.0] * 3}, CASCADE: full | {"previous_stage": LOW}}
    content = {"dataset": dataset, "preset": "cpu", "gpu_memory_gb": 1.0, "transpose_forward": [0, 1, 2], "configurations": configurations}
    return validate_plan(content, "the plan of the tests")


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("planned")
    write_phantoms(place / "raw_data" / NAME, count=3, seed=5, shape=(24, 24, 24))
    write_plan(make_plan(), place / "plans" / f"{NAME}.json")
    return place


@pytest.fixture(scope="module")
def trained(planned: Path) -> Bench:
    """Fold 0 of the cascade trained from nothing, stopped twice on the way; not to be changed."""
    bench = Bench(planned, [])
    first, last = bench.folder(LOW, 0), bench.folder(LOW, 2)
    with pytest.raises(Interrupted):  # between two folds of the previous stage
        bench.train(CASCADE, "0", epochs=3, should_stop=(first / "metrics.json").is_file)
    assert bench.notes[0] == (
        "3d_cascade_fullres reads the segmentations of 3d_lowres, which must come from networks that did not see the case: training folds 0, 1 and"
        " 2 of 3d_lowres first, each with the same --epochs."
    )
    with pytest.raises(Interrupted):  # at the seam
        bench.train(CASCADE, "0", epochs=3, should_stop=(last / "metrics.json").is_file)
    assert "training folds 1 and 2 of 3d_lowres first" in bench.notes[0]
    assert not bench.folder(CASCADE, 0).exists()
    before = [weights(bench.folder(LOW, fold)) for fold in range(3)]
    (done,) = bench.train(CASCADE, "0", epochs=3)
    assert not bench.said("reads the segmentations")
    assert [weights(bench.folder(LOW, fold)) for fold in range(3)] == before
    assert (done.fold, done.steps, done.folder) == ("0", 6, bench.folder(CASCADE, 0))
    assert done.evaluation is not None
    return bench


@pytest.fixture
def bench(trained: Bench, tmp_path: Path) -> Bench:
    """A copy of the trained workspace that may be changed; times are kept, and scans lie where they were."""
    for part in ("models", "plans", "preprocessed"):
        shutil.copytree(trained.place / part, tmp_path / part)
    (tmp_path / "raw_data").symlink_to(trained.place / "raw_data")
    return Bench(tmp_path, [])


def test_every_segmentation_comes_from_the_fold_that_did_not_see_the_case(trained: Bench) -> None:
    """For every case of every fold: what training sees is what that fold's network alone says, and no other's."""
    plan = read_plan(trained.place / "plans" / f"{NAME}.json")
    predictors = [Predictor([load_model(trained.folder(LOW, fold))], "cpu") for fold in range(3)]
    folds = read_json(trained.place / "plans" / f"{NAME}.folds.json")["validation"]
    seen = []
    for case in open_dataset(trained.place / "raw_data" / NAME).cases:
        (own,) = [fold for fold in range(3) if case.name in folds[fold]]
        assert case.name not in read_json(trained.folder(LOW, own) / "cases.json")["training"]
        ready = prepare(read_image(case.channels), None, plan, plan.configuration(CASCADE))
        for fold, predictor in enumerate(predictors):
            labels = predictor.predict(predictor.prepare(read_image(case.channels))).labels
            z, y, x = ready.image.shape[1:]
            classes = bring_to_grid(labels, ready.placement, (z, y, x), plan, plan.configuration(CASCADE))
            same = np.array_equal(classes, trained.stored(case.name))
            assert same == (fold == own), f"{case.name}, fold {fold}"
        seen.append(own)
    assert sorted(seen) == [0, 1, 2]


def test_the_previous_stage_is_validated_on_the_scans_own_grid(trained: Bench) -> None:
    """Networks on 2 mm, scans on 1 mm."""
    for case in open_dataset(trained.place / "raw_data" / NAME).cases:
        (found,) = trained.place.glob(f"models/{NAME}/{LOW}/fold_*/validation/{case.name}.nii.gz")
        assert read_labels(found).geometry.shape == (24, 24, 24) == read_image(case.channels).geometry.shape
    assert CaseStore.of(trained.place / "preprocessed" / NAME / LOW, *low_plan(trained.place)).shape("BraTS20_Training_001")[0] <= 12


def low_plan(place: Path) -> tuple[Any, Any]:
    plan = read_plan(place / "plans" / f"{NAME}.json")
    return plan, plan.configuration(LOW)


def test_ready_images_are_shared(trained: Bench) -> None:
    files = sorted(path.name for path in (trained.place / "preprocessed" / NAME / CASCADE).iterdir())
    assert files == sorted(f"BraTS20_Training_{number:03d}.previous.{ending}" for number in (1, 2, 3) for ending in ("b2nd", "json"))


def test_validation_uses_the_fold_that_did_not_see_the_cases_and_prediction_all(bench: Bench) -> None:
    folder = bench.folder(CASCADE, 0)
    (case,) = read_json(folder / "cases.json")["validation"]
    record = read_json(folder / "validation" / "predictions.json")
    assert record["previous"]["folds"] == ["0"]
    assert record["previous"]["weights"] == [stored_fingerprint(bench.folder(LOW, 0))]
    predicted = bench.predict("out", configuration=CASCADE, cases=[case], folds=[0])
    assert predicted.folds == ("0",)
    record = read_json(bench.place / "out" / "predictions.json")
    assert record["previous"]["folds"] == ["0", "1", "2"]
    assert record["previous"]["weights"] == [stored_fingerprint(bench.folder(LOW, fold)) for fold in range(3)]
    alone, _ = load_trained([folder], previous_fold="0").place("cpu")
    image = read_image(open_dataset(bench.place / "raw_data" / NAME).cases[int(case[-1]) - 1].channels)
    expected = alone.predict(alone.prepare(image)).labels.array
    np.testing.assert_array_equal(read_labels(folder / "validation" / f"{case}.nii.gz").array, expected)


def test_the_best_configuration_is_used_and_said_to_build_on_another(bench: Bench) -> None:
    metrics = bench.folder(CASCADE, 0) / "metrics.json"
    metrics.write_text(json.dumps(read_json(metrics) | {"foreground_mean": {"dice": 0.99}}))
    understood: list[dict[str, object]] = []
    bench.predict("out", announce=understood.append)
    assert understood[0]["configuration"] == CASCADE and understood[0]["previous stage"] == "3d_lowres (fold 0 + 1 + 2)"
    assert bench.said("Using 3d_cascade_fullres, the best by validation Dice")
    low = bench.predict("low", configuration=LOW)
    assert read_labels(low.files["BraTS20_Training_001"]).array.shape == (24, 24, 24)
    assert "previous" not in read_json(bench.place / "low" / "predictions.json")


def test_a_model_folder_needs_the_previous_stage_beside_it(bench: Bench) -> None:
    elsewhere = bench.place / "elsewhere"
    shutil.copytree(bench.folder(CASCADE, 0), elsewhere / CASCADE / "fold_0")
    with pytest.raises(AutosegError, match=r"builds on .* '3d_lowres', but there is no trained fold of it in .*elsewhere/3d_lowres"):
        bench.predict("out", model=elsewhere / CASCADE / "fold_0", workspace=None)
    shutil.copytree(bench.folder(LOW, 0).parent, elsewhere / LOW)
    for model in (elsewhere / CASCADE, elsewhere / CASCADE / "fold_0"):
        bench.predict("out", model=model, workspace=None)
    shutil.rmtree(elsewhere / LOW)
    shutil.copytree(elsewhere / CASCADE, elsewhere / LOW)
    with pytest.raises(AutosegError, match="holds a model of '3d_cascade_fullres', not of '3d_lowres'"):
        bench.predict("other", model=elsewhere / CASCADE, workspace=None)


def swap(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def swap_cases(bench: Bench) -> None:
    swap(bench.folder(LOW, 0) / "cases.json", bench.folder(LOW, 1) / "cases.json")


def train_on_all(bench: Bench) -> None:
    path = bench.folder(LOW, 1) / "cases.json"
    content = read_json(path)
    path.write_text(json.dumps({"training": content["training"] + content["validation"], "validation": []}))


def validate_on_nothing(bench: Bench) -> None:
    path = bench.folder(LOW, 1) / "cases.json"
    path.write_text(json.dumps(read_json(path) | {"validation": []}))


def lose_cases(bench: Bench) -> None:
    (bench.folder(LOW, 2) / "cases.json").unlink()


def empty_cases(bench: Bench) -> None:
    (bench.folder(LOW, 2) / "cases.json").write_text("[]")


def swap_weights(bench: Bench) -> None:
    """As if copied from elsewhere, without the checkpoints that would tell whose they are."""
    for fold in (0, 1):
        (bench.folder(LOW, fold) / "checkpoint.safetensors").unlink()
    swap(bench.folder(LOW, 0) / "weights.safetensors", bench.folder(LOW, 1) / "weights.safetensors")


def swap_folders(bench: Bench) -> None:
    one, other, between = bench.folder(LOW, 0), bench.folder(LOW, 1), bench.folder(LOW, "between")
    one.rename(between)
    other.rename(one)
    between.rename(other)


def exchange_folds(bench: Bench) -> None:
    """The division of the cases was edited after the previous stage was trained."""
    path = bench.place / "plans" / f"{NAME}.folds.json"
    path.write_text(json.dumps({"validation": read_json(path)["validation"][::-1]}))


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (swap_cases, r"Fold 0 of '3d_lowres' was trained on BraTS20_Training_00\d .*autoseg train 3d_lowres 0 --restart"),
        (train_on_all, r"Fold 1 of '3d_lowres' was trained on BraTS20"),
        (validate_on_nothing, r"Fold 1 of '3d_lowres' does not validate on BraTS20"),
        (lose_cases, r"cases.json is missing, so nobody knows which cases fold 2"),
        (empty_cases, r"does not list the cases"),
        (swap_weights, r"The weights in .*fold_0 are not those that its validation was made with"),
        (swap_folders, r"Fold 0 of '3d_lowres' was trained on BraTS20"),
        (exchange_folds, r"Fold 0 of '3d_lowres' was trained on BraTS20"),
    ],
)
def test_a_fold_that_may_have_seen_its_cases_is_refused(bench: Bench, tamper: Callable[[Bench], None], said: str) -> None:
    tamper(bench)
    with pytest.raises(AutosegError, match=said):
        bench.train(CASCADE, "1", epochs=1)
    assert not bench.folder(CASCADE, 1).exists()


def test_weights_that_were_exchanged_are_written_again_from_the_checkpoint(bench: Bench) -> None:
    paths = [bench.folder(LOW, fold) / "weights.safetensors" for fold in (0, 1)]
    before = [path.read_bytes() for path in paths]
    swap(*paths)
    bench.train(CASCADE, "all", epochs=1)
    assert "training" not in bench.notes[0] and "validating folds 0 and 1 of 3d_lowres first" in bench.notes[0]
    assert [path.read_bytes() for path in paths] == before


def test_all_cases_are_trained_on_with_the_same_segmentations_and_other_lengths_are_kept(bench: Bench) -> None:
    (bench.folder(LOW, 0) / "checkpoint.safetensors").unlink()  # will not be lengthened
    before = [weights(bench.folder(LOW, fold)) for fold in range(3)]
    segmentations = [bench.stored(f"BraTS20_Training_{number:03d}") for number in (1, 2, 3)]
    (done,) = bench.train(CASCADE, "all", epochs=2)
    assert (done.steps, done.evaluation) == (4, None)
    assert not bench.said("reads the segmentations")
    assert [weights(bench.folder(LOW, fold)) for fold in range(3)] == before
    for number, found in enumerate(segmentations, start=1):
        np.testing.assert_array_equal(bench.stored(f"BraTS20_Training_{number:03d}"), found)


def test_a_validation_that_is_missing_is_made_and_nothing_else(bench: Bench) -> None:
    before = [weights(bench.folder(LOW, fold))[1] for fold in range(3)]
    (bench.folder(LOW, 1) / "checkpoint.safetensors").unlink()
    shutil.rmtree(bench.folder(LOW, 1) / "validation")
    (bench.folder(LOW, 2) / "metrics.json").unlink()
    bench.train(CASCADE, "0", epochs=3)
    assert "the case: validating folds 1 and 2 of 3d_lowres first." in bench.notes[0]
    assert [weights(bench.folder(LOW, fold))[1] for fold in range(3)] == before
    assert (bench.folder(LOW, 2) / "metrics.json").is_file()


def test_a_previous_fold_that_was_trained_again_is_noticed_and_its_segmentations_are_made_again(bench: Bench) -> None:
    (case,) = read_json(bench.folder(LOW, 1) / "cases.json")["validation"]
    before = bench.stored(case)
    bench.train(LOW, "1", epochs=5, seed=8, restart=True)
    bench.train(CASCADE, "0", epochs=3)
    assert bench.said("3d_lowres was trained again since the run in") and bench.said("autoseg train 3d_cascade_fullres 0 --restart")
    assert not np.array_equal(bench.stored(case), before)
    bench.predict("out", configuration=CASCADE)
    assert bench.said("fold_0 of 3d_cascade_fullres was trained on segmentations of an earlier 3d_lowres (fold 1 is another now)")
    bench.train(CASCADE, "0", epochs=1, restart=True)
    assert not bench.said("trained again since")


def test_a_selection_judges_no_case_that_the_previous_stage_saw(bench: Bench) -> None:
    swap_cases(bench)
    with pytest.raises(AutosegError, match=r"3d_lowres/fold_0 does not validate on BraTS20.*, which .*3d_cascade_fullres/fold_0 does"):
        autoseg.select([CASCADE], workspace=bench.place, device="cpu")


def test_a_selection_judges_a_cascade_by_what_its_previous_stage_says_now(bench: Bench) -> None:
    record = bench.folder(CASCADE, 0) / "validation" / "predictions.json"
    bench.train(LOW, "0", epochs=5, seed=8, restart=True)
    assert read_json(record)["previous"]["weights"] != [stored_fingerprint(bench.folder(LOW, 0))]
    said: list[str] = []
    autoseg.select([CASCADE], workspace=bench.place, device="cpu", notify=said.append)
    assert "3d_cascade_fullres, fold 0, lacks segmentations or probabilities of its weights, and is validated again." in said
    assert read_json(record)["previous"]["weights"] == [stored_fingerprint(bench.folder(LOW, 0))]
    said.clear()
    autoseg.select([CASCADE], workspace=bench.place, device="cpu", notify=said.append)
    assert not any("validated again" in line for line in said)


@pytest.mark.parametrize(
    ("length", "said", "target"),
    [
        (Length(epochs=1), " first, each with the same --epochs.", (2, None)),
        (Length(budget="9s"), " first, each with the same --budget.", (None, 9.0)),
        (Length(), " first.", (8, None)),
    ],
)
def test_the_previous_stage_gets_the_same_length(bench: Bench, length: Length, said: str, target: tuple[int | None, float | None]) -> None:
    shutil.rmtree(bench.folder(LOW, 1))
    run = bench.folder(LOW, 1) / "run.json"
    job = make_job(Workspace(bench.place), NAME, LOW, length, "cpu", None, lambda *told: None, bench.notes.append, run.is_file)
    with pytest.raises(Interrupted):
        segment_out_of_fold(job, CASCADE)
    assert bench.notes[0].endswith("the case: training fold 1 of 3d_lowres" + said)
    assert (read_json(run)["steps"], read_json(run)["seconds"]) == target


def test_the_previous_stage_does_not_start_from_the_model_that_the_cascade_starts_from(bench: Bench) -> None:
    model = Path(shutil.copytree(bench.folder(CASCADE, 0), bench.place / "model"))
    shutil.rmtree(bench.folder(LOW, 2))
    bench.train(CASCADE, "1", epochs=1, pretrained=model)
    assert bench.said(f"Starts from the weights of {model} (all ")
    assert read_json(bench.folder(LOW, 2) / "run.json")["pretrained"] is None
    assert read_json(bench.folder(CASCADE, 1) / "run.json")["pretrained"] == str(model)


def test_a_fold_of_the_previous_stage_that_another_training_writes_is_refused(bench: Bench) -> None:
    shutil.rmtree(bench.folder(LOW, 1))
    taken = FileLock(bench.folder(LOW, 1).with_name(".fold_1.lock"))
    with taken, pytest.raises(AutosegError, match=r"Another autoseg is training into .*3d_lowres/fold_1"):
        bench.train(CASCADE, "0", epochs=3)


def test_an_unfinished_fold_of_the_previous_stage_is_finished_first(bench: Bench) -> None:
    """Fold 2 was being lengthened: its weights are there, and are not its last."""
    steps = iter(range(100))
    with pytest.raises(Interrupted):
        bench.train(LOW, "2", epochs=5, should_stop=lambda: next(steps) > 3)
    before = stored_fingerprint(bench.folder(LOW, 2))
    bench.train(CASCADE, "0", epochs=5)
    assert bench.notes[0].endswith("the case: training fold 2 of 3d_lowres first, each with the same --epochs.")
    assert stored_fingerprint(bench.folder(LOW, 2)) != before
    assert read_json(bench.folder(LOW, 2) / "validation" / "predictions.json")["weights"] == [stored_fingerprint(bench.folder(LOW, 2))]
