"""locate and predict --overlay as they are typed."""

import json
from pathlib import Path

import pandas as pd

from tests.cli.conftest import DATASET, Shell, tree


def test_locate_predicts_measures_and_draws_and_is_passed_over_when_repeated(shell: Shell, trained: Path, unseen: Path, tmp_path: Path) -> None:
    done = shell.run("locate", "-i", unseen, "-o", tmp_path / "out", "-f", 0, "--no-mirror", cwd=trained)
    assert done.code == 0, done.err
    assert done.headline.startswith(f"autoseg locate: dataset {DATASET}, configuration 3d_fullres, fold 0, device cpu")
    names = ["BraTS20_Training_009", "BraTS20_Training_010"]
    expected = {*(f"{name}.nii.gz" for name in names), *(f"overlays/{name}.png" for name in names)}
    expected |= {"localisation.json", "localisation.csv", "overlays.png", "overlays", "predictions.json"}
    assert tree(tmp_path / "out").keys() == expected
    assert list(json.loads((tmp_path / "out" / "localisation.json").read_text())["cases"]) == names
    table = pd.read_csv(tmp_path / "out" / "localisation.csv")
    assert set(table.loc[table["part"] == 0, "structure"]) == {"WT", "TC", "ET"}
    assert "2 cases located in " in done.out and "centroid R, A, S mm" in done.out
    before = tree(tmp_path / "out")
    again = shell.run("locate", "-i", unseen, "-o", tmp_path / "out", "-f", 0, "--no-mirror", "--json", cwd=trained)
    assert again.code == 0, again.err
    assert json.loads(again.out)["skipped"] == names
    assert tree(tmp_path / "out") == before
    overlay = shell.run("predict", "-i", unseen, "-o", tmp_path / "out", "-f", 0, "--no-mirror", "--overlay", cwd=trained)
    assert overlay.code == 0, overlay.err
    assert "Drawn: " in overlay.out and tree(tmp_path / "out") == before  # the same pictures


def test_locate_without_a_network(shell: Shell, raw: Path, tmp_path: Path) -> None:
    done = shell.run("locate", "-i", raw, "-o", "out", "--segmentations", raw, cwd=tmp_path)
    assert done.code == 0, done.err
    assert done.headline == f"autoseg locate: segmentations {raw}, input {raw}"
    assert "4 cases located in " in done.out
    message = shell.fails("locate", "-i", raw, "-o", "out", "-s", raw, "-c", "2d", cwd=tmp_path)
    assert "Error: configuration and segmentations that are there already exclude each other" in message
