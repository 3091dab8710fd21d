"""Which post-processing helps, found so that "do nothing" can win.

- Rules that are tuned on the cases they are judged on look better than they are. So they are cross-fitted: chosen without a fold, then judged on
  it; the folds together are an honest estimate of what choosing rules in this way brings. Only if that is a gain worth having are rules chosen from
  all cases.
- A choice goes over the structures from outer to inner, and takes for each the rule that raises the mean Dice most, if no target's mean falls.
  Volumes to try are fractions of the structure's median volume in the references that the choice may see.
- A gain is a difference of two means, and never a mean of differences: under some schemes a case whose invented structure was removed has no
  number any more, and the mean passes over it.
- Everything is decided by counts, so schemes that measure lesions are refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan

import numpy as np
from numpy.typing import NDArray

from autoseg.errors import AutosegError, listing
from autoseg.evaluation.crossval import DRAWS, SEED, bootstrap_means, patients_named
from autoseg.evaluation.parts import CaseParts, PooledParts, foreseeable
from autoseg.evaluation.postprocessing import Rule, Structure
from autoseg.evaluation.result import Target
from autoseg.evaluation.schemes import SCHEMES, Scheme, scheme_named

FRACTIONS = (0.001, 0.003, 0.01, 0.03, 0.1)  # of the structure's median volume
RELABEL_FRACTIONS = (*FRACTIONS, 0.3)
LEAST_GAIN = 0.001  # of Dice, a tenth of a point: for less nobody should touch segmentations that other data will not forgive
_NOISE = 1e-12  # differences of means up to this are rounding


@dataclass(frozen=True)
class RuleChoice:
    """What was decided about post-processing, and what it rests on.

    Attributes
    ----------
    rules : in the order in which they act; empty: do nothing
    gain : in mean Dice (0..1), of rules chosen without the cases they were judged on; not a number where that could not be tried
    low, high : of its 95 % interval
    by_fold : fold -> the rules chosen without it
    reason : why, in a sentence for people
    """

    rules: tuple[Rule, ...]
    gain: float
    low: float
    high: float
    by_fold: Mapping[str, tuple[Rule, ...]]
    reason: str


def choose_rules(
    cases: Mapping[str, CaseParts],
    folds: Mapping[str, str],
    structures: Sequence[Structure],
    targets: Sequence[Target],
    scheme: str,
    *,
    patients: Mapping[str, str] | None = None,
    seed: int = SEED,
    draws: int = DRAWS,
) -> RuleChoice:
    """Find rules that would have helped cases they were not chosen on.

    Parameters
    ----------
    cases : case -> its out-of-fold prediction in parts
    folds : case -> the fold that predicted it
    structures : what rules may act on, outer before inner; those that `cases` were taken apart for
    targets : what is judged; the mean over their means decides
    scheme : rules for empty structures, see `autoseg.evaluation.schemes.SCHEMES`; one that measures no lesions
    patients : case -> its patient; one that is not named is a patient of its own
    seed, draws : of the bootstrap over patients

    Returns
    -------
    the choice; the same for the same cases in any order

    Raises
    ------
    AutosegError
        the scheme is unknown or measures lesions, or a case has no fold
    """
    rules = scheme_named(scheme)
    if rules.lesions is not None:
        able = ", ".join(name for name, other in SCHEMES.items() if other.lesions is None)
        raise AutosegError(f"Post-processing is chosen by counts of voxels, but the scheme {scheme} measures lesions. Choose one of: {able}.")
    if missing := sorted(cases.keys() - folds.keys()):
        raise AutosegError(f"Nobody says which fold predicted {listing(missing)}: give the fold of every case.")
    names = sorted(cases)
    fold_of = np.array([folds[name] for name in names], dtype=str)
    ordered = sorted(set(fold_of.tolist()))
    if len(ordered) < 2:
        told = f"in one fold, {ordered[0]}" if ordered else "none"
        reason = f"No post-processing: it takes two folds at least to judge rules on cases they were not chosen on, but the cases are {told}."
        return RuleChoice((), nan, nan, nan, {}, reason)
    table = _Table([cases[name] for name in names], structures, targets, rules)
    before = table.dice(())
    by_fold: dict[str, tuple[Rule, ...]] = {}
    after = before.copy()
    for fold in ordered:
        held_out = fold_of == fold
        by_fold[fold] = table.choose(~held_out)
        after[held_out] = table.dice(by_fold[fold])[held_out]
    gain = _difference(_over_targets(_means(after)), _over_targets(_means(before)))
    low, high = _interval(before, after, patients_named(names, patients or {}), seed, draws)
    verdict = _verdict(before, after, gain, low, high, targets, any(by_fold.values()))
    if verdict:
        return RuleChoice((), gain, low, high, by_fold, f"No post-processing: {verdict}.")
    chosen = table.choose(np.ones(len(names), dtype=bool))
    if not chosen:
        return RuleChoice(
            (), gain, low, high, by_fold, "No post-processing: rules chosen without a fold helped it, but none helps all cases together."
        )
    reason = (
        f"Post-processing by {len(chosen)} rule{'s' if len(chosen) > 1 else ''}: rules chosen without the cases they were judged on raised the mean"
        f" Dice of {len(names)} cases from {_over_targets(_means(before)):.4f} by {gain:.4f} (95 % interval {low:+.4f} to {high:+.4f}), and lowered"
        " that of no structure."
    )
    return RuleChoice(chosen, gain, low, high, by_fold, reason)


class _Table:
    """The Dice of all cases after any rules; what was once looked up is kept, because the folds try mostly the same."""

    def __init__(self, cases: Sequence[CaseParts], structures: Sequence[Structure], targets: Sequence[Target], scheme: Scheme) -> None:
        self._pool = PooledParts(cases)
        self._structures, self._targets, self._scheme = tuple(structures), tuple(targets), scheme
        self._volumes = {structure.values: np.array([case.reference_mm3(structure.values) for case in cases]) for structure in structures}
        self._codes: dict[tuple[Rule, ...], NDArray[np.int64]] = {(): self._pool.codes}
        self._dice: dict[tuple[Rule, ...], NDArray[np.float64]] = {}

    def dice(self, rules: tuple[Rule, ...]) -> NDArray[np.float64]:
        """(N, T) of each case and target, not a number where the scheme gives none."""
        if rules not in self._dice:
            self._dice[rules] = _dice(self._pool.counts(self._after(rules), self._targets), self._scheme)
        return self._dice[rules]

    def choose(self, training: NDArray[np.bool_]) -> tuple[Rule, ...]:
        """The rules that the cases marked in `training` (N,) ask for."""
        chosen: tuple[Rule, ...] = ()
        means = _means(self.dice(())[training])
        for structure in self._structures:
            best, best_means = chosen, means
            for rule in self._candidates(structure, training):
                if not all(foreseeable(earlier, rule) for earlier in chosen):
                    continue
                tried = _means(self.dice((*chosen, rule))[training])
                if not _fallen(means, tried).any() and _difference(_over_targets(tried), _over_targets(best_means)) > _NOISE:
                    best, best_means = (*chosen, rule), tried
            if best != chosen:
                self._codes[best] = self._after(best)  # what more rules may be tried after
            chosen, means = best, best_means
        return chosen

    def _candidates(self, structure: Structure, training: NDArray[np.bool_]) -> Iterator[Rule]:
        """Milder ones first, because of equally good ones the first is taken."""
        volumes = self._volumes[structure.values][training]
        median = float(np.median(volumes[volumes > 0])) if (volumes > 0).any() else None
        name, values = structure.name, structure.values
        for below in _rounded(median, FRACTIONS):
            yield Rule(kind="remove_small", structure=name, values=values, becomes=structure.becomes, below_mm3=below)
        yield Rule(kind="keep_largest", structure=name, values=values, becomes=structure.becomes)
        if structure.relabel_to is not None:
            for below in _rounded(median, RELABEL_FRACTIONS):
                yield Rule(kind="relabel_small", structure=name, values=values, becomes=structure.relabel_to, below_mm3=below)

    def _after(self, rules: tuple[Rule, ...]) -> NDArray[np.int64]:
        if rules in self._codes:
            return self._codes[rules]
        return self._pool.applied(self._after(rules[:-1]), rules[-1])


def _dice(counts_NTC: NDArray[np.int64], scheme: Scheme) -> NDArray[np.float64]:
    """What `schemes.measure` says of counts (N, T, 4), for all at once."""
    tp, fp, fn, _ = np.moveaxis(counts_NTC, -1, 0)
    union = 2 * tp + fp + fn
    dice = np.where(union > 0, 2 * tp / np.maximum(union, 1), np.nan)
    no_prediction, no_reference = tp + fp == 0, tp + fn == 0
    if "dice" in scheme.one_empty:
        dice[no_prediction ^ no_reference] = scheme.one_empty["dice"]
    if "dice" in scheme.both_empty:
        dice[no_prediction & no_reference] = scheme.both_empty["dice"]
    return dice


def _means(dice_NT: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T,) over the cases that have a number."""
    known = np.isfinite(dice_NT)
    numbers = known.sum(axis=0)
    means: NDArray[np.float64] = np.where(numbers > 0, np.where(known, dice_NT, 0.0).sum(axis=0) / np.maximum(numbers, 1), np.nan)
    return means


