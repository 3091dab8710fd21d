"""nnU-Net's plans (`nnUNetPlans.json`), read as plans of ours.

- Nothing that both know is lost: configurations and what they inherit, cascades, patches, networks, normalisation, resampling.
- What our plan cannot express (another network, another resampling, a preprocessor of one's own) is an error that names key and value. What is
  merely the other program's bookkeeping (readers, folders of its ready cases, what can be computed from the rest) is dropped.
- How to train is no part of those plans: it is what nnU-Net's trainer does by default, our recipe `default`, for as long.
"""

from typing import Any

from pydantic import ValidationError

from autoseg.errors import PlanError
from autoseg.planning.nnunet.network import FLAT_KEYS, read_network
from autoseg.planning.nnunet.parts import INTENSITIES, OLDER_INTENSITIES, Part, faults, intensities
from autoseg.planning.plan import Configuration, DatasetBlock, Inference, Normalization, Plan, Resampling, Training
from autoseg.planning.presets import find_preset
from autoseg.planning.reasons.decisions import labels as labels_reason
from autoseg.planning.rules.recipes import augmentation_reason, cascade_augmentation_reason, cascade_recipes, recipes

PRESET_OF_PLANNER = {
    "ExperimentPlanner": "default",
    "ResEncUNetPlanner": "resenc_m",
    "nnUNetPlannerResEncM": "resenc_m",
    "nnUNetPlannerResEncL": "resenc_l",
    "nnUNetPlannerResEncXL": "resenc_xl",
}
SCHEMES = {
    "ZScoreNormalization": "zscore",
    "CTNormalization": "ct",
    "NoNormalization": "none",
    "RescaleTo01Normalization": "rescale_to_0_1",
    "RGBTo01Normalization": "rgb_to_0_1",
}
NEVER_SEPARATE = 1e6  # no image is so much coarser along one axis
_STATISTICS = {"lower": "percentile_00_5", "upper": "percentile_99_5", "mean": "mean", "std": "std"}
_BOOKKEEPING = {
    "dataset_name", "plans_name", "original_median_spacing_after_transp", "original_median_shape_after_transp", "image_reader_writer",
    "experiment_planner_used",
}  # fmt: skip
_RESAMPLERS = {"resampling_fn_data": False, "resampling_fn_seg": True, "resampling_fn_probabilities": False}  # whether it is for label maps
_CONFIGURATION_KEYS = {
    "inherits_from", "previous_stage", "next_stage", "data_identifier", "preprocessor_name", "batch_size", "patch_size",
    "median_image_size_in_voxels", "spacing", "normalization_schemes", "use_mask_for_norm", "batch_dice", "architecture",
    *_RESAMPLERS, *(f"{key}_kwargs" for key in _RESAMPLERS), *FLAT_KEYS,
}  # fmt: skip
_THEIR_NAMES = {"median_shape": "median_image_size_in_voxels", "network": "architecture", "training": "batch_dice"}


def is_nnunet_plan(content: Any) -> bool:
    """Whether decoded JSON is a plan of nnU-Net's."""
    return isinstance(content, dict) and "schema_version" not in content and {"configurations", "plans_name"} <= content.keys()


def convert_nnunet_plan(content: Any, dataset: DatasetBlock, source: str) -> Plan:
    """Make a plan of ours of a decoded plan of nnU-Net's.

    Parameters
    ----------
    content : of `nnUNetPlans.json` or the like
    dataset : the dataset that it is for; the file names neither channels nor labels
    source : the file, for errors

    Raises
    ------
    PlanError
        a key is missing, unknown, contradicts another or says what our plan cannot express
    """
    if not is_nnunet_plan(content):
        raise PlanError(f"{source} is not a plan of nnU-Net's: it needs the keys 'plans_name' and 'configurations'.")
    whole = Part(content, source)
    whole.require_known(_BOOKKEEPING | {INTENSITIES, OLDER_INTENSITIES, "transpose_forward", "transpose_backward", "configurations", "label_manager"})
    whole.require_finite()
    if "label_manager" in content:
        whole.require("label_manager", ("LabelManager",), "labels mean what dataset.json says")
    preset, about_preset = _preset(whole)
    origin = f"Read from nnU-Net's plan {whole.get('plans_name')}."
    names = whole.part("configurations").content
    made = {name: _configuration(whole, name, dataset, preset, origin) for name in names}
    try:
        return Plan(
            dataset=dataset,
            preset=preset,
            gpu_memory_gb=find_preset(preset).reference_gb,
            transpose_forward=_transposition(whole),
            configurations=made,
            why={
                "dataset": f"nnU-Net's plan {whole.get('plans_name')} of {whole.get('dataset_name')}, read for {dataset.name}.",
                **labels_reason(dataset.labels),
                "preset": about_preset,
                "gpu_memory_gb": "The plan does not say: the preset's own target.",
                "transpose_forward": origin,
            },
        )
    except ValidationError as error:
        raise PlanError("\n".join([f"{source} cannot be read as a plan:", *faults(error, Plan, {})])) from None


