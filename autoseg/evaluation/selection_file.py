"""What was selected to predict with: a file that people can read and edit, and that a folder of models can be given away with."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from autoseg.errors import AutosegError
from autoseg.evaluation.postprocessing import Rule
from autoseg.files import read_json, write_json
from autoseg.planning.schema.blocks import Name
from autoseg.planning.schema.faults import as_written, in_words

SELECTION = "selection.json"


class SelectedMember(BaseModel):
    """One configuration that was chosen.

    Attributes
    ----------
    configuration : its name, and that of its folder beside the selection
    weights : fold -> digest of the weights that the choice was made with
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    configuration: Name
    weights: dict[str, str] = Field(default_factory=dict)


class Selection(BaseModel):
    """What was chosen; what prediction follows are `members` and `postprocessing`, the rest tells people why.

    Attributes
    ----------
    dataset : whose models
    members : configurations whose probabilities are averaged; one: its own logits decide
    postprocessing : rules applied to each segmentation, in this order
    scheme, mean_dice, cases : how the choice was judged, what it reached with its rules, on how many cases
    why : decision to reason
    remarks : what a reader of the numbers should know
    candidates : every candidate's figures
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    members: tuple[SelectedMember, ...] = Field(min_length=1)
    postprocessing: tuple[Rule, ...] = ()
    scheme: str = ""
    mean_dice: float | None = None
    cases: int | None = None
    why: dict[str, str] = Field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    candidates: tuple[dict[str, Any], ...] = ()

    @field_validator("members")
    @classmethod
    def _each_once(cls, members: tuple[SelectedMember, ...]) -> tuple[SelectedMember, ...]:
        if len({member.configuration for member in members}) < len(members):
            raise ValueError("must name each configuration once")
        return members


def read_selection(path: Path) -> Selection:
    """Read a selection that `write_selection` wrote, or that a person edited.

    Raises
    ------
    AutosegError
        the file is missing or no JSON, or a key or value in it is impossible; names all of them
    """
    try:
        return as_written(Selection, read_json(path))
    except ValidationError as error:
        faults = "\n".join(f"  {fault}" for fault in in_words(error, Selection))
        raise AutosegError(f"{path} is not a valid selection. Mend it, or select again: autoseg select\n{faults}") from error


def write_selection(selection: Selection, path: Path) -> None:
    """Write a selection, whole or not at all."""
    write_json(path, selection.model_dump(mode="json", exclude_none=True))
