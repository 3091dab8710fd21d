"""What the plan's block about the dataset refuses on its own."""

from typing import Any

import pytest
from pydantic import ValidationError

from autoseg.planning.schema.dataset import DatasetBlock, LabelsBlock


def test_labels_mean_the_same_as_those_of_a_dataset() -> None:
    block = LabelsBlock(names=("background", "edema", "core"), values=(0, 2, 4), regions={"WT": (2, 4)}, region_order=(2,), ignore=9)
    labels = block.to_labels()
    assert (labels.names, labels.values, labels.regions, labels.ignore) == (block.names, block.values, block.regions, 9)
    assert labels.region_order == (2,) and block.trained == "classes"


@pytest.mark.parametrize(
    "change", [{"names": ("a",)}, {"values": (0, 2, 2)}, {"values": (1, 2, 4)}, {"ignore": 2}, {"regions": {"WT": (0, 2)}}, {"colour": "red"}]
)
def test_labels_that_contradict_themselves(change: dict[str, Any]) -> None:
    content: dict[str, Any] = {"names": ("background", "edema", "core"), "values": (0, 2, 4)}
    LabelsBlock(**content)
    with pytest.raises(ValidationError):
        LabelsBlock(**content | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "../elsewhere"}, "name of one folder"),
        ({"name": "a/b"}, "name of one folder"),
        ({"name": ".."}, "name of one folder"),
        ({"name": ""}, "name of one folder"),
        ({"file_ending": "/../x.nii.gz"}, "such as .nii.gz"),
        ({"file_ending": "nii.gz"}, "such as .nii.gz"),
        ({"file_ending": ""}, "such as .nii.gz"),
    ],
)
def test_names_that_lead_elsewhere(change: dict[str, Any], message: str) -> None:
    labels = LabelsBlock(names=("background", "organ"), values=(0, 1))
    content = {"name": "Dataset 1 (old)", "layout": "nnunet", "channel_names": ("CT",), "labels": labels, "num_cases": 1, "file_ending": ".nii.gz"}
    DatasetBlock.model_validate(content)
    with pytest.raises(ValidationError, match=message):
        DatasetBlock.model_validate(content | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"region_order": (2, 4, 4)}, "has 3 entries, regions has 2: one of each"),
        ({"region_order": (2, 2)}, r"must give core one of its values \[4\]"),
        ({"region_order": ()}, "needs region_order"),
        ({"regions": {}, "region_order": ()}, "needs region_order"),
        ({"regions": {}}, "has 2 entries, regions has 0"),
        ({"trained": "both"}, "classes"),
    ],
)
def test_regions_that_could_not_be_written(change: dict[str, Any], message: str) -> None:
    content: dict[str, Any] = {
        "names": ("background", "edema", "core"), "values": (0, 2, 4), "regions": {"whole": (2, 4), "core": (4,)}, "region_order": (2, 4),
        "trained": "regions",
    }  # fmt: skip
    LabelsBlock(**content)
    with pytest.raises(ValidationError, match=message):
        LabelsBlock(**content | change)
