"""What `train` says and refuses before it works: states of a run, seeds, plans that changed, folders that are taken."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

import autoseg
from autoseg.api._fold import is_complete
from autoseg.errors import AutosegError, Interrupted
from autoseg.imaging.image import require_same_grid
from autoseg.imaging.read import read_image, read_labels

NAME = "DatasetPhantom20"


@pytest.fixture
def planned(workspace: Path, shrink: Callable[[Path], None]) -> Path:
    plan = workspace / "plans" / f"{NAME}.json"
    if not plan.is_file():
        shrink(autoseg.plan(NAME, workspace=workspace, preset="cpu", preprocess=False).path)
    return workspace


def train(place: Path, fold: str, **options: Any) -> tuple[list[str], autoseg.Trained]:
    notes: list[str] = []
    (trained,) = autoseg.train("3d_fullres", fold, workspace=place, device="cpu", notify=notes.append, **options)
    return notes, trained


def test_a_lengthened_run_is_unfinished_until_it_has_ended(planned: Path) -> None:
    notes, _ = train(planned, "all", epochs=2, restart=True)
    assert notes[0] == "3 cases to train on, 0 to validate on."
    assert "is trained already" in train(planned, "all")[0][0]
    steps = iter(range(100))
    with pytest.raises(Interrupted):
        train(planned, "all", epochs=9, should_stop=lambda: next(steps) > 2)
    notes, trained = train(planned, "all")
    assert "An unfinished run is taken up" in notes[0]
    assert trained.steps == 9
    assert "is trained already" in train(planned, "all", epochs=9)[0][0]


def test_a_run_that_has_ended_is_not_shortened(planned: Path) -> None:
    _, trained = train(planned, "all", epochs=3, restart=True)
    before = [(trained.folder / name).read_bytes() for name in ("run.json", "weights.safetensors", "log.csv")]
    for shorter in ({"epochs": 2}, {"budget": "0.001s"}):
        notes, again = train(planned, "all", **shorter)
        asked = "2 steps" if "epochs" in shorter else "0 s"
        assert f"is trained already, for 3 steps, and {asked} ask for no more; only what is missing is done." in notes[0]
        assert not any("now it ends" in note for note in notes)
        assert again.steps == 3
        assert [(trained.folder / name).read_bytes() for name in ("run.json", "weights.safetensors", "log.csv")] == before
    assert train(planned, "all", epochs=4)[1].steps == 4


def test_an_unfinished_run_may_end_where_it_is(planned: Path) -> None:
    steps = iter(range(100))
    with pytest.raises(Interrupted):
        train(planned, "all", epochs=9, restart=True, should_stop=lambda: next(steps) > 2)
    notes, trained = train(planned, "all", epochs=2)
    assert "The unfinished run in" in notes[0] and "is as long already as 2 steps; it ends here" in notes[0]
    assert not any("is trained already" in note for note in notes) and trained.steps == 4


def test_a_run_keeps_its_seed_and_says_so(planned: Path) -> None:
    notes, trained = train(planned, "all", epochs=1, seed=3, restart=True)
    assert not any("seed" in note for note in notes)
    notes, _ = train(planned, "all", epochs=2, seed=4)
    assert "It keeps the seed that it began with, 3." in notes
    assert json.loads((trained.folder / "run.json").read_text())["seed"] == 3


@pytest.mark.parametrize(("fold", "loss"), [("0", "validation"), ("all", "training")])
def test_a_run_that_stopped_early_says_so_and_is_left(planned: Path, fold: str, loss: str) -> None:
    plan = planned / "plans" / f"{NAME}.json"
    before = plan.read_text()
    content = json.loads(before)
    for recipe in content["configurations"]["3d_fullres"]["training"]["recipes"].values():
        recipe |= {"learning_rate": 1e-20, "schedule": "constant", "stop_after": 2, "keep": "best"}  # nothing is learned
    plan.write_text(json.dumps(content))
    notes, trained = train(planned, fold, epochs=50, restart=True)
    why = f"stopped early after epoch {trained.steps}, because the {loss} loss had not improved for 2 epochs"
    assert trained.steps < 50 and f"The training {why}." in notes
    assert is_complete(trained.folder)
    kept = (trained.folder / "weights.safetensors").read_bytes()
    for options, asked in (({}, ""), ({"epochs": 50}, ""), ({"epochs": 90}, ", so it does not go on for 90 steps")):
        notes, again = train(planned, fold, **options)
        assert notes[0] == (
            f"The run in {trained.folder} {why}{asked}; only what is missing is done. To train longer, raise stop_after in the plan and start anew"
            " with --restart."
        )
        assert again.steps == trained.steps and (trained.folder / "weights.safetensors").read_bytes() == kept
    plan.write_text(before)
    train(planned, fold, epochs=1, restart=True)  # as the other tests expect it


def test_a_plan_of_before_the_later_keys_goes_on(planned: Path) -> None:
    """Neither the plan in the run's folder nor its checkpoint knows them."""
    _, trained = train(planned, "all", epochs=2, restart=True)
    path, later = trained.folder / "plan.json", {"focal_gamma", "tversky_beta", "patches_per_case", "slices"}
    content = json.loads(path.read_text())
    for configuration in content["configurations"].values():
        rules = configuration.get("training", {})
        assert "inherits" in configuration or later <= rules.keys()
        for key in later:
            rules.pop(key, None)
        for recipe in rules.get("recipes", {}).values():
            for key in ("schedule", "plateau_factor", "plateau_patience", "smallest_learning_rate", "keep"):
                recipe.pop(key, None)
    path.write_text(json.dumps(content))
    assert train(planned, "all", epochs=3)[1].steps == 3


