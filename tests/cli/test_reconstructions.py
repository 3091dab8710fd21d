"""Finding what is unusual, as a user types it."""

import json
from pathlib import Path

import numpy as np

from autoseg.imaging.read import read_image
from tests.cli.conftest import DATASET, Shell


def test_an_autoencoder_from_recipe_to_maps(shell: Shell, planned: Path, unseen: Path, tmp_path: Path) -> None:
    added = shell.run("plan", "Phantom", "--recipe", "autoencoder3d", "--no-preprocess", cwd=planned)
    assert added.code == 0, added.err
    plan = planned / "plans" / f"{DATASET}.json"
    content = json.loads(plan.read_text())
    made = content["configurations"]["autoencoder3d"]
    assert (made["task"], made["training"]["slices"]) == ("anomaly", "without_foreground")
    made |= {"patch_size": [16, 16, 16], "network": {"family": "autoencoder", "width": 4, "stages": 2}}
    made["training"] |= {"iterations_per_epoch": 2, "validation_iterations": 1, "precision": "float32"}
    plan.write_text(json.dumps(content))
    trained = shell.run("train", "autoencoder3d", 0, "--epochs", 1, cwd=planned)
    assert trained.code == 0, trained.err
    for said in ("Validation of fold 0 (anomaly)", "average_precision", "All voxels pooled: auroc 0.", "predict -i FOLDER -o OUT -c autoencoder3d"):
        assert said in trained.out
    done = shell.run("predict", "-i", unseen, "-o", tmp_path / "out", "-c", "autoencoder3d", cwd=planned)
    assert done.code == 0, done.err
    assert "2 cases searched for anomalies in" in done.out
    files = sorted((tmp_path / "out").glob("*.nii.gz"))
    assert len(files) == 2 and all(np.isfinite(read_image((file,)).array).all() for file in files)
    assert "autoencoder3d of Dataset020_Phantom makes maps of anomalies, no segmentations" in shell.fails(
        "evaluate", "-p", tmp_path / "out", "-r", planned / "raw_data" / DATASET, cwd=planned
    )
    assert "autoencoder3d makes maps of anomalies, no segmentations" in shell.fails("select", "autoencoder3d", cwd=planned)
