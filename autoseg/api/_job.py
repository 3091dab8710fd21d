"""What a training command was asked for, looked up once: plan, cases, folds, device, length. Every part of the training reads it from here."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from autoseg.data.dataset import Case
from autoseg.data.folds import Folds, make_folds, read_folds, split, write_folds
from autoseg.data.layouts import open_dataset
from autoseg.errors import AutosegError, Interrupted
from autoseg.inference.execution import pick_device
from autoseg.planning.plan import Configuration, Plan, read_plan
from autoseg.progress import Progress
from autoseg.training.schedule import Target, parse_budget
from autoseg.workspace import Workspace

Key = int | Literal["all"]


@dataclass(frozen=True)
class Length:
    """How long to train, as the user said it: at most one of the two; neither: as the plan says, or as a run that lies there began.

    Raises
    ------
    AutosegError
        both are given, there is no epoch, or the budget is no time
    """

    epochs: int | None = None
    budget: str | None = None

    def __post_init__(self) -> None:
        if self.epochs is not None and self.budget is not None:
            raise AutosegError("Give --epochs or --budget, not both.")
        if self.epochs is not None and self.epochs < 1:
            raise AutosegError(f"--epochs {self.epochs}: at least 1 is needed.")
        if self.budget is not None:
            parse_budget(self.budget)

    def target(self, configuration: Configuration) -> Target | None:
        """Where a training of that configuration ends."""
        if self.budget is not None:
            return Target(seconds=parse_budget(self.budget))
        return Target(steps=self.epochs * configuration.training.iterations_per_epoch) if self.epochs is not None else None


@dataclass(frozen=True)
class Job:
    """The training of one configuration.

    Attributes
    ----------
    place, plan, name : the workspace, the dataset's plan, and the configuration in it
    cases, folds : all labelled cases, and how they are divided
    device : as `pick_device` gives it
    length, seed : how long, and of what seed; runs that lie there keep theirs
    progress, notify, should_stop : see `train`
    """

    place: Workspace
    plan: Plan
    name: str
    cases: tuple[Case, ...]
    folds: Folds
    device: str
    length: Length
    seed: int
    progress: Progress
    notify: Callable[[str], None]
    should_stop: Callable[[], bool]

    @property
    def configuration(self) -> Configuration:
        return self.plan.configuration(self.name)

    @property
    def target(self) -> Target | None:
        return self.length.target(self.configuration)

    @property
    def model(self) -> Path:
        """The folder with a folder for each fold."""
        return self.place.model(self.plan.dataset.name, self.name)

    def folder(self, key: Key) -> Path:
        """Of a fold's model."""
        return self.place.fold(self.plan.dataset.name, self.name, str(key))

    def preprocessed(self, name: str) -> Path:
        """Where ready cases of a configuration lie."""
        return self.place.preprocessed(self.plan.dataset.name, name)

    def split(self, key: Key) -> tuple[list[str], list[str]]:
        """Names of the cases that a fold trains on and of those it validates on; where cases are classified, those whose class is known."""
        training, validation = split(self.folds, key, [case.name for case in self.cases])
        block = self.configuration.classification
        if block is None or block.of_presence:
            return training, validation
        known = {case.name for case in self.cases if case.attributes.get(block.target) in block.classes}
        return [name for name in training if name in known], [name for name in validation if name in known]

    def of(self, name: str) -> "Job":
        """The same for another configuration of the plan."""
        return replace(self, name=name)


def make_job(
    place: Workspace,
    dataset: str,
    configuration: str,
    length: Length,
    device: str,
    seed: int | None,
    progress: Progress,
    notify: Callable[[str], None],
    should_stop: Callable[[], bool],
) -> Job:
    """Look everything up.

    Raises
    ------
    AutosegError
        the plan, the configuration or the device does not exist, the plan is another dataset's, the seed is negative, the dataset cannot be
        opened, or the folds do not fit it
    """
    if seed is not None and seed < 0:
        raise AutosegError(f"--seed {seed}: a seed is 0 or more.")
    if not place.plan(dataset).is_file():
        raise AutosegError(f"{dataset} has no plan yet. Make one: autoseg plan {dataset}")
    plan = read_plan(place.plan(dataset))
    if plan.dataset.name != dataset:  # models would lie under the other name
        raise AutosegError(
            f"{place.plan(dataset)} is a plan of '{plan.dataset.name}', not of '{dataset}'. If it is meant for {dataset}, write that as its"
            f" dataset.name; or plan anew: autoseg plan {dataset} --force"
        )
    plan.configuration(configuration)
    chosen = pick_device(device)
    cases = open_dataset(place.raw(dataset), stack=plan.dataset.stack).cases
    folds = _folds(place, plan, cases)
    return Job(
        place, plan, configuration, cases, folds, chosen, length, plan.seed if seed is None else seed, progress, notify, should_stop
    )  # fmt: skip


def stopping(job: Job) -> Progress:
    """The job's progress where nothing else asks whether to stop: after a case."""

    def told(stage: str, done: int, total: int, note: str = "") -> None:
        job.progress(stage, done, total, note)
        if done < total and job.should_stop():
            raise Interrupted(f"Stopped in {stage}. What was finished is kept; the same command goes on from there.")

    return told


def _folds(place: Workspace, plan: Plan, cases: tuple[Case, ...]) -> Folds:
    path = place.folds(plan.dataset.name)
    if not path.is_file():
        write_folds(make_folds(cases, seed=plan.seed), path)
    return read_folds(path, [case.name for case in cases])
