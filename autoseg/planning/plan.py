"""The plan: every decision, in one JSON file made for people to read and edit.

- Everything after planning reads the plan and nothing but the plan.
- Strict: an unknown key or a bad value is an error that names the key, the value and the nearest choice; all faults are named at once.
- A configuration that inherits another holds in the file only what differs; it is made whole on reading, and written as it was read.
- Axis order Z, Y, X, after `transpose_forward` has been applied; 2D configurations keep their lists at two numbers (Y, X).
- Its blocks are described in `schema/`, and offered here too.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from autoseg.data.dataset import Labels
from autoseg.errors import PlanError
from autoseg.files import read_json, write_text
from autoseg.planning.schema.blocks import (
    Augmentation,
    Block,
    Inference,
    Name,
    Normalization,
    Positive,
    Range,
    Recipe,
    Resampling,
    Training,
    Transform,
)
from autoseg.planning.schema.classification import Classification, attribute_faults
from autoseg.planning.schema.configuration import Configuration, channel_positions
from autoseg.planning.schema.dataset import DatasetBlock, LabelsBlock
from autoseg.planning.schema.faults import Fault, advice, as_written, in_words, raise_if_any, shown
from autoseg.planning.schema.inherit import difference, inheritance_faults, whole, wrote
from autoseg.planning.schema.networks import AnyNetwork, EncoderNetworkPlan, LibraryNetworkPlan, NetworkPlan
from autoseg.planning.schema.tasks import RECONSTRUCTIONS

__all__ = [
    "AnyNetwork", "Augmentation", "Classification", "Configuration", "DatasetBlock", "EncoderNetworkPlan", "Inference", "LabelsBlock",
    "LibraryNetworkPlan", "NetworkPlan", "Normalization", "Plan", "Range", "Recipe", "Resampling", "Training", "Transform",
    "file_content", "read_plan", "validate_plan", "write_plan",
]  # fmt: skip

SCHEMA_VERSION: Literal[1] = 1


class Plan(Block):
    """All decisions about one dataset; `plans/<dataset>.json`."""

    model_config = ConfigDict(serialize_by_alias=True)

    json_schema: str | None = Field(None, alias="$schema", description="where editors find the schema of this file")
    schema_version: Literal[1] = Field(SCHEMA_VERSION, description="version of this file's layout")
    dataset: DatasetBlock = Field(description="facts about the dataset")
    preset: str = Field(description="the preset it was made with")
    gpu_memory_gb: Positive = Field(description="the memory it was made for, GB")
    seed: int = Field(12345, ge=0, description="of folds, weights, batches and augmentation")
    transpose_forward: tuple[Literal[0, 1, 2], Literal[0, 1, 2], Literal[0, 1, 2]] = Field(
        description="the file's axes (0, 1, 2 = Z, Y, X) in the order that networks see them: the coarsest first"
    )
    configurations: dict[Name, Configuration] = Field(
        min_length=1, description="name to configuration: those that were planned, and names of your own"
    )
    why: dict[str, str] = Field(default_factory=dict, description="decision to reason")

    @field_validator("transpose_forward")
    @classmethod
    def _each_axis_once(cls, axes: tuple[int, int, int]) -> tuple[int, int, int]:
        if sorted(axes) != [0, 1, 2]:
            raise ValueError("must hold each of 0, 1 and 2 once")
        return axes

    @field_validator("configurations")
    @classmethod
    def _configurations_agree(cls, configurations: dict[str, Configuration], info: ValidationInfo) -> dict[str, Configuration]:
        elsewhere = (info.context or {}).get("elsewhere", ())
        raise_if_any(_folders_apart([*configurations, *elsewhere]))
        raise_if_any(_across(info.data.get("dataset"), configurations, [*configurations, *elsewhere]))
        return configurations

    @property
    def labels(self) -> Labels:
        """What the label values mean."""
        return self.dataset.labels.to_labels()

    def image_channels(self, name: str) -> tuple[str, ...]:
        """The dataset's channels that a configuration sees, in their order."""
        return tuple(rule.channel for rule in self.configuration(name).normalization)

    def input_channels(self, name: str) -> int:
        """Channels that the network of a configuration takes: those it sees, and one a class of the previous stage's segmentation."""
        classes = len(self.dataset.labels.values) - 1 if self.configuration(name).previous_stage else 0
        return len(self.image_channels(name)) + classes

    @property
    def output_names(self) -> tuple[str, ...]:
        """What each channel of the output of networks that segment stands for: every class with the background, or every region."""
        return self.dataset.labels.learned

    @property
    def output_channels(self) -> int:
        """Channels of the output of networks that segment."""
        return len(self.output_names)

    def network_outputs(self, name: str) -> int:
        """Channels of the output of a configuration's network: those of the image where it reconstructs that, what it classifies into, else
        `output_channels`."""
        one = self.configuration(name)
        if one.classification is not None:
            return len(one.classification.classes)
        return len(self.image_channels(name)) if one.task in RECONSTRUCTIONS else self.output_channels

    @property
    def structure_names(self) -> tuple[str, ...]:
        """What is learned, without the background."""
        return self.output_names if self.learns_regions else self.output_names[1:]

    @property
    def learns_regions(self) -> bool:
        """Whether networks learn regions, which may overlap, instead of classes."""
        return self.dataset.labels.trained == "regions"

    def configuration(self, name: str) -> Configuration:
        """The configuration of that name.

        Raises
        ------
        PlanError
            the plan has none; the text lists those it has
        """
        if name not in self.configurations:
            raise PlanError(f"The plan of {self.dataset.name} has no configuration '{name}'. It has: {', '.join(self.configurations)}.")
        return self.configurations[name]


