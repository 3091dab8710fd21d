"""What `crossval` finds in a folder of models, and says of it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

import autoseg
from autoseg.data.folds import Folds, write_folds
from autoseg.errors import AutosegError
from autoseg.evaluation.crossval import OVER_CLASSES
from autoseg.planning.plan import Plan, write_plan
from autoseg.reporting import canvas
from autoseg.training.run import Run, write_run

NAME = "Dataset001_Small"
RUN = Run(recipe="default", steps=100, seconds=None, seed=1, precision="float32", channels_last=False, epoch_steps=10)


def validated(
    place: Path, fold: int, dice: dict[str, float], *, configuration: str = "small", scheme: str = "nnunet", patients: dict[str, str] | None = None
) -> Path:
    folder = place / "models" / NAME / configuration / f"fold_{fold}"
    folder.mkdir(parents=True)
    rows = [
        {"case": case, "target": target, "region": False, "scheme": scheme, "dice": value, "hd95": 1.0, "hd95_convention": "x"}
        for case, value in dice.items()
        for target in ("core", "rim")
    ]
    pd.DataFrame(rows).to_csv(folder / "metrics.csv", index=False)
    (folder / "cases.json").write_text(json.dumps({"training": [], "validation": list(dice), "patients": patients or {}}))
    return folder


def test_folds_are_put_together_and_the_missing_named(tmp_path: Path) -> None:
    write_folds(Folds(validation=(("a", "b"), ("c",), ("d",), ("e",))), tmp_path / "plans" / f"{NAME}.folds.json")
    validated(tmp_path, 0, {"a": 0.9, "b": 0.7})
    validated(tmp_path, 2, {"d": 0.5})
    validated(tmp_path, 1, {"x": 0.1}, configuration="other")
    for fold in ("3", "all"):
        (tmp_path / "models" / NAME / "small" / f"fold_{fold}").mkdir()
    found = autoseg.crossval(dataset="Small", workspace=tmp_path)
    other, small = found.configurations
    assert small.scores and other.scores
    assert small.scores.folds == {"0": 2, "2": 1}
    assert small.scores.row()["mean"] == pytest.approx(0.7)
    assert small.missing == ("1 (not trained)", "3 (not validated yet)")
    assert small.remarks[-2:] == (
        "3 cases: intervals of so few say little.",
        "Fold all learnt from every case: it has no validation and is not counted.",
    )
    assert other.missing == ("0 (not trained)", "2 (not trained)", "3 (not trained)")
    assert other.remarks[0] == "The folds were divided anew since fold 1 was validated, on other cases than it has now."
    assert found.csv.parent == tmp_path / "models" / NAME
    table = pd.read_csv(found.csv)
    row = table[(table["configuration"] == "small") & (table["target"] == OVER_CLASSES) & (table["metric"] == "dice")].iloc[0]
    assert (row["scheme"], row["mean"], row["fold_0"], row["fold_2"]) == ("nnunet", pytest.approx(0.7), pytest.approx(0.8), 0.5)
    document = json.loads(found.json.read_text())
    assert document["configurations"]["small"]["cases_of_folds"] == {"0": 2, "2": 1}
    assert document["configurations"]["other"]["structures"][0]["std"] is None
    assert imread(found.picture).shape[0] > 300


def test_the_picture_has_a_colour_for_each_configuration_and_says_what_it_shows(tmp_path: Path) -> None:
    for place, scheme in (("one", "nnunet"), ("two", "brats20")):
        for fold in range(3):
            for configuration in ("other", "small"):
                validated(tmp_path / place, fold, {f"{fold}a": 0.9, f"{fold}b": 0.6}, configuration=configuration, scheme=scheme)
    one, two = (imread(autoseg.crossval(dataset=NAME, workspace=tmp_path / place).picture)[..., :3] for place in ("one", "two"))
    assert (one[:80] != two[:80]).any()  # the heading names the scheme
    seen = [bool((np.abs(one - (0.8 * np.array(canvas.class_colour(index)) + 0.2)) < 0.03).all(axis=-1).any()) for index in range(4)]
    assert seen == [True, True, False, False]
    assert one.shape[0] == pytest.approx((0.55 + 0.25 + 0.55 + 8 * 1.05) * canvas.DPI, abs=2)  # a strip for each configuration and fold
    (tmp_path / "one" / "models" / NAME).rename(tmp_path / "one" / "models" / "Dataset002_Larger")
    again = imread(autoseg.crossval(dataset="Dataset002_Larger", workspace=tmp_path / "one").picture)[..., :3]
    assert (one[:80] != again[:80]).any() and (one[80:] == again[80:]).all()  # and the dataset


def test_one_configuration_has_files_of_its_own(tmp_path: Path) -> None:
    validated(tmp_path, 0, {"a": 0.9})
    validated(tmp_path, 0, {"a": 0.9}, configuration="other")
    found = autoseg.crossval("other", dataset=NAME, workspace=tmp_path)
    assert [one.name for one in found.configurations] == ["other"]
    assert found.csv.parent == tmp_path / "models" / NAME / "other"
    assert found.configurations[0].missing == ()


def test_slices_of_a_patient_are_drawn_together(tmp_path: Path) -> None:
    dice = {"a_1": 0.9, "a_2": 0.9, "b_1": 0.1, "b_2": 0.1}
    folder = validated(tmp_path, 0, dice, patients={name: name[0] for name in dice})
    (one,) = autoseg.crossval("small", dataset=NAME, workspace=tmp_path).configurations
    assert one.scores is not None and (one.scores.row()["low"], one.scores.row()["high"]) == (pytest.approx(0.1), pytest.approx(0.9))
    assert "4 cases of 2 patients: intervals of so few say little." in one.remarks
    document = json.loads((tmp_path / "models" / NAME / "small" / "crossval.json").read_text())["configurations"]["small"]
    assert (document["patients"], document["length_unit"]) == (2, "mm")
    (folder / "cases.json").write_text(json.dumps({"training": [], "validation": list(dice)}))
    (one,) = autoseg.crossval("small", dataset=NAME, workspace=tmp_path).configurations
    assert any(remark.startswith("Nobody says which cases are of one patient") for remark in one.remarks)


def test_folds_with_other_settings_are_said_so(tmp_path: Path, small_plan: Callable[..., Plan]) -> None:
    folders = [validated(tmp_path, fold, {str(fold): 0.9}) for fold in range(4)]
    for folder, plan, run in zip(
        folders,
        [small_plan(), small_plan(inference={"step": 0.7}), small_plan(patch=(16, 16, 32)), small_plan()],
        [RUN, RUN, RUN, Run(**vars(RUN) | {"recipe": "fast", "steps": None, "seconds": 60.0})],
        strict=True,
    ):
        write_plan(plan, folder / "plan.json")
        write_run(run, folder)
    write_folds(Folds(validation=(("0",), ("1",), ("2",), ("3",))), tmp_path / "plans" / f"{NAME}.folds.json")
    (one,) = autoseg.crossval("small", dataset=NAME, workspace=tmp_path).configurations
    assert [remark.split(". ")[0] for remark in one.remarks[:-1]] == [
        "Fold 2 was trained with other settings than fold 0: patch_size",
        "Fold 3 was trained with other settings than fold 0: length, recipe",
    ]


@pytest.mark.parametrize(
    ("without", "said"), [([1], "Fold 1 has no run.json: recipe"), ([0], "Fold 0 has no run"), ([0, 1], "Folds 0, 1 have no run")]
)
def test_a_fold_whose_settings_nobody_knows_is_not_called_another(
    without: list[int], said: str, tmp_path: Path, small_plan: Callable[..., Plan]
) -> None:
    for fold in range(3):
        folder = validated(tmp_path, fold, {str(fold): 0.9})
        write_plan(small_plan(), folder / "plan.json")
        write_run(RUN if fold < 2 else Run(**vars(RUN) | {"seed": 2}), folder)
        if fold in without:
            (folder / "run.json").unlink()
    (one,) = autoseg.crossval("small", dataset=NAME, workspace=tmp_path).configurations
    assert sum(remark.startswith(said) for remark in one.remarks) == 1
    others = [remark for remark in one.remarks if "other settings" in remark]
    known = [fold for fold in range(2) if fold not in without]
    assert [remark.split(". ")[0] for remark in others] == [f"Fold 2 was trained with other settings than fold {fold}: seed" for fold in known[:1]]


@pytest.mark.parametrize("other_is_validated", [True, False])
def test_without_the_file_of_folds_their_number_is_unknown(other_is_validated: bool, tmp_path: Path) -> None:
    validated(tmp_path, 1, {"a": 0.9})
    if other_is_validated:
        validated(tmp_path, 0, {"b": 0.9}, configuration="other")
    else:
        (tmp_path / "models" / NAME / "other" / "fold_0").mkdir(parents=True)
    for one in autoseg.crossval(dataset=NAME, workspace=tmp_path).configurations:
        assert one.remarks[0].startswith(f"{tmp_path / 'plans' / NAME}.folds.json is missing: nobody knows how many folds there are")


def test_nothing_to_show_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "models" / NAME / "small" / "fold_1").mkdir(parents=True)
    with pytest.raises(AutosegError, match=rf"No fold of {NAME} is validated yet.*autoseg train 3d_fullres cv -d {NAME}"):
        autoseg.crossval(dataset=NAME, workspace=tmp_path)
    with pytest.raises(AutosegError, match=r"'2d' of .* is not trained. Trained are: small"):
        autoseg.crossval("2d", dataset=NAME, workspace=tmp_path)
    folder = validated(tmp_path, 0, {"a": 0.9})
    validated(tmp_path, 2, {"b": 0.9}, scheme="brats20")
    with pytest.raises(AutosegError, match=r"small: The folds were judged by different schemes"):
        autoseg.crossval(dataset=NAME, workspace=tmp_path)
    (folder / "metrics.csv").write_text("nothing")
    with pytest.raises(AutosegError, match=r"fold_0/metrics\.csv lacks the columns"):
        autoseg.crossval(dataset=NAME, workspace=tmp_path)


def test_a_copy_under_another_name_is_no_configuration(tmp_path: Path) -> None:
    for name in ("small", "small_old"):
        folder = validated(tmp_path, 0, {"a": 0.9, "b": 0.7}, configuration=name)
        (folder / "weights.safetensors").touch()
        (folder / "model.json").write_text(json.dumps({"configuration": "small", "recipe": "default"}))
    assert [one.name for one in autoseg.crossval(dataset=NAME, workspace=tmp_path).configurations] == ["small"]
    with pytest.raises(AutosegError, match=r"'small_old' of .* is not trained. Trained are: small"):
        autoseg.crossval("small_old", dataset=NAME, workspace=tmp_path)
