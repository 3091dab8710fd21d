"""A recipe and a plan -> a configuration of the plan: pure, and validated as any other.

- It starts from the planned configuration of the same number of axes: spacing, median shape, resampling and inference stay unless the recipe says
  otherwise. Network and `training.recipes` are the recipe's alone.
- A patch is never larger than the median image, as far as the network allows, unless whole images are resized to it.
- An epoch is a pass over the training cases (of slices in 2D: over all slices), but no longer than the planned one.
- Class weights for another number of classes keep the background's, and share the rest; where regions are learned they are left out.
"""

import json
from collections.abc import Sequence
from math import ceil

from autoseg.data.channels import canonical
from autoseg.errors import AutosegError, PlanError, listing
from autoseg.planning.plan import Configuration, Plan, file_content, validate_plan
from autoseg.planning.reasons.wording import extents
from autoseg.planning.zoo.recipe import ZooRecipe

TRAINING_SHARE = 0.8


def with_recipe(plan: Plan, recipe: ZooRecipe, *, encoder_weights: str | None = None) -> Plan:
    """The plan with one more configuration, named as the recipe is.

    Parameters
    ----------
    plan : has a configuration of the recipe's number of axes
    recipe : the approach
    encoder_weights : "imagenet", a file, or "none" for random ones; None: what the recipe says

    Raises
    ------
    AutosegError
        the dataset lacks channels or volumes that the recipe needs, or the plan has another configuration of its name
    PlanError
        the recipe makes no valid configuration; its faults are named
    """
    base, channels = _base(plan, recipe), _channels(plan, recipe)
    planned = base.model_dump(mode="json", exclude_none=True, exclude={"why"})
    own = json.loads(json.dumps(recipe.configuration))
    if wrong := [key for key in ("network", "training", "resampling") if not isinstance(own.get(key, {}), dict)]:
        raise PlanError(f"The recipe {recipe.name} is not valid: configuration.{wrong[0]} must be an object in {{ }}.")
    training, resampling, network = own.pop("training", {}), own.pop("resampling", {}), own.get("network", planned["network"])
    why = {"recipe": f"{recipe.title} After {recipe.source}." + (f" Here otherwise: {recipe.differs}" if recipe.differs else "")}
    if encoder_weights is not None and "encoder" in network:
        network["weights"] = None if encoder_weights == "none" else encoder_weights
    made = planned | own | {"recipe": recipe.name, "task": recipe.task, "network": network, "resampling": planned["resampling"] | resampling}
    rules = {rule["channel"]: rule for rule in planned["normalization"]}
    made["normalization"] = [recipe.normalization | {"channel": name} if recipe.normalization else rules[name] for name in channels]
    if recipe.task == "segmentation" and _are_weights(training.get("class_weights")):
        training["class_weights"], why["class_weights"] = _class_weights(plan, training["class_weights"])
    made["training"] = planned["training"] | {"iterations_per_epoch": _epoch(plan, base, made["batch_size"]), "deep_supervision": False} | training
    if recipe.learns not in ("any", plan.dataset.labels.trained):
        why["labels"] = (
            f"Its authors learned {recipe.learns}; this plan learns {plan.dataset.labels.trained} (--labels {recipe.learns} changes that)."
        )
    if (there := plan.configurations.get(recipe.name)) is not None and there.recipe != recipe.name:
        raise AutosegError(f"The plan of {plan.dataset.name} has a configuration '{recipe.name}' that is no recipe. Give the recipe another name.")
    everything = file_content(plan)
    everything["configurations"] |= {recipe.name: made | {"why": why}}
    source = f"The recipe {recipe.name}, as planned for {plan.dataset.name},"
    found = validate_plan(everything, source)
    one = found.configuration(recipe.name)
    smaller = _patch(one.patch_size, base, one.network.divisors(recipe.dimensions))
    if one.resampling.resize is not None or smaller == one.patch_size:
        return found
    why["patch_size"] = f"Its authors took {extents(one.patch_size)}, and the median image is {extents(base.median_shape)}: {extents(smaller)}."
    everything["configurations"][recipe.name] |= {"patch_size": list(smaller), "why": why}
    return validate_plan(everything, source)


def _base(plan: Plan, recipe: ZooRecipe) -> Configuration:
    for name in ("2d", "3d_fullres", *plan.configurations):
        if name in plan.configurations:
            one = plan.configurations[name]
            if one.dimensions == recipe.dimensions and one.previous_stage is None and one.recipe is None and one.task == "segmentation":
                return one
    why = plan.why.get("2d" if recipe.dimensions == 2 else "3d_fullres", "there is no planned configuration of that kind.")
    raise AutosegError(f"The recipe {recipe.name} is for {recipe.dimensions}D, which {plan.dataset.name} has no plan for: {why}")


def _channels(plan: Plan, recipe: ZooRecipe) -> list[str]:
    """Names of the dataset's channels that the recipe sees, in the dataset's order."""
    names = plan.dataset.channel_names
    if not recipe.channels:
        return list(names)
    wanted = {canonical(name) for name in recipe.channels}
    found = [name for name in names if canonical(name) in wanted]
    if len(found) < len(recipe.channels):
        needed, there = listing(list(recipe.channels)), listing(list(names))
        raise AutosegError(
            f"The recipe {recipe.name} needs the channels {needed}; {plan.dataset.name} has {there}. For others"
            f" copy it under a name of your own and change its channels: autoseg recipes {recipe.name} --json > recipes/mine.json"
        )
    return found


def _epoch(plan: Plan, base: Configuration, batch_size: object) -> int:
    volumes = [one.median_shape[0] for one in plan.configurations.values() if one.dimensions == 3]
    slices = volumes[0] if base.dimensions == 2 and volumes else 1
    patches = TRAINING_SHARE * plan.dataset.num_cases * slices
    steps = ceil(patches / batch_size) if isinstance(batch_size, int) and batch_size > 0 else 1  # what is no batch, validation will say
    return max(1, min(base.training.iterations_per_epoch, steps))


def _patch(wanted: tuple[int, ...], base: Configuration, divisors: Sequence[int]) -> tuple[int, ...]:
    """No larger than what holds the median image, in steps that the network can take."""
    return tuple(min(size, step * ceil(extent / step)) for size, extent, step in zip(wanted, base.median_shape, divisors, strict=True))


def _class_weights(plan: Plan, weights: Sequence[float]) -> tuple[list[float] | None, str]:
    labels = plan.dataset.labels
    if plan.learns_regions:
        return None, f"Left out: its authors weighted classes ({_listed(weights)}), and this plan learns regions."
    classes = len(labels.values)
    if len(weights) == classes:
        return list(weights), "As its authors chose them, the background first."
    others = [round(sum(weights[1:]) / (classes - 1), 6)] * (classes - 1)
    return [
        weights[0],
        *others,
    ], f"Its authors had {len(weights)} classes ({_listed(weights)}): the background keeps its weight, the others share the rest."


def _are_weights(value: object) -> bool:
    """Whether there are weights of the background and more; what is none, validation will say."""
    return isinstance(value, list) and len(value) > 1 and all(isinstance(one, int | float) for one in value)


def _listed(weights: Sequence[float]) -> str:
    return ", ".join(f"{weight:g}" for weight in weights)
