"""Out-of-fold predictions of the trained configurations: every case segmented by the fold that did not see it, with probabilities where needed.

- Nothing is believed: `cases.json` of a fold must list a case for validation and not for training, and `predictions.json` must name the weights
  that lie there. What is missing or was made with other weights is predicted anew. The same goes for the fold of the previous stage that segments a
  cascade's cases first.
- Configurations are compared on the same cases. One that lacks folds which others have is left out, unless it was named.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from autoseg.api._fold import is_complete, locked
from autoseg.api._fold_cases import CASES, FoldCases, read_cases
from autoseg.api._tasks import SEGMENTATION, require_segmenting, without_segmentations
from autoseg.api._validate import validate
from autoseg.data.dataset import Case
from autoseg.errors import AutosegError, listing
from autoseg.files import read_record, sweep
from autoseg.inference.cost import window_flops
from autoseg.inference.model_folder import PLAN, configuration_of, fold_of, recipe_of, require_one_training, stored_fingerprint, task_of
from autoseg.inference.record import RECORD
from autoseg.inference.run import is_finished
from autoseg.inference.several import difference
from autoseg.planning.hardware.compute import prediction_flops
from autoseg.planning.plan import Plan, read_plan
from autoseg.progress import Progress
from autoseg.workspace import Workspace


@dataclass(frozen=True)
class OutOfFold:
    """The out-of-fold predictions of one configuration.

    Attributes
    ----------
    name, plan, recipe : of the configuration, and what it was trained with
    folders : case -> folder of the fold that validates on it
    weights : fold -> digest of its weights
    patients : case -> its patient, where that is not the case itself; None: a fold does not tell
    """

    name: str
    plan: Plan
    recipe: str
    folders: Mapping[str, Path]
    weights: Mapping[str, str]
    patients: Mapping[str, str] | None

    def labels(self, case: str) -> Path:
        """The segmentation of a case."""
        return self.folders[case] / "validation" / f"{case}{self.plan.dataset.file_ending}"

    def probabilities(self, case: str) -> Path:
        """Its probabilities; they need not be there where there is one configuration."""
        return self.folders[case] / "validation" / f"{case}.npz"

    @cached_property
    def cost(self) -> float:
        """Arithmetic of predicting a cubic millimetre of a new scan with all its folds."""
        return prediction_flops(self.plan, self.name, self.recipe, lambda name: window_flops(self.plan, name)) * len(self.weights)

    def fold(self, case: str) -> str:
        """The fold that did not see it."""
        return fold_of(self.folders[case])


def find_out_of_fold(
    place: Workspace, dataset: str, configurations: Sequence[str], notify: Callable[[str], None]
) -> tuple[list[OutOfFold], list[str]]:
    """The configurations to compare, and the cases that all of them have a fold for.

    Parameters
    ----------
    place, dataset : where
    configurations : those that the user named; none: all that have as many cases as the one with the most
    notify : told which were left out, and which cases

    Raises
    ------
    AutosegError
        nothing is trained, a named configuration is not, they were trained for other labels or channels, or they share no case
    """
    found = find_finished(place, dataset, configurations, notify)
    most = max(len(one.folders) for one in found)
    compared = [one for one in found if configurations or len(one.folders) == most]
    for one in found:
        if one not in compared:
            notify(
                f"{one.name} is left out: its finished folds validate on {len(one.folders)} cases, others' on {most}. Let it end, or train the rest:"
                f" autoseg train {one.name} cv -d {dataset}"
            )
    shared = sorted(set.intersection(*(set(one.folders) for one in compared)))
    if not shared:
        raise AutosegError(f"{listing(one.name for one in compared)} were validated on no common case. Train the same folds of each.")
    if len(shared) < most:
        notify(f"Compared on the {len(shared)} cases that the trained folds of all have in common.")
    return compared, shared


def find_finished(place: Workspace, dataset: str, configurations: Sequence[str], notify: Callable[[str], None]) -> list[OutOfFold]:
    """The configurations of which a fold is trained to its end, whatever cases they have in common.

    Parameters
    ----------
    place, dataset : where
    configurations : those that the user named; none: all
    notify : told which were left out

    Raises
    ------
    AutosegError
        nothing is trained, a named configuration is not, or they were trained for other labels or channels
    """
    root = place.root / "models" / dataset
    there = [folder.name for folder in sorted(root.iterdir()) if _finished_folds(folder)] if root.is_dir() else []
    if strays := [name for name in there if configuration_of(_finished_folds(root / name)[0]) != name]:
        there = [name for name in there if name not in strays]
        notify(f"Not compared, since the models there were trained under another name: {listing(root / name for name in strays)}.")
    tasks = {name: task_of(_finished_folds(root / name)[0]) for name in there}
    if lacking := sorted(set(configurations) - set(there)):
        raise AutosegError(_on_lacking(lacking, place, dataset, [name for name in there if tasks[name] == SEGMENTATION]))
    require_segmenting({name: tasks[name] for name in configurations}, "there is no Dice to compare. Name configurations that segment.")
    if others := without_segmentations(tasks):
        there = [name for name in there if tasks[name] == SEGMENTATION]
        notify(f"Not compared: {others}.")
    found = [_configuration(root / name) for name in configurations or there]
    if not found:
        raise AutosegError(f"No fold of {dataset} is trained yet in {root}. Train all folds of one, such as: autoseg train 2d cv -d {dataset}")
    _require_alike(found)
    return found


def made_by_present_weights(one: OutOfFold, folder: Path) -> bool:
    """Whether the predictions in a fold's `validation/` are of the weights that lie there, and of those of a cascade's previous stage."""
    path = folder / "validation" / RECORD
    record = read_record(path) if path.is_file() else {}
    if record.get("weights") != [one.weights[fold_of(folder)]]:
        return False
    before, previous = _previous_fold(one, folder), record.get("previous")
    return before is None or (isinstance(previous, dict) and previous.get("weights") == [stored_fingerprint(before)])


def make_out_of_fold(
    one: OutOfFold, cases: Sequence[Case], device: str, *, probabilities: bool, progress: Progress, notify: Callable[[str], None]
) -> None:
    """Validate again each fold of a configuration that lacks the segmentation or, if asked for, the probabilities of a case.

    Parameters
    ----------
    one : the configuration
    cases : all labelled cases that its folds validate on
    device : as `pick_device` gives it
    probabilities : whether they are needed
    progress, notify : told how far it is, and what is done

    Raises
    ------
    AutosegError
        a case cannot be predicted (names it), another process trains the fold, or a cascade's previous stage was trained on one of the cases
    """
    for folder in sorted(set(one.folders.values()), key=lambda folder: int(fold_of(folder))):
        own = [case for case in cases if one.folders.get(case.name) == folder]
        before = _previous_fold(one, folder)
        if before is not None:
            _require_unseen(before, own, folder)
        segmented = all(is_finished(case, one.labels(case.name), probabilities=probabilities) for case in own)
        if segmented and made_by_present_weights(one, folder):
            continue
        notify(f"{one.name}, fold {fold_of(folder)}, lacks segmentations or probabilities of its weights, and is validated again.")
        with locked(folder):
            sweep(folder / "validation")
            validate(folder, own, device, progress=progress, notify=notify, stage=f"{one.name}, fold {fold_of(folder)}")


def _finished_folds(folder: Path) -> list[Path]:
    return [entry for entry in sorted(folder.glob("fold_*")) if fold_of(entry).isdecimal() and is_complete(entry)]


def _on_lacking(lacking: Sequence[str], place: Workspace, dataset: str, trained: Sequence[str]) -> str:
    planned = list(read_plan(place.plan(dataset)).configurations) if place.plan(dataset).is_file() else []
    if unknown := [name for name in lacking if planned and name not in planned]:
        return f"{dataset} has no configuration {listing(unknown)}. There are: {', '.join(planned)}; trained are {', '.join(trained) or 'none'}."
    return f"{listing(lacking)} of {dataset} has no fold whose training has ended. There is one of: {', '.join(trained) or 'none'}."


def _configuration(folder: Path) -> OutOfFold:
    """The finished folds of a configuration that has some."""
    folds = _finished_folds(folder)
    plan = read_plan(folds[0] / PLAN)
    folders: dict[str, Path] = {}
    patients: Mapping[str, str] | None = {}
    for fold in folds:
        require_one_training(folds[0], plan, fold, read_plan(fold / PLAN), folder.name)
        cases = _cases(fold)
        patients = None if patients is None or cases.patients is None else {**patients, **cases.patients}
        for case in cases.validation:
            if case in folders:
                raise AutosegError(
                    f"{case} is in the validation of {folders[case]} and of {fold}: the folds were divided anew between the trainings. Train one of"
                    " them again with --restart."
                )
            folders[case] = fold
    return OutOfFold(folder.name, plan, recipe_of(folds[0]), folders, {fold_of(fold): stored_fingerprint(fold) for fold in folds}, patients)


def _cases(fold: Path) -> FoldCases:
    """The cases of a fold, none of them on both sides."""
    cases = read_cases(fold)
    if cases is None or set(cases.training) & set(cases.validation):
        raise AutosegError(
            f"{fold / CASES} does not say which cases the fold was trained on and which not. Copy the model again, or train it anew with --restart."
        )
    return cases


def _require_alike(found: Sequence[OutOfFold]) -> None:
    first = found[0]
    for one in found[1:]:
        if unlike := difference(first.plan, one.plan):
            raise AutosegError(
                f"{first.name} and {one.name} {unlike}, so they cannot be compared. Train one of them again with the plan of the other, or name those"
                " that belong together: autoseg select NAME NAME, autoseg leaderboard -c NAME -c NAME"
            )


def _previous_fold(one: OutOfFold, folder: Path) -> Path | None:
    """The fold of a cascade's previous stage that segments the validation cases of its fold in `folder`."""
    previous = one.plan.configuration(one.name).previous_stage
    return folder.parent.with_name(previous) / folder.name if previous else None


def _require_unseen(before: Path, cases: Sequence[Case], folder: Path) -> None:
    held_out = set(_cases(before).validation)
    if seen := [case.name for case in cases if case.name not in held_out]:
        raise AutosegError(
            f"{before} does not validate on {listing(seen)} (see {CASES} there), which {folder} does: the folds were divided anew between the"
            " trainings. Train one of them again with --restart."
        )