def _over_targets(means_T: NDArray[np.float64]) -> float:
    known = means_T[np.isfinite(means_T)]
    return float(known.mean()) if len(known) else nan


def _difference(after: float, before: float) -> float:
    """Nothing, where there is no number on one side: no gain can be claimed."""
    return 0.0 if isnan(after) or isnan(before) else after - before


def _fallen(before_T: NDArray[np.float64], after_T: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which targets are worse off; a target that had no number and now has one was invented where it never is."""
    invented = np.isnan(before_T) & ~np.isnan(after_T)
    return invented | (after_T < before_T - _NOISE)


def _interval(before_NT: NDArray[np.float64], after_NT: NDArray[np.float64], patients: Sequence[str], seed: int, draws: int) -> tuple[float, float]:
    """Of the difference of means over resampled patients, the same on both sides; of a single patient there is none."""
    if len(set(patients)) < 2:
        return nan, nan
    every = np.ones(before_NT.shape[1], dtype=bool)
    before, after = (bootstrap_means(dice, every, patients=patients, seed=seed, draws=draws)[:, 0] for dice in (before_NT, after_NT))
    differences = (after - before)[np.isfinite(after - before)]
    if not len(differences):
        return nan, nan
    low, high = np.percentile(differences, (2.5, 97.5))
    return float(low), float(high)


def _verdict(
    before_NT: NDArray[np.float64],
    after_NT: NDArray[np.float64],
    gain: float,
    low: float,
    high: float,
    targets: Sequence[Target],
    any_rule: bool,
) -> str:
    """Why rules are not taken, or "" where they are."""
    before, after = _means(before_NT), _means(after_NT)
    fallen = np.flatnonzero(_fallen(before, after))
    told = f"rules chosen without the cases they were judged on change the mean Dice of {len(before_NT)} cases by {gain:+.4f}"
    interval = f"(95 % interval {low:+.4f} to {high:+.4f})"
    if not any_rule:
        return f"no rule raises the mean Dice of the cases it may be chosen on ({_over_targets(before):.4f} over {len(before_NT)} cases)"
    if not gain > _NOISE:
        return f"{told} {interval}, which is no gain"
    if not gain >= LEAST_GAIN:
        return f"{told} {interval}, which is less than the {LEAST_GAIN:g} that it takes ({gain:.2g})"
    if not low >= -_NOISE:
        return f"{told} {interval}, which may be a loss as well"
    if len(fallen):
        lowered = listing(f"{targets[place].name} from {before[place]:.4f} to {after[place]:.4f}" for place in fallen.tolist())
        return f"{told} {interval}, but lower that of {lowered}"
    return ""


def _rounded(median: float | None, fractions: Sequence[float]) -> list[float]:
    """Fractions of a volume to two significant digits, each once; none of no volume."""
    return [] if median is None else list(dict.fromkeys(float(f"{median * fraction:.2g}") for fraction in fractions))
