"""What the validation of a network that gives the image again found: one row a case, or a case and channel, and the means.

- Anomaly: each case's AUROC and average precision of the map against any foreground, and those of all voxels of all cases pooled. What precision
  chance would have stands beside, because average precision means nothing without it.
- Denoising: PSNR and SSIM of every channel, denoised and as noisy as the network saw it, because only their difference is the network's merit.
- Files are called as those of segmentations are; the column `scheme` holds the task, so that nobody takes one for the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoseg.files import write_json, write_text

if TYPE_CHECKING:
    import pandas as pd

METRICS = {"anomaly": ("auroc", "average_precision", "prevalence"), "denoising": ("psnr", "ssim", "psnr_noisy", "ssim_noisy")}
FOREGROUND = "foreground"  # the one target of anomaly


@dataclass(frozen=True)
class ReconstructionScores:
    """Scores of a set of cases.

    Attributes
    ----------
    task : "anomaly" or "denoising"
    table : a row for each case and target; columns case, target ("foreground", or the channel), region (never), scheme (the task), the metrics
    pooled : the same metrics over all voxels of all cases; only for anomaly
    facts : what else the numbers rest on: `noise` of denoising
    """

    task: str
    table: "pd.DataFrame"
    pooled: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, float] = field(default_factory=dict)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics."""
        return METRICS[self.task]

    def mean(self) -> "pd.DataFrame":
        """Each target (the index) over the cases: a column a metric, its mean over the cases that have a number."""
        return self.table.groupby("target", sort=False)[list(self.metrics)].mean()

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write `metrics.csv` (the table) and `metrics.json` (means, pooled numbers and cases), each whole or not at all; the two paths."""
        csv, json = folder / "metrics.csv", folder / "metrics.json"
        cases: dict[str, dict[str, Any]] = {}
        for row in self.table.to_dict("records"):
            cases.setdefault(str(row["case"]), {})[str(row["target"])] = {name: row[name] for name in self.metrics}
        write_text(csv, self.table.to_csv(index=False))
        write_json(
            json, {"scheme": self.task, "mean": self.mean().to_dict("index"), "pooled": dict(self.pooled), **self.facts, "cases": cases}
        )  # fmt: skip
        return csv, json


def tabulate(task: str, rows: Sequence[tuple[str, str, Mapping[str, float]]]) -> "pd.DataFrame":
    """The table of `ReconstructionScores` from case, target and metrics."""
    import pandas as pd

    return pd.DataFrame([{"case": case, "target": target, "region": False, "scheme": task, **metrics} for case, target, metrics in rows])
