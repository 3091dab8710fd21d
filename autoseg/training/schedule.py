"""How far a training is, when it ends, and what learning rate follows.

- A training ends after a number of steps, or, with a budget, after a time on the clock: then the schedule runs over the clock, so that
  training always ends well annealed, however fast the machine turned out to be.
- Linear warm-up, then (1 - progress) ** 0.9.
"""

import re
from dataclasses import dataclass

from autoseg.errors import AutosegError
from autoseg.planning.plan import Recipe

POWER = 0.9
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


def learning_rate(recipe: Recipe, progress: float) -> float:
    """Learning rate at a progress of 0..1."""
    if progress < recipe.warmup_fraction:
        return recipe.learning_rate * max(progress / recipe.warmup_fraction, 1e-2)
    rest = (progress - recipe.warmup_fraction) / (1 - recipe.warmup_fraction) if recipe.warmup_fraction < 1 else 1.0
    return recipe.learning_rate * float((1 - rest) ** POWER)


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
