"""The fingerprint: everything about a dataset that a plan depends on, and nothing about any patient's image.

- Made of the facts of all cases, so that planning never touches a voxel and a site can share it instead of its images.
- It names no case, since names can tell who a patient is. Entries stand in the order of the names, whatever order the facts came in: the same
  images give the same file.
- What other programs' fingerprints do not hold is optional, never made up.
- Sums run in float64, case by case; percentiles are those of all samples together.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from autoseg.data.dataset import Dataset, Labels
from autoseg.data.facts import CaseFacts
from autoseg.errors import AutosegError
from autoseg.files import write_json
from autoseg.planning.schema.blocks import Count, Positive
from autoseg.planning.schema.dataset import DatasetBlock, LabelsBlock
from autoseg.planning.schema.faults import as_written, in_words

Shape = tuple[Count, Count, Count]
Voxels = Annotated[int, Field(ge=0)]


class IntensityStatistics(BaseModel):
    """Intensities of one channel over the foreground voxels of all cases, in the image's own unit."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mean: float
    median: float
    std: Annotated[float, Field(ge=0)]
    min: float
    max: float
    percentile_00_5: float
    percentile_99_5: float


class Fingerprint(BaseModel):
    """Facts about a dataset.

    Attributes
    ----------
    dataset : what the plan repeats of the dataset; None where the file does not say
    channel_names, intensities : one entry a channel, in the dataset's order
    spacings, shapes_after_crop : one entry a case, in one order; millimetres and voxels along Z, Y, X
    median_relative_size_after_crop : median over the cases of voxels after / voxels before cropping to non-zero, 0..1
    shapes : voxels before cropping, one entry a case, or None
    class_voxels : one entry a class, background first: voxels over all cases; or None
    cases_without_class : one entry a class: how many cases have not one voxel of it; or None
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dataset: DatasetBlock | None = None
    channel_names: tuple[str, ...] = Field(min_length=1)
    spacings: tuple[tuple[Positive, Positive, Positive], ...] = Field(min_length=1)
    shapes_after_crop: tuple[Shape, ...]
    median_relative_size_after_crop: Annotated[float, Field(gt=0, le=1)]
    intensities: tuple[IntensityStatistics, ...]
    shapes: tuple[Shape, ...] | None = None
    class_voxels: tuple[Voxels, ...] | None = None
    cases_without_class: tuple[Voxels, ...] | None = None

    @model_validator(mode="after")
    def _entries_agree(self) -> "Fingerprint":
        for key in ("shapes_after_crop", "shapes"):
            entries = getattr(self, key)
            if entries is not None and len(entries) != len(self.spacings):
                raise ValueError(f"{key} has {len(entries)} entries, spacings has {len(self.spacings)}: one of each for every case")
        if len(self.intensities) != len(self.channel_names):
            raise ValueError(f"intensities has {len(self.intensities)} entries for {len(self.channel_names)} channels: one for each")
        return self

    @model_validator(mode="after")
    def _dataset_agrees(self) -> "Fingerprint":
        if self.dataset is None:
            return self
        if self.dataset.channel_names != self.channel_names:
            raise ValueError(
                f"dataset.channel_names {list(self.dataset.channel_names)} and channel_names {list(self.channel_names)} must be the same"
            )
        for key in ("class_voxels", "cases_without_class"):
            entries, names = getattr(self, key), self.dataset.labels.names
            if entries is not None and len(entries) != len(names):
                raise ValueError(f"{key} has {len(entries)} entries, dataset.labels.names has {len(names)}: one for each class")
        return self


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
        dataset=describe_dataset(dataset),
        channel_names=dataset.channel_names,
        spacings=tuple(one.spacing for one in ordered),
        shapes_after_crop=tuple(one.shape_after_crop for one in ordered),
        median_relative_size_after_crop=float(np.median(after / before)),
        intensities=tuple(_statistics([one.foreground[channel] for one in ordered]) for channel in range(len(dataset.channel_names))),
        shapes=tuple(one.shape for one in ordered),
        class_voxels=tuple(voxels.sum(axis=0).tolist()),
        cases_without_class=tuple((voxels == 0).sum(axis=0).tolist()),
    )


def describe_dataset(dataset: Dataset) -> DatasetBlock:
    """What a plan repeats of a dataset."""
    return DatasetBlock(
        name=dataset.name,
        layout=dataset.layout,
        channel_names=dataset.channel_names,
        labels=describe_labels(dataset.labels),
        num_cases=len(dataset.cases),
        file_ending=dataset.file_ending,
        stack=dataset.stack,
        attributes=_attributes(dataset),
    )


def _attributes(dataset: Dataset) -> dict[str, tuple[str, ...]] | None:
    """The values that each attribute has among the cases."""
    values: dict[str, set[str]] = {}
    for case in dataset.cases:
        for name, value in case.attributes.items():
            values.setdefault(name, set()).add(value)
    return {name: tuple(sorted(found)) for name, found in sorted(values.items())} or None


def describe_labels(labels: Labels) -> LabelsBlock:
    """What a plan repeats of the labels. Regions are learned where they are declared with what is needed to write them, else classes."""
    return LabelsBlock(
        names=labels.names,
        values=labels.values,
        regions=dict(labels.regions),
        region_order=labels.region_order,
        trained="regions" if labels.region_order else "classes",
        ignore=labels.ignore,
    )


def write_fingerprint(content: Fingerprint, path: Path) -> None:
    """Write a fingerprint as JSON, whole or not at all."""
    write_json(path, content.model_dump(mode="json", exclude_none=True))


def validate_fingerprint(content: Any, source: str) -> Fingerprint:
    """Make a fingerprint of decoded JSON; `source` names it in errors.

    Raises
    ------
    AutosegError
        it is no fingerprint; the text names every fault
    """
    try:
        return as_written(Fingerprint, content)
    except ValidationError as error:
        faults = [f"  {fault}" for fault in in_words(error, Fingerprint)]
        raise AutosegError("\n".join([f"{source} is not a fingerprint. Plan the dataset again to have it made anew.", *faults])) from None


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
