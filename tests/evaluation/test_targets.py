"""What is judged: classes and regions of a dataset, or those that a user types."""

import pytest

from autoseg.data.dataset import Labels
from autoseg.errors import AutosegError
from autoseg.evaluation.targets import parse_regions, targets_from_regions, targets_learned, targets_of

BRATS = Labels(
    names=("background", "necrosis", "edema", "enhancing"),
    values=(0, 1, 2, 4),
    regions={"WT": (1, 2, 4), "TC": (1, 4), "ET": (4,)},
)


def test_targets_are_classes_then_regions() -> None:
    names = [(target.name, target.values, target.region) for target in targets_of(BRATS)]
    assert names == [
        ("necrosis", (1,), False),
        ("edema", (2,), False),
        ("enhancing", (4,), False),
        ("WT", (1, 2, 4), True),
        ("TC", (1, 4), True),
        ("ET", (4,), True),
    ]


def test_a_region_that_is_a_class_is_judged_once() -> None:
    labels = Labels(("background", "ET", "rest"), (0, 4, 1), {"ET": (4,), "WT": (1, 4)})
    assert [target.name for target in targets_of(labels)] == ["ET", "rest", "WT"]
    with pytest.raises(AutosegError, match="'ET' is the class 4 and also the region"):
        targets_of(Labels(("background", "ET"), (0, 4), {"ET": (1, 4)}))


def test_networks_are_judged_by_what_they_learn() -> None:
    assert [(target.name, target.region) for target in targets_learned(BRATS, regions=True)] == [("WT", True), ("TC", True), ("ET", True)]
    assert targets_learned(BRATS, regions=False) == targets_of(BRATS)


def test_there_must_be_something_to_judge() -> None:
    with pytest.raises(AutosegError, match="nothing but background"):
        targets_of(Labels(("background",), (0,)))


def test_regions_as_they_are_typed() -> None:
    expected = {"WT": (1, 2, 4), "TC": (1, 4), "ET": (4,)}
    assert parse_regions(["WT=1,2,4 TC=1,4 ET=4"]) == parse_regions(["WT=1,2,4", "TC=1,4", "ET=4"]) == expected
    assert list(parse_regions(["b=2", "a=1"])) == ["b", "a"]


@pytest.mark.parametrize("word", ["WT", "WT=", "=1", "WT=1,", "WT=1;2", "WT=a", "WT=-1", "WT==1"])
def test_what_is_no_region_is_named(word: str) -> None:
    with pytest.raises(AutosegError, match=f"'{word}' is no region"):
        parse_regions(["ET=4", word])


def test_a_region_named_twice_is_refused() -> None:
    with pytest.raises(AutosegError, match="ET is named twice"):
        parse_regions(["ET=4", "ET=3"])


def test_typed_regions_become_targets() -> None:
    targets = targets_from_regions({"WT": (1, 2, 2), "ET": (4,)})
    assert [(target.name, target.values, target.region) for target in targets] == [("WT", (1, 2), True), ("ET", (4,), True)]
    with pytest.raises(AutosegError, match="background"):
        targets_from_regions({"all": (0, 1)})
    with pytest.raises(AutosegError, match="No region"):
        targets_from_regions({})
