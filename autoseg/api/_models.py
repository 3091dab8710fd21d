"""Which trained models to predict with: those that were named, those that were selected, or the best by validation."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autoseg.api._tasks import SEGMENTATION, require_segmenting
from autoseg.data.dataset import Labels
from autoseg.errors import AutosegError, listing
from autoseg.evaluation.postprocessing import Rule
from autoseg.evaluation.selection_file import SELECTION, Selection, read_selection
from autoseg.files import read_record
from autoseg.inference.model_folder import PLAN, configuration_of, fold_of, is_trained, task_of, trained_folds
from autoseg.planning.plan import read_plan
from autoseg.workspace import Workspace


@dataclass(frozen=True)
class Chosen:
    """What to predict with.

    Attributes
    ----------
    members : for each configuration the folders of its folds; several configurations are an ensemble
    rules : of post-processing
    reason : where there was a choice, a line that says why these
    selection : what was followed, or None
    """

    members: tuple[list[Path], ...]
    rules: tuple[Rule, ...] = ()
    reason: str | None = None
    selection: Selection | None = None


def choose_models(
    model: Path | str | None,
    dataset: str | None,
    configuration: str | None,
    folds: Sequence[str | int] | None,
    workspace: Path | str | None,
) -> Chosen:
    """The models to use.

    Parameters
    ----------
    model, dataset, configuration, folds, workspace : see `predict`

    Raises
    ------
    AutosegError
        there is no trained model, what was selected is not there, or two ways to name a model are mixed
    """
    if model and (dataset or configuration):
        raise AutosegError(f"Give the model folder {model}, or a dataset and a configuration, not both: the folder says what it was trained for.")
    chosen = _in_folder(Path(model)) if model else _in_workspace(Workspace.find(workspace), dataset, configuration)
    if folds is None:
        return chosen
    wanted = list(dict.fromkeys(str(fold) for fold in folds))
    return replace(chosen, members=tuple(_only(folders, wanted) for folders in chosen.members))


def _in_folder(model: Path) -> Chosen:
    if is_trained(model):
        return Chosen(([model],))
    if found := trained_folds(model):
        return Chosen((found,))
    if (model / SELECTION).is_file():
        return _selected(model)
    trained = _configurations(model)
    if len(trained) == 1:
        return Chosen((next(iter(trained.values())),))
    if trained:
        example = shlex.quote(str(model / next(iter(trained))))
        raise AutosegError(f"{model} holds several configurations: {', '.join(trained)}. Name the folder of one, such as -m {example}")
    raise AutosegError(f"{model} holds no trained model: neither weights, nor folders fold_<k> with weights, nor a {SELECTION}.")


def _in_workspace(place: Workspace, dataset: str | None, configuration: str | None) -> Chosen:
    name = place.resolve(dataset) if dataset else place.current()
    root = place.root / "models" / name
    trained = _configurations(root)
    if not trained:
        raise AutosegError(f"No model of {name} is trained yet in {root}. Train one: autoseg train 3d_fullres 0 -d {name}")
    if configuration is not None:
        if configuration not in trained:
            raise AutosegError(f"'{configuration}' of {name} is not trained. Trained are: {', '.join(trained)}.")
        return Chosen((trained[configuration],))
    if (root / SELECTION).is_file():
        return _selected(root)
    tasks = {one: task_of(folders[0]) for one, folders in trained.items()}
    segmenting = {one: folders for one, folders in trained.items() if tasks[one] == SEGMENTATION}
    if not segmenting and len(trained) > 1:
        require_segmenting(tasks, f"there is no best of them. Name one: -c {next(iter(trained))}")
    if len(segmenting or trained) == 1:
        ((one, folders),) = (segmenting or trained).items()
        return Chosen((folders,), reason=f"Using {one}, the one that segments; name another with -c." if len(trained) > 1 else "")
    scores = {one: _validation_dice(folders) for one, folders in segmenting.items()}
    best = max(scores, key=lambda one: (scores[one], one.startswith("3d_fullres")))
    listed = ", ".join(f"{one} {'not validated' if score < 0 else f'{score:.4f}'}" for one, score in scores.items())
    return Chosen(
        (segmenting[best],),
        reason=f"Using {best}, the best by validation Dice ({listed}). To compare them fairly, and their ensembles: autoseg select -d {name}",
    )


def _selected(root: Path) -> Chosen:
    """What the selection in a folder of configurations says."""
    selection, trained = read_selection(root / SELECTION), _configurations(root)
    names = [member.configuration for member in selection.members]
    if lacking := [name for name in names if name not in trained]:
        raise AutosegError(
            f"{root / SELECTION} names {listing(lacking)}, which is not trained in {root}. Copy its folder there, or select again: autoseg select."
            f" Or predict with another ({', '.join(trained) or 'none is there'}): name it with -c, or its folder with -m."
        )
    require_segmenting({name: task_of(trained[name][0]) for name in names}, f"{root / SELECTION} cannot name them. Select again: autoseg select.")
    plan = read_plan(trained[names[0]][0] / PLAN)
    if selection.dataset != plan.dataset.name:
        raise AutosegError(f"{root / SELECTION} was made for {selection.dataset}, but the models beside it are of {plan.dataset.name}. Select again.")
    _require_values(selection.postprocessing, plan.labels, root / SELECTION)
    return Chosen(tuple(trained[name] for name in names), selection.postprocessing, f"Following {root / SELECTION}: {' + '.join(names)}.", selection)


def _require_values(rules: Sequence[Rule], labels: Labels, path: Path) -> None:
    """Rules speak of label values that there are."""
    faults = [
        f"  postprocessing.{place}.{key}: {listing(unknown)} is no label value"
        for place, rule in enumerate(rules)
        for key, values in (("values", rule.values), ("becomes", (rule.becomes,)))
        if (unknown := [value for value in values if value not in labels.values])
    ]
    if faults:
        raise AutosegError("\n".join([f"{path} does not fit the labels {listing(labels.values, limit=20)}. Mend it, or select again:", *faults]))


def _configurations(root: Path) -> dict[str, list[Path]]:
    """Configuration -> its trained folds, where there are any; a folder with another name than its models were trained under is none."""
    there = {folder.name: trained_folds(folder) for folder in sorted(root.iterdir()) if folder.is_dir()} if root.is_dir() else {}
    return {name: folders for name, folders in there.items() if folders and configuration_of(folders[0]) == name}


def _only(folders: list[Path], wanted: list[str]) -> list[Path]:
    root = folders[0].parent
    for fold in wanted:
        if not is_trained(root / f"fold_{fold}"):
            there = ", ".join(fold_of(entry) for entry in sorted(root.glob("fold_*")) if is_trained(entry))
            raise AutosegError(f"Fold '{fold}' in {root} is not trained. Trained are: {there}.")
    return [root / f"fold_{fold}" for fold in wanted]


def _validation_dice(folders: list[Path]) -> float:
    """Mean over folds of the validation's foreground Dice; -1 where no fold was validated."""
    scores = []
    for folder in folders:
        path = folder / "metrics.json"
        if path.is_file():
            value = read_record(path).get("foreground_mean", {}).get("dice")
            scores += [value] if value is not None else []
    return sum(scores) / len(scores) if scores else -1.0