def _preset(whole: Part) -> tuple[str, str]:
    planner = whole.content.get("experiment_planner_used")
    preset = PRESET_OF_PLANNER.get(str(planner))
    if preset is None:
        return "default", f"nnU-Net's planner {planner} has no preset here; the default's training length is taken."
    return preset, f"The preset for nnU-Net's planner {planner}."


def _transposition(whole: Part) -> tuple[int, ...]:
    forward = whole.get("transpose_forward")
    if not isinstance(forward, list) or sorted(map(repr, forward)) != ["0", "1", "2"]:
        raise whole.fault("transpose_forward", "must hold each of 0, 1 and 2 once")
    if "transpose_backward" in whole.content and whole.content["transpose_backward"] != [forward.index(axis) for axis in range(3)]:
        raise whole.fault("transpose_backward", f"does not undo transpose_forward {forward}")
    return tuple(forward)


def _configuration(whole: Part, name: str, dataset: DatasetBlock, preset: str, origin: str) -> Configuration:
    configurations = whole.part("configurations")
    part = Part(_with_inherited(configurations, name), whole.source, f"configurations.{name}.")
    part.require_known(_CONFIGURATION_KEYS)
    part.require("preprocessor_name", ("DefaultPreprocessor",), "there is one way to make cases ready")
    previous = _other_stages(configurations, part)
    dimensions = _dimensions(part)
    network = read_network(part, dimensions)
    chosen = find_preset(preset)
    patch = _patch(part, dimensions)
    both = recipes(patch, network.features_per_stage[0])
    try:
        return Configuration(
            inherits=part.content.get("inherits_from"),
            previous_stage=previous,
            dimensions=3 if dimensions == 3 else 2,
            spacing=part.get("spacing"),
            median_shape=part.get("median_image_size_in_voxels"),
            patch_size=patch,
            batch_size=part.get("batch_size"),
            normalization=_normalization(whole, part, dataset),
            resampling=_resampling(part),
            network=network,
            training=Training(
                epochs=chosen.epochs,
                iterations_per_epoch=chosen.iterations_per_epoch,
                validation_iterations=chosen.validation_iterations,
                batch_dice=part.get("batch_dice"),
                recipes=cascade_recipes(both) if previous else both,
            ),
            inference=Inference(mirror_axes=(0, 1, 2) if dimensions == 3 else (0, 1)),
            why=_why(origin, patch, previous),
        )
    except ValidationError as error:
        raise PlanError("\n".join([f"{whole.source}: configurations.{name} cannot be read:", *faults(error, Configuration, _THEIR_NAMES)])) from None


