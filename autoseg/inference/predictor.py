"""From a scan to its segmentation with one or more trained networks.

- The folds of one configuration share preprocessing; their logits are averaged before the classes are decided.
- Logits travel to the scan's grid slab by slab, where classes are decided at once: the largest logit, or for regions all above 0, painted in the
  plan's order. At equal grids nothing is resampled.
- How the networks run (precision, memory format) is timed once, before the first case.
- The second stage of a cascade sees the segmentation of the first as further channels; `cascade.py` puts the two together.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autoseg.errors import AutosegError
from autoseg.imaging.image import Image, LabelMap, Shape3
from autoseg.imaging.resample import resample, resampled_argmax, resampled_regions
from autoseg.inference.execution import Execution, candidates, choose, enough_memory, inference
from autoseg.inference.model_folder import Model
from autoseg.inference.sliding_window import predict_logits, windows
from autoseg.planning.plan import Configuration, Plan
from autoseg.preprocessing.case import Placement, ReadyCase, logits_to_scan_shape, prepare
from autoseg.preprocessing.previous import with_previous

Ready = TypeVar("Ready")
TOO_LARGE = "Close other programs that use it, or predict with --device cpu."


@dataclass(frozen=True)
class Prediction:
    """A segmentation.

    Attributes
    ----------
    labels : the user's values on the scan's own grid
    probabilities : float16 (channels, Z, Y, X) on the scan's own grid, of what `Plan.output_names` says, or None where not asked for
    """

    labels: LabelMap
    probabilities: NDArray[np.float16] | None


class Segmenter(Protocol[Ready]):
    """What segments scans: a `Predictor`, or a `Cascade` of two. `Ready` is what it makes of a scan on the host."""

    @property
    def plan(self) -> Plan: ...

    @property
    def configuration(self) -> Configuration: ...

    @property
    def step(self) -> float: ...

    @property
    def mirror(self) -> bool: ...

    @property
    def execution(self) -> Execution: ...

    def prepare(self, image: Image) -> Ready: ...

    def predict(
        self, ready: Ready, *, probabilities: bool = False, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> Prediction: ...

    def expected_seconds(self, shapes: Iterable[Shape3]) -> float: ...


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
        if not models:
            raise AutosegError("There is no trained network to predict with.")
        self.plan = models[0].plan
        self._name = models[0].configuration_name
        self.configuration: Configuration = models[0].configuration
        settings = self.configuration.inference
        self.step = settings.step if step is None else step
        if not 0 < self.step <= 1:
            raise AutosegError(f"The step {step} is not possible: it is the distance of windows as a part of the patch, above 0 and at most 1.")
        self.mirror = mirror
        dimensions = self.configuration.dimensions
        learned = set.intersection(*(set(model.mirror_axes) for model in models)) if mirror else set()
        self._mirror_axes = tuple(axis + 3 - dimensions for axis in sorted(learned))
        self._sigma = settings.gaussian_sigma
        with enough_memory(device, TOO_LARGE):
            self.execution = _choose_execution(models[0], self.patch, device)
            self._networks = [self.execution.place(model.network, dimensions) for model in models]

    @property
    def patch(self) -> Shape3:
        return patch_3d(self.configuration)

    def prepare(self, image: Image) -> ReadyCase:
        """Make a scan ready; needs no device and may run in another thread."""
        return prepare(image, None, self.plan, self.configuration)

    def predict(
        self, ready: ReadyCase, *, probabilities: bool = False, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> Prediction:
        """Segment a scan that was made ready.

        Parameters
        ----------
        ready : from `prepare`; for the second stage of a cascade with the first one's segmentation as `previous`
        probabilities : also give the probabilities of every class (softmax) or region (sigmoid)
        progress : told how many of how many windows are done, over all folds

        Raises
        ------
        AutosegError
            the networks' output is not a number, or the device's memory is full
        """
        with torch.inference_mode(), enough_memory(self.execution.device, TOO_LARGE):
            logits = self._logits(ready, progress)
            shape, nearest = logits_to_scan_shape(ready.placement, self.configuration)
            order = self.configuration.resampling.logits_order
            if probabilities:  # they need the logits at the scan's size; otherwise those never exist
                logits = resample(logits, shape, order=order, nearest_axis=nearest)
            if self.plan.learns_regions:
                decided = resampled_regions(logits, shape, self.plan.labels.painted_classes, order=order, nearest_axis=nearest)
            else:
                decided = resampled_argmax(logits, shape, order=order, nearest_axis=nearest)
            soft = _probabilities(logits, ready.placement, regions=self.plan.learns_regions) if probabilities else None
        values = self.plan.labels.to_values(ready.placement.restore(decided.cpu().numpy()))
        return Prediction(LabelMap(values, ready.placement.geometry), soft)

    def expected_seconds(self, shapes: Iterable[Shape3]) -> float:
        """How long the networks will take for ready scans of these shapes (Z, Y, X), told from the time of one window."""
        image = torch.zeros(self.plan.input_channels(self._name), *self.patch, device=self.execution.device)
        count = sum(self._windows(shape) for shape in shapes)
        seconds = 0.0
        with inference(self._networks[0]), enough_memory(self.execution.device, TOO_LARGE):
            for _ in range(2):  # the first warms up
                begun = time.monotonic()
                predict_logits(self._networks[0], image, self.patch, self.plan.output_channels, self.execution).sum().item()
                seconds = time.monotonic() - begun
        return seconds * count * len(self._networks) * 2.0 ** len(self._mirror_axes)

    def count_windows(self, ready: ReadyCase) -> int:
        """How many windows `predict` will tell its progress of, over all folds."""
        z, y, x = ready.image.shape[1:]
        return self._windows((z, y, x)) * len(self._networks)

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

    def _logits(self, ready: ReadyCase, progress: Callable[[int, int], None]) -> Tensor:
        image = self._input(ready)
        folds = len(self._networks)
        mean: Tensor | None = None
        for index, network in enumerate(self._networks):

            def report(done: int, total: int, fold: int = index) -> None:
                progress(fold * total + done, folds * total)

            with inference(network):
                logits = predict_logits(
                    network, image, self.patch, self.plan.output_channels, self.execution,
                    step=self.step, sigma=self._sigma, mirror_axes=self._mirror_axes, on_window=report,
                )  # fmt: skip
            mean = logits if mean is None else mean.add_(logits)
        if mean is None or not mean.sum().isfinite():
            raise AutosegError(
                f"The network's output is not a number ({self.execution.describe()})."
                " Write precision float32 under training in the model folder's plan.json, or train the model again."
            )
        return mean if folds == 1 else mean.div_(folds)


def patch_3d(configuration: Configuration) -> Shape3:
    """The patch as Z, Y, X; a 2D patch is one slice thick."""
    size = configuration.patch_size
    return (1, size[0], size[1]) if configuration.dimensions == 2 else (size[0], size[1], size[2])


def _choose_execution(model: Model, patch: Shape3, device: str) -> Execution:
    configuration = model.configuration
    shape = patch[1:] if configuration.dimensions == 2 else patch
    window = torch.randn(1, model.plan.input_channels(model.configuration_name), *shape)

    def run(option: Execution) -> None:
        network = option.place(model.network, configuration.dimensions)
        with inference(network), option.autocast():
            network(option.arrange(window))

    return choose(candidates(device, configuration.training.precision), run)


def _probabilities(logits_CZYX: Tensor, placement: Placement, *, regions: bool) -> NDArray[np.float16]:
    full = np.zeros((len(logits_CZYX), *placement.geometry.shape), dtype=np.float16)
    if not regions:
        full[0] = 1  # background outside the crop
    inside_CZYX = full[(slice(None), *placement.box)].transpose(0, *(axis + 1 for axis in placement.transpose))  # a view
    for z in range(logits_CZYX.shape[1]):
        slab = logits_CZYX[:, z]
        inside_CZYX[:, z] = (slab.sigmoid() if regions else slab.softmax(0)).to(torch.float16).cpu().numpy()
    return full
