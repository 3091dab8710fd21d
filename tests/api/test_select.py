"""A selection among trained configurations, and what prediction makes of it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

import autoseg
from autoseg.data.layouts import open_dataset
from autoseg.errors import AutosegError
from autoseg.evaluation.postprocessing import Rule, apply_rules
from autoseg.evaluation.selection_file import read_selection, write_selection
from autoseg.imaging.image import Geometry, LabelMap
from autoseg.imaging.read import read_labels
from autoseg.imaging.write import write_labels

NAME = "DatasetPhantom20"


@pytest.fixture(scope="module")
def both(workspace: Path, shrink: Callable[[Path], None]) -> Path:
    """A workspace with all three folds of two configurations."""
    shrink(autoseg.plan(NAME, workspace=workspace, preset="cpu").path)
    for configuration in ("2d", "3d_fullres"):
        autoseg.train(configuration, "cv", workspace=workspace, epochs=3, device="cpu")
    return workspace


@pytest.fixture(scope="module")
def selected(both: Path) -> autoseg.Selected:
    return autoseg.select(workspace=both, device="cpu", scheme="brats20")


def test_candidates_are_judged_on_cases_that_no_network_saw(both: Path, selected: autoseg.Selected) -> None:
    names = [one.name for one in selected.choice.candidates]
    assert sorted(names) == ["2d", "2d + 3d_fullres", "3d_fullres"]
    for configuration in ("2d", "3d_fullres"):
        tables = [pd.read_csv(path) for path in sorted((both / "models" / NAME / configuration).glob("fold_*/metrics.csv"))]
        table = pd.concat(tables)
        assert len(table) == 9  # three regions of three cases
        (found,) = [one for one in selected.choice.candidates if one.name == configuration]
        empty = (table["tp"] + table["fp"] == 0) & (table["tp"] + table["fn"] == 0)
        dice = table["dice"].where(~empty, 1.0)  # brats20: right to find nothing
        assert found.mean == pytest.approx(dice.groupby(table["target"]).mean().mean())


def test_what_was_selected_is_written_down(both: Path, selected: autoseg.Selected) -> None:
    selection = read_selection(both / "models" / NAME / "selection.json")
    assert selection == selected.selection and (selection.dataset, selection.cases, selection.scheme) == (NAME, 3, "brats20")
    assert [member.configuration for member in selection.members] == list(selected.choice.chosen.members)
    assert all(set(member.weights) == {"0", "1", "2"} for member in selection.members)
    table = pd.read_csv(selected.csv)
    assert table["candidate"].tolist() == [one.name for one in selected.choice.candidates] and set(table["scheme"]) == {"brats20"}
    assert imread(selected.picture).shape[0] > 150


def test_selecting_again_predicts_nothing_and_finds_the_same(both: Path, selected: autoseg.Selected) -> None:
    before = {path: path.stat().st_mtime_ns for path in (both / "models" / NAME).glob("*/fold_*/validation/*")}
    assert any(path.suffix == ".npz" for path in before)
    again = autoseg.select(workspace=both, device="cpu", scheme="brats20")
    assert again.choice == selected.choice
    assert before == {path: path.stat().st_mtime_ns for path in (both / "models" / NAME).glob("*/fold_*/validation/*")}


def test_prediction_follows_the_selection(both: Path, selected: autoseg.Selected, tmp_path: Path) -> None:
    case = next((both / "raw_data" / NAME).iterdir())
    rule = Rule(kind="keep_largest", structure="foreground", values=(1, 2, 4), becomes=0)
    path = both / "models" / NAME / "selection.json"
    members = tuple(selected.selection.members[0].model_copy(update={"configuration": name}) for name in ("2d", "3d_fullres"))
    write_selection(selected.selection.model_copy(update={"members": members, "postprocessing": (rule,)}), path)
    said: list[str] = []
    plain = autoseg.predict(case, tmp_path / "plain", workspace=both, device="cpu", postprocessing=False, notify=said.append)
    ruled = autoseg.predict(case, tmp_path / "ruled", workspace=both, device="cpu")
    assert said[0] == f"Following {path}: 2d + 3d_fullres."
    assert said[-1] == f"Without the post-processing that was selected: {rule.describe()}."
    assert ruled.configuration == "2d + 3d_fullres" and ruled.folds == ("0", "1", "2")
    ((name, plain_file),) = plain.files.items()
    assert np.array_equal(read_labels(ruled.files[name]).array, apply_rules(read_labels(plain_file), [rule]).array)
    record = json.loads((tmp_path / "ruled" / "predictions.json").read_text())
    assert [member["configuration"] for member in record["members"]] == ["2d", "3d_fullres"]
    assert record["postprocessing"] == [rule.model_dump(mode="json", exclude_none=True)]
    from_folder = autoseg.predict(case, tmp_path / "folder", model=both / "models" / NAME, device="cpu")
    assert np.array_equal(read_labels(from_folder.files[name]).array, read_labels(ruled.files[name]).array)
    single = autoseg.predict(case, tmp_path / "single", workspace=both, configuration="2d", device="cpu")
    assert (single.configuration, single.folds) == ("2d", ("0", "1", "2"))
    with pytest.raises(AutosegError, match="another model or with other settings"):
        autoseg.predict(case, tmp_path / "single", workspace=both, device="cpu")


def test_a_selection_that_does_not_fit_is_an_error_or_is_said(both: Path, selected: autoseg.Selected, tmp_path: Path) -> None:
    case = next((both / "raw_data" / NAME).iterdir())
    path = both / "models" / NAME / "selection.json"
    (member, *_) = selected.selection.members
    write_selection(selected.selection.model_copy(update={"members": (member.model_copy(update={"configuration": "4d"}),)}), path)
    with pytest.raises(AutosegError, match=r"selection\.json names 4d, which is not trained"):
        autoseg.predict(case, tmp_path / "out", workspace=both, device="cpu")
    other = member.model_copy(update={"configuration": "2d", "weights": {"0": "0123456789abcdef"}})
    write_selection(selected.selection.model_copy(update={"members": (other,)}), path)
    said: list[str] = []
    autoseg.predict(case, tmp_path / "out", workspace=both, device="cpu", notify=said.append)
    assert any(line.startswith("2d has other folds or weights than when it was selected") and "autoseg select" in line for line in said)


def test_what_cannot_be_compared_is_refused(both: Path, tmp_path: Path) -> None:
    with pytest.raises(AutosegError, match=r"DatasetPhantom20 has no configuration 4d\. There are: .*; trained are 2d, 3d_fullres"):
        autoseg.select(["4d"], workspace=both)
    with pytest.raises(AutosegError, match="brats23 judges lesions"):
        autoseg.select(workspace=both, scheme="brats23")
    with pytest.raises(AutosegError, match=r"No fold of .* is trained yet"):
        autoseg.select(dataset=NAME, workspace=tmp_path_with_raw(both, tmp_path))


def test_a_configuration_with_fewer_folds_is_left_out(both: Path, tmp_path: Path) -> None:
    place = tmp_path_with_raw(both, tmp_path)
    for configuration, folds in (("2d", (0, 1, 2)), ("3d_fullres", (0, 2))):
        for fold in folds:
            target = place / "models" / NAME / configuration / f"fold_{fold}"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(both / "models" / NAME / configuration / f"fold_{fold}")
    said: list[str] = []
    found = autoseg.select(workspace=place, dataset=NAME, device="cpu", notify=said.append)
    assert [one.name for one in found.choice.candidates] == ["2d"]
    assert any(line.startswith("3d_fullres is left out: its finished folds validate on 2 cases, others' on 3") for line in said)
    with pytest.raises(AutosegError, match=r"compared 2d on 3 cases; now 2d, 3d_fullres can be compared on 2\..*--force"):
        autoseg.select(["3d_fullres", "2d"], workspace=place, dataset=NAME, device="cpu")
    said.clear()
    found = autoseg.select(["3d_fullres", "2d"], workspace=place, dataset=NAME, device="cpu", notify=said.append, force=True)
    assert len(found.choice.candidates) == 3 and found.selection.cases == 2
    assert said[0] == "Compared on the 2 cases that the trained folds of all have in common."
    assert found.selection.remarks == (said[1],) and said[1].startswith("2 cases: so few say little")
    with pytest.raises(AutosegError, match="compared 2d, 3d_fullres on 2 cases; now 2d can be compared on 3"):
        autoseg.select("2d", workspace=place, dataset=NAME, device="cpu")
    (place / "models" / NAME / "selection.json").write_text("{}")  # a damaged one is no loss
    assert autoseg.select("2d", workspace=place, dataset=NAME, device="cpu").selection.cases == 3


def test_configurations_whose_probabilities_have_no_mean_are_not_compared(both: Path, tmp_path: Path) -> None:
    place = tmp_path_with_raw(both, tmp_path)
    shutil.copytree(both / "models", place / "models")
    for path in place.glob(f"models/{NAME}/2d/fold_*/plan.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"transpose_forward": [1, 0, 2]}))
    with pytest.raises(AutosegError, match="2d and 3d_fullres take the axes of a scan in another order, so they cannot be compared"):
        autoseg.select(workspace=place, dataset=NAME, device="cpu")
    autoseg.select(["3d_fullres"], workspace=place, dataset=NAME, device="cpu", force=True)


def test_a_reference_that_lies_elsewhere_is_named(both: Path, tmp_path: Path) -> None:
    place = tmp_path_with_raw(both, tmp_path, copy=True)
    (place / "models").symlink_to(both / "models")
    case = next(iter(open_dataset(place / "raw_data" / NAME).cases))
    assert case.label is not None
    whole = read_labels(case.label)
    write_labels(LabelMap(whole.array[1:], Geometry.of((23, 24, 24), whole.geometry.spacing)), case.label)
    with pytest.raises(AutosegError, match=rf"Case {case.name}: shape \(24, 24, 24\) instead of \(23, 24, 24\)"):
        autoseg.select(workspace=place, dataset=NAME, device="cpu")


def test_ensembles_that_cannot_predict_are_not_compared(both: Path, tmp_path: Path) -> None:
    place = tmp_path_with_raw(both, tmp_path)
    shutil.copytree(both / "models", place / "models")
    for path in place.glob(f"models/{NAME}/2d/fold_*/plan.json"):
        content = json.loads(path.read_text())
        content["configurations"]["2d"].setdefault("resampling", {})["resize"] = [24, 24]
        path.write_text(json.dumps(content))
    found = autoseg.select(workspace=place, dataset=NAME, device="cpu", force=True)
    assert sorted(one.name for one in found.choice.candidates) == ["2d", "3d_fullres"]
    assert found.selection.remarks[0] == "2d resizes whole images, 3d_fullres crops them: ensembles of both are not compared."


def tmp_path_with_raw(both: Path, place: Path, *, copy: bool = False) -> Path:
    (place / "raw_data").mkdir()
    if copy:
        shutil.copytree(both / "raw_data" / NAME, place / "raw_data" / NAME)
    else:
        (place / "raw_data" / NAME).symlink_to(both / "raw_data" / NAME)
    return place


def test_rules_must_speak_of_values_that_there_are(both: Path, selected: autoseg.Selected, tmp_path: Path) -> None:
    case = next((both / "raw_data" / NAME).iterdir())
    path = both / "models" / NAME / "selection.json"
    rule = Rule(kind="remove_small", structure="x", values=(3, 4), becomes=70000, below_mm3=1.0)
    write_selection(selected.selection.model_copy(update={"postprocessing": (rule,)}), path)
    with pytest.raises(AutosegError, match=r"postprocessing\.0\.values: 3 is no label value\n  postprocessing\.0\.becomes: 70000 is no label value"):
        autoseg.predict(case, tmp_path / "out", workspace=both, device="cpu")


def test_folds_of_different_plans_are_not_compared(both: Path, tmp_path: Path) -> None:
    place = tmp_path_with_raw(both, tmp_path)
    shutil.copytree(both / "models" / NAME / "2d", place / "models" / NAME / "2d")
    plan = place / "models" / NAME / "2d" / "fold_1" / "plan.json"
    content = json.loads(plan.read_text())
    content["configurations"]["2d"]["training"]["iterations_per_epoch"] = 7
    plan.write_text(json.dumps(content))
    with pytest.raises(AutosegError, match=r"fold_1 and .*fold_0 were trained with different plans"):
        autoseg.select("2d", workspace=place, dataset=NAME)


def test_probabilities_that_are_damaged_are_named(both: Path, tmp_path: Path) -> None:
    place = tmp_path_with_raw(both, tmp_path)
    shutil.copytree(both / "models" / NAME, place / "models" / NAME)
    npz = next((place / "models" / NAME / "2d" / "fold_0" / "validation").glob("*.npz"))
    with np.load(npz) as archive:
        content = dict(archive)
    content["probabilities"][0, 0, 0, 0] = np.nan
    np.savez(npz, **content)
    with pytest.raises(AutosegError, match=r"holds what is not a number in one of .*Remove them"):
        autoseg.select(workspace=place, dataset=NAME, device="cpu")
    npz.write_bytes(npz.read_bytes()[:100])
    with pytest.raises(AutosegError, match="cannot be read"):
        autoseg.select(workspace=place, dataset=NAME, device="cpu")
    npz.unlink()
    assert autoseg.select(workspace=place, dataset=NAME, device="cpu", scheme="brats20").selection.cases == 3  # it was made anew


def test_what_lies_in_the_folder_of_models_is_not_believed(both: Path, tmp_path: Path) -> None:
    place = tmp_path_with_raw(both, tmp_path)
    models = place / "models" / NAME
    shutil.copytree(both / "models" / NAME / "2d", models / "2d")
    shutil.copytree(both / "models" / NAME / "2d", models / "2d_old")
    (models / "2d" / "fold_0" / "validation" / "predictions.json").unlink()  # then nobody knows what made them
    said: list[str] = []
    found = autoseg.select(workspace=place, dataset=NAME, device="cpu", notify=said.append)
    assert [one.name for one in found.choice.candidates] == ["2d"]
    assert said[0] == f"Not compared, since the models there were trained under another name: {models / '2d_old'}."
    assert any(line.startswith("2d, fold 0, lacks segmentations") for line in said)
    case = next((both / "raw_data" / NAME).iterdir())
    path = models / "selection.json"
    write_selection(found.selection.model_copy(update={"dataset": "Another"}), path)
    with pytest.raises(AutosegError, match="was made for Another, but the models beside it are of DatasetPhantom20"):
        autoseg.predict(case, tmp_path / "out", model=models, device="cpu")
    file = next((models / "2d" / "fold_0" / "validation").glob("*.nii.gz"))
    labels = read_labels(file)
    write_labels(LabelMap(np.full_like(labels.array, 7), labels.geometry), file)
    with pytest.raises(AutosegError, match=r"holds the value 7, which no class has. Delete it"):
        autoseg.select(workspace=place, dataset=NAME, device="cpu")


def test_a_users_own_table_is_not_replaced(both: Path, tmp_path: Path) -> None:
    case = next((both / "raw_data" / NAME).iterdir())
    (tmp_path / "uncertainty.csv").write_text("mine")
    with pytest.raises(AutosegError, match=r"uncertainty\.csv is there already"):
        autoseg.predict(case, tmp_path, workspace=both, configuration="2d", device="cpu", uncertainty=True)
    assert (tmp_path / "uncertainty.csv").read_text() == "mine"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "uncertainty").write_text("a file")
    with pytest.raises(AutosegError, match=r"Cannot write into .*uncertainty"):
        autoseg.predict(case, tmp_path / "other", workspace=both, configuration="2d", device="cpu", uncertainty=True)
