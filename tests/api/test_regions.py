"""Regions from the dataset to the prediction: with the nnU-Net layout, cases annotated in part, and classes on request."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import autoseg
from autoseg.errors import AutosegError
from autoseg.imaging.image import Geometry, Image, LabelMap
from autoseg.imaging.read import read_labels
from autoseg.imaging.write import write_image, write_labels

NAME, IGNORE = "Dataset003_Sparse", 9
LABELS = {"background": 0, "whole": [3, 5, 7], "core": [5, 7], "heart": 7, "ignore": IGNORE}


@pytest.fixture(scope="module")
def sparse(tmp_path_factory: pytest.TempPathFactory, shrink: Callable[[Path], None]) -> Path:
    """Nested boxes whose grey values tell them apart; half of the slices are not annotated. Planned, with tiny networks."""
    place = tmp_path_factory.mktemp("sparse")
    raw = place / "raw_data" / NAME
    (raw / "imagesTr").mkdir(parents=True)
    (raw / "labelsTr").mkdir()
    content = {"channel_names": {"0": "noNorm"}, "labels": LABELS, "regions_class_order": [3, 5, 7], "numTraining": 3, "file_ending": ".nii.gz"}
    (raw / "dataset.json").write_text(json.dumps(content))
    geometry = Geometry.of((20, 20, 20))
    for index in range(3):
        labels = np.zeros(geometry.shape, np.uint8)
        for depth, value in ((4, 3), (6, 5), (8, 7)):
            inner = slice(depth, 20 - depth)
            labels[inner, inner, depth + index - 1 : 19 - depth + index] = value
        noise = np.random.default_rng(index).normal(0, 0.1, geometry.shape)
        write_image(Image((labels / 4 + 0.5 + noise)[None].astype(np.float32), geometry), raw / "imagesTr" / f"case{index}_0000.nii.gz")
        labels[::2] = IGNORE
        write_labels(LabelMap(labels, geometry), raw / "labelsTr" / f"case{index}.nii.gz")
    shrink(autoseg.plan(NAME, workspace=place, preset="cpu", preprocess=False).path)
    return place


def test_regions_and_the_ignore_label_go_together(sparse: Path) -> None:
    (trained,) = autoseg.train("3d_fullres", 0, workspace=sparse, epochs=20, device="cpu")
    header, *rows = (trained.folder / "log.csv").read_text().splitlines()
    assert header.endswith("dice_whole,dice_core,dice_heart") and len(rows) == 20
    first, last = (float(row.split(",")[header.split(",").index("train_loss")]) for row in (rows[0], rows[-1]))
    assert last < first - 0.1
    assert trained.evaluation is not None and set(trained.evaluation.table["target"]) == {"whole", "core", "heart"}
    assert trained.evaluation.leading == "regions"
    images = sparse / "raw_data" / NAME / "imagesTr"
    predicted = autoseg.predict(images, sparse / "out", workspace=sparse, dataset=NAME, device="cpu", probabilities=True)
    for name, file in predicted.files.items():
        values = read_labels(file).array
        assert set(np.unique(values)) <= {0, 3, 5, 7}
        with np.load(file.with_name(f"{name}.npz")) as archive:
            assert archive["names"].tolist() == ["whole", "core", "heart"]
            probabilities = archive["probabilities"]
        inside, sure = probabilities > 0.5, (probabilities != 0.5).all(0)  # float16 rounds to one half
        painted = np.where(inside[2], 7, np.where(inside[1], 5, np.where(inside[0], 3, 0)))
        assert sure.mean() > 0.9 and np.array_equal(painted[sure], values[sure])


def test_regions_need_an_order_to_be_learned(sparse: Path, tmp_path: Path) -> None:
    dataset_json = tmp_path / "dataset.json"
    content = json.loads((sparse / "raw_data" / NAME / "dataset.json").read_text())
    source = sparse / "plans" / f"{NAME}.json"
    for change, learned in (({}, "regions"), ({"regions_class_order": None}, "classes")):
        dataset_json.write_text(json.dumps({key: value for key, value in (content | change).items() if value is not None}))
        assert autoseg.plan_from_files(dataset_json=dataset_json, source=source).dataset.labels.trained == learned
        assert autoseg.plan_from_files(dataset_json=dataset_json, source=source, labels="classes").dataset.labels.trained == "classes"
    with pytest.raises(AutosegError, match=r"cannot learn regions.*without the order in which they are written.*regions_class_order"):
        autoseg.plan_from_files(dataset_json=dataset_json, source=source, labels="regions")
    dataset_json.write_text(json.dumps(content | {"labels": {"background": 0, "organ": 1}}))
    with pytest.raises(AutosegError, match=r"cannot learn regions.*declares none"):
        autoseg.plan_from_files(dataset_json=dataset_json, source=source, labels="regions")


def test_a_plan_of_an_earlier_state_learns_classes(sparse: Path, tmp_path: Path) -> None:
    content = json.loads((sparse / "plans" / f"{NAME}.json").read_text())
    for key in ("region_order", "trained"):
        del content["dataset"]["labels"][key]
    (tmp_path / "plan.json").write_text(json.dumps(content))
    plan = autoseg.check_plan(tmp_path / "plan.json").plan
    assert not plan.learns_regions and plan.output_names == ("background", "label_3", "label_5", "heart")
