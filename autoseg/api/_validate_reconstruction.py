"""The validation of a fold whose network gives the image again: its held-out cases predicted from their files, and judged.

- Anomaly: the maps, in `validation/`, against any foreground of the masks, inside the head and where somebody annotated.
- Denoising: noise of a fixed seed and of the middle of the plan's range is added once the scan is normalised; what comes out is held against the
  scan as it was, in its own intensities.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from autoseg.api._validation_folder import announcement, from_worst_to_best, validation_folder
from autoseg.data.dataset import Case
from autoseg.evaluation.fidelity import psnr, ssim
from autoseg.evaluation.ranking import Ranking, no_voxels
from autoseg.evaluation.reconstructions import FOREGROUND, METRICS, ReconstructionScores, tabulate
from autoseg.imaging.crop import nonzero_mask
from autoseg.imaging.image import Image, Shape3
from autoseg.imaging.read import read_image
from autoseg.inference.cascade import TrainedFolds
from autoseg.inference.model_folder import Model
from autoseg.inference.predictor import Predictor
from autoseg.inference.reconstruction import Reconstructor, in_original_intensities, output_files, validation_noise
from autoseg.inference.run import Source, is_finished, reconstruct_cases
from autoseg.planning.schema.configuration import channel_positions
from autoseg.preprocessing.source import naming, read_scan, read_segmentation
from autoseg.progress import Progress, silent
from autoseg.reporting.maps import MapRow, draw_maps

Row = tuple[str, str, Mapping[str, float]]


def validate_reconstruction(
    folder: Path,
    trained: TrainedFolds,
    cases: list[Case],
    device: str,
    *,
    shapes: Mapping[str, Shape3] | None = None,
    progress: Progress = silent,
    notify: Callable[[str], None] = lambda text: None,
    stage: str = "validate",
) -> ReconstructionScores:
    """Predict and judge cases with the model in `folder`; parameters and errors as of `validate`.

    Writes `validation/` (maps, or denoised scans), `metrics.csv`, `metrics.json` and `validation.png` into the folder.
    """
    reconstructor, source = place_reconstructor(trained.models, device, noise=validation_noise(trained.models[0].configuration))
    output = validation_folder(folder, source)
    ahead = [case.name for case in cases if not is_finished(case, output_files(reconstructor.plan, source.configuration, case.name, output)[0])]
    notify(announcement(cases, ahead, reconstructor, shapes))
    reconstruct_cases(reconstructor, cases, output, source, progress=progress, stage=stage)
    judge = _anomaly if reconstructor.configuration.task == "anomaly" else _denoising
    scores = judge(_Predictions(reconstructor, source.configuration, output), cases, progress)
    scores.write(folder)
    _draw(_Predictions(reconstructor, source.configuration, output), cases, scores, folder / "validation.png", progress)
    return scores


def place_reconstructor(
    models: list[Model], device: str, *, step: float | None = None, mirror: bool = True, noise: float = 0.0
) -> tuple[Reconstructor, Source]:
    """The folds of one configuration on a device, and what they are, for the record; errors as of `Predictor`."""
    predictor = Predictor(models, device, step=step, mirror=mirror)
    return Reconstructor(predictor, noise=noise), Source.of(models, predictor)


@dataclass(frozen=True)
class _Predictions:
    """Where predictions are and what made them."""

    reconstructor: Reconstructor
    name: str
    output: Path

    def read(self, case: Case) -> Image:
        """What was predicted of a case, one channel a file."""
        return read_image(output_files(self.reconstructor.plan, self.name, case.name, self.output))

    def seen(self, image: Image) -> NDArray[np.float32]:
        """The channels of a scan that the network sees."""
        plan = self.reconstructor.plan
        chosen: NDArray[np.float32] = image.array[list(channel_positions(plan.image_channels(self.name), plan.dataset.channel_names) or ())]
        return chosen

    def mask(self, case: Case, image: Image) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Any foreground of a case, and where somebody annotated."""
        labels = read_segmentation(case, self.reconstructor.plan, image.geometry)
        if labels is None:
            return np.zeros(image.geometry.shape, np.bool_), np.zeros(image.geometry.shape, np.bool_)
        classes = self.reconstructor.plan.labels.to_classes(labels.array)
        return classes > 0, classes >= 0


