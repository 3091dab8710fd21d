"""What networks that give the image again make of a scan, on the scan's own grid: a map of anomalies, or the scan without its noise.

- A map is the mean over the channels of |image - reconstruction|, in normalised intensities; of several folds the mean reconstruction counts. It is
  0 outside the head, smoothed by as many millimetres as the plan says (over the head alone, so that its rim does not fade), and rounded to 1/1024,
  which keeps the files small.
- A denoised scan has the intensities that it came with: the network's output, with the normalisation undone. It is 0 outside the head.
- Files are float32: the map `<case><ending>`, a denoised scan one file a channel, `<case>_0000<ending>` and so on, numbered as the channels of the
  dataset. Where that holds pictures of whole numbers the ending is `.tif`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from autoseg.errors import AutosegError
from autoseg.imaging.image import Geometry, Image, Shape3
from autoseg.imaging.resample import resample
from autoseg.inference.execution import Execution, enough_memory
from autoseg.inference.placed import TOO_LARGE
from autoseg.inference.predictor import Predictor
from autoseg.planning.plan import Configuration, Plan
from autoseg.planning.schema.configuration import channel_positions
from autoseg.planning.schema.tasks import RECONSTRUCTIONS
from autoseg.preprocessing.case import ReadyCase
from autoseg.preprocessing.placement import Placement, logits_to_scan_shape

STEPS = 1024
NOISE_SEED = 20_240_229  # of the noise that a validation adds, the same in every run
_PICTURES = (".png", ".bmp", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Reconstructed:
    """What is written of a scan: float32 (C, Z, Y, X) on its own grid; one channel is the map, or each is denoised."""

    image: Image


class Reconstructor:
    """A predictor of the task anomaly or denoising.

    Parameters
    ----------
    predictor : its networks
    noise : standard deviation, in normalised intensities, of noise that is added to every scan before the networks see it: for a validation

    Raises
    ------
    AutosegError
        the networks do something else
    """

    def __init__(self, predictor: Predictor, *, noise: float = 0.0) -> None:
        self.configuration: Configuration = predictor.configuration
        if self.configuration.task not in RECONSTRUCTIONS:
            raise AutosegError(f"{predictor.made_by} is for the task {self.configuration.task}: there is no reconstruction to be had.")
        self._predictor, self._noise = predictor, noise

    @property
    def plan(self) -> Plan:
        return self._predictor.plan

    @property
    def execution(self) -> Execution:
        return self._predictor.execution

    def prepare(self, image: Image) -> ReadyCase:
        """Make a scan ready, with noise where that was asked for; needs no device and may run in another thread."""
        ready = self._predictor.prepare(image)
        return with_noise(ready, self._noise, self.configuration) if self._noise else ready

    def predict(self, ready: ReadyCase, *, progress: Callable[[int, int], None] = lambda done, total: None) -> Reconstructed:
        """The map of a scan that was made ready, or the denoised scan.

        Raises
        ------
        AutosegError
            the networks' output is not a number, or the device's memory is full
        """
        output_CZYX = self.reconstruct(ready, progress=progress)
        if self.configuration.task == "anomaly":
            return Reconstructed(anomaly_map(ready, output_CZYX, self.configuration))
        return Reconstructed(in_original_intensities(ready, output_CZYX, self.configuration))

    def reconstruct(self, ready: ReadyCase, *, progress: Callable[[int, int], None] = lambda done, total: None) -> Tensor:
        """The mean of the folds' reconstructions on the ready grid, float32 (C, Z, Y, X) on the CPU; errors as of `predict`."""
        with torch.inference_mode(), enough_memory(self.execution.device, TOO_LARGE):
            return self._predictor.output(ready, progress=progress).cpu()

    def expected_seconds(self, shapes: Iterable[Shape3]) -> float:
        """As of `Predictor`."""
        return self._predictor.expected_seconds(shapes)


