"""Starting from another model: which one a run starts from, whether it fits, how a network takes its weights, and what there is to say of it.

- A network follows from its plan alone, so two plans say in words what their tensors would say in names and shapes.
- Segmentation heads may be for another number of classes, or for regions instead of classes: they then start anew. All else must be the same.
- Channels that the configurations see, and classes, are matched by their position. Input that was made ready in another way is told, not refused.
- The model is read when a run begins. A run that has a checkpoint goes on from it, and the model may be gone.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import nn

from autoseg.errors import AutosegError, counted, listing
from autoseg.inference.model_folder import PLAN, Model, is_trained, load_model, stored_fingerprint
from autoseg.networks.weights import load_all_but_other_heads, weights_of
from autoseg.planning.plan import AnyNetwork, Configuration, NetworkPlan, Normalization, Plan
from autoseg.planning.reasons.wording import extents
from autoseg.training import checkpoint
from autoseg.training.run import Run, read_run

WITHOUT_WEIGHTS = {"family", "dropout", "weights", "frozen_encoder"}  # what tensors' names and shapes do not depend on


def source_of(folder: Path, given: Path | None, *, anew: bool = False) -> Path | None:
    """The model folder that a run is to read its first weights from; None: it starts from random ones, or goes on from its checkpoint.

    Parameters
    ----------
    folder : that is trained into; may hold a run
    given : the model folder that was asked for
    anew : the run that lies there will be deleted

    Raises
    ------
    AutosegError
        the run that lies there began otherwise, or must begin again and its model is gone; or a model is to start from itself
    """
    run = None if anew else read_run(folder)
    if given is not None and given.resolve() == folder.resolve():
        raise AutosegError(f"{given} is the folder that is trained into: its weights would be replaced. Copy it and start from the copy.")
    if run is None:
        return given
    if given is not None and not _began_from(run, given):
        origin = f"the weights of {run.pretrained}" if run.pretrained else "random weights"
        raise AutosegError(
            f"The run in {folder} began from {origin}, not from those of {given}. Leave --pretrained out to go on with it, or start anew with"
            " --restart."
        )
    if run.pretrained is None or checkpoint.read_counters(folder) is not None:
        return None
    source = given if given is not None and is_trained(given) else Path(run.pretrained)
    if not is_trained(source) or stored_fingerprint(source) != run.pretrained_weights:
        raise AutosegError(
            f"The run in {folder} began from the weights of {run.pretrained} and has no checkpoint to go on from, but those weights are not there"
            " any more. Put them back, or start anew with --restart."
        )
    return source


def load_start(source: Path, plan: Plan, name: str) -> Model:
    """Load the model that a configuration is to start from.

    Raises
    ------
    AutosegError
        it cannot be loaded, or its network is not that of the configuration; the text says what differs and what would help
    """
    model = load_model(source)
    differences = list(_differences(model, plan, name))
    if differences:
        raise AutosegError(
            f"{name} of {plan.dataset.name} cannot start from {source} ({model.configuration_name} of {model.plan.dataset.name}), whose network is"
            f" another: {'; '.join(differences)}. {_advice(model, plan, name)}"
        )
    return model


def take_over(model: Model, network: nn.Module, plan: Plan, name: str) -> list[str]:
    """Give a network the weights of a model that fits it; what there is to say of it, in lines.

    Raises
    ------
    AutosegError
        the tensors differ though the plans do not
    """
    try:
        other = model.plan.learns_regions != plan.learns_regions and plan.configuration(name).task == "segmentation"
        left = load_all_but_other_heads(network, weights_of(model.network), keep_heads=other)
    except ValueError as error:
        raise AutosegError(f"{name} of {plan.dataset.name} cannot start from {model.folder}: {error}. Copy the model again.") from error
    block = plan.configuration(name).classification if plan.configuration(name).task == "classification" else None
    count, structures = len(weights_of(network)), len(block.classes if block else plan.structure_names)
    one, many = ("region", "regions") if plan.learns_regions and not block else ("class", "classes")
    heads = f"{count - len(left)} of {count} tensors; the heads for {structures} {many if structures > 1 else one} start anew"
    lines = [f"Starts from the weights of {model.folder} ({heads if left else f'all {count} tensors'})."]
    lines += _matched("Channels", model.plan.image_channels(model.configuration_name), plan.image_channels(name))
    lines += [] if left else _matched(many.capitalize(), _outputs(model.plan, model.configuration_name), _outputs(plan, name))
    expected = list(_expectations(model, plan, name))
    return [*lines, f"Its weights expect other input: {'; '.join(expected)}."] if expected else lines


def _began_from(run: Run, given: Path) -> bool:
    """By the path, which may lead nowhere by now; else by the weights, which may have been moved or named from another folder."""
    if run.pretrained is None:
        return False
    if given.resolve() == Path(run.pretrained).resolve():
        return True
    return is_trained(given) and stored_fingerprint(given) == run.pretrained_weights


def _differences(model: Model, plan: Plan, name: str) -> Iterator[str]:
    """What makes two networks unlike, heads aside."""
    theirs, ours = model.configuration, plan.configuration(name)
    if theirs.dimensions != ours.dimensions:
        yield f"{theirs.dimensions}D there, {ours.dimensions}D here"
        return
    if theirs.task != ours.task:
        yield f"task: {theirs.task} there, {ours.task} here"
        return
    if (theirs.classification is None) != (ours.classification is None):
        heads = ["none" if one.classification is None else "one" for one in (theirs, ours)]
        yield f"a head that classifies: {heads[0]} there, {heads[1]} here"
    there, here = model.plan.image_channels(model.configuration_name), plan.image_channels(name)
    if len(there) != len(here):
        yield f"input channels: {len(there)} ({listing(there)}) there, {len(here)} ({listing(here)}) here"
    seen_there, seen_here = _previous_classes(model.plan, model.configuration_name), _previous_classes(plan, name)
    if seen_there != seen_here:
        yield f"input channels of a previous stage: {seen_there} there, {seen_here} here"
    yield from _network_differences(theirs.network, ours.network)


def _outputs(plan: Plan, name: str) -> tuple[str, ...]:
    """What each channel of a network's output stands for."""
    one = plan.configuration(name)
    return one.classification.classes if one.classification and one.task == "classification" else plan.output_names


