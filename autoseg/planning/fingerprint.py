"""The fingerprint: everything about a dataset that a plan depends on, and nothing about any patient's image.

- Made of the facts of all cases, so that planning never touches a voxel and a site can share it instead of its images.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

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