def read_plan(path: Path) -> Plan:
    """Read and validate a plan.

    Raises
    ------
    PlanError
        a key is unknown or a value is impossible; all of them are named
    AutosegError
        the file is missing or not JSON
    """
    return validate_plan(read_json(path), str(path))


def validate_plan(content: Any, source: str) -> Plan:
    """Make a plan of decoded JSON; `source` names it in errors.

    Raises
    ------
    PlanError
        as `read_plan`
    """
    written = content.get("configurations") if isinstance(content, dict) else None
    written = written if isinstance(written, dict) else {}
    faults, lost = inheritance_faults(written)
    if written:
        content = content | {"configurations": {name: whole(written, name) for name in written if name not in lost}}
    try:
        plan = as_written(Plan, content, {"elsewhere": lost})
    except ValidationError as error:
        found = list(in_words(error, Plan))
        faults = [*faults, *found, *_across_the_sound(content, found, lost)]
    if faults:
        faults = [fault for fault in dict.fromkeys(faults) if not _is_the_parents(fault, faults, written)]
        raise PlanError("\n".join([f"{source} is not a valid plan:", *(f"  {fault}" for fault in faults)]))
    return plan


def file_content(plan: Plan) -> dict[str, Any]:
    """A plan as its file holds it, decoded: configurations that inherit hold only what differs; `validate_plan` makes the same plan of it."""
    content: dict[str, Any] = plan.model_dump(mode="json", exclude_none=True)
    configurations = content["configurations"]
    content["configurations"] = {name: _written(one, configurations) for name, one in configurations.items()}
    return content


def write_plan(plan: Plan, path: Path) -> None:
    """Write a plan with short lists on one line, whole or not at all."""
    write_text(path, _readable(file_content(plan)) + "\n")


def _written(configuration: dict[str, Any], configurations: Mapping[str, Any]) -> dict[str, Any]:
    if "inherits" not in configuration:
        return configuration
    patch = difference(configuration, configurations[configuration["inherits"]])
    return {key: value for key, value in patch.items() if key != "why" or value}


def _across(dataset: DatasetBlock | None, configurations: Mapping[str, Configuration], names: Collection[str]) -> Iterator[Fault]:
    """What configurations must agree on with the dataset and with each other; `names` are all there are, some of which may be unsound."""
    parents = {name: {"inherits": one.inherits} for name, one in configurations.items()} | {name: {} for name in names if name not in configurations}
    yield from inheritance_faults(parents)[0]
    for name, configuration in configurations.items():
        if dataset is not None:
            yield from _channel_faults(name, configuration, dataset.channel_names)
        weights = configuration.training.class_weights
        block = configuration.classification
        if dataset is not None and block is not None:
            faults = attribute_faults(block, dataset.attributes or {})
            yield from (Fault(("configurations", name, "classification", *fault.place), fault.text) for fault in faults)
        if dataset is not None and weights is not None and (text := _weights_fault(dataset.labels, block, weights)):
            yield Fault(("configurations", name, "training", "class_weights"), text)
        if configuration.previous_stage is not None:
            text = _previous_stage_fault(name, configuration.previous_stage, configurations, names)
            if text is not None:
                yield Fault(("configurations", name, "previous_stage"), text)


