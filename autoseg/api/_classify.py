"""What is done otherwise where a configuration classifies: which cases have a class, prediction into a table, and the validation of a fold."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoseg.api._validation_folder import CLASSES_PICTURE, validation_folder
from autoseg.data.dataset import Case
from autoseg.errors import counted
from autoseg.evaluation.classification import ClassEvaluation, Examples, evaluate_classes
from autoseg.files import write_text
from autoseg.imaging.read import read_labels
from autoseg.inference.class_table import TABLE, classify_cases, table_text
from autoseg.inference.classes import Classified, ClassPredictor
from autoseg.inference.model_folder import load_folds
from autoseg.inference.run import Source
from autoseg.planning.plan import Classification, Plan
from autoseg.preprocessing.source import naming
from autoseg.progress import Progress, silent
from autoseg.reporting.classes import draw_classification

Truth = Mapping[int | None, str]  # of each slice, and of None: the case


def classes_of(cases: Sequence[Case], block: Classification) -> dict[str, int] | None:
    """The class of each case that has one; None where the voxels tell it."""
    if block.of_presence:
        return None
    known = ((case.name, case.attributes.get(block.target)) for case in cases)
    return {name: block.classes.index(value) for name, value in known if value in block.classes}


def validate_classes(
    folder: Path,
    cases: Sequence[Case],
    device: str,
    *,
    progress: Progress = silent,
    notify: Callable[[str], None] = lambda text: None,
    stage: str = "validate",
) -> ClassEvaluation:
    """Classify and judge cases with the model in `folder`.

    Writes `validation/classification.csv`, and into the folder `classification.csv` (with the truth), `metrics.csv`, `metrics.json` and
    `classification.png`. Where the model segments too these are `class_metrics.csv` and `class_metrics.json`.

    Parameters
    ----------
    folder : of a trained fold
    cases : with labels, at least one
    device : as `pick_device` gives it
    progress, notify : told how far it is
    stage : name of the predictions in the progress

    Raises
    ------
    AutosegError
        a case cannot be read or classified (names it); what was finished before stays
    """
    models = load_folds([folder])
    predictor = ClassPredictor(models, device)
    source = Source.of(models, predictor)
    output = validation_folder(folder, source)
    notify(f"Validation of {counted(len(cases), 'case')} ({predictor.execution.describe()}).")
    found, _ = classify_cases(predictor, cases, output, source, progress=progress, stage=stage)
    block = predictor.block
    truth = {case.name: _truth(case, found[case.name], predictor.plan, block) for case in cases}
    groups = {case.name: case.group for case in cases}
    evaluation = evaluate_classes(_levels(found, truth, groups, block.classes), block.target, block.classes)
    write_text(folder / TABLE, table_text(found, block.classes, truth))
    evaluation.write(folder, "metrics" if predictor.configuration.task == "classification" else "class_metrics")
    draw_classification(evaluation, folder / CLASSES_PICTURE)
    for note in evaluation.notes:
        notify(note)
    return evaluation


def _truth(case: Case, found: Classified, plan: Plan, block: Classification) -> Truth:
    """What is known of a case and of those of its slices that were looked at."""
    if not block.of_presence:
        own = case.attributes.get(block.target)
        return dict.fromkeys((*found.slices, None), own) if own in block.classes else {}
    if case.label is None:
        return {}
    with naming(case):
        labels = read_labels(case.label)
    along_SN = np.moveaxis(plan.labels.to_classes(labels.array), plan.transpose_forward[0], 0)
    rows_SN = along_SN.reshape(len(along_SN), -1)
    known = {z: _presence(rows_SN[z], block) for z in found.slices} | {None: _presence(rows_SN, block)}
    return {z: name for z, name in known.items() if name is not None}


def _presence(classes: NDArray[np.int16], block: Classification) -> str | None:
    """None where there is no foreground, and not all was annotated."""
    if (classes > 0).any():
        return block.classes[1]
    return None if (classes < 0).any() else block.classes[0]


def _levels(found: Mapping[str, Classified], truth: Mapping[str, Truth], groups: Mapping[str, str], classes: Sequence[str]) -> dict[str, Examples]:
    """Examples of slices, where cases have several, and of cases."""
    slices = [(name, z, p) for name, one in found.items() for z, p in one.slices.items() if z in truth[name]]
    whole = [(name, None, one.case) for name, one in found.items() if None in truth[name]]
    return {level: _examples(rows, truth, groups, classes) for level, rows in (("slice", slices), ("case", whole))}


def _examples(
    rows: Sequence[tuple[str, int | None, tuple[float, ...]]], truth: Mapping[str, Truth], groups: Mapping[str, str], classes: Sequence[str]
) -> Examples:
    return Examples(
        np.array([classes.index(truth[name][z]) for name, z, _ in rows], dtype=np.intp),
        np.array([p for _, _, p in rows], dtype=np.float64).reshape(-1, len(classes)),
        [groups[name] for name, _, _ in rows],
    )
