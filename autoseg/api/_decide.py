"""Which plan a dataset gets: made by the rules, or taken over from another plan. With images and without, the decisions are the same."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from autoseg.errors import AutosegError
from autoseg.files import read_json
from autoseg.imaging.image import Spacing3
from autoseg.planning.fingerprint import Fingerprint
from autoseg.planning.hardware.target import largest_target
from autoseg.planning.move import move_plan
from autoseg.planning.nnunet.plan import convert_nnunet_plan, is_nnunet_plan
from autoseg.planning.plan import Configuration, DatasetBlock, Plan, read_plan, validate_plan, write_plan
from autoseg.planning.planner import make_plan
from autoseg.planning.presets import find_preset
from autoseg.planning.zoo.make import with_recipe
from autoseg.planning.zoo.recipes import find_recipe
from autoseg.workspace import Workspace

Memory = float | Literal["auto"]
Learned = Literal["classes", "regions"]
SHOWN = 8  # differences between two plans that are told


@dataclass(frozen=True)
class Wishes:
    """What the user asked of a plan; None leaves it to the rules.

    Attributes
    ----------
    preset, gpu_memory_gb, spacing : see `make_plan`; a memory of "auto" is that of the graphics card at hand
    source : a plan to take over: a dataset's name, or a file of ours or of nnU-Net's; goes with none of those before it
    labels : what networks learn, "classes" or "regions"; None: regions where the dataset declares them with an order of painting
    recipes : names or files of published approaches, each of which becomes a configuration more
    encoder_weights : of their encoders: "imagenet", a file, or "none"; None: as the recipes say

    Raises
    ------
    AutosegError
        there is no such preset, labels are something else, or a source is given beside decisions of one's own
    """

    preset: str | None = None
    gpu_memory_gb: Memory | None = None
    spacing: Spacing3 | None = None
    source: Path | str | None = None
    labels: Learned | None = None
    recipes: tuple[str, ...] = ()
    encoder_weights: str | None = None

    @property
    def only_add(self) -> bool:
        """Whether nothing is wished but recipes, so that a plan that is there may stay."""
        return bool(self.recipes) and replace(self, recipes=(), encoder_weights=None) == Wishes()

    def __post_init__(self) -> None:
        find_preset(self.preset or "default")
        if self.labels not in (None, "classes", "regions"):
            raise AutosegError(f"Networks learn classes or regions (--labels), not '{self.labels}'.")
        if self.source is not None and (self.preset, self.gpu_memory_gb, self.spacing) != (None, None, None):
            raise AutosegError("A plan that is taken over (--from) keeps its preset, memory and spacing: give none of them.")
        if self.preset == "cpu" and self.gpu_memory_gb == "auto":
            raise AutosegError("The preset cpu is sized by time, not by a graphics card: leave out --gpu-memory auto, or choose another preset.")
        if self.encoder_weights is not None and not self.recipes:
            raise AutosegError("--encoder-weights is about the encoders of recipes: name one with --recipe.")

    def require_possible(self, name: str, place: Workspace) -> None:
        """Refuse what cannot be met for the dataset of that name, before its images are read.

        Raises
        ------
        AutosegError
            the source or a recipe does not exist, the source is no plan or that of the dataset itself, or there is no graphics card to ask
        """
        if self.gpu_memory_gb == "auto":
            _card()
        for recipe in self.recipes:
            find_recipe(recipe, place.root)
        if self.encoder_weights not in (None, "imagenet", "none") and not Path(str(self.encoder_weights)).expanduser().is_file():
            raise AutosegError(f"--encoder-weights {self.encoder_weights}: there is no such file. Name a .safetensors file, imagenet or none.")
        if self.source is None:
            return
        path = _source_file(self.source, place)
        if path.resolve() == place.plan(name).resolve():
            raise AutosegError(f"{path} is the plan of {name} itself: there is nothing to take over.")
        content = read_json(path)
        if not is_nnunet_plan(content):
            validate_plan(content, str(path))


def decide(wishes: Wishes, facts: Fingerprint | None, block: DatasetBlock, place: Workspace) -> Plan:
    """The plan.

    Parameters
    ----------
    wishes : what the user asked for
    facts : of the dataset; only a plan that is taken over can do without
    block : what the plan repeats of the dataset
    place : where a source that is a dataset's name is looked up

    Raises
    ------
    AutosegError
        a wish cannot be met; the text says which and why
    """
    made = _planned(wishes, facts, _learning(block, wishes.labels), place)
    return add_recipes(made, wishes, place)


def add_recipes(made: Plan, wishes: Wishes, place: Workspace) -> Plan:
    """The plan with a configuration for each recipe that is wished for.

    Raises
    ------
    AutosegError
        there is no such recipe, or it is not for this dataset
    """
    for name in wishes.recipes:
        made = with_recipe(made, find_recipe(name, place.root), encoder_weights=wishes.encoder_weights)
    return made


def with_attributes(plan: Plan, block: DatasetBlock) -> Plan:
    """A plan that knows no attributes of cases takes up those that the dataset has: older ones were made without."""
    if plan.dataset.attributes is not None or block.attributes is None:
        return plan
    return plan.model_copy(update={"dataset": plan.dataset.model_copy(update={"attributes": block.attributes})})


def keep_recipes(made: Plan, path: Path) -> Plan:
    """The plan with the configurations that an older plan has by recipes: a dataset that is planned again keeps them."""
    if not path.is_file():
        return made
    older = {name: one for name, one in _by_recipes(path).items() if name not in made.configurations}
    return made.model_copy(update={"configurations": made.configurations | older})


def recipes_dropped(made: Plan, path: Path) -> tuple[str, ...]:
    """The configurations by recipes that an older plan has and the one that takes its place has not; none where it cannot be read."""
    try:
        return tuple(name for name in _by_recipes(path) if name not in made.configurations) if path.is_file() else ()
    except AutosegError:  # a damaged plan is what --force may be there for
        return ()


def _by_recipes(path: Path) -> dict[str, Configuration]:
    return {name: one for name, one in read_plan(path).configurations.items() if one.recipe is not None}


def _planned(wishes: Wishes, facts: Fingerprint | None, block: DatasetBlock, place: Workspace) -> Plan:
    if wishes.source is not None:
        return _taken_over(_source_file(wishes.source, place), facts, block)
    if facts is None:
        raise AutosegError("There is nothing to plan from: give a fingerprint, or a plan to take over (--from).")

    def make(memory: float | None) -> Plan:
        return make_plan(facts, block, preset=wishes.preset or "default", gpu_memory_gb=memory, spacing=wishes.spacing)

    if wishes.gpu_memory_gb != "auto":
        return make(wishes.gpu_memory_gb)
    card, available = _card()
    target = largest_target(make, available)
    made = make(target)
    reason = f"{card} has {available / 2**30:.1f} GB: {target:g} GB is the largest target whose trainings are predicted to fit 90 % of it."
    return made.model_copy(update={"why": made.why | {"gpu_memory_gb": f"{reason} {made.why['gpu_memory_gb']}"}})


def keep(made: Plan, path: Path, *, force: bool) -> Plan:
    """Write a plan, unless one with the same decisions is there; gives what the file holds.

    A plan with other decisions is only replaced with `force`, unless all that it lacks is recipes.
    """
    if force or not path.is_file():
        write_plan(made, path)
        return made
    written = read_plan(path)
    old = with_attributes(written, made.dataset)
    before, after = _decisions(old), _decisions(made)
    added = [name for name, one in made.configurations.items() if one.recipe is not None and name not in old.configurations]
    if added and before == after | {"configurations": {name: one for name, one in after["configurations"].items() if name not in added}}:
        write_plan(made, path)
        return made
    if before == after:  # the reasons may be worded otherwise
        if old is not written:
            write_plan(old, path)
        return old
    changed = list(_differences(before, after))
    more = [f"  and {len(changed) - SHOWN} more"] if len(changed) > SHOWN else []
    raise AutosegError(
        "\n".join(
            [
                f"{path} is there and differs from what would be planned now (its preset is '{old.preset}'):",
                *changed[:SHOWN],
                *more,
                "Use it as it is, or replace it with --force.",
            ]
        )
    )


def _differences(before: Any, after: Any, key: str = "") -> Iterator[str]:
    """A line for each value that differs: its key, what the file has, what would be planned."""
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*before, *(name for name in after if name not in before)]:
            yield from _differences(before.get(name), after.get(name), f"{key}.{name}" if key else name)
        return
    there, planned = (
        "absent" if value is None else "there" if isinstance(value, dict) else json.dumps(value, ensure_ascii=False) for value in (before, after)
    )
    yield f"  {key}: {there} in the file, {planned} now"


def _learning(block: DatasetBlock, wish: Learned | None) -> DatasetBlock:
    """The block with what the user wants networks to learn."""
    if wish is None:
        return block
    if wish == "regions" and not block.labels.region_order:
        missing = "without the order in which they are written ('regions_class_order' in dataset.json)" if block.labels.regions else "none"
        raise AutosegError(f"Networks cannot learn regions (--labels regions): {block.name} declares {missing}.")
    return block.model_copy(update={"labels": block.labels.model_copy(update={"trained": wish})})


def _decisions(plan: Plan) -> dict[str, Any]:
    content: dict[str, Any] = plan.model_dump(mode="json", exclude={"json_schema": True, "why": True, "configurations": {"__all__": {"why"}}})
    return content


def _card() -> tuple[str, int]:
    from autoseg.inference.throughput import cuda_memory

    return cuda_memory("cuda")


def _source_file(source: Path | str, place: Workspace) -> Path:
    path = Path(source)
    if path.suffix == ".json":
        if not path.is_file():
            raise AutosegError(f"{path} does not exist. Name a plan, or a dataset that has one (--from).")
        return path
    name = place.resolve(str(source))
    if not place.plan(name).is_file():
        raise AutosegError(f"{name} has no plan to take over. Make one: autoseg plan {name}")
    return place.plan(name)


def _taken_over(path: Path, facts: Fingerprint | None, block: DatasetBlock) -> Plan:
    content = read_json(path)
    if is_nnunet_plan(content):
        return convert_nnunet_plan(content, block, str(path))
    return move_plan(validate_plan(content, str(path)), block, facts)
