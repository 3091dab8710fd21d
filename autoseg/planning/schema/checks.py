"""A plan checked for its author: faults are errors, and what is possible but rarely meant is said in remarks."""

from collections.abc import Iterator
from math import ceil, prod

from autoseg.planning.hardware.memory import GB, largest_memory
from autoseg.planning.plan import NetworkPlan, Plan
from autoseg.planning.schema.configuration import Configuration

USUAL_LEARNING_RATES = (1e-6, 1.0)
MOST_MEMORY = 96 * GB  # of common graphics cards


def remarks(plan: Plan) -> list[str]:
    """What is allowed but doubtful, in the order of the plan; each begins with the key."""
    found = [f"dataset.labels.{remark}" for remark in _of_regions(plan)]
    for name, configuration in plan.configurations.items():
        found += [f"configurations.{name}.{remark}" for remark in (*_of_sizes(configuration), *_of_learning(configuration))]
        found += [f"configurations.{name}.{remark}" for remark in (*_of_cascade(configuration, plan), *_of_memory(name, plan))]
    return found


def _of_regions(plan: Plan) -> Iterator[str]:
    """Classes that come out as another, however good the network."""
    if not plan.learns_regions:
        return
    labels = plan.dataset.labels
    for name, value in zip(labels.names[1:], labels.values[1:], strict=True):
        over = [written for values, written in zip(labels.regions.values(), labels.region_order, strict=True) if value in values]
        if not over:
            yield f"regions: {name} ({value}) is in none of them, so networks take it for background."
        elif over[-1] != value:
            yield f"region_order: what is {name} ({value}) is written as {over[-1]}, that of the last region that holds it."


def _of_sizes(configuration: Configuration) -> Iterator[str]:
    resize = configuration.resampling.resize
    for axis, (size, extent) in enumerate(zip(configuration.patch_size, resize or configuration.median_shape, strict=True)):
        divisor = configuration.network.divisors(configuration.dimensions)[axis]
        enough = divisor * ceil(extent / divisor)
        if resize and size > extent:
            yield f"patch_size: {size} voxels on axis {axis}, where resampling.resize gives every image {extent}: the rest of a patch is empty."
        elif size > enough:
            yield f"patch_size: {size} voxels on axis {axis}, where the median case has {extent:g}: {enough} would hold it too."
    if configuration.batch_size == 1:
        yield "batch_size: 1 makes every step depend on a single patch; 2 or more train more steadily."


def _of_learning(configuration: Configuration) -> Iterator[str]:
    training = configuration.training
    lowest, highest = USUAL_LEARNING_RATES
    for name, recipe in training.recipes.items():
        if not lowest <= recipe.learning_rate <= highest:
            yield f"training.recipes.{name}.learning_rate: {recipe.learning_rate:g} is far from what trains networks, {lowest:g} to {highest:g}."
        if recipe.schedule == "plateau" and recipe.stop_after is not None and recipe.stop_after <= recipe.plateau_patience:
            patience = f"before plateau_patience ({recipe.plateau_patience}) has run out"
            yield f"training.recipes.{name}.stop_after: {recipe.stop_after} ends the training {patience}, so the learning rate is never lowered."
    if training.oversample_foreground == 0 and configuration.task == "segmentation":
        yield "training.oversample_foreground: with 0 small structures are seldom seen in training."
    learned = {axis for recipe in training.recipes.values() for axis in recipe.augmentation.mirror_axes}
    unlearned = [axis for axis in configuration.inference.mirror_axes if axis not in learned]
    if unlearned:
        yield f"inference.mirror_axes: no recipe mirrors {unlearned} in training, so prediction leaves that out."


def _of_memory(name: str, plan: Plan) -> Iterator[str]:
    if not isinstance(plan.configuration(name).network, NetworkPlan) or plan.configuration(name).task != "segmentation":
        return  # nobody knows before it is built
    need = largest_memory(plan.configuration(name), plan.input_channels(name), plan.network_outputs(name)).total
    if need > MOST_MEMORY:
        yield f"patch_size, batch_size or network: training is predicted to need {need / GB:,.0f} GB of memory."


def _of_cascade(configuration: Configuration, plan: Plan) -> Iterator[str]:
    if configuration.previous_stage is None:
        return
    before = plan.configuration(configuration.previous_stage)
    if configuration.resampling.resize or before.resampling.resize:  # spacings are nominal
        return
    if prod(before.spacing) < prod(configuration.spacing):
        spacings = f"{list(before.spacing)} against {list(configuration.spacing)} mm"
        yield f"previous_stage: '{configuration.previous_stage}' has the finer spacing, {spacings}: a cascade goes from coarse to fine."
