"""Several folds, several folders: `train cv`, `crossval` and `ensemble` as they are typed."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd

from autoseg.data.phantom import write_phantoms
from autoseg.imaging.read import read_labels
from tests.cli.conftest import DATASET, Shell, link_workspace


def test_cross_validation_from_two_folds_to_all(shell: Shell, trained: Path, tmp_path: Path) -> None:
    place = link_workspace(trained, tmp_path / "work", models=True)
    some = shell.run("crossval", cwd=place)
    assert some.code == 0, some.err
    assert some.headline == f"autoseg crossval: dataset {DATASET}"
    assert "Missing folds of 3d_fullres: 2 (not trained), 3 (not trained)." in some.err
    assert "Train them: autoseg train 3d_fullres cv\n" in some.err
    named = shell.run("crossval", "-d", "Phantom", "-w", place, cwd=tmp_path)
    assert f"Train them: autoseg train 3d_fullres cv -d {DATASET} -w {place}" in named.err
    for said in (
        "3d_fullres: Dice (scheme nnunet)",
        "3d_fullres: HD95 mm, 95th percentile",
        "fold 1 (1)",
        "mean over regions",
        "WT",
        "95 % interval",
        "std of folds",
    ):
        assert said in some.out
    assert re.search(r"Cross-validation of 3d_fullres: mean Dice \d\.\d{4} \(95 % interval \d\.\d{4} to .*\) over 2 cases of 2 folds", some.out)
    for ending in ("csv", "json", "png"):
        assert (place / "models" / DATASET / f"crossval.{ending}").stat().st_size > 0
    done = shell.run("train", "3d_fullres", "cv", cwd=place)
    assert done.code == 0, done.err
    assert done.out.count("Mean Dice over regions") == 4
    (mean,) = re.findall(r"Cross-validation of 3d_fullres: mean Dice (\d\.\d{4}) .* over 4 cases of 4 folds, scheme nnunet\.", done.out)
    tables = [pd.read_csv(place / "models" / DATASET / "3d_fullres" / f"fold_{fold}" / "metrics.csv") for fold in range(4)]
    together = pd.concat(tables)
    assert float(mean) == round(together.groupby("target")["dice"].mean().mean(), 4)
    assert (place / "models" / DATASET / "3d_fullres" / "crossval.csv").is_file()
    assert "intervals: autoseg crossval 3d_fullres, and " in done.out
    assert "not trained. Trained are: 3d_fullres" in shell.fails("crossval", "2d", cwd=place)


def test_one_combined_case_is_no_plural(shell: Shell, tmp_path: Path) -> None:
    write_phantoms(tmp_path / "raw", count=1, seed=1, shape=(24, 24, 24))
    (label,) = (tmp_path / "raw").rglob("*_seg.nii.gz")
    for member in "ab":
        (tmp_path / member).mkdir()
        (tmp_path / member / "x.nii.gz").write_bytes(label.read_bytes())
    done = shell.run("ensemble", "-i", "a", "-i", "b", "-o", "out", cwd=tmp_path)
    assert done.code == 0, done.err
    assert done.out.startswith("1 case combined of 2 members by ")


def test_predictions_of_two_folds_are_combined(shell: Shell, trained: Path, unseen: Path, tmp_path: Path) -> None:
    for fold in (0, 1):
        predicted = shell.run("predict", "-i", unseen, "-o", tmp_path / f"out_{fold}", "-f", fold, "--probabilities", cwd=trained)
        assert predicted.code == 0, predicted.err
    members = (tmp_path / "out_0", tmp_path / "out_1")
    done = shell.run("ensemble", "-i", *members, "-o", tmp_path / "out", cwd=trained)
    assert done.code == 0, done.err
    assert done.headline == f"autoseg ensemble: members {members[0]} + {members[1]}, method auto"
    assert done.out == f"2 cases combined of 2 members by mean of probabilities, 0 were there already: {tmp_path / 'out'}\n"
    for file in sorted((tmp_path / "out").glob("*.nii.gz")):
        soft = [np.load(member / file.name.replace(".nii.gz", ".npz")) for member in members]
        mean = np.mean([one["probabilities"].astype(float) for one in soft], axis=0)
        expected = np.array([0, 1, 2, 4])[mean.argmax(axis=0)] if len(mean) == 4 else np.zeros(mean.shape[1:])
        for region, value in zip(mean, (2, 1, 4), strict=True) if len(mean) == 3 else ():  # WT, TC, ET
            expected[region > 0.5] = value
        np.testing.assert_array_equal(read_labels(file).array, expected)
    record = json.loads((tmp_path / "out" / "ensemble.json").read_text())
    assert (record["dataset"], [member["made_by"]["folds"] for member in record["members"]]) == (DATASET, [["0"], ["1"]])
    again = shell.run("ensemble", "-i", members[0], "-i", members[1], "-o", tmp_path / "out", cwd=trained)
    assert again.out.startswith("0 cases combined of 2 members by mean of probabilities, 2 were there already")
    other = shell.fails("ensemble", "-i", *members, "-o", tmp_path / "out", "--method", "staple", cwd=trained)
    assert "an ensemble of other members or by another method" in other
