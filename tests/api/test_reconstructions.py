"""Anomaly and denoising from a dataset to maps, scores and pictures; and what is only for segmentations refuses them in words."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

import autoseg
from autoseg.errors import AutosegError
from autoseg.evaluation.reconstructions import ReconstructionScores
from autoseg.imaging.image import Geometry, Image, LabelMap
from autoseg.imaging.read import read_image
from autoseg.imaging.write import write_image, write_labels

NAME, SHAPE = "Dataset007_Balls", (24, 24, 24)
NAMES = ("autoencoder3d", "autoencoder3d_denoising")


def head(seed: int) -> tuple[Image, LabelMap]:
    """A round head of smooth tissue in emptiness, and a bright ball in it."""
    rng = np.random.default_rng(seed)
    z, y, x = np.indices(SHAPE)
    inside = (z - 12) ** 2 + (y - 12) ** 2 + (x - 12) ** 2 < 11**2
    middle = rng.integers(9, 15, 3)
    ball = (z - middle[0]) ** 2 + (y - middle[1]) ** 2 + (x - middle[2]) ** 2 < 3**2
    tissue = 100 + 10 * np.sin(z / 5 + seed) + 10 * np.cos(y / 4) + rng.normal(0, 2, SHAPE) + 80 * ball
    geometry = Geometry.of(SHAPE)
    return Image((tissue * inside).astype(np.float32)[None], geometry), LabelMap((ball & inside).astype(np.uint8), geometry)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with both recipes planned, small."""
    place = tmp_path_factory.mktemp("balls")
    raw = place / "raw_data" / NAME
    for seed in range(4):
        image, labels = head(seed)
        write_image(image, raw / "imagesTr" / f"c{seed}_0000.nii.gz")
        write_labels(labels, raw / "labelsTr" / f"c{seed}.nii.gz")
    facts = {"channel_names": {"0": "T1"}, "labels": {"background": 0, "ball": 1}, "numTraining": 4, "file_ending": ".nii.gz"}
    (raw / "dataset.json").write_text(json.dumps(facts))
    plan = autoseg.plan(NAME, workspace=place, preset="cpu", recipes=NAMES, preprocess=False).path
    content = json.loads(plan.read_text())
    for name in NAMES:
        made = content["configurations"][name]
        made |= {"patch_size": [8, 8, 8], "batch_size": 4, "network": {"family": "autoencoder", "width": 4, "stages": 2}}
        made["training"] |= {"iterations_per_epoch": 10, "validation_iterations": 1, "precision": "float32"}
        made["training"]["recipes"]["default"]["learning_rate"] = 0.01
        if made["task"] == "anomaly":
            made["inference"]["smoothing"] = 1.0
    plan.write_text(json.dumps(content))
    return place


@pytest.fixture(scope="module")
def found(place: Path) -> autoseg.Trained:
    (trained,) = autoseg.train("autoencoder3d", 0, dataset=NAME, workspace=place, epochs=4, device="cpu")
    return trained


@pytest.fixture(scope="module")
def denoised(place: Path) -> autoseg.Trained:
    (trained,) = autoseg.train("autoencoder3d_denoising", 0, dataset=NAME, workspace=place, epochs=4, device="cpu")
    return trained


def test_a_ball_that_training_never_saw_lights_up(found: autoseg.Trained) -> None:
    assert isinstance(found.evaluation, ReconstructionScores)
    table = pd.read_csv(found.folder / "metrics.csv")
    assert (table["auroc"] > 0.9).all() and (table["average_precision"] > 10 * table["prevalence"]).all()
    content = json.loads((found.folder / "metrics.json").read_text())
    assert content["pooled"]["auroc"] > 0.9 and content["scheme"] == "anomaly"
    assert imread(found.folder / "validation.png").shape[0] > 150
    log = pd.read_csv(found.folder / "log.csv")
    assert log["psnr"].notna().all() and log["pseudo_dice"].isna().all()


def test_a_validation_is_taken_up_and_that_of_other_weights_is_not(place: Path, found: autoseg.Trained) -> None:
    before = (found.folder / "metrics.csv").read_text()
    (made,) = (found.folder / "validation").glob("*.nii.gz")
    written = made.stat().st_mtime_ns
    notes: list[str] = []
    autoseg.train("autoencoder3d", 0, dataset=NAME, workspace=place, epochs=4, device="cpu", notify=notes.append)
    assert any("Validation of 1 case at full resolution, 1 of them predicted already" in note for note in notes)
    assert made.stat().st_mtime_ns == written and (found.folder / "metrics.csv").read_text() == before
    record = json.loads((found.folder / "validation" / "predictions.json").read_text())
    assert record["task"] == "anomaly"
    (found.folder / "validation" / "predictions.json").write_text(json.dumps(record | {"weights": ["other"]}))
    autoseg.train("autoencoder3d", 0, dataset=NAME, workspace=place, epochs=4, device="cpu")
    assert made.stat().st_mtime_ns > written and (found.folder / "metrics.csv").read_text() == before


