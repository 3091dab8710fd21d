"""`predict`: trained models applied to scans in whatever folder they lie."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from autoseg.api._models import Chosen, choose_models
from autoseg.api._output import require_elsewhere
from autoseg.api._tasks import DONE, SEGMENTATION, require_segmenting
from autoseg.api._validate_reconstruction import place_reconstructor
from autoseg.data.dataset import Case
from autoseg.data.inputs import find_all_cases
from autoseg.errors import listing
from autoseg.evaluation.postprocessing import apply_rules
from autoseg.files import require_writable, sweep
from autoseg.inference.cascade import TrainedFolds, load_trained, trained_on_others
from autoseg.inference.class_table import TABLE as CLASSES
from autoseg.inference.class_table import classify_cases
from autoseg.inference.classes import ClassPredictor
from autoseg.inference.execution import pick_device
from autoseg.inference.model_folder import Model, fold_of, load_folds
from autoseg.inference.run import Outcome, Source, predict_cases, reconstruct_cases
from autoseg.inference.several import place_together
from autoseg.inference.uncertainty_files import TABLE
from autoseg.planning.plan import Plan
from autoseg.progress import Progress, silent


@dataclass(frozen=True)
class Predicted:
    """What a prediction did.

    Attributes
    ----------
    files : case -> segmentation, or map of anomalies, or the first channel of the denoised scan
    skipped : cases that were finished before
    dataset, configuration, folds : which models were used; several configurations are joined by " + "
    postprocessing : rules that were applied, in words
    uncertainty : `uncertainty.csv` where it was asked for, the most doubtful cases in `uncertainty/most_doubtful.png`; else None
    overlays : sheets of pictures where they were asked for, each case's own in `overlays/<case>.png`; else empty
    classification : `classification.csv` where the model classifies, else None; `files` names it for every case where it does not segment
    execution : device, precision and memory format
    seconds : from the first file read to the last one written
    task : what the models were trained for
    """

    files: Mapping[str, Path]
    skipped: tuple[str, ...]
    dataset: str
    configuration: str
    folds: tuple[str, ...]
    postprocessing: tuple[str, ...]
    uncertainty: Path | None
    overlays: tuple[Path, ...]
    classification: Path | None
    execution: str
    seconds: float
    task: str = SEGMENTATION

    @property
    def done(self) -> str:
        """What became of a case, in words, such as "segmented"."""
        return DONE[self.task]

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON document."""
        return {
            "dataset": self.dataset,
            "configuration": self.configuration,
            "task": self.task,
            "folds": list(self.folds),
            "postprocessing": list(self.postprocessing),
            "uncertainty": str(self.uncertainty) if self.uncertainty else None,
            "overlays": [str(path) for path in self.overlays],
            "classification": str(self.classification) if self.classification else None,
            "execution": self.execution,
            "seconds": round(self.seconds, 3),
            "files": {case: str(path) for case, path in self.files.items()},
            "skipped": list(self.skipped),
        }


