"""The plan's JSON Schema (draft 2020-12), by which editors complete a plan, explain its keys and mark mistakes.

- Made from the models that validate plans, so the two cannot drift apart; `python -m autoseg.planning.schema.json_schema` prints it.
- A configuration is whole, or it inherits: then every key but `inherits` is optional, its objects are partial, and null removes.
- It knows single keys and values; what several must agree on (patch and strides, names of configurations) only validation finds.
"""

import json
import sys
from typing import Any

from autoseg.planning.plan import Plan

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NULL = {"type": "null"}
_REFERENCE = "#/$defs/"


def plan_schema() -> dict[str, Any]:
    """The schema of `plans/<dataset>.json`, as decoded JSON."""
    schema = Plan.model_json_schema()
    definitions: dict[str, Any] = schema["$defs"]
    for block in (schema, *definitions.values()):
        for field in block["properties"].values():
            field.pop("title", None)  # the key again, with capitals
    patches: dict[str, Any] = {}
    patch = _patch({"$ref": f"{_REFERENCE}Configuration"}, definitions, patches)
    inherits = definitions["Configuration"]["properties"]["inherits"]
    patches["ConfigurationPatch"] |= {"type": "object", "required": ["inherits"]}
    patches["ConfigurationPatch"]["properties"]["inherits"] = _not_null(inherits)
    network = definitions["Configuration"]["properties"]["network"]
    definitions["Configuration"]["properties"]["network"] = _by_tag(network, definitions)
    configurations = schema["properties"]["configurations"]
    (name,) = configurations["patternProperties"]
    configurations["patternProperties"][name] = {
        "if": {"required": ["inherits"], "properties": {"inherits": {"not": _NULL}}},
        "then": patch,
        "else": {"$ref": f"{_REFERENCE}Configuration"},
    }
    configurations["additionalProperties"] = False
    return {"$schema": DIALECT, **schema, "title": "A plan of autoseg", "$defs": dict(sorted((definitions | patches).items()))}


def schema_text() -> str:
    """The schema as docs/plan.schema.json holds it."""
    return json.dumps(plan_schema(), indent=2, ensure_ascii=False) + "\n"


def _patch(schema: dict[str, Any], definitions: dict[str, Any], patches: dict[str, Any]) -> dict[str, Any]:
    """What may stand for a value in a merge patch, null included; definitions that it needs are added to `patches`. Lists are replaced whole."""
    schema = {key: value for key, value in _not_null(schema).items() if key not in ("default", "required")}
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_REFERENCE)
        if f"{name}Patch" not in patches:
            patches[f"{name}Patch"] = _patch(definitions[name], definitions, patches) | {"title": f"{name}, as far as it differs"}
        return schema | {"$ref": f"{_REFERENCE}{name}Patch"}
    if "oneOf" in schema:  # which of several blocks the parent says, so keys of all of them are possible
        return {"description": schema["description"]} | _patch(_together(schema, definitions), definitions, patches)
    if "properties" in schema:
        schema["properties"] = {key: _patch(value, definitions, patches) for key, value in schema["properties"].items()}
    elif isinstance(schema.get("additionalProperties"), dict):
        schema["additionalProperties"] = _patch(schema["additionalProperties"], definitions, patches)
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
    return schema | {"type": [schema["type"], "null"]}


def _by_tag(choice: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """One of several blocks, told apart by their first key, so that a mistake is marked where it stands and not in all of them."""
    tag = choice["discriminator"]["propertyName"]
    blocks = [one["$ref"].removeprefix(_REFERENCE) for one in choice["oneOf"]]
    tags = {name: definitions[name]["properties"][tag]["enum"] for name in blocks}
    ways = [{"if": {"properties": {tag: {"enum": tags[name]}}}, "then": {"$ref": f"{_REFERENCE}{name}"}} for name in blocks]
    known = {"properties": {tag: {"type": "string", "enum": [one for name in blocks for one in tags[name]]}}}
    return {"description": choice["description"], "type": "object", "required": [tag], **known, "allOf": ways}


def _together(choice: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """A block with the keys of all of several."""
    tag, properties = choice["discriminator"]["propertyName"], dict[str, Any]()
    for one in choice["oneOf"]:
        properties |= definitions[one["$ref"].removeprefix(_REFERENCE)]["properties"]
    tags = _by_tag(choice, definitions)["properties"][tag]
    return {"type": "object", "additionalProperties": False, "properties": properties | {tag: properties[tag] | tags}}


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The same without the choice of null, which pydantic writes as `anyOf`."""
    if "anyOf" not in schema:
        return schema
    choice: dict[str, Any] = next(choice for choice in schema["anyOf"] if choice != _NULL)
    return choice | {key: value for key, value in schema.items() if key not in ("anyOf", "default")}


if __name__ == "__main__":
    sys.stdout.write(schema_text())
