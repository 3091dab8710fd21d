"""Judging predictions against references: one case, or a folder of them.

- Prediction and reference must share one grid; a metric across two grids would be a number without meaning, so it is an error.
- A value that nobody declared is an error too; a prediction without reference is an error, a reference without prediction is reported.
- Whatever is wrong with any case is said at once, after all cases were tried.
- Cases run in threads: reading and searching release the interpreter. Memory holds one case a worker.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib import import_module
from pathlib import Path
from typing import TypeVar

from autoseg.data.dataset import Labels
from autoseg.data.pictures import is_sheet
from autoseg.data.source_kinds import tells_spacing
from autoseg.errors import AutosegError, GeometryMismatch, listing
from autoseg.evaluation.distances import ASSD_POOLED, surface_measures
from autoseg.evaluation.pair import Pair, pair_up
from autoseg.evaluation.result import MM, PIXELS, Evaluation, Row, Target, tabulate
from autoseg.evaluation.schemes import TOLERANCE, Scheme, scheme_named
from autoseg.evaluation.targets import targets_of
from autoseg.imaging.image import LabelMap, Spacing3, require_same_grid
from autoseg.imaging.read import read_labels, stem_of, suffix_of
from autoseg.imaging.sources import LabelSource
from autoseg.imaging.values import count_values
from autoseg.progress import Progress, silent

_LISTED = 20  # findings, names, or values in one message
_Job = TypeVar("_Job")
_Answer = TypeVar("_Answer")


def labels_from_values(sources: Sequence[LabelSource], *, workers: int | None = None) -> Labels:
    """Labels named after the values that the files hold, for data that nobody declared.

    Parameters
    ----------
    sources : label files or what stands for them, at least one
    workers : files looked at together; None: one for each processor

    Returns
    -------
    names "background", "label 1", ..., increasing values

    Raises
    ------
    AutosegError
        a file cannot be read, or there is only background
    """
    found = _in_threads({str(source): source for source in sources}, _values_in, workers, silent)
    values = sorted({0}.union(*found.values()))
    if len(values) == 1:
        raise AutosegError("The references hold nothing but background (0): there is nothing to evaluate. Were these the label files?")
    return Labels(("background", *(f"label {value}" for value in values[1:])), tuple(values))


def evaluate_case(
    prediction: LabelMap,
    reference: LabelMap,
    targets: Sequence[Target],
    *,
    scheme: str,
    tumour: str = "glioma",
    ignore: int | None = None,
    surface: bool = True,
    tolerance: float = TOLERANCE,
) -> list[Row]:
    """Judge one prediction.

    Parameters
    ----------
    prediction, reference : the user's values on one grid; a value of no target is background
    targets : structures to judge
    scheme, tumour : rules, see `autoseg.evaluation.schemes.scheme_named`
    ignore : value of reference voxels that count nowhere; where borders are measured, they belong to no structure on either side
    surface : whether to measure distances and lesions
    tolerance : of the NSD, millimetres, unless the scheme has one of its own

    Returns
    -------
    a row for each target, in their order; spacing is the reference's

    Raises
    ------
    GeometryMismatch
        the two do not lie on one grid
    AutosegError
        an unknown scheme
    """
    rules = scheme_named(scheme, tumour)
    require_same_grid(reference.geometry, prediction.geometry)
    pair = pair_up(prediction.array, reference.array, [value for target in targets for value in target.values], ignore=ignore)
    return _rows(pair, targets, reference.geometry.spacing, rules, surface, tolerance)


def evaluate_folder(
    predictions: Mapping[str, Path] | Path,
    references: Mapping[str, LabelSource] | Path,
    labels: Labels,
    *,
    targets: Sequence[Target] | None = None,
    scheme: str = "nnunet",
    tumour: str = "glioma",
    surface: bool = True,
    tolerance: float = TOLERANCE,
    workers: int | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Judge every prediction of a folder.

    Parameters
    ----------
    predictions, references : case -> label file, or a folder whose label files are named after their cases
    labels : what the values mean
    targets : structures to judge; None: what `labels` declare
    scheme, tumour : rules, see `autoseg.evaluation.schemes.scheme_named`
    surface : whether to measure distances and lesions
    tolerance : of the NSD, millimetres (pixels where the references do not tell their size), unless the scheme has one of its own
    workers : cases judged together; None: one for each processor
    progress : told after each case

    Returns
    -------
    the evaluation, cases in the order of their names

    Raises
    ------
    AutosegError
        no prediction; or, for all such cases together, a prediction without reference, a file that cannot be read, that lies on another grid
        (`GeometryMismatch` if that is all), or that holds a value nobody declared
    """
    rules = scheme_named(scheme, tumour)
    if not tolerance >= 0:
        raise AutosegError(f"The tolerance of the normalised surface Dice is {tolerance}; give 0 mm or more.")
    judged = targets_of(labels) if targets is None else tuple(targets)
    predicted = dict(predictions) if isinstance(predictions, Mapping) else label_files(predictions)
    expected: dict[str, LabelSource] = dict(references if isinstance(references, Mapping) else label_files(references))
    if not predicted:
        raise AutosegError(f"There is no prediction to evaluate{f' in {predictions}' if isinstance(predictions, Path) else ''}.")
    strangers = sorted(predicted.keys() - expected.keys())

    def judge(case: str) -> tuple[list[Row], float, str]:
        prediction, reference = _read_pair(predicted[case], expected[case])
        pair = pair_up(prediction.array, reference.array, labels.allowed, ignore=labels.ignore)
        _require_declared(pair, prediction, reference, predicted[case], expected[case])
        spacing = reference.geometry.spacing
        if strangers:  # no number will be told: the files are looked at for their faults alone
            return [], 0.0, ""
        unit = MM if tells_spacing(expected[case]) else PIXELS
        return _rows(pair, judged, spacing, rules, surface, tolerance), _tolerance(rules, spacing, tolerance), unit

    cases = sorted(predicted.keys() & expected.keys())
    done = _in_threads({case: case for case in cases}, judge, workers, progress, strangers)
    missing = tuple(sorted(expected.keys() - predicted.keys()))
    limits, units = {case: done[case][1] for case in cases}, {case: done[case][2] for case in cases}
    table = tabulate({case: done[case][0] for case in cases}, rules, limits, units)
    return Evaluation(rules.name, judged, table, missing, {"hd95": rules.hd95, "assd": ASSD_POOLED, "nsd": rules.nsd})