def test_maps_lie_on_the_scans_and_are_passed_over_the_next_time(place: Path, found: autoseg.Trained, tmp_path: Path) -> None:
    inputs = place / "raw_data" / NAME / "imagesTr"
    done = autoseg.predict(inputs, tmp_path / "out", dataset=NAME, workspace=place, configuration="autoencoder3d", device="cpu")
    assert (done.task, done.to_json()["task"], len(done.files), done.skipped) == ("anomaly", "anomaly", 4, ())
    image, labels = head(2)
    made = read_image((done.files["c2"],))
    assert made.geometry == read_image((inputs / "c2_0000.nii.gz",)).geometry
    assert not made.array[0][image.array[0] == 0].any()
    inside = image.array[0] != 0
    assert made.array[0][labels.array > 0].mean() > 2 * made.array[0][inside & (labels.array == 0)].mean()
    again = autoseg.predict(inputs, tmp_path / "out", dataset=NAME, workspace=place, configuration="autoencoder3d", device="cpu")
    assert len(again.skipped) == 4
    for option in ("probabilities", "uncertainty"):
        with pytest.raises(AutosegError, match=f"autoencoder3d makes maps of anomalies, no segmentations: .* --{option}"):
            autoseg.predict(inputs, tmp_path / "o", dataset=NAME, workspace=place, configuration="autoencoder3d", device="cpu", **{option: True})


def test_noise_is_taken_away(place: Path, denoised: autoseg.Trained, tmp_path: Path) -> None:
    table = pd.read_csv(denoised.folder / "metrics.csv")
    assert (table["target"] == "T1").all() and (table["psnr_noisy"] > 5).all() and (table["ssim_noisy"] < 0.999).all()
    assert json.loads((denoised.folder / "metrics.json").read_text())["noise"] == pytest.approx(0.275)
    assert (denoised.folder / "validation" / f"{table['case'][0]}_0000.nii.gz").is_file()
    assert imread(denoised.folder / "validation.png").shape[0] > 150
    inputs = place / "raw_data" / NAME / "imagesTr"
    done = autoseg.predict(inputs, tmp_path / "out", model=denoised.folder, device="cpu")
    made, image = read_image((done.files["c1"],)).array[0], head(1)[0].array[0]
    assert done.files["c1"].name == "c1_0000.nii.gz" and not made[image == 0].any()
    assert 80 < made[image != 0].mean() < 120  # intensities as they came
    again = autoseg.predict(tmp_path / "out", tmp_path / "twice", model=denoised.folder, device="cpu")  # its files are scans as any other
    assert len(again.files) == 4


def test_what_is_for_segmentations_refuses_in_words(place: Path, found: autoseg.Trained, denoised: autoseg.Trained, tmp_path: Path) -> None:
    with pytest.raises(AutosegError, match="autoencoder3d makes maps of anomalies, no segmentations: there is no Dice to compare"):
        autoseg.select("autoencoder3d", dataset=NAME, workspace=place)
    with pytest.raises(AutosegError, match="No fold of Dataset007_Balls is trained yet"):
        autoseg.select(dataset=NAME, workspace=place)
    with pytest.raises(AutosegError, match=r"makes maps of anomalies, no segmentations: there is no Dice of folds .*fold_<k>/metrics\.json"):
        autoseg.crossval("autoencoder3d", dataset=NAME, workspace=place)
    with pytest.raises(AutosegError, match="is validated yet"):
        autoseg.crossval(dataset=NAME, workspace=place)
    with pytest.raises(AutosegError, match="anomalies, autoencoder3d_denoising makes denoised scans, no segmentations: there is no best of them"):
        autoseg.predict(place / "raw_data" / NAME / "imagesTr", tmp_path / "out", dataset=NAME, workspace=place, device="cpu")
    maps = found.folder / "validation"
    for judge in (
        lambda: autoseg.evaluate(maps, place / "raw_data" / NAME, workspace=place),
        lambda: autoseg.compare([maps, denoised.folder / "validation"], place / "raw_data" / NAME, output=tmp_path / "c", workspace=place),
        lambda: autoseg.ensemble([maps, denoised.folder / "validation"], tmp_path / "e", dataset=NAME, workspace=place),
    ):
        with pytest.raises(AutosegError, match=r"autoencoder3d of .* makes maps of anomalies, no segmentations: what lies in"):
            judge()
