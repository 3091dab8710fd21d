"""`predict`: trained models applied to scans in whatever folder they lie."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoseg.data.inputs import find_all_cases
from autoseg.errors import AutosegError
from autoseg.files import read_json, require_writable, sweep
from autoseg.inference.execution import pick_device
from autoseg.inference.model_folder import is_trained, load_folds
from autoseg.inference.predictor import Predictor
from autoseg.inference.run import Source, predict_cases
from autoseg.progress import Progress, silent
from autoseg.workspace import Workspace


@dataclass(frozen=True)
class Predicted:
    """What a prediction did.

    Attributes
    ----------
    files : case -> segmentation
    skipped : cases that were finished before
    dataset, configuration, folds : which models were used
    execution : device, precision and memory format
    seconds : from the first file read to the last one written
    """

    files: Mapping[str, Path]
    skipped: tuple[str, ...]
    dataset: str
    configuration: str
    folds: tuple[str, ...]
    execution: str
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON document."""
        return {
            "dataset": self.dataset,
            "configuration": self.configuration,
            "folds": list(self.folds),
            "execution": self.execution,
            "seconds": round(self.seconds, 3),
            "files": {case: str(path) for case, path in self.files.items()},
            "skipped": list(self.skipped),
        }


def predict(
    inputs: Path | str | Sequence[Path | str],
    output: Path | str,
    *,
    dataset: str | None = None,
    configuration: str | None = None,
    folds: Sequence[str | int] | None = None,
    model: Path | str | None = None,
    step: float | None = None,
    mirror: bool = True,
    probabilities: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    workspace: Path | str | None = None,
    progress: Progress = silent,
    notify: Callable[[str], None] = lambda text: None,
    announce: Callable[[dict[str, object]], None] = lambda understood: None,
) -> Predicted:
    """Segment scans.

    Parameters
    ----------
    inputs : a folder in any known layout, a folder of files, a case's folder, or one file, or several of these; channels are matched by name
        where they are named
    output : folder for `<case><file ending>`, made if it is missing
    dataset : whose model; by default the one last planned
    configuration : by default the trained one with the best validation Dice
    folds : by default all that are trained; their logits are averaged
    model : a model folder instead of dataset and configuration: `fold_<k>`, or the folder that holds them
    step : distance of windows as a part of the patch, 0..1; by default the plan's
    mirror : average over mirrored images
    probabilities : also write `<case>.npz`
    overwrite : predict finished cases again
    device : "auto", "cpu", "cuda", "cuda:1" or "mps"
    workspace : where models are looked up; by default `AUTOSEG_WORKSPACE`, else the current folder
    progress, notify, announce : told how far it is, decisions in words, and once what was understood

    Raises
    ------
    AutosegError
        there is no trained model, two ways to name it are mixed, no case was found, a channel is missing or a file is damaged (names case
        and file)
    """
    sources = [Path(inputs)] if isinstance(inputs, Path | str) else [Path(one) for one in inputs]
    if model and (dataset or configuration):
        raise AutosegError(f"Give the model folder {model}, or a dataset and a configuration, not both: the folder says what it was trained for.")
    folders, reason = (_folders(Path(model)), None) if model else _trained_folders(Workspace.find(workspace), dataset, configuration)
    if folds is not None:
        folders = _only(folders, list(dict.fromkeys(str(fold) for fold in folds)))
    chosen = pick_device(device)
    models = load_folds(folders)
    plan = models[0].plan
    used = tuple(folder.name.removeprefix("fold_") for folder in folders)
    understood: dict[str, object] = {"dataset": plan.dataset.name, "configuration": models[0].configuration_name, "fold": " + ".join(used)}
    announce(understood | {"device": chosen, "input": ", ".join(map(str, sources))})
    if reason:
        notify(reason)
    cases = find_all_cases(sources, plan.dataset.channel_names)
    require_writable(Path(output))
    predictor = Predictor(models, chosen, step=step, mirror=mirror)
    started = time.monotonic()
    sweep(Path(output))
    outcome = predict_cases(
        predictor, cases, Path(output), Source.of(models, predictor), probabilities=probabilities, overwrite=overwrite, progress=progress
    )  # fmt: skip
    return Predicted(
        outcome.files,
        outcome.skipped,
        plan.dataset.name,
        models[0].configuration_name,
        used,
        predictor.execution.describe(),
        time.monotonic() - started,
    )


def _folders(model: Path) -> list[Path]:
    if is_trained(model):
        return [model]
    found = _trained_folds(model)
    if not found:
        raise AutosegError(f"{model} holds no trained model: neither weights nor folders fold_<k> with weights.")
    return found


def _trained_folders(place: Workspace, dataset: str | None, configuration: str | None) -> tuple[list[Path], str | None]:
    """The folds to use, and, where there was a choice, a line that says why these."""
    name = place.resolve(dataset) if dataset else place.current()
    root = place.root / "models" / name
    trained = {folder.name: _trained_folds(folder) for folder in sorted(root.iterdir()) if folder.is_dir()} if root.is_dir() else {}
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


def _trained_folds(folder: Path) -> list[Path]:
    """The trained folds in a configuration's folder: 0, 1, ...; the one of all cases only where there are no others."""
    found = sorted(entry for entry in folder.glob("fold_*") if is_trained(entry))
    return [entry for entry in found if entry.name != "fold_all"] or found


def _only(folders: list[Path], wanted: list[str]) -> list[Path]:
    root = folders[0].parent
    chosen = [root / f"fold_{fold}" for fold in wanted]
    for folder in chosen:
        if not is_trained(folder):
            there = ", ".join(entry.name.removeprefix("fold_") for entry in sorted(root.glob("fold_*")) if is_trained(entry))
            raise AutosegError(f"Fold '{folder.name.removeprefix('fold_')}' in {root} is not trained. Trained are: {there}.")
    return chosen


def _validation_dice(folders: list[Path]) -> float:
    """Mean over folds of the validation's foreground Dice; -1 where no fold was validated."""
    scores = []
    for folder in folders:
        path = folder / "metrics.json"
        if path.is_file():
            value = read_json(path).get("foreground_mean", {}).get("dice")
            scores += [value] if value is not None else []
    return sum(scores) / len(scores) if scores else -1.0
