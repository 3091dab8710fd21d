"""The fingerprint: everything about a dataset that a plan depends on, and nothing about any patient's image.

- Made of the facts of all cases, so that planning never touches a voxel and a site can share it instead of its images.
- Cases stand in the order of their names, whatever order their facts came in: the same images give the same file.
- Sums run in float64, case by case; percentiles are those of all samples together.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autoseg.data.dataset import Dataset
from autoseg.data.facts import CaseFacts
from autoseg.errors import AutosegError
from autoseg.files import read_json, write_json

Positive = Annotated[float, Field(gt=0)]


class IntensityStatistics(BaseModel):
    """Intensities of one channel over the foreground voxels of all cases, in the image's own unit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float
    median: float
    std: float
    min: float
    max: float
    percentile_00_5: float
    percentile_99_5: float


class Fingerprint(BaseModel):
    """Facts about a dataset.

    Attributes
    ----------
    case_names, spacings, shapes, shapes_after_crop : one entry a case, in one order; millimetres and voxels along Z, Y, X
    median_relative_size_after_crop : median over the cases of voxels after / voxels before cropping to non-zero, 0..1
    channel_names, intensities : one entry a channel, in the dataset's order
    class_voxels : one entry a class, background first: voxels over all cases
    cases_without_class : one entry a class: how many cases have not one voxel of it
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    case_names: tuple[str, ...]
    spacings: tuple[tuple[Positive, Positive, Positive], ...]
    shapes: tuple[tuple[int, int, int], ...]
    shapes_after_crop: tuple[tuple[int, int, int], ...]
    median_relative_size_after_crop: float
    channel_names: tuple[str, ...]
    intensities: tuple[IntensityStatistics, ...]
    class_voxels: tuple[int, ...]
    cases_without_class: tuple[int, ...]


def fingerprint(dataset: Dataset, facts: Sequence[CaseFacts]) -> Fingerprint:
    """Pool the facts of all cases (the rule of nnU-Net, Isensee et al. 2021).

    Parameters
    ----------
    dataset : names, channels and classes
    facts : one entry a case, in any order

    Raises
    ------
    AutosegError
        a case has no facts, or no case has a single labelled voxel
    """
    ordered = sorted(facts, key=lambda one: one.name)
    _check_complete(dataset, ordered)
    voxels = np.array([one.class_voxels for one in ordered], dtype=np.int64)
    before = np.array([one.shape for one in ordered], dtype=np.float64).prod(axis=1)
    after = np.array([one.shape_after_crop for one in ordered], dtype=np.float64).prod(axis=1)
    return Fingerprint(
        case_names=tuple(one.name for one in ordered),
        spacings=tuple(one.spacing for one in ordered),
        shapes=tuple(one.shape for one in ordered),
        shapes_after_crop=tuple(one.shape_after_crop for one in ordered),
        median_relative_size_after_crop=float(np.median(after / before)),
        channel_names=dataset.channel_names,
        intensities=tuple(_statistics([one.foreground[channel] for one in ordered]) for channel in range(len(dataset.channel_names))),
        class_voxels=tuple(voxels.sum(axis=0).tolist()),
        cases_without_class=tuple((voxels == 0).sum(axis=0).tolist()),
    )


def write_fingerprint(content: Fingerprint, path: Path) -> None:
    """Write a fingerprint as JSON, whole or not at all."""
    write_json(path, content.model_dump(mode="json"))


def read_fingerprint(path: Path) -> Fingerprint:
    """Read a fingerprint.

    Raises
    ------
    AutosegError
        the file is missing, is not JSON, or is not a fingerprint; the text names every fault
    """
    try:
        return Fingerprint.model_validate(read_json(path))
    except ValidationError as error:
        faults = [f"  {'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise AutosegError("\n".join([f"{path} is not a fingerprint. Delete it, then plan again to have it made anew.", *faults])) from None


def _check_complete(dataset: Dataset, facts: Sequence[CaseFacts]) -> None:
    known = {one.name for one in facts}
    missing = [case.name for case in dataset.cases if case.name not in known]
    if missing:
        raise AutosegError(f"Nothing is known yet about {len(missing)} cases of {dataset.name} ({', '.join(missing[:5])}). Read them first.")
    if not sum(one.foreground.shape[1] for one in facts):
        raise AutosegError(
            f"Not one voxel of the {len(facts)} cases of {dataset.name} is labelled: there is nothing to learn. Check the label files."
        )


def _statistics(samples: Sequence[NDArray[np.float32]]) -> IntensityStatistics:
    """Statistics of one channel; `samples` holds one array (N,) a case."""
    count = sum(one.size for one in samples)
    mean = sum(float(one.sum(dtype=np.float64)) for one in samples) / count
    variance = sum(float(np.square(one - np.float64(mean)).sum()) for one in samples) / count
    pooled = np.concatenate(samples)
    low, median, high = np.percentile(pooled, (0.5, 50, 99.5))
    return IntensityStatistics(
        mean=mean,
        median=float(median),
        std=float(np.sqrt(variance)),
        min=float(pooled.min()),
        max=float(pooled.max()),
        percentile_00_5=float(low),
        percentile_99_5=float(high),
    )
