"""A plan for another dataset: the same networks on the same grid, so that weights learned on one can go on learning on the other.

- Everything that weights depend on stays: spacing, order of the axes, patches, networks, normalisation with its statistics, recipes.
- A configuration that sees some of the channels sees those at the same positions.
- Networks for volumes are left out where the other dataset has single slices.
- What the other dataset says of itself replaces what the first said: names, labels, cases. Channels are matched by their position.
- Weights of classes in the loss are left out where the other dataset has another number of them.
- `median_shape` is for people to read, so it is that of the other dataset where its fingerprint is at hand.
"""

from collections.abc import Sequence
from statistics import median

import numpy as np
from numpy.typing import NDArray

from autoseg.errors import PlanError
from autoseg.planning.fingerprint import Fingerprint
from autoseg.planning.plan import Configuration, DatasetBlock, Plan
from autoseg.planning.reasons.decisions import labels as labels_reason
from autoseg.planning.schema.classification import attribute_faults
from autoseg.planning.schema.configuration import channel_positions


def move_plan(source: Plan, block: DatasetBlock, fingerprint: Fingerprint | None = None) -> Plan:
    """The plan of one dataset, for another.

    Parameters
    ----------
    source : the plan to take over
    block : what the plan repeats of the other dataset; the number of its classes may differ
    fingerprint : of the other dataset; without it `median_shape` stays as it is

    Raises
    ------
    PlanError
        the datasets do not have the same number of channels, those of the fingerprint are not those of `block`, or no configuration is for
        slices where all cases are
    """
    theirs, ours = source.dataset.channel_names, block.channel_names
    if len(theirs) != len(ours):
        raise PlanError(
            f"The plan of {source.dataset.name} is for {len(theirs)} channels ({', '.join(theirs)}), {block.name} has {len(ours)}"
            f" ({', '.join(ours)}): a network cannot take both. Plan {block.name} by its own fingerprint."
        )
    if fingerprint is not None and fingerprint.channel_names != ours:
        raise PlanError(
            f"The fingerprint is of a dataset with the channels {', '.join(fingerprint.channel_names)}, {block.name} has {', '.join(ours)}."
            f" Give the fingerprint of {block.name}."
        )
    why, kept = _why(source, block), dict(source.configurations)
    if fingerprint is not None and median(shape[0] for shape in fingerprint.shapes_after_crop) == 1:
        kept = {name: one for name, one in kept.items() if one.dimensions == 2}
        why |= dict.fromkeys(source.configurations.keys() - kept.keys(), f"Not taken over: the cases of {block.name} are single slices.")
    unknown = [name for name, one in kept.items() if one.classification and any(attribute_faults(one.classification, block.attributes or {}))]
    why |= dict.fromkeys(unknown, f"Not taken over: the cases of {block.name} have no such attribute as it classifies.")
    kept = {name: one for name, one in kept.items() if name not in unknown}
    later = [name for name, one in kept.items() if one.previous_stage is not None and one.previous_stage not in kept]
    why |= dict.fromkeys(later, "Not taken over: neither is its previous stage.")
    kept = {name: one for name, one in kept.items() if name not in later}
    if not kept:
        reasons = "; ".join(f"{name}: {why[name]}" for name in source.configurations)
        raise PlanError(f"Nothing of the plan of {source.dataset.name} can be taken over for {block.name}. {reasons}")
    moved = {name: _configuration(one, source, block, fingerprint) for name, one in kept.items()}
    moved = {name: one if one.inherits in moved else one.model_copy(update={"inherits": None}) for name, one in moved.items()}
    return source.model_copy(update={"dataset": block, "configurations": moved, "why": why})


def _configuration(one: Configuration, source: Plan, block: DatasetBlock, fingerprint: Fingerprint | None) -> Configuration:
    seen = channel_positions([rule.channel for rule in one.normalization], source.dataset.channel_names) or ()
    channels = zip(one.normalization, (block.channel_names[position] for position in seen), strict=True)
    facts = None if one.resampling.resize else fingerprint  # where whole images are resized the shape is nominal
    shape = one.median_shape if facts is None else _median_shape(one.spacing, source.transpose_forward, facts)
    origin = f"Taken over from the plan of {source.dataset.name}"
    kept = "all of it." if facts is None else f"all but median_shape, which is that of the {len(facts.spacings)} cases of {block.name}."
    training, left = one.training, ""
    counted = one.classification.classes if one.classification and one.task == "classification" else block.labels.learned
    if training.class_weights is not None and len(training.class_weights) != len(counted):
        training, left = training.model_copy(update={"class_weights": None}), f" class_weights are left out: they are not for {block.name}."
    return one.model_copy(
        update={
            "training": training,
            "normalization": tuple(rule.model_copy(update={"channel": channel}) for rule, channel in channels),
            "median_shape": shape,
            "why": {"moved": f"{origin}, {kept}{left}"},
        }
    )


def _median_shape(spacing: Sequence[float], transpose_forward: Sequence[int], fingerprint: Fingerprint) -> tuple[float, ...]:
    """Median voxels of the cases on the grid of a configuration; slices keep their number, so 2D has the last two axes."""
    axes = list(transpose_forward[-len(spacing) :])
    spacings: NDArray[np.float64] = np.array(fingerprint.spacings, dtype=np.float64)[:, axes]
    shapes = np.rint(spacings / np.array(spacing) * np.array(fingerprint.shapes_after_crop, dtype=np.float64)[:, axes])
    return tuple(np.maximum(np.median(shapes, axis=0), 1).tolist())


def _why(source: Plan, block: DatasetBlock) -> dict[str, str]:
    why = {"moved": f"The plan of {source.dataset.name} ({source.dataset.num_cases} cases, preset {source.preset}), taken over for {block.name}."}
    renamed = [f"{old} -> {new}" for old, new in zip(source.dataset.channel_names, block.channel_names, strict=True) if old != new]
    why |= labels_reason(block.labels)
    if renamed:
        why["channels"] = f"Channels are matched by position and have other names: {', '.join(renamed)}; each is normalised as the first was."
    return why
