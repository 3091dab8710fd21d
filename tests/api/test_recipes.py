"""Every recipe trains, is interrupted and resumed, predicts and is judged, on made-up data of its kind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from safetensors.torch import save_file

import autoseg
from autoseg.api._out_of_fold import OutOfFold
from autoseg.data.phantom import write_phantoms
from autoseg.data.references import find_references
from autoseg.errors import AutosegError, Interrupted
from autoseg.imaging.read import read_image, read_labels
from autoseg.imaging.write import write_labels
from autoseg.planning.plan import read_plan
from autoseg.planning.zoo.recipes import own_recipes

SIDE, PATCH = 70, {2: 64, 3: 16}
SEGMENTING = [name for name, recipe in own_recipes().items() if recipe.task == "segmentation"]
SMALLER = {"resnet50": "resnet18", "efficientnet-b5": "efficientnet-b0"}
DATASETS = {"COCO": ("effb0", "effb5"), "LGG": ("unet_lgg", "resnet50_unet_lgg", "resnet50_attention")}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("recipes")
    write_phantoms(place / "raw_data" / "BraTS", count=3, seed=5, shape=(24, 24, 24))
    rng = np.random.default_rng(3)
    for patient in range(2):
        folder = place / "raw_data" / "LGG" / f"TCGA_{patient}"
        folder.mkdir(parents=True)
        for number in (1, 2):
            picture, mask = _picture(rng, number)
            sitk.WriteImage(sitk.GetImageFromArray(picture, isVector=True), str(folder / f"TCGA_{patient}_{number}.tif"))
            sitk.WriteImage(sitk.GetImageFromArray(mask), str(folder / f"TCGA_{patient}_{number}_mask.tif"))
    folder = place / "raw_data" / "COCO" / "valid"
    folder.mkdir(parents=True)
    images, annotations = [], []
    for number in range(4):
        picture, _ = _picture(rng, number % 3)
        sitk.WriteImage(sitk.GetImageFromArray(picture, isVector=True), str(folder / f"{number}.jpg"))
        images.append({"id": number, "file_name": f"{number}.jpg", "height": SIDE, "width": SIDE})
        annotations.append({"id": number, "image_id": number, "category_id": 1, "bbox": [20, 10, 30, 20]})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "Tumor"}]}
    (folder / "_annotations.coco.json").write_text(json.dumps(content))
    for name in ("BraTS", "LGG", "COCO"):
        mine = [recipe for recipe in SEGMENTING if _dataset(recipe) == name]
        autoseg.plan(name, workspace=place, recipes=mine, encoder_weights="none", folds=2, preprocess=False)
        _shrink(place / "plans" / f"{name}.json")
    return place


@pytest.mark.parametrize("name", SEGMENTING)
def test_a_recipe_does_all_that_a_planned_configuration_does(name: str, workspace: Path, tmp_path: Path) -> None:
    dataset, train = _dataset(name), {"dataset": _dataset(name), "workspace": workspace, "device": "cpu"}
    with pytest.raises(Interrupted):
        autoseg.train(name, 0, should_stop=_after(1), **train)
    (trained,) = autoseg.train(name, 0, **train)
    assert trained.steps == 2 and trained.evaluation is not None
    inputs = next(path for path in sorted((workspace / "raw_data" / dataset).iterdir()) if path.is_dir())
    predicted = autoseg.predict(inputs, tmp_path / "out", configuration=name, **train)
    for case, file in predicted.files.items():
        assert file.name == case + {"BraTS": ".nii.gz"}.get(dataset, ".png")
        assert read_image([file]).array.shape[2:] == ((24, 24) if dataset == "BraTS" else (SIDE, SIDE))
    judged = autoseg.evaluate(tmp_path / "out", workspace / "raw_data" / dataset, dataset=dataset, workspace=workspace)
    assert len(set(judged.evaluation.table["case"])) == len(predicted.files)


def test_recipes_are_added_to_a_plan_that_was_edited_and_stay_in_it(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "raw_data").symlink_to(workspace / "raw_data")
    path = autoseg.plan("LGG", workspace=tmp_path, preprocess=False).path
    content = json.loads(path.read_text())
    planned = content["configurations"]["2d"]["batch_size"]
    content["configurations"]["2d"]["batch_size"] = 3
    path.write_text(json.dumps(content))
    made = autoseg.plan("LGG", workspace=tmp_path, recipes=["unet_lgg_2d"], preprocess=False).plan
    assert made.configuration("2d").batch_size == 3 and made.configuration("unet_lgg_2d").recipe == "unet_lgg_2d"
    again = autoseg.plan("LGG", workspace=tmp_path, recipes=["unet_lgg_2d"], preprocess=False).plan
    assert again == made
    content = json.loads(path.read_text())
    content["configurations"]["2d"]["batch_size"] = planned
    path.write_text(json.dumps(content))
    assert (
        "unet_lgg_2d" in autoseg.plan("LGG", workspace=tmp_path, preprocess=False).plan.configurations
    )  # planned anew, and alike but for the recipe
    content["configurations"]["unet_lgg_2d"]["batch_size"] = 5
    path.write_text(json.dumps(content))
    with pytest.raises(AutosegError, match=r"configurations\.unet_lgg_2d\.batch_size: 5 in the file, 16 now"):
        autoseg.plan("LGG", workspace=tmp_path, recipes=["unet_lgg_2d"], preprocess=False)
    with pytest.raises(AutosegError, match="name one with --recipe"):
        autoseg.plan("LGG", workspace=tmp_path, encoder_weights="none", preprocess=False)
    replaced = autoseg.plan("LGG", workspace=tmp_path, force=True, preprocess=False)
    assert replaced.dropped == ("unet_lgg_2d",) and list(replaced.plan.configurations) == ["2d"]


def test_weights_that_are_gone_are_missed_before_cases_are_made_ready(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "raw_data").symlink_to(workspace / "raw_data")
    weights = tmp_path / "encoder.safetensors"
    save_file({"weight": torch.zeros(1)}, weights)
    autoseg.plan("LGG", workspace=tmp_path, recipes=["resnet50_unet_lgg_2d"], encoder_weights=str(weights), folds=2, preprocess=False)
    weights.unlink()
    stages: list[str] = []
    with pytest.raises(AutosegError, match=r"encoder\.safetensors \(network\.weights\) do not exist"):
        autoseg.train("resnet50_unet_lgg_2d", 0, dataset="LGG", workspace=tmp_path, device="cpu", progress=lambda stage, *_: stages.append(stage))
    assert not stages and not (tmp_path / "models" / "LGG" / "resnet50_unet_lgg_2d" / "fold_0").exists()


def test_a_recipe_is_added_to_a_plan_of_stacked_slices(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "raw_data").symlink_to(workspace / "raw_data")
    stacked = autoseg.plan("LGG", workspace=tmp_path, stack=(4.0, 1.0, 1.0), folds=2, preprocess=False).plan
    made = autoseg.plan("LGG", workspace=tmp_path, recipes=["unet_lgg_2d"], preprocess=False).plan
    assert made.dataset == stacked.dataset and made.dataset.stack == (4.0, 1.0, 1.0)
    facts = json.loads((tmp_path / "plans" / "LGG.fingerprint.json").read_text())
    assert facts["shapes"][0][0] == 2
    with pytest.raises(AutosegError, match="reads the slices of LGG otherwise"):
        autoseg.plan("LGG", workspace=tmp_path, recipes=["resnet50_unet_lgg_2d"], stack=(5.0, 1.0, 1.0), preprocess=False)


def test_stacked_slices_are_judged_as_volumes(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "raw_data").symlink_to(workspace / "raw_data")
    autoseg.plan("LGG", workspace=tmp_path, stack=(4.0, 1.0, 1.0), folds=2, preprocess=False)
    references = find_references(workspace / "raw_data" / "LGG", stack=(4.0, 1.0, 1.0))
    (tmp_path / "out").mkdir()
    for name, source in references.items():
        write_labels(read_labels(source), tmp_path / "out" / f"{name}.nii.gz")
    judged = autoseg.evaluate(tmp_path / "out", tmp_path / "raw_data" / "LGG", dataset="LGG", workspace=tmp_path)
    assert set(judged.evaluation.table["case"]) == {"TCGA_0", "TCGA_1"} and judged.evaluation.table["dice"].min() == 1


def test_what_predicting_with_a_recipe_costs_is_known(workspace: Path) -> None:
    plan = read_plan(workspace / "plans" / "LGG.json")
    costs = {name: OutOfFold(name, plan, "default", {}, {"0": "a"}, {}).cost for name in ("unet_lgg_2d", "resnet50_unet_lgg_2d")}
    assert costs["resnet50_unet_lgg_2d"] > costs["unet_lgg_2d"] > 0


def _picture(rng: np.random.Generator, number: int) -> tuple[Any, Any]:
    picture = rng.integers(20, 90, (SIDE, SIDE, 3), dtype=np.uint8)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    if number != 2:
        mask[10:30, 20:50] = 255
        picture[mask > 0] += 100
    return picture, mask


def _dataset(recipe: str) -> str:
    return next(
        (name for name, prefixes in DATASETS.items() if recipe.startswith(prefixes) and "_2d" in recipe and recipe != "resnet50_unet_2d"), "BraTS"
    )


def _shrink(path: Path) -> None:
    content = json.loads(path.read_text())
    for configuration in content["configurations"].values():
        axes = configuration["dimensions"]
        if "recipe" not in configuration:
            continue
        configuration["patch_size"] = [PATCH[axes]] * axes
        configuration["batch_size"] = 2
        if "resize" in configuration["resampling"]:
            configuration["resampling"]["resize"] = configuration["patch_size"]
        network = configuration["network"]
        if "strides" in network:
            network |= {
                "features_per_stage": [4, 8], "strides": [[1] * axes, [2] * axes], "kernel_sizes": [[3] * axes] * 2, "blocks_per_stage": [1, 1],
                "convs_per_stage_decoder": [1],
            }  # fmt: skip
        elif "width" in network:
            network |= {"width": 4, "stages": 3}
        else:
            network["encoder"] = SMALLER.get(network["encoder"], network["encoder"])
        configuration["training"] |= {"epochs": 2, "iterations_per_epoch": 1, "validation_iterations": 1, "precision": "float32"}
    path.write_text(json.dumps(content))


def _after(steps: int) -> Callable[[], bool]:
    asked = iter(range(10_000))
    return lambda: next(asked) >= steps - 1
