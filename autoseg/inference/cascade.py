"""Two stages: the networks of a cascade also see the segmentation that the networks of its previous stage made of the same scan.

- The first segmentation travels as a label map on the scan's own grid, in training as in prediction: both see the same thing, and the stages may
  differ in spacing and axis order.
- The previous stage's models lie beside the cascade's: `<previous stage>/fold_<k>` in the same folder as `<cascade>/fold_<k>`.
- New scans are segmented by all trained folds of the previous stage. The cases that a fold validates on are segmented by that fold of the previous
  stage alone: the others were trained on them.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoseg.errors import AutosegError
from autoseg.files import read_record
from autoseg.imaging.image import Image, Shape3
from autoseg.inference.decide import Prediction
from autoseg.inference.execution import Execution
from autoseg.inference.logits import Logits
from autoseg.inference.model_folder import PREVIOUS, Model, is_trained, load_folds, trained_folds
from autoseg.inference.predictor import Predictor, Stage
from autoseg.inference.run import Source
from autoseg.planning.plan import Configuration, Plan
from autoseg.preprocessing.case import ReadyCase
from autoseg.preprocessing.previous import bring_to_grid


@dataclass(frozen=True)
class TrainedFolds:
    """Trained networks before they are placed on a device.

    Attributes
    ----------
    models : the folds of one configuration
    previous : where that is a cascade, the folds of its previous stage; else empty
    """

    models: list[Model]
    previous: list[Model]

    @property
    def plan(self) -> Plan:
        return self.models[0].plan

    @property
    def configuration_name(self) -> str:
        return self.models[0].configuration_name

    @property
    def task(self) -> str:
        return self.models[0].configuration.task

    def place(self, device: str, *, step: float | None = None, mirror: bool = True) -> tuple[Stage[Any], Source]:
        """Place the networks on a device; also what they are, for the record. Parameters and errors as of `Predictor`, for both stages."""
        own = Predictor(self.models, device, step=step, mirror=mirror)
        if not self.previous:
            return own, Source.of(self.models, own)
        previous = Predictor(self.previous, device, step=step, mirror=mirror)
        return Cascade(previous, own), Source.of(self.models, own, Source.of(self.previous, previous))


@dataclass(frozen=True)
class ReadyStages:
    """A scan made ready for the previous stage and for the networks that follow it."""

    previous: ReadyCase
    own: ReadyCase


class Cascade:
    """A segmenter of two stages.

    Parameters
    ----------
    previous : makes the first segmentation
    own : the cascade's networks

    Raises
    ------
    AutosegError
        the two are not for the same channels and labels
    """

    def __init__(self, previous: Predictor, own: Predictor) -> None:
        before, after = previous.plan.dataset, own.plan.dataset
        if before.labels != after.labels or before.channel_names != after.channel_names:
            raise AutosegError(
                f"The previous stage was trained for other labels or channels ({', '.join(before.labels.names)}; {', '.join(before.channel_names)})"
                f" than the cascade ({', '.join(after.labels.names)}; {', '.join(after.channel_names)}). Train both with one plan."
            )
        self._previous, self._own = previous, own

    @property
    def plan(self) -> Plan:
        return self._own.plan

    @property
    def configuration(self) -> Configuration:
        return self._own.configuration

    @property
    def execution(self) -> Execution:
        return self._own.execution

    @property
    def members(self) -> int:
        return self._own.members

    @property
    def made_by(self) -> str:
        return self._own.made_by

    def prepare(self, image: Image) -> ReadyStages:
        """Make a scan ready for both stages; needs no device and may run in another thread."""
        return ReadyStages(self._previous.prepare(image), self._own.prepare(image))

    def predict(
        self,
        ready: ReadyStages,
        *,
        probabilities: bool = False,
        uncertainty: bool = False,
        folder: Path | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Prediction:
        """Segment a scan with the previous stage, then with the cascade's networks. Parameters and errors as of `Predictor.predict`."""
        own, told = self._seen(ready, progress)
        return self._own.predict(own, probabilities=probabilities, uncertainty=uncertainty, folder=folder, progress=told)

    def logits(
        self,
        ready: ReadyStages,
        *,
        wait: bool = False,
        each_fold: bool = False,
        folder: Path | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Logits:
        """What the cascade's networks say once the previous stage has segmented the scan. Parameters and errors as of `Predictor.logits`."""
        own, told = self._seen(ready, progress)
        return self._own.logits(own, wait=wait, each_fold=each_fold, folder=folder, progress=told)

    def count_windows(self, image: Image) -> int:
        """How many windows both stages will tell their progress of for this scan."""
        return self._previous.count_windows(image) + self._own.count_windows(image)

    def expected_seconds(self, shapes: Iterable[Shape3]) -> float:
        """How long both stages will take for scans whose ready shapes (Z, Y, X) for the cascade's networks are these."""
        own = list(shapes)
        before = [at_spacing(shape, self.configuration, self._previous.configuration) for shape in own]
        return self._previous.expected_seconds(before) + self._own.expected_seconds(own)

    def _seen(self, ready: ReadyStages, progress: Callable[[int, int], None]) -> tuple[ReadyCase, Callable[[int, int], None]]:
        """The scan with what the previous stage said of it, and whom the cascade's networks tell their own progress."""
        first = self._previous.count_windows_of(ready.previous)
        both = first + self._own.count_windows_of(ready.own)
        labels = self._previous.predict(ready.previous, progress=lambda done, total: progress(done, both)).labels
        z, y, x = ready.own.image.shape[1:]
        classes = bring_to_grid(labels, ready.own.placement, (z, y, x), self.plan, self.configuration)
        return replace(ready.own, previous=classes), lambda done, total: progress(first + done, both)


def load_trained(folders: Sequence[Path], *, previous_fold: str | None = None) -> TrainedFolds:
    """Load folds of one configuration and, for a cascade, those of its previous stage.

    Parameters
    ----------
    folders : of the trained folds
    previous_fold : the one fold of the previous stage to use; by default all that are trained

    Raises
    ------
    AutosegError
        a model is missing, cannot be loaded, or does not belong to the others; names the folder and what to do
    """
    models = load_folds(list(folders))
    name, previous = models[0].configuration_name, models[0].configuration.previous_stage
    if previous is None:
        return TrainedFolds(models, [])
    before = load_folds(_previous_folders(folders[0], name, previous, previous_fold))
    if before[0].configuration_name != previous:
        raise AutosegError(
            f"{before[0].folder} holds a model of '{before[0].configuration_name}', not of '{previous}' that '{name}' builds on."
            " Copy the right one there."
        )
    return TrainedFolds(models, before)


def at_spacing(shape: Shape3, before: Configuration, after: Configuration) -> Shape3:
    """About the shape (Z, Y, X) that a ready case of one configuration has in another; slices of a 2D one are taken as they are.

    Exact where the other resizes whole images; where only the first does, its nominal spacing counts.
    """
    if resize := after.resampling.resize:
        z, y, x = (*shape[: 3 - len(resize)], *resize)
        return z, y, x
    if before.dimensions == after.dimensions == 3:
        z, y, x = (max(1, round(size * old / new)) for size, old, new in zip(shape, before.spacing, after.spacing, strict=True))
        return z, y, x
    y, x = (max(1, round(size * old / new)) for size, old, new in zip(shape[1:], before.spacing[-2:], after.spacing[-2:], strict=True))
    return shape[0], y, x


def trained_on_others(folder: Path, source: Source | None) -> list[str]:
    """The folds of the previous stage that a cascade's fold was trained with other weights of.

    Parameters
    ----------
    folder : of the cascade's fold
    source : what the previous stage is now
    """
    if source is None or not (folder / PREVIOUS).is_file():
        return []
    known = read_record(folder / PREVIOUS).get("weights")
    if not isinstance(known, dict):
        raise AutosegError(f"{folder / PREVIOUS} is damaged: it names no weights. Copy the model again, or train it anew.")
    return [fold for fold, weights in zip(source.folds, source.weights, strict=True) if known.get(fold, weights) != weights]


def _previous_folders(folder: Path, name: str, previous: str, fold: str | None) -> list[Path]:
    root = Path(os.path.abspath(folder)).parent.parent / previous  # noqa: PTH100 - beside it as the user sees it, not where a link leads
    found = trained_folds(root) if fold is None else [entry for entry in [root / f"fold_{fold}"] if is_trained(entry)]
    if not found:
        which = "no trained fold" if fold is None else f"no trained fold {fold}"
        raise AutosegError(
            f"'{name}' builds on the segmentations of '{previous}', but there is {which} of it in {root}."
            f" Copy that folder beside the other, or train it: autoseg train {previous} {fold or 'cv'}"
        )
    return found
