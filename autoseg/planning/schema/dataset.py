"""The plan's block about the dataset: channels, labels, and what of the labels networks learn.

- Classes exclude each other; regions may overlap, so their values do not say how to write them: `region_order` does.
- Files without the keys for regions are older, and learn classes.
"""

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from autoseg.data.dataset import Labels
from autoseg.planning.schema.blocks import Block, Count, Positive
from autoseg.planning.schema.faults import Fault, raise_if_any, shown


class LabelsBlock(Block):
    """What the label values mean: class k is called `names[k]` and is `values[k]` in the user's files."""

    names: tuple[str, ...] = Field(description="name of each class, the background first")
    values: tuple[int, ...] = Field(description="value of each class in the files, 0 first, increasing")
    regions: dict[str, tuple[int, ...]] = Field({}, description="name to the values it unites; judged, and learned where `trained` says so")
    region_order: tuple[int, ...] = Field((), description="value that each region is written as, in their order, later over earlier")
    trained: Literal["classes", "regions"] = Field(
        "classes", description="what networks learn: classes, of which a voxel has one, or regions, which may overlap"
    )
    ignore: int | None = Field(None, description="value of voxels that nobody annotated; absent where there is none")

    @field_validator("names")
    @classmethod
    def _names_differ(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError("must tell the classes apart, but one is there twice")
        return names

    @field_validator("values")
    @classmethod
    def _one_for_each_class(cls, values: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        names = info.data.get("names", values)
        if len(names) != len(values) or len(values) < 2:
            raise ValueError(f"has {len(values)} entries, names has {len(names)}: one of each for the background and every class")
        if values[0] != 0 or list(values) != sorted(set(values)):
            raise ValueError("must begin with 0, the background, and increase")
        return values

    @field_validator("regions")
    @classmethod
    def _regions_unite_classes(cls, regions: dict[str, tuple[int, ...]], info: ValidationInfo) -> dict[str, tuple[int, ...]]:
        if "values" in info.data:
            classes = info.data["values"][1:]
            wrong = [name for name, values in regions.items() if not values or not set(values) <= set(classes)]
            raise_if_any(Fault(("regions", name), f"must unite some of {list(classes)}{shown(regions[name])}") for name in wrong)
        return regions

    @field_validator("region_order")
    @classmethod
    def _paints_every_region(cls, order: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        regions = info.data.get("regions")
        if regions is None or not order:
            return order
        if len(order) != len(regions):
            raise ValueError(f"has {len(order)} entries, regions has {len(regions)}: one of each")
        wrong = [(name, value) for (name, values), value in zip(regions.items(), order, strict=True) if value not in values]
        raise_if_any(Fault(("region_order",), f"must give {name} one of its values {list(regions[name])}{shown(value)}") for name, value in wrong)
        return order

    @field_validator("trained")
    @classmethod
    def _can_be_written(cls, trained: str, info: ValidationInfo) -> str:
        if trained == "regions" and "regions" in info.data and not info.data.get("region_order", True):
            raise ValueError("needs region_order, the value that each region is written as")
        return trained

    @field_validator("ignore")
    @classmethod
    def _ignored_is_no_class(cls, ignore: int | None, info: ValidationInfo) -> int | None:
        if ignore is not None and ignore in info.data.get("values", ()):
            raise ValueError("is the value of a class too: give it a value of its own")
        return ignore

    @property
    def learned(self) -> tuple[str, ...]:
        """What networks have an output for: every class with the background, or every region."""
        return tuple(self.regions) if self.trained == "regions" else self.names

    def to_labels(self) -> Labels:
        """The same for those who know no plan."""
        return Labels(self.names, self.values, self.regions, self.ignore, region_order=self.region_order)


class DatasetBlock(Block):
    """Facts about the dataset that prediction needs again."""

    name: str = Field(description="the folder's name under raw_data/")
    layout: str = Field(description="nnunet, decathlon, brats, lgg or coco")
    channel_names: tuple[str, ...] = Field(description="in the network's order; scans to predict are matched by them")
    labels: LabelsBlock = Field(description="what the label values mean")
    num_cases: Count = Field(description="number of labelled cases")
    file_ending: str = Field(description="what predictions are written as")
    stack: tuple[Positive, Positive, Positive] | None = Field(
        None, description="millimetres along Z, Y, X, where the slices of a patient are read as one volume; absent: each is an image of its own"
    )

    attributes: dict[str, tuple[str, ...]] | None = Field(
        None, description="what else is known of cases, name to the values there are (BraTS: grade, HGG and LGG); absent where nothing is"
    )

    @field_validator("name")
    @classmethod
    def _names_one_folder(cls, name: str) -> str:
        if name in ("", "..") or Path(name).name != name or not name.isprintable():
            raise ValueError("names folders of models, so it must be the printable name of one folder, not a path")
        return name

    @field_validator("file_ending")
    @classmethod
    def _ends_a_name(cls, ending: str) -> str:
        if not re.fullmatch(r"(\.[A-Za-z0-9]+)+", ending):
            raise ValueError("must be the ending of a file's name, such as .nii.gz")
        return ending