def test_validation_says_how_long_it_will_take_and_what_is_there(planned: Path) -> None:
    notes, trained = train(planned, "0", epochs=1)
    (said,) = [note for note in notes if note.startswith("Validation of 1 case ")]
    assert re.search(r"\(cpu, float32, channels last\): about \d+ s\.$", said)
    assert trained.evaluation is not None
    (said,) = [note for note in train(planned, "0")[0] if note.startswith("Validation")]
    assert "1 of them predicted already" in said


@pytest.mark.parametrize(
    "change",
    [
        lambda plan: plan | {"transpose_forward": [1, 0, 2]},
        lambda plan: plan | {"dataset": plan["dataset"] | {"labels": plan["dataset"]["labels"] | {"regions": {"WT": [1, 2]}, "region_order": [2]}}},
    ],
)
def test_what_changes_a_run_though_no_configuration_did_is_refused(planned: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    train(planned, "all", epochs=1, restart=True)
    plan = planned / "plans" / f"{NAME}.json"
    before = plan.read_text()
    plan.write_text(json.dumps(change(json.loads(before))))
    with pytest.raises(AutosegError, match=r"changed since the run in .*--restart"):
        train(planned, "all", epochs=2)
    plan.write_text(before)
    assert train(planned, "all", epochs=2)[1].steps == 2


def test_a_run_starts_from_another_model_of_ours(planned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is deleted for a model that will not do; a fold is told that its cases were learnt from."""
    monkeypatch.chdir(planned)
    _, source = train(planned, "all", epochs=2, restart=True)
    given = source.folder.relative_to(planned)
    notes, trained = train(planned, "2", epochs=1, restart=True, pretrained=str(given))
    (said,) = [note for note in notes if note.startswith("Starts from the weights of")]
    assert re.fullmatch(rf"Starts from the weights of {given} \(all \d+ tensors\)\.", said)
    assert any(re.search(r"names of 1 of the 1 to validate on \(.*the validation will flatter", note) for note in notes)
    assert json.loads((trained.folder / "run.json").read_text())["pretrained"] == str(given)
    again, _ = train(planned, "2", pretrained=given)
    assert not any("Starts" in note or "flatter" in note for note in again)
    for wrong, message in ((trained.folder, "is the folder that is trained into"), (planned / "plans", "holds no trained model")):
        with pytest.raises(AutosegError, match=message):
            train(planned, "2", restart=True, pretrained=wrong)
        assert (trained.folder / "weights.safetensors").is_file()
    with pytest.raises(AutosegError, match=r"began from random weights, not from those of .*fold_2.*--restart"):
        train(planned, "all", pretrained=trained.folder)


def test_a_model_that_does_not_fit_is_refused_before_cases_are_made_ready(planned: Path) -> None:
    _, source = train(planned, "all", epochs=1)
    plan = planned / "plans" / f"{NAME}.json"
    before = plan.read_text()
    content = json.loads(before)
    content["configurations"]["3d_fullres"]["network"]["features_per_stage"] = [8, 8]
    plan.write_text(json.dumps(content))
    stages: list[str] = []
    with pytest.raises(AutosegError, match="features_per_stage at stage 1: 4 there, 8 here"):
        train(planned, "1", pretrained=source.folder, progress=lambda stage, *_: stages.append(stage))
    plan.write_text(before)
    assert not stages and not (source.folder.parent / "fold_1").exists()


def test_a_folder_that_another_training_writes_is_refused(planned: Path) -> None:
    folder = planned / "models" / NAME / "3d_fullres"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".fold_0.lock"), pytest.raises(AutosegError, match=r"Another autoseg is training into .*fold_0"):
        train(planned, "0", epochs=1)


def test_the_plan_of_another_dataset_is_refused(planned: Path) -> None:
    plan = planned / "plans" / f"{NAME}.json"
    before = plan.read_text()
    content = json.loads(before)
    plan.write_text(json.dumps(content | {"dataset": content["dataset"] | {"name": "DatasetOther"}}))
    with pytest.raises(AutosegError, match=rf"{NAME}\.json is a plan of 'DatasetOther', not of '{NAME}'.*dataset\.name"):
        train(planned, "0", epochs=1)
    plan.write_text(before)


def test_a_negative_seed_is_refused(planned: Path) -> None:
    with pytest.raises(AutosegError, match=r"--seed -1: a seed is 0 or more"):
        train(planned, "0", epochs=1, seed=-1)


def test_resized_images_of_some_channels_from_plan_to_prediction(planned: Path, tmp_path: Path) -> None:
    path = planned / "plans" / f"{NAME}.json"
    content = json.loads(path.read_text())
    content["configurations"]["sized"] = {
        "inherits": "2d", "resampling": {"resize": [32, 16]},
        "normalization": [{"channel": "T1", "scheme": "clahe"}, {"channel": "T2", "scheme": "percentile_to_0_1"}],
    }  # fmt: skip
    path.write_text(json.dumps(content))
    (trained,) = autoseg.train("sized", 0, workspace=planned, epochs=1, device="cpu")
    assert trained.evaluation is not None
    case = next((planned / "raw_data" / NAME).iterdir())
    predicted = autoseg.predict(case, tmp_path / "out", model=trained.folder, device="cpu")
    (file,) = predicted.files.values()
    (scan,) = case.glob("*_t1.nii*")
    image, labels = read_image((scan,)), read_labels(file)
    require_same_grid(image.geometry, labels.geometry)
    fewer = tmp_path / "fewer" / case.name
    fewer.mkdir(parents=True)
    for ending in ("t1", "t2"):
        (found,) = case.glob(f"*_{ending}.nii*")
        (fewer / found.name).symlink_to(found.resolve())
    said: list[str] = []
    again = autoseg.predict(fewer, tmp_path / "again", model=trained.folder, device="cpu", notify=said.append)
    assert (read_labels(again.files[case.name]).array == labels.array).all()
    assert said == ["Not there, and not looked at by these networks: FLAIR of 1 case, T1ce of 1 case."]
    (fewer / f"{case.name}_t2.nii.gz").unlink()
    with pytest.raises(AutosegError, match="missing T2;"):
        autoseg.predict(fewer, tmp_path / "less", model=trained.folder, device="cpu")