def _network_differences(theirs: AnyNetwork, ours: AnyNetwork) -> Iterator[str]:
    if theirs.family != ours.family:
        yield f"family: {theirs.family} there, {ours.family} here"
    if not (isinstance(theirs, NetworkPlan) and isinstance(ours, NetworkPlan)):
        there, here = (network.model_dump(exclude=WITHOUT_WEIGHTS) for network in (theirs, ours))
        yield from (f"{key}: {there[key]} there, {here[key]} here" for key in here if key in there and there[key] != here[key])
        return
    if theirs.norm != ours.norm:
        yield f"norm: {theirs.norm} there, {ours.norm} here"
    stages = len(theirs.features_per_stage), len(ours.features_per_stage)
    if stages[0] != stages[1]:
        yield f"stages: {stages[0]} there, {stages[1]} here"
        return
    for key in ("features_per_stage", "strides", "kernel_sizes", "blocks_per_stage", "convs_per_stage_decoder"):
        pairs = enumerate(zip(getattr(theirs, key), getattr(ours, key), strict=True), start=1)
        unlike = [(stage, there, here) for stage, (there, here) in pairs if there != here]
        for stage, there, here in unlike[:1]:
            more = f" (and at {len(unlike) - 1} more)" if len(unlike) > 1 else ""
            yield f"{key} at stage {stage}: {_entry(there)} there, {_entry(here)} here{more}"


def _advice(model: Model, plan: Plan, name: str) -> str:
    """What helps: a plan does, unless it is the data that differ, or another part of the same plan that was meant."""
    theirs, ours = model.plan.dataset, plan.dataset
    if len(theirs.channel_names) != len(ours.channel_names):  # no plan can be taken over
        seen = len(plan.image_channels(name))
        if len(model.plan.image_channels(model.configuration_name)) != seen:
            return f"Start from a model for {counted(seen, 'input channel')}: no plan makes one of another number fit."
        return f"Copy the network of {model.configuration_name} from {model.folder / PLAN} into the plan of {ours.name}."
    cascades = bool(model.configuration.previous_stage and plan.configuration(name).previous_stage)
    if cascades and len(theirs.labels.values) != len(ours.labels.values):
        return "A cascade's network takes one channel a class, so the number of classes must be the same; its previous stage can start from a model."
    if theirs.name == ours.name and model.configuration_name != name:
        return f"Start from a model that was trained as {name}."
    other = theirs.name if theirs.name != ours.name else str(model.folder / PLAN)
    return f"Give {ours.name} the model's plan, and train {model.configuration_name}: autoseg plan {ours.name} --from {other}"


def _previous_classes(plan: Plan, name: str) -> int:
    return plan.input_channels(name) - len(plan.image_channels(name))


def _matched(what: str, theirs: Sequence[str], ours: Sequence[str]) -> list[str]:
    """A line where names differ."""
    renamed = [f"{there} -> {here}" for there, here in zip(theirs, ours, strict=True) if there != here]
    return [f"{what} are matched by their position: {listing(renamed)}."] if renamed else []


def _expectations(model: Model, plan: Plan, name: str) -> Iterator[str]:
    """How the input that the weights learnt from was made ready, where that differs."""
    theirs, ours = model.configuration, plan.configuration(name)
    if model.plan.transpose_forward != plan.transpose_forward:
        yield f"axes in the order {_axes(model.plan)}, here {_axes(plan)}"
    sizes = theirs.resampling.resize, ours.resampling.resize
    if sizes[0] != sizes[1]:
        yield f"{_sized(theirs)}, here {_sized(ours)}"
    elif not sizes[0] and extents(theirs.spacing) != extents(ours.spacing):
        yield f"spacing {extents(theirs.spacing)} mm, here {extents(ours.spacing)}"
    rules: dict[tuple[str, str], list[str]] = {}
    for before, now in zip(theirs.normalization, ours.normalization, strict=True):
        if _rule(before) != _rule(now):
            rules.setdefault((_rule(before), _rule(now)), []).append(now.channel)
    for (before_text, now_text), channels in rules.items():
        yield f"normalisation of {listing(channels)} by {before_text}, here by {now_text}"


def _rule(rule: Normalization) -> str:
    """A rule in words, without its channel."""
    if rule.percentiles:
        return f"{rule.scheme} ({rule.percentiles[0]:g} to {rule.percentiles[1]:g})"
    if rule.clip_limit:
        return f"{rule.scheme} (clip limit {rule.clip_limit:g})"
    if rule.scheme == "ct":
        return f"ct ({rule.lower:.4g} to {rule.upper:.4g}, mean {rule.mean:.4g}, std {rule.std:.4g})"
    return f"{rule.scheme} inside the mask" if rule.use_mask else rule.scheme


def _sized(configuration: Configuration) -> str:
    resize = configuration.resampling.resize
    return f"whole images of {extents(resize)} voxels" if resize else f"cropped images at {extents(configuration.spacing)} mm"


def _axes(plan: Plan) -> str:
    return ", ".join("ZYX"[axis] for axis in plan.transpose_forward)


def _entry(value: int | tuple[int, ...]) -> str:
    return str(value) if isinstance(value, int) else extents(value)
