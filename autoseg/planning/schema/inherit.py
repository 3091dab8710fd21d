"""Configurations that inherit: the file holds what differs, memory holds the whole.

- A configuration with `inherits` is a JSON Merge Patch (RFC 7396) on its parent: objects merge, everything else replaces, null removes.
- The parent may inherit in its turn, and may stand later in the file.
- A configuration explains its own decisions and names its own parent, previous stage and recipe: these are not inherited.
- Another spacing makes another median shape: it is scaled where the configuration does not give its own.
- Pure functions on decoded JSON; nothing here knows the schema.
"""

from collections.abc import Collection, Mapping
from math import isfinite
from typing import Any, TypeGuard

from autoseg.planning.schema.faults import Fault, Place, advice, shown

NOT_INHERITED = frozenset({"inherits", "previous_stage", "recipe", "why"})


def inheritance_faults(configurations: Mapping[str, Any]) -> tuple[list[Fault], set[str]]:
    """What is wrong with parents, and the names of the configurations that cannot be made whole for it."""
    faults, lost = [], set()
    for name in configurations:
        line = _lineage(configurations, name)
        last = line[-1]
        if _is_whole(configurations[last]):
            lost |= set() if last == name or isinstance(configurations[last], dict) else {name}  # the fault is the parent's alone
            continue
        lost.add(name)
        if last == name and len(line) == 1:
            faults.append(Fault(("configurations", name, "inherits"), _unknown_parent(configurations, name)))
        elif last == name and name == min(line[:-1], key=list(configurations).index):  # a circle is named once
            text = f"{' -> '.join(line)} goes in a circle; one of them must be whole, without inherits"
            faults.append(Fault(("configurations", name, "inherits"), text))
    return faults, lost


def whole(configurations: Mapping[str, Any], name: str) -> Any:
    """One configuration made whole.

    Parameters
    ----------
    configurations : name to configuration, as the file has them
    name : one that `inheritance_faults` does not count among the lost

    Returns
    -------
    the configuration with all that it inherits; `inherits` stays, to say where that came from
    """
    *children, root = _lineage(configurations, name)
    result = configurations[root]
    for child in reversed(children):
        result = _child(configurations[child], result)
    return result


def difference(child: Mapping[str, Any], parent: Mapping[str, Any]) -> dict[str, Any]:
    """What the file must say of a whole configuration so that `whole` gives it again.

    Parameters
    ----------
    child : whole, with no null in its objects: there it would mean removal
    parent : the configuration that it inherits, whole

    Returns
    -------
    the child's own keys (`inherits`, `previous_stage`, `why`), and all else in which it differs, with null for what it lacks
    """
    inherited = _inheritable(parent)
    patch = _difference(_inheritable(child), inherited)
    if "spacing" in patch:
        if child.get("median_shape") == _median_shape(inherited, patch["spacing"]):
            patch.pop("median_shape", None)
        elif "median_shape" not in patch:
            patch["median_shape"] = child.get("median_shape")
    own = {key: child[key] for key in sorted(NOT_INHERITED) if key in child}
    reasons = {"why": own.pop("why")} if "why" in own else {}
    return own | patch | reasons


def wrote(configuration: Any, place: Place) -> bool:
    """Whether a configuration in the file itself says something at a place, or about something around it that is no object."""
    for part in place:
        if not isinstance(configuration, dict):
            return True
        if part not in configuration:
            return False
        configuration = configuration[part]
    return True


def _lineage(configurations: Mapping[str, Any], name: str) -> list[str]:
    """A configuration, its parent, and so on; ends with a whole one, with one whose parent is unknown, or with the first that comes twice."""
    line = [name]
    while not _is_whole(configurations[line[-1]]):
        parent = configurations[line[-1]]["inherits"]
        if not isinstance(parent, str) or parent not in configurations:
            break
        line.append(parent)
        if parent in line[:-1]:
            break
    return line


def _is_whole(configuration: Any) -> bool:
    return not isinstance(configuration, dict) or configuration.get("inherits") is None


def _unknown_parent(configurations: Mapping[str, Any], name: str) -> str:
    parent = configurations[name]["inherits"]
    return f"there is no such configuration{shown(parent)}" + advice(parent, _others(configurations, name))


def _others(configurations: Collection[str], name: str) -> list[str]:
    return [other for other in configurations if other != name]


def _child(patch: Mapping[str, Any], parent: Any) -> dict[str, Any]:
    inherited = _inheritable(parent)
    result: dict[str, Any] = _merged(inherited, patch)
    if "spacing" in patch and "median_shape" in inherited and "median_shape" not in patch:
        result["median_shape"] = _median_shape(inherited, patch["spacing"])
    return result


def _inheritable(parent: Any) -> dict[str, Any]:
    if not isinstance(parent, Mapping):  # to RFC 7396 as good as an empty object
        return {}
    return {key: value for key, value in parent.items() if key not in NOT_INHERITED}


def _merged(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result


def _difference(child: Mapping[str, Any], parent: Mapping[str, Any]) -> dict[str, Any]:
    patch: dict[str, Any] = {}
    for key, value in child.items():
        if key not in parent:
            patch[key] = value
        elif isinstance(value, Mapping) and isinstance(parent[key], Mapping):
            patch |= {key: inner} if (inner := _difference(value, parent[key])) else {}
        elif value != parent[key]:
            patch[key] = value
    return patch | {key: None for key in parent if key not in child}


def _median_shape(inherited: Mapping[str, Any], spacing: Any) -> Any:
    """The same millimetres in voxels of another spacing; as it was where these are no positive numbers, which validation will say."""
    shape, before = inherited.get("median_shape"), inherited.get("spacing")
    if not (_are_lengths(shape) and _are_lengths(before) and _are_lengths(spacing) and len(shape) == len(before) == len(spacing)):
        return shape
    axes = list(zip(shape, before, spacing, strict=True))
    sizes = [extent * old / new for extent, old, new in axes]
    if not all(map(isfinite, sizes)):
        return shape
    # an axis that stays keeps its value, which may be no whole number
    return [extent if old == new else float(max(1, round(size))) for size, (extent, old, new) in zip(sizes, axes, strict=True)]


def _are_lengths(values: Any) -> TypeGuard[list[float]]:
    return isinstance(values, list | tuple) and all(map(_is_length, values))


def _is_length(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value > 0
