"""The functions that `autoseg` offers: paths and plain values in, dataclasses out, nothing printed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import get_type_hints

import pytest

import autoseg
from autoseg.api._demo import EPOCHS, STEPS
from autoseg.cli.demo import demo
from autoseg.data.phantom import write_phantoms
from autoseg.errors import AutosegError, DatasetError, Interrupted
from autoseg.planning.presets import PRESETS

NAME = "DatasetPhantom20"
Shrink = Callable[[Path], None]


class Heard:
    """What a function told while it worked."""

    def __init__(self) -> None:
        self.stages: dict[str, list[tuple[int, int]]] = {}
        self.notes: list[str] = []

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        self.stages.setdefault(stage, []).append((done, total))


def test_the_whole_way_prints_nothing_and_tells_its_progress(
    workspace: Path, shrink: Shrink, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    heard = Heard()
    assert autoseg.check("phantom20", workspace=workspace, progress=heard).errors == ()
    planned = autoseg.plan("phantom20", workspace=str(workspace), preset="cpu", preprocess=False, progress=heard)
    assert planned.path == workspace / "plans" / f"{NAME}.json"
    assert planned.made_ready == {}
    assert planned.report.dataset.name == NAME
    shrink(planned.path)
    (trained,) = autoseg.train("3d_fullres", 0, workspace=workspace, epochs=1, device="cpu", progress=heard, notify=heard.notes.append)
    assert (trained.fold, trained.steps, trained.recipe) == ("0", 1, "fast")
    assert trained.folder == workspace / "models" / NAME / "3d_fullres" / "fold_0"
    assert trained.evaluation is not None and len(trained.evaluation.table) == 3  # one case, three regions
    understood: list[dict[str, object]] = []
    predicted = autoseg.predict(
        workspace / "raw_data" / NAME, tmp_path / "out", workspace=workspace, folds=[0], device="cpu", progress=heard, announce=understood.append
    )
    assert understood[0]["dataset"] == NAME and understood[0]["fold"] == "0"
    assert predicted.files == {f"BraTS20_Training_{k:03d}": tmp_path / "out" / f"BraTS20_Training_{k:03d}.nii.gz" for k in (1, 2, 3)}
    assert json.loads(json.dumps(predicted.to_json()))["configuration"] == "3d_fullres"
    evaluated = autoseg.evaluate(tmp_path / "out", workspace / "raw_data" / NAME, output=tmp_path / "m", surface=False, progress=heard)
    assert evaluated.csv == tmp_path / "m" / "metrics.csv" and evaluated.json.is_file()
    assert "hd95" not in evaluated.evaluation.table.columns
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert heard.stages.keys() == {"check", "preprocess 3d_fullres", "train", "validate", "evaluate", "predict"}
    for stage, told in heard.stages.items():
        assert told[-1][0] == told[-1][1], f"{stage} did not end"
        assert all(done <= total for done, total in told)
    assert any("2 cases to train on, 1 to validate on" in note for note in heard.notes)


def test_faults_of_a_dataset_are_of_their_own_kind(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "raw_data" / NAME, count=1, seed=5, shape=(24, 24, 24))
    with pytest.raises(DatasetError, match="at least two"):
        autoseg.plan(NAME, workspace=tmp_path)
    assert not (tmp_path / "plans").exists()


def test_a_stop_between_cases_is_an_interruption_and_keeps_what_is_done(shrink: Shrink, tmp_path: Path) -> None:
    """The first case that is made ready is kept; the next call makes only the others."""
    write_phantoms(tmp_path / "raw_data" / NAME, count=3, seed=5, shape=(24, 24, 24))
    shrink(autoseg.plan(NAME, workspace=tmp_path, preset="cpu", preprocess=False).path)
    ready = tmp_path / "preprocessed" / NAME / "3d_fullres"
    with pytest.raises(Interrupted, match="preprocess 3d_fullres"):
        autoseg.train("3d_fullres", "0", workspace=tmp_path, device="cpu", should_stop=lambda: any(ready.glob("*.json")))
    kept = {path.name: path.stat().st_mtime_ns for path in ready.glob("*.json")}
    assert kept
    with pytest.raises(Interrupted, match="after step 1"):
        autoseg.train("3d_fullres", "0", workspace=tmp_path, device="cpu", should_stop=lambda: len(list(ready.glob("*.json"))) == 3)
    assert {name: (ready / name).stat().st_mtime_ns for name in kept} == kept


def test_two_ways_to_name_a_model_are_not_mixed(workspace: Path) -> None:
    with pytest.raises(AutosegError, match="not both"):
        autoseg.predict("in", "out", model=workspace, dataset=NAME)


def test_everything_offered_exists() -> None:
    for name in autoseg.__all__:
        assert getattr(autoseg, name).__name__ == name


def test_the_demo_trains_as_many_steps_as_it_says() -> None:
    assert EPOCHS * PRESETS["cpu"].iterations_per_epoch == STEPS
    assert f"{STEPS} steps" in get_type_hints(demo, include_extras=True)["budget"].__metadata__[0].help


@pytest.mark.slow
def test_the_demo_makes_a_picture_and_numbers_and_goes_on_where_it_was(tmp_path: Path) -> None:
    heard = Heard()
    done = autoseg.demo(tmp_path / "demo", budget="2s", device="cpu", progress=heard, notify=heard.notes.append)
    for file in (done.picture, done.curves, done.numbers):
        assert file.stat().st_size > 1000
    assert len(set(done.evaluation.table["case"])) == 6
    assert [note[:3] for note in heard.notes if note[1:2] == "/"] == ["1/5", "2/5", "3/5", "4/5", "5/5"]
    weights = (done.curves.parent / "weights.safetensors").read_bytes()
    again = autoseg.demo(tmp_path / "demo", budget="2s", device="cpu")
    assert (again.curves.parent / "weights.safetensors").read_bytes() == weights
    assert again.evaluation.table.equals(done.evaluation.table)
