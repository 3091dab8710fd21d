"""The validation of a trained fold: its held-out cases predicted from their files, as a user would, and judged."""

from collections.abc import Callable, Mapping, Sequence
from math import isnan
from pathlib import Path

from autoseg.api._tasks import SEGMENTATION
from autoseg.api._validate_reconstruction import validate_reconstruction
from autoseg.api._validation_folder import announcement, from_worst_to_best, validation_folder
from autoseg.data.dataset import Case, Labels
from autoseg.evaluation.evaluate import evaluate_folder
from autoseg.evaluation.reconstructions import ReconstructionScores
from autoseg.evaluation.result import Evaluation
from autoseg.evaluation.targets import targets_learned
from autoseg.imaging.image import Shape3
from autoseg.imaging.read import read_labels
from autoseg.inference.cascade import load_trained
from autoseg.inference.model_folder import fold_of
from autoseg.inference.run import is_finished, predict_cases
from autoseg.inference.timing import TIMING, MemoryWatch, TimingRecord, describe_machine
from autoseg.preprocessing.source import read_shown
from autoseg.progress import Progress, silent
from autoseg.reporting.overlay import Comparison, draw_comparison
from autoseg.reporting.scores import draw_scores


def validate(
    folder: Path,
    cases: list[Case],
    device: str,
    *,
    shapes: Mapping[str, Shape3] | None = None,
    progress: Progress = silent,
    notify: Callable[[str], None] = lambda text: None,
    stage: str = "validate",
) -> Evaluation | ReconstructionScores:
    """Predict and judge cases with the model in `folder`.

    Writes `validation/` (segmentations, probabilities for a later selection, and what they took), `metrics.csv`, `metrics.json`, `validation.png`
    (cases) and `scores.png` into it. Of networks that give the image again see `validate_reconstruction`.

    Parameters
    ----------
    folder : of a trained fold; for a cascade the same fold of its previous stage is used, because the others were trained on these cases
    cases : with labels, at least one
    device : as `pick_device` gives it
    shapes : case -> voxels along Z, Y, X once it is ready, to say how long it will take; None: nobody knows
    progress, notify : told how far it is, and how long it will take
    stage : name of the predictions in the progress

    Raises
    ------
    AutosegError
        a case cannot be read, predicted or judged (names it); what was finished before stays
    """
    watch = MemoryWatch(device)
    trained = load_trained([folder], previous_fold=fold_of(folder))
    if trained.task != SEGMENTATION:
        return validate_reconstruction(folder, trained, cases, device, shapes=shapes, progress=progress, notify=notify, stage=stage)
    segmenter, source = trained.place(device)
    labels = segmenter.plan.labels
    output = validation_folder(folder, source)
    ahead = [case.name for case in cases if not is_finished(case, output / f"{case.name}{segmenter.plan.dataset.file_ending}", probabilities=True)]
    notify(announcement(cases, ahead, segmenter, shapes))
    timing = TimingRecord(output / TIMING, segmenter.execution.describe(), describe_machine(device), watch)
    outcome = predict_cases(segmenter, cases, output, source, probabilities=True, timed=timing.add, progress=progress, stage=stage)
    references = {case.name: case.label for case in cases if case.label}
    targets = targets_learned(labels, regions=segmenter.plan.learns_regions)
    evaluation = evaluate_folder(outcome.files, references, labels, targets=targets, progress=progress)
    evaluation.write(folder)
    draw_scores(evaluation.table, folder / "scores.png")
    draw_cases(cases, outcome.files, evaluation, labels, segmenter.plan.dataset.channel_names, folder / "validation.png")
    return evaluation


def draw_cases(
    cases: Sequence[Case],
    predictions: Mapping[str, Path],
    evaluation: Evaluation,
    labels: Labels,
    channel_names: Sequence[str],
    target: Path,
    *,
    title: str = "",
) -> None:
    """A picture of a few cases between the worst and the best."""
    by_name = {case.name: case for case in cases}
    table = evaluation.table
    means = table[table["region"] == (evaluation.leading == "regions")].groupby("case")["dice"].mean()
    dice = {str(case): float(mean) for case, mean in means.items()}
    rows = [_comparison(by_name[name], channel_names, predictions[name], dice[name]) for name in from_worst_to_best(dice)]
    draw_comparison(rows, target, labels=labels, title=title)


def _comparison(case: Case, channel_names: Sequence[str], prediction: Path, dice: float) -> Comparison:
    image = read_shown(case, channel_names)
    reference = read_labels(case.label).array if case.label else None
    geometry = image.geometry
    return Comparison(
        case.name, image.array[0], read_labels(prediction).array, reference, geometry.spacing,
        note="empty in both" if isnan(dice) else f"mean Dice {dice:.3f}", affine=None if geometry.flat else geometry.affine,
    )  # fmt: skip
