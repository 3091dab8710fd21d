"""What was decided when a training began, kept as `run.json` beside the checkpoint, and whether it has ended.

- Decisions that depend on the clock (precision, memory format, how many steps a budget allows) are made once: a run that is resumed is the
  same run.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

from autoseg.errors import AutosegError
from autoseg.files import read_json, write_json
from autoseg.planning.plan import Training
from autoseg.training import checkpoint
from autoseg.training.schedule import Target

RUN = "run.json"


@dataclass(frozen=True)
class Run:
    """The decisions.

    Attributes
    ----------
    recipe : name of the plan's recipe
    steps, seconds : the target, one of the two
    seed : of weights, batches and augmentation
    precision, channels_last : how the network runs
    epoch_steps : steps between two rows of the log: the plan's, fewer in a short budget
    pretrained, pretrained_weights : folder of the model that it started from, as it was given, and the fingerprint of its weights; None: random ones
    """

    recipe: str
    steps: int | None
    seconds: float | None
    seed: int
    precision: str
    channels_last: bool
    epoch_steps: int
    pretrained: str | None = None
    pretrained_weights: str | None = None

    @property
    def target(self) -> Target:
        """Where it ends."""
        return Target(self.steps, self.seconds)


def read_run(folder: Path) -> Run | None:
    """The decisions of the run that lies in a model's folder, or None.

    Raises
    ------
    AutosegError
        the file is damaged
    """
    path = folder / RUN
    if not path.is_file():
        return None
    try:
        return Run(**read_json(path))
    except TypeError as error:
        raise AutosegError(f"{path} is damaged ({error}). Put it back, or start anew with --restart.") from error


def write_run(run: Run, folder: Path) -> None:
    """Keep the decisions, whole or not at all."""
    write_json(folder / RUN, asdict(run))


def has_ended(folder: Path, target: Target) -> bool:
    """Whether the run that lies in a model's folder did all the steps of a target, or stopped early.

    Raises
    ------
    AutosegError
        its checkpoint is damaged
    """
    counters = checkpoint.read_counters(folder)
    return counters is not None and (counters.stopped or target.reached(counters.step, counters.elapsed, counters.step_seconds))


def recipe_for(rules: Training, steps: int) -> tuple[str, str]:
    """The recipe for a training of so many steps, and why: `fast` below the plan's limit, else `default`; the only one where the plan has one."""
    if len(rules.recipes) == 1:
        return next(iter(rules.recipes)), "the only one in the plan"
    few = steps < rules.fast_below_steps
    return ("fast" if few else "default"), f"{'fewer' if few else 'not fewer'} than {rules.fast_below_steps:,} steps"
