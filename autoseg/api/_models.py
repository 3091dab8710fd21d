"""Which trained models to predict with: those that were named, or the best by validation."""

from collections.abc import Sequence
from pathlib import Path

from autoseg.errors import AutosegError
from autoseg.files import read_record
from autoseg.inference.model_folder import fold_of, is_trained, trained_folds
from autoseg.workspace import Workspace


def choose_models(
    model: Path | str | None,
    dataset: str | None,
    configuration: str | None,
    folds: Sequence[str | int] | None,
    workspace: Path | str | None,
) -> tuple[list[Path], str | None]:
    """The folders of the folds to use, and, where there was a choice, a line that says why these.

    Parameters
    ----------
    model, dataset, configuration, folds, workspace : see `predict`

    Raises
    ------
    AutosegError
        there is no trained model, or two ways to name it are mixed
    """
    if model and (dataset or configuration):
        raise AutosegError(f"Give the model folder {model}, or a dataset and a configuration, not both: the folder says what it was trained for.")
    folders, reason = (_folders(Path(model)), None) if model else _trained_folders(Workspace.find(workspace), dataset, configuration)
    if folds is not None:
        folders = _only(folders, list(dict.fromkeys(str(fold) for fold in folds)))
    return folders, reason


def _folders(model: Path) -> list[Path]:
    if is_trained(model):
        return [model]
    found = trained_folds(model)
    if not found:
        raise AutosegError(f"{model} holds no trained model: neither weights nor folders fold_<k> with weights.")
    return found


def _trained_folders(place: Workspace, dataset: str | None, configuration: str | None) -> tuple[list[Path], str | None]:
    """The folds to use, and, where there was a choice, a line that says why these."""
    name = place.resolve(dataset) if dataset else place.current()
    root = place.root / "models" / name
    trained = {folder.name: trained_folds(folder) for folder in sorted(root.iterdir()) if folder.is_dir()} if root.is_dir() else {}
    trained = {one: folders for one, folders in trained.items() if folders}
    if not trained:
        raise AutosegError(f"No model of {name} is trained yet in {root}. Train one: autoseg train 3d_fullres 0 -d {name}")
    if configuration is not None:
        if configuration not in trained:
            raise AutosegError(f"'{configuration}' of {name} is not trained. Trained are: {', '.join(trained)}.")
        return trained[configuration], None
    if len(trained) == 1:
        return next(iter(trained.values())), None
    scores = {one: _validation_dice(folders) for one, folders in trained.items()}
    best = max(scores, key=lambda one: (scores[one], one.startswith("3d_fullres")))
    listed = ", ".join(f"{one} {'not validated' if score < 0 else f'{score:.4f}'}" for one, score in scores.items())
    return trained[best], f"Using {best}, the best by validation Dice ({listed})."


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