def output_files(plan: Plan, name: str, case: str, folder: Path) -> tuple[Path, ...]:
    """The files that the configuration's predictions of a case are written to, in the order of their channels."""
    ending = plan.dataset.file_ending
    ending = ".tif" if ending.lower() in _PICTURES else ending
    if plan.configuration(name).task == "anomaly":
        return (folder / f"{case}{ending}",)
    positions = channel_positions(plan.image_channels(name), plan.dataset.channel_names) or ()
    return tuple(folder / f"{case}_{position:04d}{ending}" for position in positions)


def anomaly_map(ready: ReadyCase, output_CZYX: Tensor, configuration: Configuration) -> Image:
    """The map of a scan from the networks' reconstruction of it on the ready grid: one channel, 0 where nothing is unusual."""
    error_1ZYX = (output_CZYX - torch.from_numpy(ready.image)).abs_().mean(0, keepdim=True)
    error_ZYX = _at_scan(error_1ZYX, ready, configuration)[0]
    inside = None if ready.outside is None else ~ready.outside
    if configuration.inference.smoothing:
        error_ZYX = smoothed(error_ZYX, inside, ready.placement.cropped_spacing, configuration.inference.smoothing)
    if inside is not None:
        error_ZYX *= inside
    rounded: NDArray[np.float32] = np.rint(error_ZYX * np.float32(STEPS)) / np.float32(STEPS)
    return Image(ready.placement.restore(rounded)[None], ready.placement.geometry)


def in_original_intensities(ready: ReadyCase, voxels_CZYX: Tensor, configuration: Configuration) -> Image:
    """Voxels of the ready grid, such as a denoised scan, on the scan's own with the intensities that it came with; 0 outside the head."""
    scan_CZYX = _at_scan(voxels_CZYX, ready, configuration)
    geometry: Geometry = ready.placement.geometry
    whole = np.zeros((len(scan_CZYX), *geometry.shape), np.float32)
    for result, channel, linear in zip(whole, scan_CZYX, ready.maps, strict=True):
        original = linear.undo(channel)
        if ready.outside is not None:
            original[ready.outside] = 0
        result[...] = ready.placement.restore(original)
    return Image(whole, geometry)


def smoothed(x_ZYX: NDArray[np.float32], inside: NDArray[np.bool_] | None, spacing: tuple[float, float, float], sigma: float) -> NDArray[np.float32]:
    """A Gaussian mean over the voxels inside, or over all; `spacing` and `sigma` in mm, `x_ZYX` and `inside` of one shape."""
    widths = [sigma / size for size in spacing]
    if inside is None:
        result: NDArray[np.float32] = gaussian_filter(x_ZYX, widths)
        return result
    weights = gaussian_filter(inside.astype(np.float32), widths)
    result = gaussian_filter(x_ZYX * inside, widths)
    return np.divide(result, weights, out=np.zeros_like(result), where=inside & (weights > 0))


def with_noise(ready: ReadyCase, sigma: float, configuration: Configuration) -> ReadyCase:
    """A scan with Gaussian noise of a fixed seed; where voxels outside the head are 0, they stay so."""
    noise: NDArray[np.float32] = np.random.default_rng(NOISE_SEED).standard_normal(ready.image.shape, dtype=np.float32)
    noise *= np.float32(sigma)
    if configuration.keeps_zero:
        noise *= (ready.image != 0).any(0)
    return replace(ready, image=ready.image + noise)


def validation_noise(configuration: Configuration) -> float:
    """The strength of the noise that a validation adds: the middle of the range that training draws from; 0 where there is none."""
    noise = configuration.training.noise
    return (noise[0] + noise[1]) / 2 if configuration.task == "denoising" and noise else 0.0


def _at_scan(voxels_CZYX: Tensor, ready: ReadyCase, configuration: Configuration) -> NDArray[np.float32]:
    """From the ready grid to the cropped, transposed scan."""
    placement: Placement = ready.placement
    shape, nearest = logits_to_scan_shape(placement, configuration)
    result: NDArray[np.float32] = resample(voxels_CZYX.float(), shape, order=configuration.resampling.logits_order, nearest_axis=nearest).numpy()
    return result
