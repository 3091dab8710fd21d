"""From a scan to logits with one or more trained networks, and on to its segmentation.

- The folds of one configuration share preprocessing; their logits are averaged. What is decided from them says `decide.py`.
- How the networks run (precision, memory format) is timed once, before the first case.
- The second stage of a cascade sees the segmentation of the first as further channels; `cascade.py` puts the two together, `several.py`
  configurations that share neither grid nor windows.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from autoseg.errors import AutosegError
from autoseg.imaging.image import Image, Shape3
from autoseg.imaging.resample import Planes
from autoseg.inference.decide import Prediction, decide
from autoseg.inference.execution import Execution, enough_memory, inference
from autoseg.inference.logits import Logits, in_memory, on_disk
from autoseg.inference.model_folder import Model
from autoseg.inference.placed import TOO_LARGE, not_a_number, place_models
from autoseg.inference.sliding_window import predict_logits, windows
from autoseg.planning.plan import Configuration, Plan
from autoseg.preprocessing.case import ReadyCase, place, prepare
from autoseg.preprocessing.previous import with_previous

Ready = TypeVar("Ready")


class Segmenter(Protocol[Ready]):
    """What segments scans: a `Predictor`, a `Cascade` of two, or `Several` of these. `Ready` is what it makes of a scan on the host.

    Attributes
    ----------
    plan : says what is segmented, and how it is written
    execution : how the networks run
    members : how many networks have a say of their own: folds, over all configurations
    """

    @property
    def plan(self) -> Plan: ...

    @property
    def execution(self) -> Execution: ...

    @property
    def members(self) -> int: ...

    def prepare(self, image: Image) -> Ready: ...

    def predict(
        self,
        ready: Ready,
        *,
        probabilities: bool = False,
        uncertainty: bool = False,
        folder: Path | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Prediction: ...

    def expected_seconds(self, shapes: Iterable[Shape3]) -> float: ...


class Stage(Segmenter[Ready], Protocol[Ready]):
    """A segmenter of one configuration, which gives its logits too."""

    @property
    def configuration(self) -> Configuration: ...

    @property
    def made_by(self) -> str: ...

    def count_windows(self, image: Image) -> int: ...

    def logits(
        self,
        ready: Ready,
        *,
        wait: bool = False,
        each_fold: bool = False,
        folder: Path | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Logits: ...


class Predictor:
    """Trained networks, placed on a device and ready for any number of scans.

    Parameters
    ----------
    models : the folds of one configuration
    device : as `pick_device` gives it
    step : distance of windows as a part of the patch, above 0 and at most 1; by default the plan's
    mirror : average over the flips along the axes that all models know mirrored (`Model.mirror_axes`)

    Raises
    ------
    AutosegError
        there is no model, or the step is not possible
    """

    def __init__(self, models: list[Model], device: str, *, step: float | None = None, mirror: bool = True) -> None:
        placed = place_models(models, device, step=step, mirror=mirror)
        self.plan, self._name, self.configuration = placed.plan, placed.name, placed.configuration
        self.made_by = f"'{self._name}' in {models[0].folder}"
        self.step, self.mirror, self.execution = placed.step, mirror, placed.execution
        self._mirror_axes = tuple(axis + 3 - self.configuration.dimensions for axis in placed.mirror_axes)
        self._sigma = self.configuration.inference.gaussian_sigma
        self._networks = placed.networks

    @property
    def patch(self) -> Shape3:
        return self.configuration.patch_3d

    @property
    def members(self) -> int:
        """How many folds there are."""
        return len(self._networks)

    def prepare(self, image: Image) -> ReadyCase:
        """Make a scan ready; needs no device and may run in another thread."""
        return prepare(image, None, self.plan, self.configuration)

    def predict(
        self,
        ready: ReadyCase,
        *,
        probabilities: bool = False,
        uncertainty: bool = False,
        folder: Path | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Prediction:
        """Segment a scan that was made ready.

        Parameters
        ----------
        ready : from `prepare`; for the second stage of a cascade with the first one's segmentation as `previous`
        probabilities : also give the probabilities of every class (softmax) or region (sigmoid)
        uncertainty : also tell how sure it is
        folder : where probabilities and the folds' logits wait on disk; None: among the system's temporary files
        progress : told how many of how many windows are done, over all folds

        Raises
        ------
        AutosegError
            the networks' output is not a number, the device's memory is full, or the disk
        """
        with torch.inference_mode(), enough_memory(self.execution.device, TOO_LARGE):
            logits = self.logits(ready, each_fold=uncertainty, folder=folder, progress=progress)
            return decide([logits], self.plan, probabilities=probabilities, uncertainty=uncertainty, folder=folder)

    def logits(
        self,
        ready: ReadyCase,
        *,
        wait: bool = False,
        each_fold: bool = False,
        folder: Path | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Logits:
        """What the networks say about a scan that was made ready.

        Parameters
        ----------
        ready, folder, progress : as for `predict`
        wait : the logits wait on disk, not in memory
        each_fold : also keep those of each fold, on disk

        Raises
        ------
        AutosegError
            as for `predict`
        """
        with torch.inference_mode(), enough_memory(self.execution.device, TOO_LARGE):
            folds: list[Planes] = []

            def keep(logits_CZYX: Tensor) -> None:
                if each_fold and self.members > 1:
                    folds.append(on_disk(logits_CZYX, ready.placement, self.configuration, folder))

            mean_CZYX = self._mean(ready, keep, progress)
            if wait:
                mean = on_disk(mean_CZYX, ready.placement, self.configuration, folder)
            else:
                mean = in_memory(mean_CZYX, ready.placement, self.configuration)
        return Logits(mean, tuple(folds or [mean]) if each_fold else (), ready.placement, self.made_by)

    def output(self, ready: ReadyCase, *, progress: Callable[[int, int], None] = lambda done, total: None) -> Tensor:
        """The mean of the folds' output on the ready grid, float32 (C, Z, Y, X) on the device; parameters and errors as of `predict`."""
        return self._mean(ready, lambda fold: None, progress)

    def expected_seconds(self, shapes: Iterable[Shape3]) -> float:
        """How long the networks will take for ready scans of these shapes (Z, Y, X), told from the time of one window."""
        image = torch.zeros(self.plan.input_channels(self._name), *self.patch, device=self.execution.device)
        count = sum(self._windows(shape) for shape in shapes)
        seconds = 0.0
        with inference(self._networks[0]), enough_memory(self.execution.device, TOO_LARGE):
            for _ in range(2):  # the first warms up
                begun = time.monotonic()
                predict_logits(self._networks[0], image, self.patch, self.plan.network_outputs(self._name), self.execution).sum().item()
                seconds = time.monotonic() - begun
        return seconds * count * self.members * 2.0 ** len(self._mirror_axes)

    def count_windows(self, image: Image) -> int:
        """How many windows `predict` will tell its progress of for this scan, over all folds; without making it ready."""
        return self._windows(place(image, self.plan, self.configuration)[1]) * self.members

    def count_windows_of(self, ready: ReadyCase) -> int:
        """The same for a scan that was made ready."""
        z, y, x = ready.image.shape[1:]
        return self._windows((z, y, x)) * self.members

    def _windows(self, shape: Shape3) -> int:
        z, y, x = (max(length, size) for length, size in zip(shape, self.patch, strict=True))
        return len(windows((z, y, x), self.patch, self.step))

    def _input(self, ready: ReadyCase) -> Tensor:
        image = torch.from_numpy(ready.image).to(self.execution.device)
        if self.configuration.previous_stage is None:
            return image
        if ready.previous is None:
            raise AutosegError(
                f"'{self._name}' also sees the segmentation of '{self.configuration.previous_stage}', and none was given. Predict with both stages."
            )
        return with_previous(image, ready.previous, len(self.plan.dataset.labels.values))

    def _mean(self, ready: ReadyCase, keep: Callable[[Tensor], None], progress: Callable[[int, int], None]) -> Tensor:
        """The mean of the folds' logits on the ready grid; each is handed to `keep` before it is lost in the sum."""
        image = self._input(ready)
        folds = self.members
        mean: Tensor | None = None
        for index, network in enumerate(self._networks):

            def report(done: int, total: int, fold: int = index) -> None:
                progress(fold * total + done, folds * total)

            with inference(network):
                logits = predict_logits(
                    network, image, self.patch, self.plan.network_outputs(self._name), self.execution,
                    step=self.step, sigma=self._sigma, mirror_axes=self._mirror_axes, on_window=report,
                )  # fmt: skip
            keep(logits)
            mean = logits if mean is None else mean.add_(logits)
        if mean is None or not mean.sum().isfinite():
            raise not_a_number(self.execution)
        return mean if folds == 1 else mean.div_(folds)