def _anomaly(made: _Predictions, cases: list[Case], progress: Progress) -> ReconstructionScores:
    rows: list[Row] = []
    pooled = no_voxels()
    for index, case in enumerate(cases):
        with naming(case):
            image = read_scan(case, made.reconstructor.plan)
            foreground, known = made.mask(case, image)
            inside = known & nonzero_mask(image.array)
            ranking = Ranking.of(made.read(case).array[0][inside], foreground[inside])
        pooled += ranking
        rows.append((case.name, FOREGROUND, _numbers(ranking)))
        progress("evaluate", index + 1, len(cases), case.name)
    return ReconstructionScores("anomaly", tabulate("anomaly", rows), pooled=_numbers(pooled))


def _numbers(ranking: Ranking) -> dict[str, float]:
    return {name: getattr(ranking, name) for name in METRICS["anomaly"]}


def _denoising(made: _Predictions, cases: list[Case], progress: Progress) -> ReconstructionScores:
    rows: list[Row] = []
    configuration, plan = made.reconstructor.configuration, made.reconstructor.plan
    for index, case in enumerate(cases):
        with naming(case):
            image = read_scan(case, plan)
            clean, denoised, noisy = made.seen(image), made.read(case).array, _noisy(made, image)
            inside = nonzero_mask(image.array)
            for channel, name in enumerate(plan.image_channels(made.name)):
                found = [function(one[channel], clean[channel], inside) for one in (denoised, noisy) for function in (psnr, ssim)]
                rows.append((case.name, name, dict(zip(METRICS["denoising"], found, strict=True))))
        progress("evaluate", index + 1, len(cases), case.name)
    return ReconstructionScores("denoising", tabulate("denoising", rows), facts={"noise": validation_noise(configuration)})


def _noisy(made: _Predictions, image: Image) -> NDArray[np.float32]:
    """A scan as the network saw it, on its own grid and with its own intensities."""
    ready = made.reconstructor.prepare(image)
    return in_original_intensities(ready, torch.from_numpy(ready.image), made.reconstructor.configuration).array


def _draw(made: _Predictions, cases: list[Case], scores: ReconstructionScores, target: Path, progress: Progress) -> None:
    """A picture of a few cases between the worst and the best."""
    leading = scores.metrics[0]
    means = {str(case): float(mean) for case, mean in scores.table.groupby("case")[leading].mean().items()}
    chosen = from_worst_to_best(means)
    by_name = {case.name: case for case in cases}
    said = {"auroc": "AUROC {:.3f}", "psnr": "PSNR {:.1f} dB"}[leading]
    rows: list[MapRow] = []
    for name in chosen:
        progress("draw", len(rows), len(chosen), name)
        rows.append(_row(made, by_name[name], said.format(means[name])))
    draw_maps(rows, target)
    progress("draw", len(rows), len(chosen))


def _row(made: _Predictions, case: Case, note: str) -> MapRow:
    with naming(case):
        image, predicted = read_scan(case, made.reconstructor.plan), made.read(case).array
        ready, configuration = made.reconstructor.prepare(image), made.reconstructor.configuration
        scan, geometry = made.seen(image)[0], image.geometry
        foreground, _ = made.mask(case, image)
        affine = None if geometry.flat else geometry.affine
        if configuration.task == "denoising":
            noisy = in_original_intensities(ready, torch.from_numpy(ready.image), configuration).array[0]
            return MapRow(case.name, note, {"Scan": scan, "Noisy": noisy, "Denoised": predicted[0]}, foreground, None, geometry.spacing, affine)
        again = in_original_intensities(ready, made.reconstructor.reconstruct(ready), configuration).array[0]
        return MapRow(case.name, note, {"Scan": scan, "Reconstruction": again}, foreground, predicted[0], geometry.spacing, affine)
