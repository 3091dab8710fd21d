"""Faults in words; those of whole plans are in test_plan.py."""

import pytest
from pydantic import BaseModel, ValidationError, field_validator

from autoseg.planning.schema.faults import Fault, Faults, advice, in_words, nearest, raise_if_any, shown


@pytest.mark.parametrize(
    ("word", "found"), [("pach_size", "patch_size"), ("PATCH_SIZE", "patch_size"), ("batchsize", "batch_size"), ("colour", None), ("", None)]
)
def test_the_nearest_name(word: str, found: str | None) -> None:
    assert nearest(word, ["patch_size", "batch_size", "spacing"]) == found


def test_advice_names_the_nearest_and_all() -> None:
    assert advice("3d_low", ["2d", "3d_lowres"]) == "; did you mean '3d_lowres'? choose from 2d, 3d_lowres"
    assert advice("x", ["2d", "3d_lowres"]) == "; choose from 2d, 3d_lowres"
    assert advice(5, []) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", "'a'"), (None, "null"), (True, "true"), ((1, 2.5), "[1, 2.5]"), ("x" * 79, "'" + "x" * 76 + "...")],
)
def test_what_was_found_is_written_as_in_the_file(value: object, text: str) -> None:
    assert shown(value) == f" (found: {text})"


def test_objects_are_not_repeated() -> None:
    assert shown({"a": 1}) == ""


class Box(BaseModel):
    low: int
    high: int

    @field_validator("high")
    @classmethod
    def _high(cls, high: int) -> int:
        raise_if_any([Fault(("low",), "is too low"), Fault(("high",), "is too high")] if high > 9 else [])
        return high


def test_a_check_may_find_faults_at_other_keys() -> None:
    with pytest.raises(ValidationError) as caught:
        Box(low=0, high=10)
    assert list(in_words(caught.value, Box)) == [Fault(("low",), "is too low"), Fault(("high",), "is too high")]
    assert str(Faults([Fault(("a", 0), "is wrong"), Fault((), "all is wrong")])) == "a.0: is wrong; all is wrong"
