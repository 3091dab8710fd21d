"""How far a training is, when it ends, and what learning rate follows.

- A training ends after a number of steps, or, with a budget, after a time on the clock: then the schedule runs over the clock, so that
  training always ends well annealed, however fast the machine turned out to be.
- Linear warm-up, then the recipe's schedule over what is left: (1 - progress) ** 0.9, half a cosine, as it is, or lowered step by step where the
  loss has stopped falling. One cycle (Smith and Topin 2019) has a warm-up of its own, with PyTorch's numbers; momentum stays.
"""

import re
from dataclasses import dataclass
from math import cos, pi

from autoseg.errors import AutosegError
from autoseg.planning.plan import Recipe

POWER = 0.9
CYCLE_TOP, CYCLE_BEGIN, CYCLE_END = 0.3, 1 / 25, 1 / 25e4  # where one cycle is highest; what it begins and ends with, of the largest rate
PART = r"(\d+(?:\.\d+)?)([smhd])"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Target:
    """Where a training ends: exactly one of the two is set.

    Attributes
    ----------
    steps : number of optimizer steps
    seconds : time on the clock, start-up and online validation included; only that after the last step comes on top
    """

    steps: int | None = None
    seconds: float | None = None

    def describe(self) -> str:
        return f"{self.steps:,} steps" if self.steps is not None else f"{self.seconds or 0.0:.0f} s"

    def progress(self, step: int, elapsed: float) -> float:
        """How far a training is after `step` steps and `elapsed` seconds: 0..1."""
        if self.steps is not None:
            return min(1.0, step / self.steps)
        return min(1.0, elapsed / self.seconds) if self.seconds else 1.0

    def reached(self, step: int, elapsed: float, step_seconds: float) -> bool:
        """Whether there is nothing left to do, or no time for another step."""
        if self.steps is not None:
            return step >= self.steps
        return elapsed + step_seconds > (self.seconds or 0.0)


def learning_rate(recipe: Recipe, progress: float, lowered: int = 0) -> float:
    """Learning rate at a progress of 0..1, where a plateau has lowered it so many times."""
    largest, smallest = recipe.learning_rate, recipe.smallest_learning_rate
    if recipe.schedule == "one_cycle":
        return max(smallest, largest * _cycle(progress))
    if recipe.schedule == "plateau":
        largest = max(smallest, largest * recipe.plateau_factor**lowered)
    if progress < recipe.warmup_fraction:
        return largest * max(progress / recipe.warmup_fraction, 1e-2)
    rest = (progress - recipe.warmup_fraction) / (1 - recipe.warmup_fraction) if recipe.warmup_fraction < 1 else 1.0
    if recipe.schedule == "poly":
        return smallest + (largest - smallest) * float((1 - rest) ** POWER)
    return _half_cosine(largest, smallest, rest) if recipe.schedule == "cosine" else largest


def parse_budget(text: str) -> float:
    """Seconds of a budget such as "90s", "20m", "1.5h", "2d", "1h30m".

    Raises
    ------
    AutosegError
        the text is none of these, or says no time at all
    """
    parts = re.findall(PART, text.strip().lower(), re.ASCII)
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    if not seconds or not re.fullmatch(f"(?:{PART})+", text.strip().lower(), re.ASCII):
        raise AutosegError(f"The budget '{text}' is not a time. Write it like 90s, 20m, 2h or 1h30m.")
    return seconds


def _cycle(progress: float) -> float:
    """One cycle, as a part of the largest learning rate."""
    if progress < CYCLE_TOP:
        return _half_cosine(CYCLE_BEGIN, 1.0, progress / CYCLE_TOP)
    return _half_cosine(1.0, CYCLE_END, (progress - CYCLE_TOP) / (1 - CYCLE_TOP))


def _half_cosine(begin: float, end: float, progress: float) -> float:
    return end + (begin - end) * (1 + cos(pi * progress)) / 2
