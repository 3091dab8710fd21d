"""What is wrong with a plan, in plain words: the full key, what was found, and the nearest choice that works.

- The checks of a block raise a plain `ValueError` about their own field, or `Faults` about several keys of the block.
- What pydantic says in its own terms is put into words here, and the nearest known key or choice is looked up in the model.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

Place = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)

_WORDS = {
    "missing": "is missing",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text in quotes",
    "tuple_type": "must be a list in [ ]",
    "dict_type": "must be an object in {{ }}",
    "model_type": "must be an object in {{ }}",
    "model_attributes_type": "must be an object in {{ }}",
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be below {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "literal_error": "must be {expected}",
    "too_short": "must have at least {min_length} entries",
    "too_long": "may have at most {max_length} entries",
    "string_too_long": "may have at most {max_length} characters",
    "string_pattern_mismatch": "must be made of letters, digits and _ . + - and begin with a letter or digit",
}


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes
    ----------
    place : the key, and the keys and positions that lead to it
    text : what is wrong there, what was found, what would be right
    """

    place: Place
    text: str

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.place))}: {self.text}" if self.place else self.text


class Faults(ValueError):
    """Faults that the check of one field found in its block; their places are relative to the block."""

    def __init__(self, found: Iterable[Fault]) -> None:
        self.found = tuple(found)
        super().__init__("; ".join(map(str, self.found)))


def raise_if_any(found: Iterable[Fault]) -> None:
    """Raise `Faults` if there are any."""
    faults = Faults(found)
    if faults.found:
        raise faults


