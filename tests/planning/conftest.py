"""Fingerprints and dataset blocks for the tests of planning."""

from collections.abc import Callable, Sequence

import pytest

from autoseg.planning.fingerprint import Fingerprint, IntensityStatistics
from autoseg.planning.plan import DatasetBlock, LabelsBlock

Facts = tuple[Fingerprint, DatasetBlock]
STATISTICS = IntensityStatistics(mean=50, median=40, std=120, min=-1000, max=1000, percentile_00_5=-900, percentile_99_5=900)


@pytest.fixture(scope="session")
def facts_of() -> Callable[..., Facts]:
    """A fingerprint and a dataset block from shapes and spacings alone."""
    return make_facts


def make_facts(
    shapes: Sequence[Sequence[int]],
    spacings: Sequence[Sequence[float]],
    *,
    channels: Sequence[str] = ("T1",),
    classes: int = 3,
    num_cases: int | None = None,
    relative_size: float = 1.0,
    statistics: Sequence[IntensityStatistics] | None = None,
) -> Facts:
    cropped = tuple(tuple(shape) for shape in shapes)
    fingerprint = Fingerprint(
        spacings=tuple(tuple(spacing) for spacing in spacings),
        shapes=cropped,
        shapes_after_crop=cropped,
        median_relative_size_after_crop=relative_size,
        channel_names=tuple(channels),
        intensities=tuple(statistics or [STATISTICS] * len(channels)),
        class_voxels=(1000,) * classes,
        cases_without_class=(0,) * classes,
    )
    labels = LabelsBlock(names=tuple(f"class {index}" for index in range(classes)), values=tuple(range(classes)))
    block = DatasetBlock(
        name="Dataset",
        layout="nnunet",
        channel_names=tuple(channels),
        labels=labels,
        num_cases=num_cases or len(cropped),
        file_ending=".nii.gz",
    )
    return fingerprint, block
