"""Plans beside those of nnU-Net 2.8.1 for the same fingerprints (66 made up of all kinds, 2 from published work)."""

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from autoseg.planning.fingerprint import Fingerprint, IntensityStatistics
from autoseg.planning.lowres import lower_resolution
from autoseg.planning.patch import Budget, fit_patch
from autoseg.planning.plan import Configuration, DatasetBlock
from autoseg.planning.planner import make_plan
from autoseg.planning.presets import find_preset

DATA = Path(__file__).parent / "data"
SCHEMES = {
    "ZScoreNormalization": "zscore",
    "CTNormalization": "ct",
    "NoNormalization": "none",
    "RescaleTo01Normalization": "rescale_to_0_1",
    "RGBTo01Normalization": "rgb_to_0_1",
}
# Resampling and normalisation functions by import path, and names of readers, are another program's way to say what our schema says in words.
OTHER_KEYS = {"data_identifier", "preprocessor_name", "resampling_fn_data", "resampling_fn_seg", "resampling_fn_probabilities", "next_stage"}
OTHER_KEYS |= {f"{key}_kwargs" for key in OTHER_KEYS if key.startswith("resampling")}
OTHER_ARCHITECTURE_KEYS = {"conv_op", "conv_bias", "norm_op", "norm_op_kwargs", "dropout_op", "dropout_op_kwargs", "nonlin", "nonlin_kwargs"}
Facts = tuple[Fingerprint, DatasetBlock]


def load(name: str) -> Any:
    return json.loads(gzip.decompress((DATA / name).read_bytes()))


VECTORS = load("planner_vectors.json.gz")
PUBLISHED = ("lung006", "liver_ivim")


def facts(facts_of: Callable[..., Facts], dataset: dict[str, Any], fingerprint: dict[str, Any]) -> Facts:
    return facts_of(
        fingerprint["shapes_after_crop"],
        fingerprint["spacings"],
        channels=tuple(dataset["channel_names"].values()),
        classes=len(dataset["labels"]),
        num_cases=dataset["numTraining"],
        relative_size=fingerprint["median_relative_size_after_cropping"],
        statistics=[IntensityStatistics(**one) for one in fingerprint["foreground_intensity_properties_per_channel"].values()],
    )


def in_their_words(ours: Configuration) -> dict[str, Any]:
    network = ours.network
    blocks = "n_conv_per_stage" if network.family == "plain_unet" else "n_blocks_per_stage"
    return {
        "batch_size": ours.batch_size,
        "patch_size": list(ours.patch_size),
        "median_image_size_in_voxels": list(ours.median_shape),
        "spacing": list(ours.spacing),
        "normalization_schemes": [one.scheme for one in ours.normalization],
        "use_mask_for_norm": [one.use_mask for one in ours.normalization],
        "batch_dice": ours.training.batch_dice,
        "n_stages": len(network.strides),
        "features_per_stage": list(network.features_per_stage),
        "kernel_sizes": lists(network.kernel_sizes),
        "strides": lists(network.strides),
        blocks: list(network.blocks_per_stage),
        "n_conv_per_stage_decoder": list(network.convs_per_stage_decoder),
    }


def lists(rows: Sequence[Sequence[int]]) -> list[list[int]]:
    return [list(row) for row in rows]


def theirs(configuration: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in configuration.items() if key not in OTHER_KEYS}
    kept["normalization_schemes"] = [SCHEMES[name] for name in kept["normalization_schemes"]]
    return kept


@pytest.mark.parametrize("index", range(len(VECTORS)))
def test_plan_equals_the_peers(index: int, facts_of: Callable[..., Facts]) -> None:
    vector = VECTORS[index]
    plan = make_plan(*facts(facts_of, vector["dataset"], vector["fingerprint"]), preset=vector["planner"])
    expected = {name: theirs(vector["configurations"][name]) for name in ("2d", "3d_fullres") if name in vector["configurations"]}
    assert {name: in_their_words(ours) for name, ours in plan.configurations.items()} == expected
    assert list(plan.transpose_forward) == vector["transpose_forward"]


@pytest.mark.parametrize("index", [index for index, vector in enumerate(VECTORS) if "3d_fullres" in vector["configurations"]])
def test_lower_resolution_equals_the_peers(index: int, facts_of: Callable[..., Facts]) -> None:
    vector = VECTORS[index]
    full, low = vector["configurations"]["3d_fullres"], vector["configurations"].get("3d_lowres")
    spacing, shape = tuple(full["spacing"]), tuple(full["median_image_size_in_voxels"])
    voxels = shape[0] * shape[1] * shape[2] * vector["dataset"]["numTraining"]
    preset = find_preset(vector["planner"])
    budget = Budget(preset, preset.reference_gb, len(vector["dataset"]["labels"]), voxels)
    ours = lower_resolution(spacing, shape, fit_patch(spacing, shape, budget), budget)
    assert (ours is None) == (low is None)
    if ours is not None:
        assert list(ours.spacing) == low["spacing"]
        assert list(ours.median_shape) == low["median_image_size_in_voxels"]
        assert list(ours.fit.patch_size) == low["patch_size"]
        assert ours.fit.batch_size == low["batch_size"]
        assert lists(ours.fit.topology.strides) == low["strides"]
        assert lists(ours.fit.topology.kernel_sizes) == low["kernel_sizes"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_plan_equals_the_published(name: str, facts_of: Callable[..., Facts]) -> None:
    published = load(f"published_{name}.json.gz")
    plan = make_plan(*facts(facts_of, published["dataset"], published["fingerprint"]))
    assert list(plan.transpose_forward) == published["plan"]["transpose_forward"]
    assert set(plan.configurations) == {"2d", "3d_fullres"} <= set(published["plan"]["configurations"])
    for key, ours in plan.configurations.items():
        flat = dict(published["plan"]["configurations"][key])
        architecture = flat.pop("architecture")
        assert architecture["network_class_name"].endswith("PlainConvUNet")
        flat |= {word: value for word, value in architecture["arch_kwargs"].items() if word not in OTHER_ARCHITECTURE_KEYS}
        assert in_their_words(ours) == theirs(flat)