def as_written(model: type[Model], content: Any, context: dict[str, Any] | None = None) -> Model:
    """Validate decoded JSON as it was written: "2" is no number and true is no 1, as in the published schema."""
    return model.model_validate_json(json.dumps(content), strict=True, context=context)


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice most like a word, whatever its letter case; none where nothing is like it."""
    spelled = {choice.casefold(): choice for choice in choices}
    found = get_close_matches(word.casefold(), spelled, n=1, cutoff=0.5)
    return spelled[found[0]] if found else None


def advice(value: object, choices: Iterable[str], *, quoted: bool = True) -> str:
    """The end of a message about a wrong name: the nearest choice, and all of them."""
    known = list(choices)
    close = nearest(value, known) if isinstance(value, str) else None
    mark = "'" if quoted else ""
    suggestion = f"; did you mean {mark}{close}{mark}?" if close else ";"
    return f"{suggestion} choose from {', '.join(known)}" if known else suggestion.rstrip(";")


def shown(value: object) -> str:
    """What was found, as the file writes it; nothing for objects, which are too long to repeat."""
    if isinstance(value, dict | BaseModel):
        return ""
    text = f"'{value}'" if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return f" (found: {text if len(text) <= 80 else text[:77] + '...'})"


def in_words(error: ValidationError, model: type[BaseModel]) -> Iterator[Fault]:
    """The faults that pydantic found in a model, put into words."""
    details = error.errors()
    unknown = {detail["loc"][:-1] for detail in details if detail["loc"][-1:] == ("[key]",)}
    for detail in details:
        place, kind, value = detail["loc"], detail["type"], detail["input"]
        if kind == "too_short" and any(other["loc"][: len(place)] == place and len(other["loc"]) > len(place) for other in details):
            continue  # pydantic does not count entries that are faulty themselves
        if any(place[:depth] in unknown for depth in range(1, len(place))) and place[-1] != "[key]":
            continue  # what stands under a wrong key is another matter
        context: dict[str, Any] = detail.get("ctx", {})
        written = _without_tags(model, place)
        if kind == "value_error":
            yield from _of_a_check(written, context["error"], value)
        elif kind == "extra_forbidden":
            known = _keys(_type_at(model, place[:-1]))
            close = nearest(str(place[-1]), known)
            yield Fault(written, f"unknown key; did you mean {close}?" if close else f"unknown key; choose from {', '.join(known)}")
        elif place[-1:] == ("[key]",):
            known = _keys(_type_at(model, place[:-2]))
            yield Fault(written[:-1], "unknown key" + advice(value, known, quoted=False) if known else _worded(kind, context, detail["msg"]))
        elif kind == "missing":
            yield Fault(written, _WORDS["missing"])
        elif kind == "union_tag_not_found":
            yield Fault((*written, _tag_field(_type_at(model, place))), _WORDS["missing"])
        elif kind == "union_tag_invalid":
            tags = [tag for member in get_args(_type_at(model, place)) for tag in _tags(member)]
            yield Fault(
                (*written, _tag_field(_type_at(model, place))), f"there is no such choice{shown(context['tag'])}" + advice(context["tag"], tags)
            )
        else:
            words = _worded(kind, context, detail["msg"]) + shown(value)
            yield Fault(written, words + (_nearest_choice(value, _choices(_type_at(model, place))) if kind == "literal_error" else ""))


def _of_a_check(place: Place, error: ValueError, value: object) -> Iterator[Fault]:
    if isinstance(error, Faults):
        for fault in error.found:
            yield Fault((*place[:-1], *fault.place), fault.text)
    else:
        yield Fault(place, f"{error}{shown(value)}")


def _worded(kind: str, context: dict[str, Any], otherwise: str) -> str:
    return _WORDS[kind].format(**context) if kind in _WORDS else otherwise


def _nearest_choice(value: object, choices: tuple[Any, ...]) -> str:
    close: object = nearest(value, [choice for choice in choices if isinstance(choice, str)]) if isinstance(value, str) else None
    if isinstance(value, int | float) and choices and all(isinstance(choice, int) for choice in choices):
        close = min(choices, key=lambda choice: abs(choice - value))
    return f"; did you mean {close!r}?" if close is not None else ""


def _type_at(model: type[BaseModel], place: Place) -> Any:
    """The type that a model has at a place, without the `None` that a field may be instead."""
    kind: Any = model
    for part in place:
        kind = _plain(kind)
        if _is_choice_of_models(kind):
            kind = next((member for member in get_args(kind) if part in _tags(member)), None)
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            by_key = {field.alias or name: field for name, field in kind.model_fields.items()}
            kind = by_key[str(part)].annotation if part in by_key else None
        elif get_origin(kind) is dict:
            kind = get_args(kind)[1]
        elif get_origin(kind) is tuple and isinstance(part, int):
            entries = get_args(kind)
            kind = entries[0] if entries[-1] is Ellipsis else entries[min(part, len(entries) - 1)]
        else:
            return None
    return _plain(kind)


def _plain(kind: Any) -> Any:
    if get_origin(kind) is Annotated:
        return _plain(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        parts = [part for part in get_args(kind) if part is not type(None)]
        return kind if len(parts) > 1 else _plain(parts[0])
    return kind


def _without_tags(model: type[BaseModel], place: Place) -> Place:
    """A place as the file has it: pydantic also names which of several models it took."""
    return tuple(part for depth, part in enumerate(place) if not _is_choice_of_models(_type_at(model, place[:depth])))


def _is_choice_of_models(kind: Any) -> bool:
    """Whether one of several models stands there, told apart by the first field of each."""
    return get_origin(kind) in (Union, UnionType)


def _tags(member: type[BaseModel]) -> tuple[str, ...]:
    return _choices(_plain(member.model_fields[_tag_field(member)].annotation))


def _tag_field(kind: Any) -> str:
    member: type[BaseModel] = get_args(kind)[0] if _is_choice_of_models(kind) else kind
    return next(iter(member.model_fields))


def _keys(kind: Any) -> list[str]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [field.alias or name for name, field in kind.model_fields.items()]
    return list(_choices(_plain(get_args(kind)[0]))) if get_origin(kind) is dict else []


def _choices(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) is Literal else ()
