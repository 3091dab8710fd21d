"""`train`: one fold, all folds in turn, or every case; then the validation at full resolution."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from autoseg.api._validate import validate
from autoseg.data.dataset import Case
from autoseg.data.folds import Folds, make_folds, read_folds, split, write_folds
from autoseg.data.layouts import open_dataset
from autoseg.errors import AutosegError, Interrupted
from autoseg.evaluation.result import Evaluation
from autoseg.files import read_json, remove_folder, require_writable, sweep, write_json
from autoseg.inference.execution import enough_memory, pick_device
from autoseg.inference.model_folder import PLAN
from autoseg.planning.plan import Configuration, Plan, Recipe, read_plan
from autoseg.preprocessing.dataset import preprocess
from autoseg.preprocessing.store import CaseStore
from autoseg.progress import Progress, silent
from autoseg.reporting.curves import draw_progress
from autoseg.training.batches import PatchSource
from autoseg.training.run import has_ended, read_run
from autoseg.training.schedule import Target, parse_budget
from autoseg.training.trainer import Trainer
from autoseg.workspace import Workspace

CASES = "cases.json"
TOO_LARGE = "Plan for less memory (autoseg plan DATASET --gpu-memory GB --force), close other programs that use it, or train with --device cpu."
VALIDATION_SEED = 7_919  # added to the seed, so that validation patches are drawn apart from training patches


@dataclass(frozen=True)
class Trained:
    """A trained fold.

    Attributes
    ----------
    folder : the model's folder
    fold : "0".."4" or "all"
    steps, seconds : how long it was trained, over all sittings
    recipe : name of the plan's recipe that was used
    evaluation : of the validation cases at full resolution, or None for fold "all"
    """

    folder: Path
    fold: str
    steps: int
    seconds: float
    recipe: str
    evaluation: Evaluation | None


@dataclass(frozen=True)
class _Job:
    place: Workspace
    plan: Plan
    name: str
    cases: tuple[Case, ...]
    folds: Folds
    device: str
    target: Target | None
    seed: int
    progress: Progress
    notify: Callable[[str], None]
    should_stop: Callable[[], bool]

    @property
    def configuration(self) -> Configuration:
        return self.plan.configuration(self.name)


def train(
    configuration: str,
    fold: str | int,
    *,
    dataset: str | None = None,
    workspace: Path | str | None = None,
    epochs: int | None = None,
    budget: str | None = None,
    device: str = "auto",
    seed: int | None = None,
    restart: bool = False,
    progress: Progress = silent,
    notify: Callable[[str], None] = lambda text: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[Trained]:
    """Train a configuration of the plan, and validate it.

    Parameters
    ----------
    configuration : a name in the plan, such as "3d_fullres"
    fold : 0..4, "all" (every case, nothing to validate on) or "cv" (all folds in turn)
    dataset : by default the one last planned
    workspace : by default `AUTOSEG_WORKSPACE`, else the current folder
    epochs : instead of the plan's
    budget : wall-clock time such as "20m" or "2h" instead; the final validation comes on top
    device : "auto", "cpu", "cuda", "cuda:1" or "mps"
    seed : instead of the plan's
    restart : delete what an earlier run of this fold left; without it an unfinished run is taken up
    progress : told how far training and validation are
    notify : told decisions in words (recipe, precision, what was taken up)
    should_stop : asked after every step; yes saves the state and raises `Interrupted`

    Returns
    -------
    one entry a fold

    Raises
    ------
    Interrupted
        `should_stop` answered yes
    AutosegError
        the plan, the fold or the device does not exist, the data cannot be read, or the plan changed since the run began
    """
    place = Workspace.find(workspace)
    name = place.resolve(dataset) if dataset else place.current()
    job = _job(place, name, configuration, epochs, budget, device, seed, progress, notify, should_stop)
    folds = [_fold_key(str(fold), job.folds)] if str(fold) != "cv" else list(range(len(job.folds.validation)))
    require_writable(place.model(name, configuration))
    require_writable(place.preprocessed(name, configuration))
    _preprocess(job)
    return [_train_fold(job, one, restart) for one in folds]


def _job(
    place: Workspace,
    name: str,
    configuration: str,
    epochs: int | None,
    budget: str | None,
    device: str,
    seed: int | None,
    progress: Progress,
    notify: Callable[[str], None],
    should_stop: Callable[[], bool],
) -> _Job:
    if not place.plan(name).is_file():
        raise AutosegError(f"{name} has no plan yet. Make one: autoseg plan {name}")
    plan = read_plan(place.plan(name))
    rules = plan.configuration(configuration).training
    target = _target(epochs, budget, rules.iterations_per_epoch)
    chosen = pick_device(device)
    cases = open_dataset(place.raw(name)).cases
    seed = plan.seed if seed is None else seed
    return _Job(place, plan, configuration, cases, _folds(place, plan, cases), chosen, target, seed, progress, notify, should_stop)


def _target(epochs: int | None, budget: str | None, iterations: int) -> Target | None:
    if epochs is not None and budget is not None:
        raise AutosegError("Give --epochs or --budget, not both.")
    if epochs is not None and epochs < 1:
        raise AutosegError(f"--epochs {epochs}: at least 1 is needed.")
    if budget is not None:
        return Target(seconds=parse_budget(budget))
    return Target(steps=epochs * iterations) if epochs is not None else None


def _folds(place: Workspace, plan: Plan, cases: tuple[Case, ...]) -> Folds:
    path = place.folds(plan.dataset.name)
    if not path.is_file():
        write_folds(make_folds(cases, seed=plan.seed), path)
    return read_folds(path, [case.name for case in cases])


def _preprocess(job: _Job) -> None:
    store = _store(job)
    sweep(store.folder)
    preprocess(job.cases, job.plan, job.configuration, store, progress=_stopping(job), stage=f"preprocess {job.name}")


def _stopping(job: _Job) -> Progress:
    """The job's progress where nothing else asks whether to stop: after a case."""

    def told(stage: str, done: int, total: int, note: str = "") -> None:
        job.progress(stage, done, total, note)
        if done < total and job.should_stop():
            raise Interrupted(f"Stopped in {stage}. What was finished is kept; the same command goes on from there.")

    return told


