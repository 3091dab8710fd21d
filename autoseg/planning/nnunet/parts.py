"""Looking into nnU-Net's JSON files: what is missing, unknown or cannot be expressed is an error that names file, key and value."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

from pydantic import BaseModel, ValidationError

from autoseg.errors import PlanError
from autoseg.planning.schema.faults import in_words

INTENSITIES = "foreground_intensity_properties_per_channel"
OLDER_INTENSITIES = "foreground_intensity_properties_by_modality"


@dataclass(frozen=True)
class Part:
    """An object in a file.

    Attributes
    ----------
    content : the object
    source : the file, for errors
    at : where in the file the object stands, ending with a dot; empty for the whole file
    """

    content: Mapping[str, Any]
    source: str
    at: str = ""

    def get(self, key: str) -> Any:
        """The value of a key that must be there."""
        if key not in self.content:
            raise PlanError(f"{self.source}: {self.at}{key} is missing; it holds {', '.join(self.content) or 'nothing'}.")
        return self.content[key]

    def part(self, key: str) -> "Part":
        """The object under a key."""
        value = self.get(key)
        if not isinstance(value, dict):
            raise self.fault(key, "must be an object with keys of its own")
        return Part(value, self.source, f"{self.at}{key}.")

    def require(self, key: str, allowed: Sequence[Any], meaning: str) -> None:
        """Make sure that a key has one of the values that our plan can express; `meaning` says what autoseg does in its place."""
        if self.get(key) not in allowed:
            raise self.fault(key, f"cannot be expressed: {meaning}")

    def require_known(self, known: Collection[str]) -> None:
        """Make sure that nothing stands here that would be lost."""
        for key in self.content:
            if key not in known:
                raise self.fault(key, "is a key that autoseg does not know. If nothing depends on it, remove it")

    def require_finite(self) -> None:
        """Make sure that no number in here, however deep, is infinite or not a number."""
        for key in self.content:
            _require_finite(self.content[key], f"{self.source}: {self.at}{key}")

    def fault(self, key: str, what: str) -> PlanError:
        """The error that names the key and its value."""
        shown = repr(self.content.get(key))
        return PlanError(f"{self.source}: {self.at}{key} {what} (found: {shown if len(shown) <= 120 else shown[:117] + '...'}).")


def intensities(whole: Part) -> Part:
    """The statistics of each channel's intensities, in a fingerprint or in a plan, under today's key or the older one."""
    return whole.part(OLDER_INTENSITIES if INTENSITIES not in whole.content and OLDER_INTENSITIES in whole.content else INTENSITIES)


def faults(error: ValidationError, model: type[BaseModel], names: Mapping[str, str]) -> list[str]:
    """One line a fault that pydantic found in a model; `names` gives the file's own name of a key where ours is another."""
    return [f"  {replace(fault, place=tuple(names.get(str(key), key) for key in fault.place))}" for fault in in_words(error, model)]


def _require_finite(value: Any, where: str) -> None:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        _require_finite(entry, f"{where}.{key}")
    if isinstance(value, float) and not isfinite(value):
        raise PlanError(f"{where} is {value}, which is no number to plan with.")
