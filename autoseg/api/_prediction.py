"""A prediction from what was asked for to what was done: models are chosen, cases found, and segmented, classified or reconstructed."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from autoseg.api._models import Chosen, choose_models
from autoseg.api._output import require_elsewhere
from autoseg.api._tasks import DONE, SEGMENTATION, require_segmenting
from autoseg.api._validate_reconstruction import place_reconstructor
from autoseg.data.dataset import Case
from autoseg.data.inputs import find_all_cases
from autoseg.errors import counted, listing
from autoseg.evaluation.postprocessing import Rule, apply_rules
from autoseg.files import require_writable, sweep
from autoseg.imaging.sources import Absent
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
from autoseg.planning.schema.configuration import channel_positions
from autoseg.progress import Progress


@dataclass(frozen=True)
class Request:
    """What a prediction was asked for; see `predict` for each."""

    inputs: Path | str | Sequence[Path | str]
    output: Path | str
    dataset: str | None
    configuration: str | None
    folds: Sequence[str | int] | None
    model: Path | str | None
    step: float | None
    mirror: bool
    probabilities: bool
    uncertainty: bool
    overlay: bool
    postprocessing: bool
    overwrite: bool
    device: str
    workspace: Path | str | None
    progress: Progress
    notify: Callable[[str], None]
    announce: Callable[[dict[str, object]], None]


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
class Done:
    """A prediction, and what further work on it needs: the cases, sorted by name, and the plan."""

    predicted: Predicted
    cases: tuple[Case, ...]
    plan: Plan


def carry_out(request: Request) -> Done:
    """What was asked for but for pictures, for which there will be room where they are wanted.

    Raises
    ------
    AutosegError
        as `predict`
    """
    sources = [Path(request.inputs)] if isinstance(request.inputs, Path | str) else [Path(one) for one in request.inputs]
    models = choose_models(request.model, request.dataset, request.configuration, request.folds, request.workspace)
    device = pick_device(request.device)
    trained = [load_trained(folders) for folders in models.members]
    request.announce(_understood(trained) | {"device": device, "input": ", ".join(map(str, sources))})
    if models.reason:
        request.notify(models.reason)
    target = Path(request.output)
    require_elsewhere(target, sources)
    spare = _unseen_channels(trained)
    cases = find_all_cases(sources, trained[0].plan.dataset.channel_names, spare=spare, stack=trained[0].plan.dataset.stack)
    _notice_absent(cases, trained[0].plan.dataset.channel_names, request.notify)
    require_writable(target)
    if trained[0].task == SEGMENTATION:
        return _segment(request, models, trained, cases, device)
    _require_no_structures(trained[0], probabilities=request.probabilities, uncertainty=request.uncertainty, overlay=request.overlay)
    do = _classify if trained[0].task == "classification" else _reconstruct
    return do(request, trained[0], cases, device)


def _classify(request: Request, trained: TrainedFolds, cases: Sequence[Case], device: str) -> Done:
    target, started = Path(request.output), time.monotonic()
    sweep(target)
    predictor = ClassPredictor(trained.models, device, step=request.step, mirror=request.mirror)
    by = Source.of(trained.models, predictor)
    found, skipped = classify_cases(predictor, cases, target, by, overwrite=request.overwrite, progress=request.progress)
    outcome = Outcome(dict.fromkeys(found, target / CLASSES), skipped)
    return Done(_predicted(outcome, (by,), (), None, target / CLASSES, predictor.execution.describe(), started), tuple(cases), predictor.plan)


def _reconstruct(request: Request, trained: TrainedFolds, cases: Sequence[Case], device: str) -> Done:
    target, started = Path(request.output), time.monotonic()
    sweep(target)
    reconstructor, by = place_reconstructor(trained.models, device, step=request.step, mirror=request.mirror)
    outcome = reconstruct_cases(reconstructor, cases, target, by, overwrite=request.overwrite, progress=request.progress)
    return Done(_predicted(outcome, (by,), (), None, None, reconstructor.execution.describe(), started), tuple(cases), reconstructor.plan)


def _segment(request: Request, models: Chosen, trained: Sequence[TrainedFolds], cases: Sequence[Case], device: str) -> Done:
    target = Path(request.output)
    if request.overlay:
        from autoseg.api._overlays import require_room

        require_room([target / f"{case.name}{trained[0].plan.dataset.file_ending}" for case in cases], target, overwrite=request.overwrite)
    segmenter, made_by = place_together(trained, device, step=request.step, mirror=request.mirror)
    for folders, source in zip(models.members, made_by, strict=True):
        _notice_other_previous(folders, source, request.notify)
    _notice_other_weights(models, made_by, request.notify, some=request.folds is not None)
    rules = _rules(request, models)
    written = [rule.model_dump(mode="json", exclude_none=True) for rule in rules]
    started = time.monotonic()
    sweep(target)
    outcome = predict_cases(
        segmenter, cases, target, made_by, probabilities=request.probabilities, uncertainty=request.uncertainty, overwrite=request.overwrite,
        progress=request.progress, finish=partial(apply_rules, rules=rules) if rules else None, rules=written,
    )  # fmt: skip
    classes = None
    if len(trained) > 1 and any(one.models[0].configuration.classification for one in trained):
        request.notify("An ensemble of several configurations gives segmentations, and no classes: predict with one (-c) for those.")
    elif trained[0].models[0].configuration.classification is not None:
        classes = target / CLASSES
        if request.overwrite:
            classes.unlink(missing_ok=True)
        predictor = ClassPredictor(load_folds(models.members[0]), device, step=request.step, mirror=request.mirror)
        classify_cases(predictor, cases, target, made_by[0], rules=written, progress=request.progress, stage="classify")
    if request.uncertainty:
        from autoseg.api._doubt import draw_doubtful  # pictures and tables: half a second that other predictions need not wait for

        draw_doubtful(cases, outcome.files, segmenter.plan, target)
    doubt = target / TABLE if request.uncertainty else None
    predicted = _predicted(outcome, made_by, tuple(rule.describe() for rule in rules), doubt, classes, segmenter.execution.describe(), started)
    return Done(predicted, tuple(cases), segmenter.plan)


def _unseen_channels(trained: Sequence[TrainedFolds]) -> set[int]:
    """Places of the dataset's channels that none of the networks looks at."""
    known = trained[0].plan.dataset.channel_names
    models = [model for one in trained for model in (*one.models[:1], *one.previous[:1])]
    seen = {place for model in models for place in channel_positions(model.plan.image_channels(model.configuration_name), known) or range(len(known))}
    return set(range(len(known))) - seen


def _notice_absent(cases: Sequence[Case], names: Sequence[str], notify: Callable[[str], None]) -> None:
    lacking = [sum(isinstance(case.channels[place], Absent) for case in cases if place < len(case.channels)) for place in range(len(names))]
    if said := [f"{name} of {counted(number, 'case')}" for name, number in zip(names, lacking, strict=True) if number]:
        notify(f"Not there, and not looked at by these networks: {listing(said)}.")


def _rules(request: Request, models: Chosen) -> Sequence[Rule]:
    """Post-processing that is wished for, of what was selected; says what is done."""
    rules = models.rules if request.postprocessing else ()
    if models.rules:
        listed = "; ".join(rule.describe() for rule in models.rules)
        request.notify(f"Post-processing: {listed}." if rules else f"Without the post-processing that was selected: {listed}.")
    return rules


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


def _require_no_structures(trained: TrainedFolds, **wanted: bool) -> None:
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
