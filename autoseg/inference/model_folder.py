"""The model folder: `models/<dataset>/<configuration>/fold_<k>/`, everything that prediction needs.

- `plan.json` (the plan it was trained with), `model.json` (which configuration and fold), `weights.safetensors`.
- Loading runs no code from the folder: no pickle, no import by a name found in it.
- A cascade needs its previous stage's folder too, which lies beside its own: `models/<dataset>/<previous stage>/`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from autoseg.errors import AutosegError
from autoseg.files import read_json, read_record, write_json
from autoseg.networks import build
from autoseg.networks.head import set_given
from autoseg.networks.unet import set_deep_supervision
from autoseg.networks.weights import load_weights, weights_of, write_tensors
from autoseg.planning.plan import Configuration, Plan, read_plan, write_plan
from autoseg.planning.training_recipe import mirror_axes

PLAN, MODEL, WEIGHTS = "plan.json", "model.json", "weights.safetensors"
PREVIOUS = "previous.json"  # of a cascade: the previous stage's weights whose segmentations it was trained on


@dataclass(frozen=True)
class Model:
    """A trained network with the plan that explains its input and output.

    Attributes
    ----------
    folder : where it was loaded from
    plan, configuration_name : what it was trained with
    network : on the CPU, in evaluation mode, giving full-resolution logits
    recipe : name of the plan's recipe that it was trained with, one of those it has
    """

    folder: Path
    plan: Plan
    configuration_name: str
    network: nn.Module
    recipe: str = "default"

    @property
    def configuration(self) -> Configuration:
        return self.plan.configuration(self.configuration_name)

    @property
    def mirror_axes(self) -> tuple[int, ...]:
        """Axes of the patch to mirror in prediction."""
        return mirror_axes(self.configuration, self.recipe)


def start_model_folder(folder: Path, plan: Plan, configuration_name: str, fold: str, recipe: str) -> None:
    """Write what is known before training: the plan, and which part of it is trained how."""
    write_plan(plan, folder / PLAN)
    write_json(folder / MODEL, {"dataset": plan.dataset.name, "configuration": configuration_name, "fold": fold, "recipe": recipe})


def save_weights(folder: Path, weights: dict[str, Tensor]) -> None:
    """Write the weights that prediction uses, whole or not at all."""
    write_tensors(folder / WEIGHTS, weights)


def is_trained(folder: Path) -> bool:
    """Whether a fold's folder holds a finished model."""
    return (folder / WEIGHTS).is_file()


def trained_folds(folder: Path) -> list[Path]:
    """The trained folds in a configuration's folder: 0, 1, ...; the one of all cases only where there are no others."""
    found = sorted(entry for entry in folder.glob("fold_*") if is_trained(entry))
    return [entry for entry in found if entry.name != "fold_all"] or found


def configuration_of(folder: Path) -> str:
    """The configuration that a model was trained for, whatever its folder is called now.

    Raises
    ------
    AutosegError
        the model's record is damaged
    """
    return str(read_record(folder / MODEL).get("configuration", ""))


def recipe_of(folder: Path) -> str:
    """The recipe that a model was trained with.

    Raises
    ------
    AutosegError
        the model's record is damaged
    """
    return str(read_record(folder / MODEL).get("recipe", "default"))


def task_of(folder: Path) -> str:
    """What a model was trained for, "segmentation" where its folder does not say.

    Raises
    ------
    AutosegError
        the model's record or plan is damaged
    """
    if not (folder / MODEL).is_file() or not (folder / PLAN).is_file():
        return "segmentation"
    known = read_plan(folder / PLAN).configurations.get(configuration_of(folder))
    return known.task if known else "segmentation"


def fold_of(folder: Path) -> str:
    """The fold that a model folder is named for: "0".."4" or "all"."""
    return folder.name.removeprefix("fold_")


def load_model(folder: Path) -> Model:
    """Load a trained model.

    Raises
    ------
    AutosegError
        a file is missing or damaged, or the weights do not fit the plan
    """
    if not is_trained(folder):
        raise AutosegError(f"{folder} holds no trained model ({WEIGHTS} is missing). Train it, or name a folder fold_<k> that was trained.")
    plan = read_plan(folder / PLAN)
    facts: Any = read_json(folder / MODEL)
    if not isinstance(facts, dict) or not isinstance(facts.get("configuration"), str):
        raise AutosegError(f"{folder / MODEL} does not say which configuration was trained. Copy the model again.")
    name: str = facts["configuration"]
    configuration = plan.configuration(name)
    recipe = str(facts.get("recipe", "default"))
    if recipe not in configuration.training.recipes:
        raise AutosegError(f"{folder / MODEL} names the recipe '{recipe}', but the plan beside it has none of that name. Copy the model again.")
    network = build(configuration, in_channels=plan.input_channels(name), num_classes=plan.network_outputs(name))
    try:
        load_weights(network, read_weights(folder))
    except ValueError as error:
        raise _damaged(folder, error) from error
    set_deep_supervision(network, False)
    set_given(network, "voxels")
    return Model(folder, plan, name, network.eval().requires_grad_(False), recipe)


def load_folds(folders: list[Path]) -> list[Model]:
    """Load the models that are to be ensembled.

    Raises
    ------
    AutosegError
        there is none, one cannot be loaded, or two were trained for other labels or channels or with different plans; names both
    """
    if not folders:
        raise AutosegError("There is no model folder to load. Name at least one fold that was trained.")
    models = [load_model(folder) for folder in folders]
    first = models[0]
    for model in models[1:]:
        require_one_training(first.folder, first.plan, model.folder, model.plan, model.configuration_name)
    return models


def require_one_training(first: Path, first_plan: Plan, other: Path, other_plan: Plan, name: str) -> None:
    """Two folds of a configuration can work together.

    Raises
    ------
    AutosegError
        they were trained for other labels or channels, or with different plans; names both folders
    """
    if first_plan.dataset.labels != other_plan.dataset.labels or first_plan.dataset.channel_names != other_plan.dataset.channel_names:
        raise AutosegError(f"{other} and {first} were trained for other labels or channels and cannot be ensembled.")
    if _decisions(first_plan.configuration(name)) != _decisions(other_plan.configuration(name)):
        raise AutosegError(f"{other} and {first} were trained with different plans: train them again, or predict with one (-f).")


def _decisions(configuration: Configuration) -> dict[str, Any]:
    """What a configuration decides, however it is explained or written."""
    return configuration.model_dump(exclude={"why", "inherits"})


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The weights that lie in a fold's folder, by name.

    Raises
    ------
    AutosegError
        the file is missing or damaged
    """
    try:
        return load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise _damaged(folder, error) from error


def weights_fingerprint(model: Model) -> str:
    """A short text that changes when the weights do, the same on every device."""
    return fingerprint(weights_of(model.network))


def stored_fingerprint(folder: Path) -> str:
    """`weights_fingerprint` of the model that lies in a folder, without building its network.

    Raises
    ------
    AutosegError
        the weights are missing or damaged
    """
    return fingerprint(read_weights(folder))


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """A short text that changes when weights do, whatever device they are on."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().numpy().tobytes())  # in the order of the indices, whatever the memory format
    return digest.hexdigest()[:16]


def _damaged(folder: Path, error: Exception) -> AutosegError:
    return AutosegError(f"{folder / WEIGHTS} is damaged or does not fit the plan beside it: {error}. Copy the model again.")
