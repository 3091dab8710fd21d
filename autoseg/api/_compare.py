"""`compare`: the predictions of two or more models, judged side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoseg.api._evaluate import references_for, segmentations_in, what_to_judge
from autoseg.errors import AutosegError, counted
from autoseg.evaluation.compare import Comparison, require_same_cases
from autoseg.evaluation.compare import compare as compare_evaluations
from autoseg.evaluation.evaluate import evaluate_folder
from autoseg.evaluation.schemes import scheme_named
from autoseg.files import require_writable, sweep
from autoseg.imaging.sources import LabelSource
from autoseg.progress import Progress, silent
from autoseg.workspace import Workspace

AXES = {
    "dice": "Dice", "hd95": "HD95", "nsd": "NSD", "lesion_dice": "lesion Dice", "lesion_hd95": "lesion HD95", "lesion_nsd": "lesion NSD",
}  # fmt: skip


@dataclass(frozen=True)
class Compared:
    """A comparison and the files it was written to."""

    comparison: Comparison
    csv: Path
    json: Path
    picture: Path


def compare(
    predictions: Sequence[Path | str],
    references: Path | str,
    *,
    output: Path | str = "comparison",
    dataset: str | None = None,
    regions: Mapping[str, Sequence[int]] | None = None,
    scheme: str = "nnunet",
    tumour: str = "glioma",
    tolerance: float = 1.0,
    seed: int = 0,
    workspace: Path | str | None = None,
    progress: Progress = silent,
    notify: Callable[[str], None] = lambda text: None,
) -> Compared:
    """Judge several folders of predictions of the same cases, and test how they differ.

    Parameters
    ----------
    predictions : two folders of `<case><ending>` or more; each is called by its folder's name, or by its path where two have one name
    references : folder of label files, or a dataset in any known layout
    output : folder for `comparison.csv`, `comparison_cases.csv`, `comparison.json` and `comparison.png`
    dataset, regions, scheme, tumour, tolerance : as for `evaluate`
    seed : of the bootstrap intervals
    workspace : where a dataset is looked up
    progress, notify : told how far it is, and what was assumed

    Raises
    ------
    AutosegError
        as for `evaluate`, or a case that one folder has and another lacks, or the same folder twice
    """
    rules = scheme_named(scheme, tumour)
    contestants = _named([Path(one) for one in predictions])
    found = {name: segmentations_in(folder) for name, folder in contestants.items()}
    require_same_cases(found)
    place = Workspace.find(workspace)
    first = next(iter(contestants.values()))
    known = references_for(first, Path(references), dataset, place)
    judged: list[LabelSource] = [file for files in found.values() for file in files.values()]
    judged += [known[case] for case in sorted(set().union(*found.values())) if case in known]
    labels, targets = what_to_judge(first, Path(references), judged, list(known.values()), dataset, regions, place, notify)
    folder = Path(output)
    require_writable(folder)
    sweep(folder)
    evaluations = {
        name: evaluate_folder(
            files, known, labels, targets=targets, scheme=scheme, tumour=tumour, tolerance=tolerance, progress=_called(progress, name)
        )
        for name, files in found.items()
    }
    comparison = compare_evaluations(evaluations, rules.ranked, seed=seed)
    csv, json = comparison.write(folder)
    return Compared(comparison, csv, json, _draw(comparison, folder / "comparison.png"))


def _named(folders: Sequence[Path]) -> dict[str, Path]:
    places = [folder.resolve() for folder in folders]
    if len(set(places)) < len(places) or len(places) < 2:
        raise AutosegError("A comparison needs two different folders of predictions or more.")
    names = [place.name for place in places]
    return {name if names.count(name) == 1 else str(folder): folder for name, folder in zip(names, folders, strict=True)}


def _called(progress: Progress, name: str) -> Progress:
    return lambda stage, done, total, note="": progress(f"{stage} {name}", done, total, note)


def _draw(comparison: Comparison, target: Path) -> Path:
    from autoseg.reporting.paired import draw_pairs

    regions = [one.name for one in comparison.targets if one.region] or [one.name for one in comparison.targets]
    axes = {metric: AXES[metric] + (f", {comparison.length_unit}" if metric.endswith("hd95") else "") for metric in comparison.ranked}
    title = f"{counted(len(comparison.cases), 'case')}, scheme {comparison.scheme}"
    draw_pairs(comparison.values, comparison.contestants, regions, axes, target, title=title)
    return target