def label_files(folder: Path) -> dict[str, Path]:
    """The label files in a folder, each named after its case; sheets of pictures are none.

    Returns
    -------
    case -> file, sorted by name; empty where there is none

    Raises
    ------
    AutosegError
        it is not a folder, or two files are for one case
    """
    if not folder.is_dir():
        raise AutosegError(f"{folder} is not a folder: give the folder that holds the label files.")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.is_file() or suffix_of(path) is None or is_sheet(path):
            continue
        case = stem_of(path)
        if case in files:
            raise AutosegError(f"Two files for the case {case}: {files[case]} and {path}. Remove one.")
        files[case] = path
    return files


def _rows(pair: Pair, targets: Sequence[Target], spacing: Spacing3, scheme: Scheme, surface: bool, tolerance: float) -> list[Row]:
    boxes = pair.boxes() if surface else []
    limit = _tolerance(scheme, spacing, tolerance)
    rows = []
    for target in targets:
        counts = pair.counts(target.values)
        if not surface:
            rows.append(Row.of(target, counts, None, spacing, scheme))
            continue
        masks = pair.masks(target.values, boxes)
        distances = surface_measures(*masks, spacing, tolerance=limit, hd95_convention=scheme.hd95, nsd_convention=scheme.nsd)
        lesions = scheme.lesions(*masks, spacing) if scheme.lesions else None
        rows.append(Row.of(target, counts, distances, spacing, scheme, lesions))
    return rows


def _tolerance(scheme: Scheme, spacing: Spacing3, tolerance: float) -> float:
    return float(tolerance) if scheme.tolerance is None else scheme.tolerance * min(spacing)


def _read_pair(prediction: Path, reference: LabelSource) -> tuple[LabelMap, LabelMap]:
    pair = read_labels(prediction), read_labels(reference)
    try:
        require_same_grid(pair[1].geometry, pair[0].geometry)
    except GeometryMismatch as error:
        raise GeometryMismatch(
            f"{prediction} does not lie on the grid of its reference {reference}: {error}."
            " Predict again from the images that the reference was drawn on, or resample the prediction to them."
        ) from error
    return pair


def _require_declared(pair: Pair, prediction: LabelMap, reference: LabelMap, prediction_file: Path, reference_file: LabelSource) -> None:
    strange = (pair.histogram[-1].any(), pair.histogram[:, -1].any())
    for is_strange, labels, file in zip(strange, (prediction, reference), (prediction_file, reference_file), strict=True):
        if is_strange:
            values = sorted(count_values(labels.array).keys() - set(pair.values))
            raise AutosegError(
                f"{file} holds the value{'s' if len(values) > 1 else ''} {listing(values, limit=_LISTED)}, which no label declares; declared are"
                f" {listing(sorted(pair.values), limit=_LISTED)}. Mend the file, or declare the value."
            )


def _values_in(source: LabelSource) -> set[int]:
    return {0, *count_values(read_labels(source).array)}


def _in_threads(
    jobs: Mapping[str, _Job], work: Callable[[_Job], _Answer], workers: int | None, progress: Progress, strangers: Sequence[str] = ()
) -> dict[str, _Answer]:
    answers: dict[str, _Answer] = {}
    failures: dict[str, AutosegError] = {}
    executor = ThreadPoolExecutor(workers or os.cpu_count() or 1)
    try:
        waiting = {executor.submit(work, job): name for name, job in jobs.items()}
        import_module("pandas")  # a quarter of a second, spent while files are read
        for done, future in enumerate(as_completed(waiting), start=1):
            name = waiting[future]
            try:
                answers[name] = future.result()
            except AutosegError as error:
                failures[name] = error
            progress("evaluate", done, len(jobs), name)
    finally:
        executor.shutdown(cancel_futures=True)
    if failures or strangers:
        raise _joined([failures[name] for name in sorted(failures)], strangers)
    return answers


def _joined(failures: Sequence[AutosegError], strangers: Sequence[str]) -> AutosegError:
    found = list(failures)
    if strangers:
        names = listing(strangers, limit=_LISTED)
        found.insert(0, AutosegError(f"No reference for the prediction of: {names}. Remove these predictions, or give their references."))
    if len(found) == 1:
        return found[0]
    kind = GeometryMismatch if all(isinstance(fault, GeometryMismatch) for fault in found) else AutosegError
    more = [f"... and {len(found) - _LISTED} more"] if len(found) > _LISTED else []
    lines = [f"{len(failures) + len(strangers)} cases cannot be evaluated:", *(str(fault) for fault in found[:_LISTED]), *more]
    return kind("\n- ".join(lines))
