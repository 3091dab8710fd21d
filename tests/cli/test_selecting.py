"""`autoseg select` as a user types it, and `autoseg predict` after it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from autoseg.imaging.read import read_image, read_labels
from tests.cli.conftest import DATASET, Shell, link_workspace


def test_select_prints_what_it_found_and_the_next_command(shell: Shell, trained: Path, unseen: Path, tmp_path: Path) -> None:
    place = link_workspace(trained, tmp_path / "work", models=True)
    done = shell.run("select", "--scheme", "brats20", cwd=place)
    assert done.code == 0, done.err
    assert done.headline == f"autoseg select: dataset {DATASET}, scheme brats20"
    for said in ("3d_fullres (selected)", "mean Dice", "WT", "Selected: 3d_fullres is the only one that was compared: ", "ost-processing"):
        assert said in done.out
    assert done.out.splitlines()[-1] == "Next: autoseg predict -i FOLDER -o OUT"
    folder = place / "models" / DATASET
    assert all((folder / f"selection.{ending}").stat().st_size > 0 for ending in ("json", "csv", "png"))
    predicted = shell.run("predict", "-i", unseen, "-o", tmp_path / "out", cwd=place)
    assert predicted.code == 0, predicted.err
    assert f"Following {folder / 'selection.json'}: 3d_fullres." in predicted.err
    content = json.loads((folder / "selection.json").read_text())
    content["postprocessing"] = [{"kind": "keep_largest", "structure": "WT", "values": [1, 2, 4]}]
    (folder / "selection.json").write_text(json.dumps(content))
    assert "postprocessing.0.becomes: is missing" in shell.fails("predict", "-i", unseen, "-o", tmp_path / "out", cwd=place)
    assert "no fold whose training has ended. There is one of: 3d_fullres" in shell.fails("select", "2d", cwd=place)


def test_uncertainty_is_written_beside_predictions(shell: Shell, trained: Path, unseen: Path, tmp_path: Path) -> None:
    done = shell.run("predict", "-i", unseen, "-o", tmp_path / "out", "--uncertainty", cwd=trained)
    assert done.code == 0, done.err
    assert "Most doubtful of 2 cases" in done.out and f"Written: {tmp_path / 'out' / 'uncertainty.csv'}, and beside it maps" in done.out
    plain = shell.run("predict", "-i", unseen, "-o", tmp_path / "plain", cwd=trained)
    assert plain.code == 0, plain.err
    table = pd.read_csv(tmp_path / "out" / "uncertainty.csv", dtype={"case": str}).set_index("case")
    for file in sorted((tmp_path / "plain").glob("*.nii.gz")):
        with_maps = tmp_path / "out" / file.name
        assert np.array_equal(read_labels(file).array, read_labels(with_maps).array)
        name = file.name.removesuffix(".nii.gz")
        assert 0 <= table.loc[name, "doubt"] <= 1
        for kind in ("entropy", "disagreement"):
            found = read_image([tmp_path / "out" / "uncertainty" / f"{name}_{kind}.nii.gz"])
            assert found.array[0].shape == read_labels(file).array.shape and 0 <= found.array.min() <= found.array.max() <= 1
    assert (tmp_path / "out" / "uncertainty" / "most_doubtful.png").stat().st_size > 10_000
    judged = shell.run("evaluate", "-p", tmp_path / "out", "-r", tmp_path / "plain", cwd=trained)  # maps are no segmentations
    assert judged.code == 0, judged.err
    again = shell.run("predict", "-i", unseen, "-o", tmp_path / "out", "--uncertainty", cwd=trained)
    assert "0 cases segmented" in again.out and "2 were there already" in again.out
