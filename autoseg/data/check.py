"""Everything that is wrong with a dataset, said at once, before any work starts; and the facts that planning needs, from the same reading.

- One pass: each file is decoded once, verified to its last byte, and gives its facts while it is in memory.
- Threads, because decompression and array arithmetic release the interpreter; never more than `workers` cases are in memory.
- Errors stop the work, warnings do not. A case with an error gives no facts.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from autoseg.data.dataset import Case, Dataset, Finding, Labels
from autoseg.data.facts import CaseFacts
from autoseg.data.inspection import Inspection, inspect
from autoseg.errors import DatasetError, counted, listing
from autoseg.progress import Progress, silent

# Intensities kept over all cases and for each channel: percentiles are exact to far below a grey value, and four channels take 160 MB.
FOREGROUND_SAMPLES = 10_000_000
FEW = 5  # segmentations without foreground that are named one by one
SHOWN = 20  # groups that are parted


@dataclass(frozen=True)
class Report:
    """What the check found.

    Attributes
    ----------
    dataset : as given, without the optional label values that no case has
    findings : errors and warnings about the dataset, then about each case, in case order
    facts : one entry for each case without an error, in case order
    """

    dataset: Dataset
    findings: tuple[Finding, ...]
    facts: tuple[CaseFacts, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity != "error")

    def require_clean(self) -> None:
        """Go on only without errors.

        Raises
        ------
        DatasetError
            there are errors; the text lists all of them with case, file, problem and mend
        """
        if self.errors:
            title = f"{self.dataset.name} ({self.dataset.root}) has {len(self.errors)} error(s) that must be mended first:"
            raise DatasetError("\n".join([title, *(_text(finding) for finding in self.errors)]))


def check(dataset: Dataset, *, foreground_limit: int | None = None, workers: int | None = None, progress: Progress = silent) -> Report:
    """Read every case, verify it and gather its facts.

    Parameters
    ----------
    dataset : what a layout made of a folder
    foreground_limit : largest number of foreground voxels of a case whose intensities are kept; by default 10,000,000 / number of cases
    workers : threads, and the largest number of decoded cases in memory; by default one for each processor
    progress : told after each case

    Returns
    -------
    the report; what is wrong is listed there, not raised
    """
    limit = foreground_limit or max(1, FOREGROUND_SAMPLES // max(1, len(dataset.cases)))
    inspections: list[Inspection] = []
    work = partial(inspect, dataset=dataset, foreground_limit=limit)
    for case, inspection in zip(dataset.cases, _in_threads(work, dataset.cases, workers or os.cpu_count() or 1), strict=True):
        inspections.append(inspection)
        progress("check", len(inspections), len(dataset.cases), case.name)

    seen = {value for inspection in inspections for value in inspection.label_values}
    labels = dataset.labels.settled(seen)
    findings = [
        *dataset.problems,
        *_dataset_faults(dataset),
        *_parted_groups(dataset),
        *_unused_classes(labels, seen, inspections),
        *(finding for inspection in inspections for finding in inspection.findings),
        *_empty(dataset, inspections),
        *_same_images(dataset.cases, inspections),
    ]
    kept = [dataset.labels.values.index(value) for value in labels.values]
    facts = tuple(
        replace(inspection.facts, class_voxels=tuple(inspection.facts.class_voxels[index] for index in kept))
        for inspection in inspections
        if inspection.facts is not None
    )
    return Report(replace(dataset, labels=labels), tuple(findings), facts)


def _in_threads(work: Callable[[Case], Inspection], cases: Iterable[Case], workers: int) -> Iterator[Inspection]:
    """Results in order; when the caller stops early, what has not begun is dropped."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="check")
    try:
        yield from pool.map(work, cases)
    finally:
        pool.shutdown(cancel_futures=True)


def _dataset_faults(dataset: Dataset) -> Iterator[Finding]:
    if len(dataset.cases) < 2:
        problem = f"{len(dataset.cases)} case(s) with a segmentation; training and validation need at least two"
        yield Finding("error", "", dataset.root, problem, "Add cases, each with its label file.")
    same: dict[str, list[Case]] = defaultdict(list)
    for case in dataset.cases:
        same[case.name.casefold()].append(case)
    for first, *others in same.values():
        for other in others:
            if other.name == first.name:
                problem = f"has the name of another case ({first.label})"
            else:
                problem = f"differs from case {first.name} in upper and lower case only: their files would overwrite each other on some disks"
            yield Finding("error", other.name, other.label, problem, "Rename or remove one of the two.")


def _parted_groups(dataset: Dataset) -> Iterator[Finding]:
    """Groups that the dataset's own division parts: it is the user's, so it stays, but what it measures is not what it seems."""
    parts: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for case in dataset.cases:
        if case.part is not None:
            parts[case.group][case.part].append(case.name)
    parted = {group: sides for group, sides in parts.items() if len(sides) > 1}
    if parted:
        named = (f"{group} ({listing(sides['training'])} and {listing(sides['validation'])})" for group, sides in sorted(parted.items()))
        problem = (
            f"the dataset's own division has {counted(len(parted), 'group')} of cases that belong together in both training and validation:"
            f" {listing(named, limit=SHOWN)}"
        )
        mend = f"Move each to one side, or divide anew: autoseg plan {dataset.name} --folds 5. The validation looks better than the model is."
        yield Finding("warning", "", dataset.root, problem, mend)


def _unused_classes(labels: Labels, seen: set[int], inspections: list[Inspection]) -> Iterator[Finding]:
    readable = sum(bool(inspection.label_values) for inspection in inspections)
    if not readable:
        return
    for name, value in list(zip(labels.names, labels.values, strict=True))[1:]:
        if value not in seen:
            problem = f"class {name} (value {value}) occurs in none of {readable} segmentations: it cannot be learned"
            yield Finding("warning", "", None, problem, "Look whether the label values are those that are declared, or declare fewer classes.")


def _empty(dataset: Dataset, inspections: list[Inspection]) -> Iterator[Finding]:
    """Segmentations without foreground: each on its own where they are few, else together."""
    foreground = set(dataset.labels.values[1:])
    empty = [case for case, one in zip(dataset.cases, inspections, strict=True) if one.label_values and not foreground & one.label_values.keys()]
    if len(empty) <= FEW:
        for case in empty:
            yield Finding("warning", case.name, case.label, "the segmentation has no foreground", "Look whether the right file was exported.")
        return
    problem = f"{len(empty)} of {len(dataset.cases)} segmentations have no foreground ({listing(case.name for case in empty)})"
    yield Finding("warning", "", None, problem, "That is usual of slices; else look whether the right files were exported.")


def _same_images(cases: tuple[Case, ...], inspections: list[Inspection]) -> Iterator[Finding]:
    first: dict[str, Case] = {}
    for case, inspection in zip(cases, inspections, strict=True):
        other = first.setdefault(inspection.digest, case) if inspection.digest else case
        if other is not case:
            problem = f"the same images under two names: every voxel equals case {other.name}"
            mend = "Remove one of the two: a copy in training and validation makes a model look better than it is."
            yield Finding("warning", case.name, case.channels[0], problem, mend)


def _text(finding: Finding) -> str:
    case = f"case {finding.case}" if finding.case else ""
    where = ", ".join(part for part in (case, str(finding.file or "")) if part) or "dataset"
    return f"  {where}: {finding.problem.rstrip('.')}. {finding.mend[:1].upper()}{finding.mend[1:].rstrip('.')}."