@dataclass(frozen=True)
class Segmented:
    """A prediction, and what further work on it needs: the cases, sorted by name, and the plan."""

    predicted: Predicted
    cases: tuple[Case, ...]
    plan: Plan


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
    uncertainty: bool = False,
    overlay: bool = False,
    postprocessing: bool = True,
    overwrite: bool = False,
    device: str = "auto",
    workspace: Path | str | None = None,
    progress: Progress = silent,
    notify: Callable[[str], None] = lambda text: None,
    announce: Callable[[dict[str, object]], None] = lambda understood: None,
) -> Predicted:
    """Segment scans; or classify them, find what is unusual in them, or take their noise away, where that is what the model was trained for.

    Parameters
    ----------
    inputs : a folder in any known layout, a folder of files, a case's folder, or one file, or several of these; channels are matched by name
        where they are named
    output : folder for `<case><file ending>`, or for `classification.csv`, made if it is missing; a denoised scan is one file a channel,
        `<case>_0000<file ending>`
    dataset : whose model; by default the one last planned
    configuration : by default what `select` chose, be it one or several, and its post-processing; where nothing was selected, the trained one with
        the best validation Dice
    folds : by default all that are trained; their logits are averaged. A cascade's previous stage is always predicted with all its trained folds
    model : a model folder instead of dataset and configuration: `fold_<k>`, the folder that holds them, or one that holds `selection.json` and what
        it names; a cascade's previous stage lies beside the folder of its own folds
    step : distance of windows as a part of the patch, 0..1; by default the plan's
    mirror : average over mirrored images
    probabilities : also write `<case>.npz`
    uncertainty : also write maps and a picture into `uncertainty/`, and `uncertainty.csv`
    overlay : also draw what was found on each scan, `overlays/<case>.png`, and on sheets, `overlays.png`
    postprocessing : apply the rules of what was selected
    overwrite : predict finished cases again
    device : "auto", "cpu", "cuda", "cuda:1" or "mps"
    workspace : where models are looked up; by default `AUTOSEG_WORKSPACE`, else the current folder
    progress, notify, announce : told how far it is, decisions in words, and once what was understood

    Raises
    ------
    AutosegError
        the output is the folder of the scans, there is no trained model, or none of a cascade's previous stage, two ways to name it are
        mixed, no case was found, a channel is missing or a file is damaged (names case and file), or probabilities or uncertainty are asked of a
        model that does not segment
    """
    done = segment(
        inputs, output, dataset=dataset, configuration=configuration, folds=folds, model=model, step=step, mirror=mirror,
        probabilities=probabilities, uncertainty=uncertainty, overlay=overlay, postprocessing=postprocessing, overwrite=overwrite, device=device,
        workspace=workspace, progress=progress, notify=notify, announce=announce,
    )  # fmt: skip
    if not overlay:
        return done.predicted
    from autoseg.api._overlays import mark_cases  # pictures: half a second that other predictions need not wait for

    started = time.monotonic()
    marked = mark_cases(
        done.cases, done.predicted.files, done.plan.labels, Path(output), regions=done.plan.learns_regions, overwrite=overwrite, progress=progress
    )
    return replace(done.predicted, overlays=marked.sheets, seconds=done.predicted.seconds + time.monotonic() - started)


def segment(
    inputs: Path | str | Sequence[Path | str],
    output: Path | str,
    *,
    dataset: str | None,
    configuration: str | None,
    folds: Sequence[str | int] | None,
    model: Path | str | None,
    step: float | None,
    mirror: bool,
    probabilities: bool,
    uncertainty: bool,
    overlay: bool,
    postprocessing: bool,
    overwrite: bool,
    device: str,
    workspace: Path | str | None,
    progress: Progress,
    notify: Callable[[str], None],
    announce: Callable[[dict[str, object]], None],
) -> Segmented:
    """What `predict` does but for pictures; `overlay` makes sure that there will be room for them."""
    sources = [Path(inputs)] if isinstance(inputs, Path | str) else [Path(one) for one in inputs]
    models = choose_models(model, dataset, configuration, folds, workspace)
    chosen = pick_device(device)
    trained = [load_trained(folders) for folders in models.members]
    announce(_understood(trained) | {"device": chosen, "input": ", ".join(map(str, sources))})
    if models.reason:
        notify(models.reason)
    target = Path(output)
    require_elsewhere(target, sources)
    cases = find_all_cases(sources, trained[0].plan.dataset.channel_names, stack=trained[0].plan.dataset.stack)
    require_writable(target)
    if trained[0].task != SEGMENTATION:
        _require_no_classes(trained[0], probabilities=probabilities, uncertainty=uncertainty, overlay=overlay)
        started = time.monotonic()
        sweep(target)
        if trained[0].task == "classification":
            predictor = ClassPredictor(trained[0].models, chosen, step=step, mirror=mirror)
            by = Source.of(trained[0].models, predictor)
            found, skipped = classify_cases(predictor, cases, target, by, overwrite=overwrite, progress=progress)
            classified = Outcome(dict.fromkeys(found, target / CLASSES), skipped)
            return Segmented(
                _predicted(classified, (by,), (), None, target / CLASSES, predictor.execution.describe(), started), tuple(cases), predictor.plan
            )
        reconstructor, by = place_reconstructor(trained[0].models, chosen, step=step, mirror=mirror)
        made = reconstruct_cases(reconstructor, cases, target, by, overwrite=overwrite, progress=progress)
        return Segmented(_predicted(made, (by,), (), None, None, reconstructor.execution.describe(), started), tuple(cases), reconstructor.plan)
    if overlay:
        from autoseg.api._overlays import require_room

        require_room([target / f"{case.name}{trained[0].plan.dataset.file_ending}" for case in cases], target, overwrite=overwrite)
    segmenter, made_by = place_together(trained, chosen, step=step, mirror=mirror)
    for folders, source in zip(models.members, made_by, strict=True):
        _notice_other_previous(folders, source, notify)
    _notice_other_weights(models, made_by, notify, some=folds is not None)
    rules = models.rules if postprocessing else ()
    if models.rules:
        listed = "; ".join(rule.describe() for rule in models.rules)
        notify(f"Post-processing: {listed}." if rules else f"Without the post-processing that was selected: {listed}.")
    started = time.monotonic()
    sweep(target)
    outcome = predict_cases(
        segmenter, cases, target, made_by, probabilities=probabilities, uncertainty=uncertainty, overwrite=overwrite, progress=progress,
        finish=partial(apply_rules, rules=rules) if rules else None, rules=[rule.model_dump(mode="json", exclude_none=True) for rule in rules],
    )  # fmt: skip
    classes = None
    if len(trained) > 1 and any(one.models[0].configuration.classification for one in trained):
        notify("An ensemble of several configurations gives segmentations, and no classes: predict with one (-c) for those.")
    elif trained[0].models[0].configuration.classification is not None:
        if overwrite:
            (target / CLASSES).unlink(missing_ok=True)
        predictor = ClassPredictor(load_folds(models.members[0]), chosen, step=step, mirror=mirror)
        written = [rule.model_dump(mode="json", exclude_none=True) for rule in rules]
        classify_cases(predictor, cases, target, made_by[0], rules=written, progress=progress, stage="classify")
        classes = target / CLASSES
    if uncertainty:
        from autoseg.api._doubt import draw_doubtful  # pictures and tables: half a second that other predictions need not wait for

        draw_doubtful(cases, outcome.files, segmenter.plan, target)
    doubt = target / TABLE if uncertainty else None
    predicted = _predicted(outcome, made_by, tuple(rule.describe() for rule in rules), doubt, classes, segmenter.execution.describe(), started)
    return Segmented(predicted, tuple(cases), segmenter.plan)


