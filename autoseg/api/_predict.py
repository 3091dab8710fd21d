"""`predict`: trained models applied to scans in whatever folder they lie."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoseg.api._models import choose_models
from autoseg.data.inputs import find_all_cases
from autoseg.errors import AutosegError
from autoseg.files import require_writable, sweep
from autoseg.inference.cascade import Ensemble, load_ensemble, trained_on_others
from autoseg.inference.execution import pick_device
from autoseg.inference.model_folder import Model, fold_of
from autoseg.inference.run import Source, predict_cases
from autoseg.progress import Progress, silent


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
    folds : by default all that are trained; their logits are averaged. A cascade's previous stage is always predicted with all its trained folds
    model : a model folder instead of dataset and configuration: `fold_<k>`, or the folder that holds them; a cascade's previous stage lies beside
        the latter
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
        the output is the folder of the scans, there is no trained model, or none of a cascade's previous stage, two ways to name it are
        mixed, no case was found, a channel is missing or a file is damaged (names case and file)
    """
    sources = [Path(inputs)] if isinstance(inputs, Path | str) else [Path(one) for one in inputs]
    folders, reason = choose_models(model, dataset, configuration, folds, workspace)
    chosen = pick_device(device)
    ensemble = load_ensemble(folders)
    announce(_understood(ensemble) | {"device": chosen, "input": ", ".join(map(str, sources))})
    if reason:
        notify(reason)
    if any(one.is_dir() and one.resolve() == Path(output).resolve() for one in sources):
        raise AutosegError(
            f"{output} is the folder that the scans lie in; next time its segmentations would be taken for scans. Choose another with -o."
        )
    cases = find_all_cases(sources, ensemble.plan.dataset.channel_names)
    require_writable(Path(output))
    segmenter, source = ensemble.place(chosen, step=step, mirror=mirror)
    _notice_other_previous(folders, source, notify)
    started = time.monotonic()
    sweep(Path(output))
    outcome = predict_cases(segmenter, cases, Path(output), source, probabilities=probabilities, overwrite=overwrite, progress=progress)
    seconds = time.monotonic() - started
    execution = segmenter.execution.describe()
    return Predicted(outcome.files, outcome.skipped, source.dataset, source.configuration, source.folds, execution, seconds)


def _understood(ensemble: Ensemble) -> dict[str, object]:
    """Which models will be used, for the first line."""
    used: dict[str, object] = {"dataset": ensemble.plan.dataset.name, "configuration": ensemble.configuration_name, "fold": _folds(ensemble.models)}
    if not ensemble.previous:
        return used
    return used | {"previous stage": f"{ensemble.previous[0].configuration_name} (fold {_folds(ensemble.previous)})"}


def _folds(models: Sequence[Model]) -> str:
    return " + ".join(fold_of(model.folder) for model in models)


def _notice_other_previous(folders: Sequence[Path], source: Source, notify: Callable[[str], None]) -> None:
    """Say when the previous stage of a cascade was trained again after the cascade learnt from its segmentations."""
    name = source.previous.configuration if source.previous else ""
    for folder in folders:
        if others := trained_on_others(folder, source.previous):
            notify(
                f"{folder.name} of {source.configuration} was trained on segmentations of an earlier {name} (fold {' + '.join(others)} is another"
                " now). For the best result train it again with --restart."
            )