def _store(job: _Job) -> CaseStore:
    return CaseStore.of(job.place.preprocessed(job.plan.dataset.name, job.name), job.plan, job.configuration)


def _train_fold(job: _Job, key: int | Literal["all"], restart: bool) -> Trained:
    training, validation = split(job.folds, key, [case.name for case in job.cases])
    fold = str(key)
    folder = job.place.fold(job.plan.dataset.name, job.name, fold)
    with _locked(folder):
        return _train_locked(job, fold, folder, training, validation, restart)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Nobody else trains into the folder within."""
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise AutosegError(f"Another autoseg is training into {folder} right now. Wait for it, or stop it.") from None
    except OSError as error:
        raise AutosegError(f"Cannot write into {folder}: {error.strerror or error}. Make it writable or free the disk.") from error
    try:
        yield
    finally:
        lock.release()


def _fold_key(fold: str, folds: Folds) -> int | Literal["all"]:
    count = len(folds.validation)
    if fold == "all":
        return "all"
    if not re.fullmatch("[0-9]+", fold) or int(fold) >= count:
        raise AutosegError(f"There is no fold '{fold}'. Choose 0 to {count - 1}, all (every case) or cv (all folds in turn).")
    return int(fold)


def _train_locked(job: _Job, fold: str, folder: Path, training: list[str], validation: list[str], restart: bool) -> Trained:
    if restart and folder.exists():
        remove_folder(folder)
    for place in (folder.parent, folder, folder / "validation"):
        sweep(place)
    _require_same_plan(job, folder)
    _require_same_cases(folder, training, validation)
    _notice_state(job, folder, len(training), len(validation))
    store, run = _store(job), read_run(folder)
    seed = run.seed if run else job.seed

    def source(recipe: Recipe, seed: int) -> PatchSource:
        return PatchSource(store, training, job.configuration, recipe.augmentation, seed)

    with enough_memory(job.device, TOO_LARGE):
        trainer = Trainer(
            job.plan, job.name, fold, folder,
            training=source,
            validation=PatchSource(store, validation, job.configuration, None, seed + VALIDATION_SEED) if validation else None,
            device=job.device, target=job.target, seed=seed, draw=draw_progress, notify=job.notify,
        )  # fmt: skip
        outcome = trainer.train(progress=job.progress, should_stop=job.should_stop)
        del trainer
    held_out = [case for case in job.cases if case.name in set(validation)]
    shapes = {case.name: store.shape(case.name) for case in held_out}
    evaluation = validate(folder, held_out, job.device, shapes=shapes, progress=_stopping(job), notify=job.notify) if held_out else None
    return Trained(folder, fold, outcome.steps, outcome.seconds, outcome.run.recipe, evaluation)


def _require_same_plan(job: _Job, folder: Path) -> None:
    """A run goes on with the plan it began with; what only prediction reads may change."""
    if not (folder / PLAN).is_file() or read_run(folder) is None:
        return
    before = read_plan(folder / PLAN)
    ignored = {"why", "inference"}
    same = [
        before.configuration(job.name).model_dump(exclude=ignored) == job.configuration.model_dump(exclude=ignored),
        before.transpose_forward == job.plan.transpose_forward,
        before.dataset.labels == job.plan.dataset.labels,
        before.dataset.channel_names == job.plan.dataset.channel_names,
    ]
    if not all(same):
        raise AutosegError(
            f"The plan's '{job.name}' changed since the run in {folder} began. Put {job.place.plan(job.plan.dataset.name)} back as it was"
            f" (a copy is {folder / PLAN}), or start anew with --restart."
        )


def _require_same_cases(folder: Path, training: list[str], validation: list[str]) -> None:
    """A fold keeps its cases: one that was trained on must never be validated on."""
    path = folder / CASES
    mine = {"training": sorted(training), "validation": sorted(validation)}
    if not path.is_file():
        write_json(path, mine)
    elif read_json(path) != mine:
        raise AutosegError(
            f"The cases of this fold changed since the run in {folder} began (its own are in {CASES} there)."
            " Put the folds back as they were, or start anew with --restart."
        )


def _notice_state(job: _Job, folder: Path, training: int, validation: int) -> None:
    run = read_run(folder)
    if run is None:
        job.notify(f"{training} cases to train on, {validation} to validate on.")
        return
    if not has_ended(folder, job.target or run.target):
        job.notify(f"An unfinished run is taken up in {folder}.")
    else:
        job.notify(
            f"{folder} is trained already, for {run.target.describe()}; only what is missing is done."
            " Lengthen it with --epochs or --budget, or start anew with --restart."
        )
    if run.seed != job.seed:
        job.notify(f"It keeps the seed that it began with, {run.seed}.")