def _predicted(
    outcome: Outcome,
    made_by: Sequence[Source],
    rules: tuple[str, ...],
    uncertainty: Path | None,
    classes: Path | None,
    execution: str,
    started: float,
) -> Predicted:
    return Predicted(
        outcome.files, outcome.skipped, made_by[0].dataset, " + ".join(source.configuration for source in made_by),
        tuple(dict.fromkeys(fold for source in made_by for fold in source.folds)), rules, uncertainty, (), classes, execution,
        time.monotonic() - started, made_by[0].task,
    )  # fmt: skip


def _require_no_classes(trained: TrainedFolds, **wanted: bool) -> None:
    said = {"overlay": "marking structures (--overlay, autoseg locate)"}
    if asked := [said.get(name, f"--{name}") for name, wished in wanted.items() if wished]:
        require_segmenting({trained.configuration_name: trained.task}, f"there are no structures for {listing(asked)}. Leave it out.")


def _understood(trained: Sequence[TrainedFolds]) -> dict[str, object]:
    """Which models will be used, for the first line."""
    used: dict[str, object] = {"dataset": trained[0].plan.dataset.name, "configuration": " + ".join(one.configuration_name for one in trained)}
    folds = list(dict.fromkeys(_folds(one.models) for one in trained))
    used["fold"] = " and ".join(folds)
    previous = list(dict.fromkeys(f"{one.previous[0].configuration_name} (fold {_folds(one.previous)})" for one in trained if one.previous))
    return used | ({"previous stage": " and ".join(previous)} if previous else {})


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


def _notice_other_weights(models: Chosen, made_by: Sequence[Source], notify: Callable[[str], None], *, some: bool) -> None:
    """Say when a configuration has other weights or, unless `some` folds were asked for, other folds than when it was selected."""
    if models.selection is None:
        return
    known = {member.configuration: member.weights for member in models.selection.members}
    for source in made_by:
        weights = known[source.configuration]
        now = dict(zip(source.folds, source.weights, strict=True))
        if weights and (any(weights.get(fold) != digest for fold, digest in now.items()) or (weights.keys() != now.keys() and not some)):
            notify(
                f"{source.configuration} has other folds or weights than when it was selected. To compare anew: autoseg select -d {source.dataset}"
            )
