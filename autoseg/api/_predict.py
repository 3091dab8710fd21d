"""`predict`: trained models applied to scans in whatever folder they lie."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from autoseg.api._prediction import Predicted, Request, carry_out
from autoseg.progress import Progress, silent

__all__ = ["Predicted", "predict"]


def predict(
    inputs: Path | str | Sequence[Path | str],
    output: Path | str,
    *,
    dataset: str | None = None,
    configuration: str | None = None,
    folds: Sequence[str | int] | None = None,
    model: Path | str | None = None,
    step: float | None = None,
    mirror: bool = True,
    probabilities: bool = False,
    uncertainty: bool = False,
    overlay: bool = False,
    postprocessing: bool = True,
    overwrite: bool = False,
    device: str = "auto",
    workspace: Path | str | None = None,
    progress: Progress = silent,
    notify: Callable[[str], None] = lambda text: None,
    announce: Callable[[dict[str, object]], None] = lambda understood: None,
) -> Predicted:
    """Segment scans; or classify them, find what is unusual in them, or take their noise away, where that is what the model was trained for.

    Parameters
    ----------
    inputs : a folder in any known layout, a folder of files, a case's folder, or one file, or several of these; channels are matched by name
        where they are named
    output : folder for `<case><file ending>`, or for `classification.csv`, made if it is missing; a denoised scan is one file a channel,
        `<case>_0000<file ending>`
    dataset : whose model; by default the one last planned
    configuration : by default what `select` chose, be it one or several, and its post-processing; where nothing was selected, the trained one with
        the best validation Dice
    folds : by default all that are trained; their logits are averaged. A cascade's previous stage is always predicted with all its trained folds
    model : a model folder instead of dataset and configuration: `fold_<k>`, the folder that holds them, or one that holds `selection.json` and what
        it names; a cascade's previous stage lies beside the folder of its own folds
    step : distance of windows as a part of the patch, 0..1; by default the plan's
    mirror : average over mirrored images
    probabilities : also write `<case>.npz`
    uncertainty : also write maps and a picture into `uncertainty/`, and `uncertainty.csv`
    overlay : also draw what was found on each scan, `overlays/<case>.png`, and on sheets, `overlays.png`
    postprocessing : apply the rules of what was selected
    overwrite : predict finished cases again
    device : "auto", "cpu", "cuda", "cuda:1" or "mps"
    workspace : where models are looked up; by default `AUTOSEG_WORKSPACE`, else the current folder
    progress, notify, announce : told how far it is, decisions in words, and once what was understood

    Raises
    ------
    AutosegError
        the output is the folder of the scans, there is no trained model, or none of a cascade's previous stage, two ways to name it are
        mixed, no case was found, a channel is missing or a file is damaged (names case and file), or probabilities or uncertainty are asked of a
        model that does not segment
    """
    done = carry_out(
        Request(
            inputs, output, dataset, configuration, folds, model, step, mirror, probabilities, uncertainty, overlay, postprocessing, overwrite,
            device, workspace, progress, notify, announce,
        )
    )  # fmt: skip
    if not overlay:
        return done.predicted
    from autoseg.api._overlays import mark_cases  # pictures: half a second that other predictions need not wait for

    started = time.monotonic()
    marked = mark_cases(
        done.cases, done.predicted.files, done.plan.labels, Path(output), regions=done.plan.learns_regions, overwrite=overwrite, progress=progress
    )
    return replace(done.predicted, overlays=marked.sheets, seconds=done.predicted.seconds + time.monotonic() - started)
