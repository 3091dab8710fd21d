"""A dataset as the program sees it, whatever folder layout it came from.

- Labels keep the user's own values (BraTS 0, 1, 2, 4). Inside the program classes are 0..K-1: class k is `values[k]`, class 0 is background.
- Regions may overlap. Where an order of painting is declared, a segmentation can be made of them again: each region in turn paints its value.
- Channels have names; inputs at prediction time are matched by name, never by luck.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from autoseg.imaging.image import Spacing3
from autoseg.imaging.sources import Absent, ImageSource, LabelSource, Source, all_files

Part = Literal["training", "validation"]


@dataclass(frozen=True)
class Labels:
    """What the voxels of a label file mean.

    Attributes
    ----------
    names : name of each class, `names[0]` is the background
    values : the user's value of each class, `values[0]` is 0; increasing
    regions : name -> the user's values it unites (BraTS: whole tumour = 1, 2, 4); may be empty
    ignore : the user's value of voxels that nobody annotated, or None
    optional : values that the layout allows but a release may lack (BraTS 4, the resection cavity); the check drops those that no case has
    region_order : the value that each region paints, in the order of `regions`, later over earlier (BraTS: 2, 1, 4); empty where none is declared
    """

    names: tuple[str, ...]
    values: tuple[int, ...]
    regions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    ignore: int | None = None
    optional: tuple[int, ...] = ()
    region_order: tuple[int, ...] = ()

    @property
    def allowed(self) -> tuple[int, ...]:
        """Every value that a label file may hold."""
        return self.values if self.ignore is None else (*self.values, self.ignore)

    def settled(self, seen: Set[int]) -> "Labels":
        """Without optional values: those among the `seen` values are ordinary from now on, the others are gone."""
        gone = set(self.optional) - seen
        kept = [index for index, value in enumerate(self.values) if value not in gone]
        regions = {name: tuple(value for value in values if value not in gone) for name, values in self.regions.items()}
        painted = zip(regions.values(), self.region_order, strict=False)
        return Labels(
            names=tuple(self.names[index] for index in kept),
            values=tuple(self.values[index] for index in kept),
            regions={name: values for name, values in regions.items() if values},
            ignore=self.ignore,
            region_order=tuple(value for values, value in painted if values),
        )

    @property
    def region_classes(self) -> tuple[tuple[int, ...], ...]:
        """The classes 1..K-1 that each region unites, in the order of `regions`."""
        return tuple(tuple(self.values.index(value) for value in values) for values in self.regions.values())

    @property
    def painted_classes(self) -> tuple[int, ...]:
        """The class that each region paints, in the order of `regions`; empty where no order is declared."""
        return tuple(self.values.index(value) for value in self.region_order)

    def to_classes(self, values_ZYX: NDArray[np.integer]) -> NDArray[np.int16]:
        """The user's values -> classes 0..K-1; the ignore label, or a value never declared, -> -1. Any shape."""
        highest = max(self.allowed)
        if values_ZYX.size and (values_ZYX.min() < 0 or values_ZYX.max() > highest):
            values_ZYX = np.where((values_ZYX < 0) | (values_ZYX > highest), highest + 1, values_ZYX.astype(np.int64))
        table = np.full(highest + 2, -1, dtype=np.int16)
        table[list(self.values)] = np.arange(len(self.values))
        classes: NDArray[np.int16] = table[values_ZYX]
        return classes

    def to_values(self, classes_ZYX: NDArray[np.integer]) -> NDArray[np.integer]:
        """Classes 0..K-1 -> the user's values, uint8 where they fit, else int16. Any shape."""
        small = min(self.values) >= 0 and max(self.values) <= 255
        table: NDArray[np.integer] = np.array(self.values, dtype=np.uint8 if small else np.int16)
        if self.values == tuple(range(len(self.values))):  # classes and values are the same numbers
            return classes_ZYX.astype(table.dtype)
        result: NDArray[np.integer] = table[classes_ZYX]
        return result


@dataclass(frozen=True)
class Case:
    """One scan and, for training, its segmentation.

    Attributes
    ----------
    name : unique in its dataset; names every file that is made of the case
    channels : one source for each channel in the dataset's channel order, or a single one that holds all channels; of a case to predict one that no
        network looks at may be `Absent`
    label : the segmentation, or None for a case to predict
    group : cases of one group (a patient, copies of a picture) never part between training and validation, unless the dataset came divided so
    part : "training" or "validation" where the dataset comes divided; else None
    attributes : what else is known of it, name to value (BraTS: "grade" is "HGG" or "LGG")
    """

    name: str
    channels: tuple[ImageSource, ...]
    label: LabelSource | None
    group: str
    part: Part | None = None
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def first(self) -> ImageSource:
        """The first channel that is there."""
        return next(source for source in self.channels if not isinstance(source, Absent))

    @property
    def scans(self) -> tuple[Path, ...]:
        """Every file that its channels are read from."""
        return all_files(self.channels)

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that it is read from, the segmentation's last."""
        return all_files((*self.channels, self.label))


@dataclass(frozen=True)
class Dataset:
    """A folder of cases.

    Attributes
    ----------
    name : the folder's name under `raw_data/`
    root : the folder
    layout : "nnunet", "decathlon", "brats", "lgg" or "coco"
    channel_names : in the order of `Case.channels`
    labels : see `Labels`
    cases : sorted by name, each with a label
    file_ending : what predictions are written as (".nii.gz", ".nrrd", ".png", ...)
    notes : what the reader should know about how the folder was understood (a segmentation with an unusual name, folders passed over)
    problems : what keeps the folder from being used (a missing modality, a label value of two meanings): `Finding` texts for the check
    stack : millimetres along Z, Y, X where slices were made volumes; else None
    """

    name: str
    root: Path
    layout: str
    channel_names: tuple[str, ...]
    labels: Labels
    cases: tuple[Case, ...]
    file_ending: str
    notes: tuple[str, ...] = ()
    problems: tuple["Finding", ...] = ()
    stack: Spacing3 | None = None


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a dataset.

    Attributes
    ----------
    severity : "error" stops the work, "warning" does not
    case : the case's name, or "" where the whole dataset is meant
    file : the file or folder, what it is part of, or None
    problem : what is wrong, with numbers
    mend : what to do
    """

    severity: str
    case: str
    file: Source | None
    problem: str
    mend: str
