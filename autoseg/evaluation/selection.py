"""Which configuration, or which of their ensembles, to predict with: every candidate judged on the same cases, none of which its networks saw.

- The mean is that of `evaluation/crossval.py`: over cases for each structure, then over structures. Its interval is a bootstrap over patients,
  drawn once for all candidates, so that differences between them are of the same patients.
- The best mean wins, unless something cheaper is as good: within `MARGIN` of the best, and its interval overlaps the best one's. Of several such
  the cheapest is taken.
- What was chosen is kept in a file (`selection_file.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoseg.errors import AutosegError
from autoseg.evaluation.crossval import DRAWS, SEED, bootstrap_means, patients_named

MARGIN = 0.001  # of Dice: a tenth of a point
Members = tuple[str, ...]


@dataclass(frozen=True)
class Candidate:
    """How good a configuration or an ensemble is.

    Attributes
    ----------
    members : names of its configurations
    cost : arithmetic of a prediction, in any unit that is the same for all candidates
    mean, low, high : of the Dice, 0..1, with the 95 % interval
    difference, difference_low, difference_high : to the best mean, of the same cases
    structures : structure -> mean Dice over its cases
    """

    members: Members
    cost: float
    mean: float
    low: float
    high: float
    difference: float
    difference_low: float
    difference_high: float
    structures: Mapping[str, float]

    @property
    def name(self) -> str:
        """For people: `2d + 3d_fullres`."""
        return " + ".join(self.members)


@dataclass(frozen=True)
class Choice:
    """The candidates, best mean first, the one that was taken, and why."""

    candidates: tuple[Candidate, ...]
    chosen: Candidate
    reason: str


def candidates_of(configurations: Sequence[str]) -> tuple[Members, ...]:
    """Each configuration, each pair, and all together; in the order given."""
    singles: list[Members] = [(name,) for name in configurations]
    pairs: list[Members] = list(combinations(configurations, 2))
    return (*singles, *pairs, *([tuple(configurations)] if len(configurations) > 2 else []))


def choose(
    dice: Mapping[Members, pd.DataFrame], costs: Mapping[str, float], *, patients: Mapping[str, str] | None = None, margin: float = MARGIN
) -> Choice:
    """Take the best candidate, or a cheaper one that is as good.

    Parameters
    ----------
    dice : candidate -> a row a case, a column a structure; not a number where a structure is nowhere; the same cases and structures for all
    costs : configuration -> arithmetic of its prediction; an ensemble costs the sum
    patients : case -> its patient; one that is not named is a patient of its own
    margin : difference of the means up to which a cheaper candidate is as good

    Raises
    ------
    AutosegError
        no candidate has a number
    """
    resampled = {members: _resampled(table, patients or {}) for members, table in dice.items()}
    means = {members: float(table.mean().mean()) for members, table in dice.items()}
    cost = {members: sum(costs[name] for name in members) for members in dice}
    known = [members for members in dice if np.isfinite(means[members])]
    if not known:
        raise AutosegError("No structure is in any prediction or reference: there is nothing to choose by.")
    order = sorted(known, key=lambda members: (-means[members], cost[members], len(members)))
    best = order[0]
    candidates = tuple(
        Candidate(
            members, cost[members], means[members], *_interval(resampled[members]),
            means[members] - means[best], *_interval(resampled[members] - resampled[best]), dict(dice[members].mean()),
        )
        for members in order
    )  # fmt: skip
    leader = candidates[0]
    as_good = [one for one in candidates if one.mean >= leader.mean - margin and not one.high < leader.low]
    chosen = min(as_good, key=lambda one: (one.cost, -one.mean))
    return Choice(candidates, chosen, _reason(chosen, leader, len(candidates), margin))


def _resampled(table: pd.DataFrame, patients: Mapping[str, str]) -> NDArray[np.float64]:
    """The mean over structures in each bootstrap resample of the patients; of a single patient there are none."""
    ordered = table.sort_index()
    values, drawn = ordered.to_numpy(dtype=float), patients_named(ordered.index, patients)
    if len(set(drawn)) < 2:
        return np.empty(0)
    return bootstrap_means(values, np.ones(values.shape[1], dtype=bool), patients=drawn, seed=SEED, draws=DRAWS)[:, 0]


def _interval(means_D: NDArray[np.float64]) -> tuple[float, float]:
    known = means_D[np.isfinite(means_D)]
    low, high = np.percentile(known, (2.5, 97.5)) if len(known) else (np.nan, np.nan)
    return float(low), float(high)


def _reason(chosen: Candidate, best: Candidate, count: int, margin: float) -> str:
    if count == 1:
        return f"{chosen.name} is the only one that was compared: mean Dice {chosen.mean:.4f}."
    if chosen is best:
        interval = f" (95 % interval {chosen.low:.4f} to {chosen.high:.4f})" if np.isfinite(chosen.low) else ""
        return f"{chosen.name} has the best mean Dice of {count} candidates, {chosen.mean:.4f}{interval}."
    return (
        f"{chosen.name} reaches {chosen.mean:.4f} at {chosen.cost / best.cost:.0%} of the cost of {best.name}, the best of {count} candidates with"
        f" {best.mean:.4f}: a difference of {best.mean - chosen.mean:.4f}, no more than {margin:g}, and intervals that overlap."
    )
