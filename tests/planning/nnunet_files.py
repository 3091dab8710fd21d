"""nnU-Net's files, made from the vectors of `parity.py`: a plan in the style of today or of the first 2.x versions, a fingerprint, a dataset.json."""

import gzip
import json
from pathlib import Path
from typing import Any

from autoseg.planning.fingerprint import Fingerprint
from autoseg.planning.plan import DatasetBlock
from autoseg.planning.without_images import plan_inputs
from tests.planning.parity import DATA, Vector

PLANNERS = {
    "default": "ExperimentPlanner",
    "resenc_m": "nnUNetPlannerResEncM",
    "resenc_l": "nnUNetPlannerResEncL",
    "resenc_xl": "nnUNetPlannerResEncXL",
}


def genuine(name: str) -> Any:
    """A plan with its dataset.json and fingerprint as published."""
    return json.loads(gzip.decompress((DATA / f"published_{name}.json.gz").read_bytes()))


def inputs(folder: Path, dataset: dict[str, Any], fingerprint: dict[str, Any]) -> tuple[Fingerprint, DatasetBlock]:
    """The two files written and read."""
    (folder / "dataset.json").write_text(json.dumps(dataset))
    (folder / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
    return plan_inputs(folder / "dataset_fingerprint.json", folder / "dataset.json")


def plan_file(vector: Vector, *, modern: bool) -> dict[str, Any]:
    """The plan of a vector as nnU-Net writes it."""
    return {
        "dataset_name": "Dataset001_Vector",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
        "original_median_shape_after_transp": [1, 1, 1],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": vector.transpose_forward,
        "transpose_backward": [vector.transpose_forward.index(axis) for axis in range(3)],
        "configurations": {
            name: dict(one) if "inherits_from" in one else _configuration(name, one, modern) for name, one in vector.configurations.items()
        },
        "experiment_planner_used": PLANNERS[vector.preset],
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": vector.fingerprint["foreground_intensity_properties_per_channel"],
    }


def _configuration(name: str, one: dict[str, Any], modern: bool) -> dict[str, Any]:
    kept = ("batch_size", "patch_size", "median_image_size_in_voxels", "spacing", "normalization_schemes", "use_mask_for_norm", "batch_dice")
    chosen = {key: one[key] for key in (*kept, "next_stage") if key in one}
    chosen |= {"data_identifier": f"nnUNetPlans_{name}", "preprocessor_name": "DefaultPreprocessor"}
    for key, order in (("data", 3), ("seg", 1), ("probabilities", 1)):
        chosen[f"resampling_fn_{key}"] = "resample_data_or_seg_to_shape"
        chosen[f"resampling_fn_{key}_kwargs"] = {"is_seg": key == "seg", "order": order, "order_z": 0, "force_separate_z": None}
    return chosen | (_architecture(one) if modern else _flat(one))


def _architecture(one: dict[str, Any]) -> dict[str, Any]:
    family, dimensions = ("PlainConvUNet" if "n_conv_per_stage" in one else "ResidualEncoderUNet"), len(one["spacing"])
    sizes = ("n_stages", "features_per_stage", "kernel_sizes", "strides", "n_conv_per_stage", "n_blocks_per_stage", "n_conv_per_stage_decoder")
    modules = {
        "conv_op": f"torch.nn.modules.conv.Conv{dimensions}d",
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimensions}d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    return {
        "architecture": {
            "network_class_name": f"dynamic_network_architectures.architectures.unet.{family}",
            "arch_kwargs": {key: one[key] for key in sizes if key in one} | modules,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        }
    }


def _flat(one: dict[str, Any]) -> dict[str, Any]:
    plain = "n_conv_per_stage" in one
    return {
        "UNet_class_name": "PlainConvUNet" if plain else "ResidualEncoderUNet",
        "UNet_base_num_features": one["features_per_stage"][0],
        "unet_max_num_features": 512 if len(one["spacing"]) == 2 else 320,
        "n_conv_per_stage_encoder": one["n_conv_per_stage" if plain else "n_blocks_per_stage"],
        "n_conv_per_stage_decoder": one["n_conv_per_stage_decoder"],
        "num_pool_per_axis": [sum(stride[axis] == 2 for stride in one["strides"]) for axis in range(len(one["spacing"]))],
        "pool_op_kernel_sizes": one["strides"],
        "conv_kernel_sizes": one["kernel_sizes"],
    }