def _channel_faults(name: str, configuration: Configuration, known: Sequence[str]) -> Iterator[Fault]:
    channels, place = [rule.channel for rule in configuration.normalization], ("configurations", name, "normalization")
    if channel_positions(channels, known) is not None:
        return
    wrong = []
    for index, channel in enumerate(channels):
        if channel not in known:
            wrong.append(Fault((*place, index, "channel"), f"the dataset has no such channel{shown(channel)}{advice(channel, known)}"))
        elif channels[:index].count(channel) >= known.count(channel):
            wrong.append(Fault((*place, index, "channel"), f"has an entry already{shown(channel)}"))
    ordered = ", ".join(sorted(channels, key=known.index)) if not wrong else ""
    yield from wrong or [Fault(place, f"must follow the order of dataset.channel_names, here {ordered} (found: {', '.join(channels)})")]


def _folders_apart(names: Collection[str]) -> Iterator[Fault]:
    """Names are folders too, and some computers do not tell letters of either case apart."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            yield Fault((name,), f"differs from '{other}' in the case of letters only, and both name folders; call it something else")


def _weights_fault(labels: LabelsBlock, block: Classification | None, weights: tuple[float, ...]) -> str | None:
    learned = labels.learned if block is None else block.classes
    if len(weights) == len(learned):
        return None
    what = "class" if block else "region" if labels.trained == "regions" else "class, the background first"
    return f"needs {len(learned)} numbers, one a {what}: {', '.join(learned)}{shown(weights)}"


def _previous_stage_fault(name: str, previous: str, configurations: Mapping[str, Configuration], names: Collection[str]) -> str | None:
    choices = [
        other for other in names
        if other != name and (other not in configurations or _can_be_previous(configurations[other]))
    ]  # fmt: skip
    if configurations[name].dimensions != 3:
        return f"only a 3D configuration can have one{shown(previous)}"
    if previous in choices:
        return None
    if previous == name:
        reason = "is the configuration itself"
    elif previous not in names:
        reason = "there is no such configuration"
    elif configurations[previous].dimensions != 3:
        reason = "must be in 3D, as this one is"
    elif configurations[previous].task != "segmentation":
        reason = "must segment, and its task is " + configurations[previous].task
    else:
        reason = "has a previous stage of its own"
    return f"{reason}{shown(previous)}{advice(previous, choices)}"


def _can_be_previous(configuration: Configuration) -> bool:
    return configuration.dimensions == 3 and configuration.previous_stage is None and configuration.task == "segmentation"


def _across_the_sound(content: Any, found: Collection[Fault], lost: Collection[str]) -> Iterator[Fault]:
    """The same checks for what is sound on its own in a plan that is not."""
    unsound = {fault.place[1] for fault in found if fault.place[:1] == ("configurations",) and len(fault.place) > 1}
    if not isinstance(content, dict) or not isinstance(content.get("configurations"), dict):
        return
    sound = {name: as_written(Configuration, one) for name, one in content["configurations"].items() if name not in unsound}
    dataset = None if any(fault.place[:1] == ("dataset",) for fault in found) else as_written(DatasetBlock, content["dataset"])
    yield from _across(dataset, sound, [*content["configurations"], *lost])


def _is_the_parents(fault: Fault, faults: Collection[Fault], written: Mapping[str, Any]) -> bool:
    """Whether a configuration has a fault only because it inherits it: then it is named where it was written."""
    if fault.place[:1] != ("configurations",) or len(fault.place) < 3:
        return False
    name, *key = fault.place[1:]
    parent = written[str(name)].get("inherits")
    return Fault(("configurations", parent, *key), fault.text) in faults and not wrote(written[str(name)], tuple(key))


def _readable(value: Any, indent: str = "") -> str:
    """JSON in which an object or list stands on one line where it fits."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or len(flat) + len(indent) <= 110:
        return flat
    deeper = indent + "  "
    if isinstance(value, dict):
        parts = [f"{json.dumps(key, ensure_ascii=False)}: {_readable(item, deeper)}" for key, item in value.items()]
    else:
        parts = [_readable(item, deeper) for item in value]
    brackets = "{}" if isinstance(value, dict) else "[]"
    return brackets[0] + "\n" + ",\n".join(deeper + part for part in parts) + "\n" + indent + brackets[1]
