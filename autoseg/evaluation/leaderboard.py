"""Configurations side by side, on the same cases.

- Only cases that every configuration validated count. Each was segmented by a network that did not learn from it, of whichever fold.
- Means and intervals are those of `crossval.py`: over cases for each structure, then over structures; the bootstrap draws the same
  patients for every configuration and metric.
- The best mean Dice comes first; a configuration without one comes last, and equals stand in the order of their names.
- What could mislead is said: means over different numbers of cases (a structure that is empty on both sides may have no number), folds that were
  divided otherwise, seconds of different machines.
"""

from collections.abc import Mapping, Sequence
from math import inf, isnan

from autoseg.errors import AutosegError, counted, listing
from autoseg.evaluation.crossval import DRAWS, FEW, SEED, UNTOLD, CrossValidation, cases_of, cross_validate, on_few
from autoseg.evaluation.result import METRICS
from autoseg.evaluation.standings import Contestant, Leaderboard, Standing

COMPARED = tuple(name for name in METRICS if name not in ("volume_prediction", "volume_reference"))  # a volume is neither good nor bad


def rank(contestants: Sequence[Contestant], *, seed: int = SEED, draws: int = DRAWS) -> Leaderboard:
    """Compare configurations on the cases that all of them validated.

    Parameters
    ----------
    contestants : at least one
    seed, draws : of the bootstrap

    Raises
    ------
    AutosegError
        they share no case, or were judged by different schemes, conventions or on different structures
    """
    cases = _shared(contestants)
    metrics = [name for name in COMPARED if all(name in table for one in contestants for table in one.tables.values())]
    told = [one.patients for one in contestants if one.patients is not None]
    patients = {case: patient for known in told for case, patient in known.items()}
    standings = [
        Standing(one.name, _scores(one, cases, patients, metrics, seed, draws), one.costs, tuple(one.published))
        for one in sorted(contestants, key=lambda one: one.name)
    ]
    _require_alike(standings)
    standings.sort(key=lambda one: _worst_last(one.scores.row()["mean"]))
    left_out = {one.name: len(one.cases) - len(cases) for one in contestants if len(one.cases) > len(cases)}
    first = standings[0].scores
    untold = () if told else (UNTOLD,)
    remarks = (
        *untold,
        *_on_left_out(left_out, first.patients, len(cases)),
        *_on_folds(contestants, cases),
        *_on_numbers(standings),
        *_on_times(standings),
    )
    return Leaderboard(first.scheme, first.hd95_convention, cases, left_out, tuple(standings), remarks)


def _shared(contestants: Sequence[Contestant]) -> tuple[str, ...]:
    cases = sorted(set.intersection(*(set(one.cases) for one in contestants)))
    if not cases:
        said = "; ".join(f"{one.name}: {counted(len(one.cases), 'case')} of fold {listing(one.tables)}" for one in contestants)
        raise AutosegError(
            f"No case was validated by all of {listing(one.name for one in contestants)} ({said}). Train the same folds of each, or name only"
            " configurations that have some in common: autoseg leaderboard -c NAME -c NAME"
        )
    return tuple(cases)


def _scores(one: Contestant, cases: Sequence[str], patients: Mapping[str, str], metrics: Sequence[str], seed: int, draws: int) -> CrossValidation:
    counting = {fold: table[table["case"].isin(cases)] for fold, table in one.tables.items()}
    try:
        return cross_validate(
            {fold: table for fold, table in counting.items() if len(table)}, patients=patients, metrics=metrics, seed=seed, draws=draws
        )
    except AutosegError as error:
        raise AutosegError(f"{one.name}: {error}") from error


def _require_alike(standings: Sequence[Standing]) -> None:
    first = standings[0]
    for one in standings[1:]:
        ours, theirs = first.scores, one.scores
        if (ours.scheme, ours.hd95_convention) != (theirs.scheme, theirs.hd95_convention):
            raise AutosegError(
                f"{first.name} was judged by the scheme {ours.scheme} (HD95: {ours.hd95_convention}), {one.name} by {theirs.scheme} (HD95:"
                f" {theirs.hd95_convention}). Validate the folds of one of them again: remove their validation/ and repeat autoseg train."
            )
        if set(ours.summary["target"]) != set(theirs.summary["target"]):
            raise AutosegError(f"{first.name} and {one.name} were judged on other structures. Name only those that belong together (-c).")


def _worst_last(mean: float) -> float:
    return inf if isnan(mean) else -float(mean)


def _on_left_out(left_out: Mapping[str, int], patients: int, count: int) -> list[str]:
    if not left_out:
        return on_few(patients, count)
    said = ", ".join(f"{number} of {name}" for name, number in left_out.items())
    few = " Intervals of so few say little." if patients < FEW else ""
    return [f"Compared on the {cases_of(patients, count)} that all of them validated; left out: {said}.{few}"]


def _on_folds(contestants: Sequence[Contestant], cases: Sequence[str]) -> list[str]:
    first = contestants[0]
    moved = [one.name for one in contestants[1:] if any(one.cases[case] != first.cases[case] for case in cases)]
    return [f"{listing(moved)} and {first.name} were trained on other folds: a case may lie in another fold of one than of the other."] * bool(moved)


def _on_numbers(standings: Sequence[Standing]) -> list[str]:
    """Structures in which not all have a Dice for the same number of cases."""
    first, remarks = standings[0].scores, []
    for target in list(dict.fromkeys(first.summary["target"]))[1:]:
        numbers = {one.name: int(one.scores.row(target)["cases"]) for one in standings}
        if len(set(numbers.values())) > 1:
            said = ", ".join(f"{number} of {name}" for name, number in numbers.items())
            remarks.append(f"The Dice of {target} is over different numbers of cases ({said}): where it is on neither side there is none.")
    return remarks


def _on_times(standings: Sequence[Standing]) -> list[str]:
    remarks = []
    if len({place for one in standings for place in one.costs.predicted_on}) > 1:
        said = "; ".join(f"{one.name}: {' and '.join(one.costs.predicted_on)}" for one in standings if one.costs.predicted_on)
        remarks.append(f"Seconds a case were measured in different ways and are no contest ({said}).")
    if untimed := [one.name for one in standings if one.costs.case_seconds is None]:
        remarks.append(f"Prediction was not timed for {listing(untimed)}: validated before times were recorded.")
    if partly := [one for one in standings if 0 < one.costs.timed_cases < sum(one.scores.folds.values())]:
        said = ", ".join(f"{one.name} {one.costs.timed_cases}" for one in partly)
        remarks.append(f"Seconds a case are the mean of fewer cases than were compared ({said}).")
    if whole := [one.name for one in standings if one.costs.whole_process]:
        remarks.append(f"The peak of memory of {listing(whole)} is since the process began; a training in it counts too.")
    return remarks
