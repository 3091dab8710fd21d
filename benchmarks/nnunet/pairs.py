"""Two sides by turns: the order, the ratios, and the table.

- Sides take turns as A B, B A, A B, ...: a machine that grows slower or faster meanwhile favours neither.
- The ratio of a stage is the median of the ratios of its pairs; neighbours in time share the state of the machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Row:
    """One stage, measured.

    Attributes
    ----------
    title : what was done
    theirs, ours : seconds of each pair, in the order of the pairs
    goal : the ratio to reach, or None
    theirs_peak, ours_peak : bytes, None where not measured
    unit : what the seconds are of, such as " a sample"
    remarks : what else must be true or known
    load : highest load average over a minute that was seen while the stage ran
    """

    title: str
    theirs: Sequence[float]
    ours: Sequence[float]
    goal: float | None
    theirs_peak: int | None
    ours_peak: int | None
    unit: str = ""
    remarks: Sequence[str] = ()
    load: float = 0.0

    @property
    def ratios(self) -> list[float]:
        """Theirs over ours, pair by pair."""
        return [their / our for their, our in zip(self.theirs, self.ours, strict=True)]

    @property
    def ratio(self) -> float:
        return median(self.ratios)

    @property
    def met(self) -> bool:
        return self.goal is None or self.ratio >= self.goal


def turns(pairs: int) -> list[tuple[str, str]]:
    """Who comes first and second in each pair."""
    return [("theirs", "ours") if index % 2 == 0 else ("ours", "theirs") for index in range(pairs)]


def table(rows: Sequence[Row]) -> str:
    """Markdown: medians of the seconds, the median of the paired ratios with the smallest and the largest, the goal, peaks."""
    lines = [
        "| stage | theirs | ours | ratio (range) | goal | memory theirs | memory ours | load |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        low, high = min(row.ratios), max(row.ratios)
        goal = "" if row.goal is None else f"{row.goal:g} x, {'met' if row.met else 'missed'}"
        their, our = (seconds(median(values)) + row.unit for values in (row.theirs, row.ours))
        lines.append(
            f"| {row.title} | {their} | {our} | {row.ratio:.2f} ({low:.2f}-{high:.2f}) | {goal} | {memory(row.theirs_peak)} | {memory(row.ours_peak)}"
            f" | {row.load:.1f} |"
        )
    return "\n".join(lines)


def seconds(value: float) -> str:
    """A duration with three digits."""
    return f"{value:.3g} s" if value < 100 else f"{value:.0f} s"


def memory(value: int | None) -> str:
    """A size in MB of 10^6 bytes; a dash for none."""
    return "-" if value is None else f"{value / 1e6:,.0f} MB"
