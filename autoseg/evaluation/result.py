"""What an evaluation found: one row for each case and target, and the means that are read from it.

- Rows keep the counts, so that another scheme's answer needs no second look at the voxels, unless it measures otherwise.
- A mean passes over what is not a number, and says over how many cases it went and where the structure was absent.
- Scheme and conventions stand in every table and file: numbers of different schemes cannot be told apart by looking.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoseg.errors import AutosegError
from autoseg.evaluation.distances import ASSD_POOLED, HD95_POOLED, NSD_POOLED, SURFACE_METRICS
from autoseg.evaluation.metrics import RATIOS, Counts, relative_volume_difference, volume
from autoseg.evaluation.schemes import SCHEMES, TOLERANCE, Scheme, measure, scheme_named
from autoseg.files import write_json, write_text
from autoseg.imaging.image import Spacing3

if TYPE_CHECKING:
    import pandas as pd

VOLUMES = ("volume_prediction", "volume_reference", "volume_difference", "relative_volume_difference")
LESIONS = ("lesion_dice", "lesion_nsd", "lesion_hd95", "lesion_f1", "lesion_tp", "lesion_fp", "lesion_fn", "lesion_dropped")
METRICS = (*RATIOS, *SURFACE_METRICS, *LESIONS, *VOLUMES)
MM, PIXELS = "mm", "pixels"  # units of lengths
_CONVENTIONS = ("nsd_tolerance", "hd95_convention", "nsd_convention")


@dataclass(frozen=True)
class Target:
    """A structure to judge: a class, or a region that unites several.

    Attributes
    ----------
    name : as the report calls it
    values : the user's label values it unites, without the background's 0
    region : whether it is a union of classes; the foreground mean is over classes alone

    Raises
    ------
    AutosegError
        no value, or the background's
    """

    name: str
    values: tuple[int, ...]
    region: bool = False

    def __post_init__(self) -> None:
        if not self.values or 0 in self.values:
            raise AutosegError(f"'{self.name}' cannot be evaluated with the values {self.values}: give its label values, without the background's 0.")


@dataclass(frozen=True)
class Row:
    """One case's answer for one target.

    Attributes
    ----------
    target, region : see `Target`
    metrics : metric -> value; dice, iou, precision, sensitivity, specificity, accuracy without unit; hd95 and assd in mm, nsd (absent if they
        were not asked for); the scheme's scores of lesions, if it has any; volumes in mm^3 (difference: prediction minus reference). Pixels stand
        for mm and mm^3 where images do not tell how large they are
    counts : voxels by agreement, without the ignored
    """

    target: str
    region: bool
    metrics: Mapping[str, float]
    counts: Counts

    @classmethod
    def of(
        cls,
        target: Target,
        counts: Counts,
        surface: Mapping[str, float] | None,
        spacing: Spacing3,
        scheme: Scheme,
        lesions: Mapping[str, float] | None = None,
    ) -> "Row":
        """Put the numbers of one target together; `surface` and `lesions` as `surface_measures` and `Scheme.lesions` give them, or None."""
        predicted, expected = volume(counts.prediction, spacing), volume(counts.reference, spacing)
        volumes = dict(zip(VOLUMES, (predicted, expected, predicted - expected, relative_volume_difference(counts)), strict=True))
        return cls(target.name, target.region, measure(counts, surface, scheme) | dict(lesions or {}) | volumes, counts)


@dataclass(frozen=True)
class Evaluation:
    """Metrics of a set of cases.

    Attributes
    ----------
    scheme : name of the rules, see `autoseg.evaluation.schemes`
    targets : the classes, then the regions
    table : a row for each case and target; columns case, target, region, scheme, the metrics (see `Row`; those of `METRICS` that were asked
        for), tp, fp, fn, tn, if distances were: nsd_tolerance, hd95_convention, nsd_convention, and length_unit (mm or pixels) of all these
    missing : cases with a reference but no prediction; they are in no number
    conventions : what hd95, assd and nsd mean here
    """

    scheme: str
    targets: tuple[Target, ...]
    table: "pd.DataFrame"
    missing: tuple[str, ...] = ()
    conventions: Mapping[str, str] = field(default_factory=lambda: {"hd95": HD95_POOLED, "assd": ASSD_POOLED, "nsd": NSD_POOLED})

    @property
    def hd95_convention(self) -> str:
        """What HD95 means here."""
        return self.conventions["hd95"]

    @property
    def length_unit(self) -> str:
        """What distances and volumes are counted in: "mm", "pixels" where images do not tell how large they are, or "mm or pixels"."""
        return unit_in(self.table)

    @property
    def leading(self) -> str:
        """What the foreground mean is over: "classes", or "regions" where there is no class."""
        return "classes" if any(not target.region for target in self.targets) else "regions"

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics in the table, in its order."""
        return tuple(name for name in METRICS if name in self.table.columns)

    def mean(self) -> "pd.DataFrame":
        """Each target over all cases.

        Returns
        -------
        A row for each target (the index), in the order of `targets`. Columns: region, cases, empty_reference, empty_prediction, empty_both (numbers
        of cases), then for each metric `<metric>` (mean), `<metric>_std` (sample standard deviation, not a number for one case),
        `<metric>_median` and `<metric>_cases` (how many cases had a number).
        """
        import pandas as pd

        return pd.DataFrame([self._summary(target) for target in self.targets]).set_index("target")

    def foreground_mean(self, metric: str = "dice") -> float:
        """Mean over the classes, without regions, of the mean over the cases; over the regions where there is no class.

        Classes without any number are passed over.
        """
        return self._mean_over(self.leading, metric)

    def region_mean(self, metric: str = "dice") -> float:
        """Mean over the regions of the mean over the cases; not a number where there is no region."""
        return self._mean_over("regions", metric)

    def under(self, scheme: str) -> "Evaluation":
        """The same counts and distances under another scheme's rules for empty structures.

        Raises
        ------
        AutosegError
            there is no such scheme, or one of the two measures what the other does not: that takes another look at the voxels
        """
        rules, own = scheme_named(scheme), SCHEMES.get(self.scheme)
        if own is None or any((a.lesions, a.hd95, a.nsd) != (None, HD95_POOLED, NSD_POOLED) for a in (rules, own)):
            raise AutosegError(f"{self.scheme} and {scheme} do not measure the same. Evaluate the segmentations again with the scheme {scheme}.")
        distances = [name for name in SURFACE_METRICS if name in self.table.columns]
        rows = [
            measure(Counts(*(int(row[part.name]) for part in fields(Counts))), {name: row[name] for name in distances}, rules)
            for row in self.table.to_dict("records")
        ]
        return replace(self, scheme=scheme, table=self.table.assign(scheme=scheme, **{name: [row[name] for row in rows] for name in rows[0]}))

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write `metrics.csv` (the table) and `metrics.json` (means and cases), each whole or not at all.

        Returns
        -------
        the two paths
        """
        csv, json = folder / "metrics.csv", folder / "metrics.json"
        write_text(csv, self.table.to_csv(index=False))
        write_json(json, self._document())
        return csv, json

    def _mean_over(self, kind: str, metric: str) -> float:
        if metric not in self.metrics:
            raise AutosegError(f"There is no metric '{metric}' in this evaluation. Choose one of: {', '.join(self.metrics)}.")
        return _mean_over(self.mean(), kind, metric)

    def _summary(self, target: Target) -> dict[str, Any]:
        rows = self.table[self.table["target"] == target.name]
        no_reference, no_prediction = rows["tp"] + rows["fn"] == 0, rows["tp"] + rows["fp"] == 0
        summary: dict[str, Any] = {
            "target": target.name,
            "region": target.region,
            "cases": len(rows),
            "empty_reference": int(no_reference.sum()),
            "empty_prediction": int(no_prediction.sum()),
            "empty_both": int((no_reference & no_prediction).sum()),
        }
        for name in self.metrics:
            column = rows[name]
            summary[name] = float(column.mean())
            summary[f"{name}_std"], summary[f"{name}_median"], summary[f"{name}_cases"] = (
                float(column.std()),
                float(column.median()),
                int(column.count()),
            )
        return summary

    def _document(self) -> dict[str, Any]:
        mean, targets = self.mean(), []
        for target in self.targets:
            flat = self._summary(target)
            statistics = {
                name: {"mean": flat.pop(name)} | {part: flat.pop(f"{name}_{part}") for part in ("std", "median", "cases")} for name in self.metrics
            }
            targets.append({"name": target.name, "values": target.values} | {key: flat[key] for key in flat if key != "target"} | statistics)
        cases: dict[str, dict[str, Any]] = {}
        for row in self.table.drop(columns=["region", "scheme", *_CONVENTIONS, "length_unit"], errors="ignore").to_dict("records"):
            cases.setdefault(str(row.pop("case")), {})[str(row.pop("target"))] = row
        return {
            "scheme": self.scheme,
            "conventions": dict(self.conventions) if "hd95" in self.metrics else {},
            "nsd_tolerance": float(self.table["nsd_tolerance"].max()) if "nsd" in self.metrics else None,
            "units": dict.fromkeys(("hd95", "assd", "lesion_hd95", "nsd_tolerance"), self.length_unit) | {"volume": volume_unit(self.length_unit)},
            "foreground_mean": {name: _mean_over(mean, self.leading, name) for name in self.metrics},
            "region_mean": {name: _mean_over(mean, "regions", name) for name in self.metrics if any(target.region for target in self.targets)},
            "targets": targets,
            "missing": list(self.missing),
            "cases": cases,
        }


def unit_in(table: "pd.DataFrame") -> str:
    """The unit of lengths in a table of an evaluation, or those; mm where an earlier version said it of no case."""
    known = table["length_unit"].dropna() if "length_unit" in table else ()
    return " or ".join(sorted(set(map(str, known)))) or MM


def volume_unit(length_unit: str) -> str:
    """The unit of volumes beside that of lengths; a picture's pixels are counted."""
    return length_unit.replace(MM, "mm^3")


def _mean_over(mean: "pd.DataFrame", kind: str, metric: str) -> float:
    return float(mean.loc[mean["region"] == (kind == "regions"), metric].mean())


def tabulate(
    rows_of: Mapping[str, list[Row]], scheme: Scheme, tolerance: Mapping[str, float] | float = TOLERANCE, units: Mapping[str, str] | str = MM
) -> "pd.DataFrame":
    """The table of `Evaluation` from each case's rows; `tolerance` of the NSD and the unit of lengths, for all cases or for each."""
    import pandas as pd  # takes a quarter of a second, which `evaluate_folder` spends while files are read

    table = []
    for case, rows in rows_of.items():
        named = dict(zip(_CONVENTIONS, (tolerance if isinstance(tolerance, float) else tolerance[case], scheme.hd95, scheme.nsd), strict=True))
        for row in rows:
            first = {"case": case, "target": row.target, "region": row.region, "scheme": scheme.name}
            last = {"length_unit": units if isinstance(units, str) else units[case]}
            table.append(first | dict(row.metrics) | asdict(row.counts) | (named if "hd95" in row.metrics else {}) | last)
    return pd.DataFrame(table)
