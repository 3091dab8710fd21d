"""Plans beside those that nnU-Net 2.8.1 made for the same fingerprints, field by field.

- `planner_vectors`: made-up fingerprints of all kinds; `peer_vectors`: more of them, with other memory targets, given spacings, regions, ignore
  labels, and shapes at the edges of the rules; `published_*`: plans that came with published work.
- What a plan of ours says in other words is left out: readers, resampling functions by import path, layers by class name.
"""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoseg.planning.fingerprint import IntensityStatistics
from autoseg.planning.plan import Configuration, LabelsBlock, Plan
from autoseg.planning.planner import make_plan
from tests.planning.conftest import make_facts

DATA = Path(__file__).parent / "data"
SCHEMES = {
    "ZScoreNormalization": "zscore",
    "CTNormalization": "ct",
    "NoNormalization": "none",
    "RescaleTo01Normalization": "rescale_to_0_1",
    "RGBTo01Normalization": "rgb_to_0_1",
}
FAMILIES = {"PlainConvUNet": "plain_unet", "ResidualEncoderUNet": "residual_unet"}
OTHER_WORDS = {
    "data_identifier", "preprocessor_name", "architecture", "resampling_fn_data", "resampling_fn_seg", "resampling_fn_probabilities",
    "conv_op", "conv_bias", "norm_op", "norm_op_kwargs", "dropout_op", "dropout_op_kwargs", "nonlin", "nonlin_kwargs",
}  # fmt: skip
ORDERS = {
    "resampling_fn_data_kwargs": "image_order",
    "resampling_fn_seg_kwargs": "label_order",
    "resampling_fn_probabilities_kwargs": "logits_order",
}
Field = tuple[Any, Any]


@dataclass(frozen=True)
class Vector:
    """A fingerprint and what the peer planned for it; None: the planner's own memory target, the rule's spacing."""

    name: str
    dataset: dict[str, Any]
    fingerprint: dict[str, Any]
    preset: str
    gpu_memory_gb: float | None
    spacing: tuple[float, float, float] | None
    transpose_forward: list[int]
    configurations: dict[str, dict[str, Any]]


def vectors(file: str) -> list[Vector]:
    """The vectors of one file, planner_vectors or peer_vectors."""
    return [
        Vector(
            f"{file} {index} ({one['kind']}, {one['planner']})", one["dataset"], one["fingerprint"], one["planner"], one.get("gpu_memory_gb"),
            one.get("overwrite") and tuple(one["overwrite"]), one["transpose_forward"], one["configurations"],
        )
        for index, one in enumerate(_load(file))
    ]  # fmt: skip


def published() -> list[Vector]:
    """The plans of published work."""
    found = []
    for name in ("published_lung006", "published_liver_ivim"):
        content = _load(name)
        configurations = {}
        for key, configuration in content["plan"]["configurations"].items():
            architecture = configuration.get("architecture")
            details = architecture["arch_kwargs"] | {"network": architecture["network_class_name"].split(".")[-1]} if architecture else {}
            configurations[key] = configuration | details
        facts = (content["dataset"], content["fingerprint"])
        found.append(Vector(name, *facts, "default", None, None, content["plan"]["transpose_forward"], configurations))
    return found


def everything() -> list[Vector]:
    return [*vectors("planner_vectors"), *vectors("peer_vectors"), *published()]


def compare(vector: Vector) -> dict[str, Field]:
    """Each field's name with our value and the peer's."""
    plan = plan_of(vector)
    fields: dict[str, Field] = {
        "configurations": (sorted(plan.configurations), sorted(vector.configurations)),
        "transpose_forward": (list(plan.transpose_forward), vector.transpose_forward),
    }
    for name, configuration in plan.configurations.items():
        for key, expected in _theirs(vector.configurations.get(name, {})):
            fields[f"{name}.{key}"] = (_ours(plan, name, configuration, key), expected)
    return fields


def plan_of(vector: Vector) -> Plan:
    """Our plan for the peer's facts."""
    fingerprint, block = make_facts(
        vector.fingerprint["shapes_after_crop"],
        vector.fingerprint["spacings"],
        channels=tuple(vector.dataset["channel_names"].values()),
        num_cases=vector.dataset["numTraining"],
        relative_size=vector.fingerprint["median_relative_size_after_cropping"],
        statistics=[IntensityStatistics(**one) for one in vector.fingerprint["foreground_intensity_properties_per_channel"].values()],
    )
    block = block.model_copy(update={"labels": _labels(vector.dataset["labels"])})
    return make_plan(fingerprint, block, preset=vector.preset, gpu_memory_gb=vector.gpu_memory_gb, spacing=vector.spacing)


def _labels(labels: dict[str, Any]) -> LabelsBlock:
    ignore = labels.get("ignore")
    foreground = {name: value for name, value in labels.items() if name not in ("background", "ignore")}
    if not any(isinstance(value, list) for value in foreground.values()):
        return LabelsBlock(names=("background", *foreground), values=(0, *foreground.values()), ignore=ignore)
    regions = {name: tuple(value) if isinstance(value, list) else (value,) for name, value in foreground.items()}
    values = sorted({0}.union(*regions.values()))
    return LabelsBlock(names=tuple(f"class {value}" for value in values), values=tuple(values), regions=regions, ignore=ignore)


def _theirs(configuration: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in configuration.items():
        if key == "normalization_schemes":
            yield key, [SCHEMES[name] for name in value]
        elif key == "network":
            yield key, FAMILIES[value]
        elif key in ORDERS:
            yield key, value["order"]
        elif key not in OTHER_WORDS:
            yield key, value


def _ours(plan: Plan, name: str, configuration: Configuration, key: str) -> Any:
    network = configuration.network
    next_stages = [other for other, one in plan.configurations.items() if one.previous_stage == name]
    values = {
        "inherits_from": configuration.inherits,
        "previous_stage": configuration.previous_stage,
        "next_stage": next_stages[0] if next_stages else None,
        "batch_size": configuration.batch_size,
        "patch_size": configuration.patch_size,
        "median_image_size_in_voxels": configuration.median_shape,
        "spacing": configuration.spacing,
        "normalization_schemes": [one.scheme for one in configuration.normalization],
        "use_mask_for_norm": [one.use_mask for one in configuration.normalization],
        "batch_dice": configuration.training.batch_dice,
        "network": network.family,
        "n_stages": len(network.strides),
        "features_per_stage": network.features_per_stage,
        "kernel_sizes": network.kernel_sizes,
        "strides": network.strides,
        "n_conv_per_stage": network.blocks_per_stage if network.family == "plain_unet" else None,
        "n_blocks_per_stage": network.blocks_per_stage if network.family == "residual_unet" else None,
        "n_conv_per_stage_decoder": network.convs_per_stage_decoder,
    } | {key: getattr(configuration.resampling, ours) for key, ours in ORDERS.items()}
    return _plain(values[key])


def _plain(value: Any) -> Any:
    """Tuples as the lists that JSON knows."""
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def _load(name: str) -> Any:
    return json.loads(gzip.decompress((DATA / f"{name}.json.gz").read_bytes()))