def _with_inherited(configurations: Part, name: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """The configuration with what it inherits: a key of its own replaces the other's whole value."""
    own = dict(configurations.part(name).content)
    parent = own.get("inherits_from")
    if parent is None:
        return own
    if not _exists(parent, configurations):
        raise configurations.part(name).fault("inherits_from", f"names no configuration of this plan: {', '.join(configurations.content)}")
    if parent in (*seen, name):
        raise configurations.part(name).fault("inherits_from", "leads back to the configuration itself")
    return _with_inherited(configurations, parent, (*seen, name)) | own


def _other_stages(configurations: Part, part: Part) -> str | None:
    """The previous stage's name; that of the next says nothing more, but must exist."""
    for key in ("previous_stage", "next_stage"):
        value = part.content.get(key)
        names = value if key == "next_stage" and isinstance(value, list) else [value]
        if not all(name is None or _exists(name, configurations) for name in names):
            raise part.fault(key, f"names no configuration of this plan: {', '.join(configurations.content)}")
    previous: str | None = part.content.get("previous_stage")
    return previous


def _exists(name: object, configurations: Part) -> bool:
    return isinstance(name, str) and name in configurations.content


def _dimensions(part: Part) -> int:
    spacing = part.get("spacing")
    if not isinstance(spacing, list) or len(spacing) not in (2, 3):
        raise part.fault("spacing", "must have 2 or 3 numbers")
    return len(spacing)


def _patch(part: Part, dimensions: int) -> tuple[int, ...]:
    patch = part.get("patch_size")
    if not isinstance(patch, list) or len(patch) != dimensions or not all(isinstance(size, int) and size > 0 for size in patch):
        raise part.fault("patch_size", f"must have {dimensions} whole numbers above zero, as many as spacing")
    return tuple(patch)


def _normalization(whole: Part, part: Part, dataset: DatasetBlock) -> tuple[Normalization, ...]:
    schemes, masks, channels = part.get("normalization_schemes"), part.get("use_mask_for_norm"), dataset.channel_names
    for key, entries in (("normalization_schemes", schemes), ("use_mask_for_norm", masks)):
        if not isinstance(entries, list) or len(entries) != len(channels):
            raise part.fault(key, f"must have one entry for each of the {len(channels)} channels of {dataset.name} ({', '.join(channels)})")
    chosen = []
    for index, (channel, name, mask) in enumerate(zip(channels, schemes, masks, strict=True)):
        scheme = SCHEMES.get(name) if isinstance(name, str) else None
        if scheme is None:
            raise part.fault("normalization_schemes", f"cannot be expressed: autoseg knows {', '.join(SCHEMES)}")
        if mask is True and scheme != "zscore":
            raise part.fault("use_mask_for_norm", f"cannot be expressed: channel {channel} has {name}, and the mask is for ZScoreNormalization")
        statistics = _statistics(whole, index) if scheme == "ct" else {}
        chosen.append(Normalization.model_validate({"channel": channel, "scheme": scheme, "use_mask": mask, **statistics}))
    return tuple(chosen)


def _statistics(whole: Part, index: int) -> dict[str, Any]:
    channel = intensities(whole).part(str(index))
    return {ours: channel.get(theirs) for ours, theirs in _STATISTICS.items()}


def _resampling(part: Part) -> Resampling:
    for key in _RESAMPLERS:
        part.require(key, ("resample_data_or_seg_to_shape",), "there is one way to resample")
    rules = {key: part.part(f"{key}_kwargs") for key in _RESAMPLERS}
    ratios = {}
    for key, rule in rules.items():
        rule.require_known({"is_seg", "order", "order_z", "force_separate_z", "separate_z_anisotropy_threshold"})
        rule.require("is_seg", (_RESAMPLERS[key],), "label maps are resampled as one channel a class, all else as it is")
        rule.require("order_z", (0,), "along a coarse axis that is resampled on its own the nearest voxel is taken")
        rule.require("force_separate_z", (None, False), "a coarse axis is resampled on its own where the spacing says so, or never")
        rule.require("order", (0, 1) if _RESAMPLERS[key] else (0, 1, 3), "splines of order 0, 1 or 3, label maps 0 or 1")
        never = rule.content["force_separate_z"] is False
        ratios[key] = NEVER_SEPARATE if never else rule.content.get("separate_z_anisotropy_threshold", 3.0)
    if any(ratio != ratios["resampling_fn_data"] for ratio in ratios.values()):
        raise part.fault(
            "resampling_fn_data_kwargs", f"cannot be expressed: force_separate_z and its threshold must be the same in {', '.join(rules)}"
        )
    data, seg, probabilities = rules.values()
    return Resampling(
        image_order=data.get("order"),
        label_order=seg.get("order"),
        logits_order=probabilities.get("order"),
        separate_axis_above=ratios["resampling_fn_data"],
    )


def _why(origin: str, patch: tuple[int, ...], previous: str | None) -> dict[str, str]:
    read = ("spacing", "median_shape", "patch_size", "batch_size", "network", "normalization", "resampling", "batch_dice")
    return dict.fromkeys(read, origin) | {
        "training": "The plan does not say: the length that nnU-Net trains by default.",
        "augmentation": cascade_augmentation_reason() if previous else augmentation_reason(patch),
        "inference": "The plan does not say: windows overlap by half a patch and are mirrored along all axes, as nnU-Net does by default.",
    }
