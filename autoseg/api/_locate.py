"""`locate`: where structures lie in scans, by trained models or by segmentations that are there already."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoseg.api._given import Given, find_given
from autoseg.api._overlays import mark_cases, require_room
from autoseg.errors import AutosegError, listing
from autoseg.evaluation.localisation_file import LocalisationFile, require_ours
from autoseg.evaluation.targets import targets_learned
from autoseg.imaging.sources import LabelSource
from autoseg.progress import Progress, silent
from autoseg.workspace import Workspace


@dataclass(frozen=True)
class Located:
    """Where structures were found.

    Attributes
    ----------
    files : case -> its segmentation
    skipped : cases of which everything was there already
    structures : names of what was looked for
    json, csv : `localisation.json`, `localisation.csv`
    pictures : case -> `overlays/<case>.png`
    sheets : `overlays.png` and, of more than 100 cases, further ones
    seconds : from the first file read to the last one written
    """

    files: Mapping[str, LabelSource]
    skipped: tuple[str, ...]
    structures: tuple[str, ...]
    json: Path
    csv: Path
    pictures: Mapping[str, Path]
    sheets: tuple[Path, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON document."""
        return {
            "structures": list(self.structures),
            "json": str(self.json),
            "csv": str(self.csv),
            "sheets": [str(path) for path in self.sheets],
            "seconds": round(self.seconds, 3),
            "files": {case: str(source) for case, source in self.files.items()},
            "pictures": {case: str(path) for case, path in self.pictures.items()},
            "skipped": list(self.skipped),
        }


def locate(
    inputs: Path | str | Sequence[Path | str],
    output: Path | str,
    *,
    segmentations: Path | str | None = None,
    dataset: str | None = None,
    configuration: str | None = None,
    folds: Sequence[str | int] | None = None,
    model: Path | str | None = None,
    step: float | None = None,
    mirror: bool = True,
    postprocessing: bool = True,
    overwrite: bool = False,
    device: str = "auto",
    workspace: Path | str | None = None,
    progress: Progress = silent,
    notify: Callable[[str], None] = lambda text: None,
    announce: Callable[[dict[str, object]], None] = lambda understood: None,
) -> Located:
    """Find the boxes, centroids and volumes of structures and of their connected parts, and draw their edges on the scans.

    Parameters
    ----------
    inputs : scans, as `predict` takes them
    output : folder for `localisation.json`, `localisation.csv`, `overlays/<case>.png`, `overlays.png`, and the segmentations if they are made
    segmentations : instead of a model: a folder of `<case><ending>`, a dataset with references in any known layout, a case's folder, or one file
    dataset : whose model; with `segmentations`, whose names, channels and regions, by default those of the dataset that made them, else those of
        the dataset that the scans are, else the values as they are
    configuration, folds, model, step : as `predict` takes them; not with `segmentations`
    mirror, postprocessing, device : as `predict` takes them; `segmentations` need none of them
    overwrite : predict, measure and draw finished cases again
    workspace : where models and datasets are looked up; by default `AUTOSEG_WORKSPACE`, else the current folder
    progress, notify, announce : told how far it is, decisions in words, and once what was understood

    Raises
    ------
    AutosegError
        as `predict`; or a model is named beside `segmentations`, no scan has a segmentation, one does not lie on its scan's grid, holds a
        value that nobody declared, or a file is in the way that is not ours
    """
    started = time.monotonic()
    target = Path(output)
    require_ours(target, overwrite=overwrite)
    if segmentations is None:
        from autoseg.api._prediction import Request, carry_out  # loads torch

        made = carry_out(
            Request(
                inputs, target, dataset, configuration, folds, model, step, mirror, False, False, True, postprocessing, overwrite, device, workspace,
                progress, notify, announce,
            )
        )  # fmt: skip
        known = Given(made.cases, made.predicted.files, made.plan.labels, made.plan.learns_regions)
    else:
        options = {"configuration": configuration, "folds": folds, "model": model, "step": step}
        if named := [name for name, value in options.items() if value is not None]:
            raise AutosegError(f"{listing(named)} and segmentations that are there already exclude each other. Leave one of them out.")
        sources = [Path(inputs)] if isinstance(inputs, Path | str) else [Path(one) for one in inputs]
        announce({"dataset": dataset, "segmentations": segmentations, "input": ", ".join(map(str, sources))})
        known = find_given(sources, Path(segmentations), target, dataset, Workspace.find(workspace), notify)
        require_room([], target, overwrite=overwrite)
    targets = targets_learned(known.labels, regions=known.regions)
    table = LocalisationFile(target, targets, known.segmentations, afresh=overwrite)
    marked = mark_cases(
        known.cases, known.segmentations, known.labels, target, regions=known.regions, table=table, overwrite=overwrite, progress=progress
    )
    document, rows = table.finish()
    names = tuple(one.name for one in targets)
    return Located(known.segmentations, marked.skipped, names, document, rows, marked.pictures, marked.sheets, time.monotonic() - started)
