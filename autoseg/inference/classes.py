"""From a scan to the probabilities of its classes, with one or more networks that classify.

- A slice (or, in 3D, a window) is as probable as its networks say: logits are averaged over folds and mirrored images, then made probabilities.
- Windows of a slice, and slices or windows of a case, are put together as their meaning asks: foreground is there if it is in the most suspicious of
  them; what is true of the whole case, such as its grade, is the mean over all.
- Slices that hold nothing but zeros were cropped away, and are not looked at, unless whole images are resized.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autoseg.errors import AutosegError
from autoseg.imaging.image import Image, Shape3
from autoseg.inference.execution import enough_memory, inference
from autoseg.inference.model_folder import Model
from autoseg.inference.placed import TOO_LARGE, not_a_number, place_models
from autoseg.inference.sliding_window import flip_combinations, pad_to_patch, windows
from autoseg.networks.head import set_given
from autoseg.planning.plan import Classification
from autoseg.preprocessing.case import ReadyCase, prepare

TOGETHER = 8  # windows the networks see at once
DIGITS = 6  # of a probability, in tables and in what is made of them


@dataclass(frozen=True)
class Classified:
    """What networks say of a case.

    Attributes
    ----------
    case : probability of each class
    slices : the same of each slice that was looked at, by its number in the scan along the axis that slices are cut from; empty in 3D, and where the
        scan is a single slice
    """

    case: tuple[float, ...]
    slices: Mapping[int, tuple[float, ...]] = field(default_factory=dict)


class ClassPredictor:
    """Trained networks that classify, placed on a device and ready for any number of scans.

    Parameters
    ----------
    models : the folds of one configuration, loaded for this predictor alone where they also segment: they give classes from then on
    device, step, mirror : as for `Predictor`

    Raises
    ------
    AutosegError
        there is no model, or the step is not possible
    """

    def __init__(self, models: list[Model], device: str, *, step: float | None = None, mirror: bool = True) -> None:
        for model in models:
            set_given(model.network, "image")
        placed = place_models(models, device, step=step, mirror=mirror)
        self.plan, self.configuration = placed.plan, placed.configuration
        self.step, self.mirror, self.execution = placed.step, mirror, placed.execution
        self._flips = flip_combinations([axis + 2 for axis in placed.mirror_axes])
        self._patch = self.configuration.patch_3d
        self._networks = placed.networks

    @property
    def block(self) -> Classification:
        """What is classified."""
        if self.configuration.classification is None:
            raise AutosegError("These networks segment; they do not classify.")
        return self.configuration.classification

    def prepare(self, image: Image) -> ReadyCase:
        """Make a scan ready; needs no device and may run in another thread."""
        return prepare(image, None, self.plan, self.configuration)

    def classify(self, ready: ReadyCase, *, progress: Callable[[int, int], None] = lambda done, total: None) -> Classified:
        """Classify a scan that was made ready.

        Raises
        ------
        AutosegError
            the networks' output is not a number, or the device's memory is full
        """
        flat = self.configuration.dimensions == 2
        with enough_memory(self.execution.device, TOO_LARGE):
            padded, _ = pad_to_patch(torch.from_numpy(ready.image).to(self.execution.device), self._patch)
            shape: Shape3 = (padded.shape[1], padded.shape[2], padded.shape[3])
            places = windows(shape, self._patch, self.step)
            found: list[NDArray[np.float64]] = []
            for first in range(0, len(places), TOGETHER):
                patches = torch.stack([padded[(slice(None), *place)] for place in places[first : first + TOGETHER]])
                found.extend(self._probabilities(patches.squeeze(2) if flat else patches))
                progress(min(first + TOGETHER, len(places)), len(places))
        if not np.isfinite(found).all():
            raise not_a_number(self.execution)
        if not flat:
            return Classified(_rounded(together(np.array(found), self.block)))
        by_slice: dict[int, list[NDArray[np.float64]]] = {}
        for place, probabilities in zip(places, found, strict=True):
            by_slice.setdefault(place[0].start, []).append(probabilities)
        slices = {z: together(np.array(of_windows), self.block) for z, of_windows in by_slice.items()}
        axis, placement = ready.placement.transpose[0], ready.placement
        case = _rounded(together(np.array(list(slices.values())), self.block))
        if placement.geometry.shape[axis] == 1:
            return Classified(case)
        return Classified(case, {placement.box[axis].start + z: _rounded(probabilities) for z, probabilities in sorted(slices.items())})

    def _probabilities(self, patches: Tensor) -> NDArray[np.float64]:
        """(N, K) of the patches (N, C, *patch)."""
        total: Tensor | None = None
        for network in self._networks:
            with inference(network):
                for axes in self._flips:
                    with self.execution.autocast():
                        logits = network(self.execution.arrange(patches.flip(axes) if axes else patches)).float()
                    total = logits if total is None else total + logits
        if total is None:
            raise ValueError("there is no network")
        probabilities: NDArray[np.float64] = (total / (len(self._networks) * len(self._flips))).double().softmax(1).cpu().numpy()
        return probabilities


def together(probabilities_NK: NDArray[np.float64], block: Classification) -> NDArray[np.float64]:
    """The probabilities of a whole from those of its parts: the part where foreground is most probable, or the mean.

    Returns
    -------
    (K,)
    """
    result: NDArray[np.float64]
    result = probabilities_NK[probabilities_NK[:, -1].argmax()] if block.of_presence else probabilities_NK.mean(axis=0)
    return result


def _rounded(probabilities_K: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(float(one), DIGITS) for one in probabilities_K)
