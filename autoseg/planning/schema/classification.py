"""The block of a configuration that classifies: what of, and into which classes.

- `presence` needs nothing but segmentations: whether any foreground is there. Everything else is an attribute of cases that the dataset knows.
- The last class is the positive one: sensitivity is its share that is found, specificity that of the others.
"""

from collections.abc import Iterator, Mapping, Sequence

from pydantic import Field, ValidationInfo, field_validator

from autoseg.planning.schema.blocks import Block, Name
from autoseg.planning.schema.faults import Fault, advice, shown

PRESENCE = "presence"
PRESENCE_CLASSES = ("absent", "present")
CLASSIFYING_TERMS = ("ce", "focal")


class Classification(Block):
    """What is classified: whether foreground is there (`presence`), or an attribute of the case."""

    target: Name = Field(PRESENCE, description="presence (whether any foreground is there), or an attribute in dataset.attributes, such as grade")
    classes: tuple[str, ...] = Field(
        PRESENCE_CLASSES, min_length=2, validate_default=True, description="in the order of the outputs, the positive one last"
    )

    @field_validator("classes")
    @classmethod
    def _classes_differ(cls, classes: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if len(set(classes)) < len(classes):
            raise ValueError("must tell the classes apart, but one is there twice")
        if info.data.get("target") == PRESENCE and len(classes) != 2:
            raise ValueError("presence has two: what it is called where there is no foreground, and where there is some")
        return classes

    @property
    def of_presence(self) -> bool:
        """Whether the voxels tell the class; else the case does."""
        return self.target == PRESENCE


def attribute_faults(block: Classification, attributes: Mapping[str, Sequence[str]]) -> Iterator[Fault]:
    """What the dataset does not know of its cases."""
    if block.of_presence:
        return
    if block.target not in attributes:
        yield Fault(("target",), f"the dataset has no such attribute{shown(block.target)}{advice(block.target, [PRESENCE, *attributes])}")
    elif set(block.classes) != set(attributes[block.target]):
        known = ", ".join(attributes[block.target])
        yield Fault(("classes",), f"must be the values of {block.target}, the positive one last: {known}{shown(block.classes)}")


def loss_of_classes_fault(loss: str) -> str | None:
    """What is wrong with a loss for a class of the whole image, where terms that compare areas have no meaning."""
    wrong = [term for term in loss.split("_") if term not in CLASSIFYING_TERMS]
    return f"a class of the whole image is learned by ce, focal or both{shown(loss)}; nearest valid: 'ce'" if wrong else None
