"""What `dataset.json` says: channel names, labels, paths. Shared by the layouts that have one.

- Two styles of labels are understood: name -> value (a list of values makes a region) and the older value -> name.
- `regions_class_order` gives the value that each region paints, in the order of the regions in `labels`.
- A path or a case name in the file may not lead out of the dataset's folder: such a file may come from a stranger.
  Links that the user made inside the folder are followed.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PureWindowsPath
from typing import Any

from autoseg.data.dataset import Labels
from autoseg.data.layouts._folder import known_endings
from autoseg.errors import AutosegError
from autoseg.files import read_json
from autoseg.imaging.read import SUFFIXES

FILE_NAME = "dataset.json"


def read_description(root: Path) -> dict[str, Any] | None:
    """The content of the folder's `dataset.json`, or None if there is none.

    Raises
    ------
    AutosegError
        the file is not JSON, or not an object
    """
    path = root / FILE_NAME
    return read_object(path) if path.is_file() else None


def read_object(path: Path) -> dict[str, Any]:
    """The content of a `dataset.json`, whatever its name.

    Raises
    ------
    AutosegError
        the file is missing, not JSON, or not an object
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise AutosegError(f"{path} must hold an object with keys like 'channel_names' and 'labels'; it holds a {type(content).__name__}.")
    return content


def read_channel_names(content: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """Names of the channels in their order, from `channel_names` or the older `modality`; `path` is the file, for errors.

    Raises
    ------
    AutosegError
        the key is missing, or its entries are not numbered "0", "1", ...
    """
    key = "channel_names" if "channel_names" in content else "modality"
    channels = content.get(key)
    wanted = f'{path}: \'{key}\' must number the channels from zero, like {{"0": "FLAIR", "1": "T1"}}'
    if not isinstance(channels, dict) or not channels:
        raise AutosegError(f"{wanted}; it is {channels!r}.")
    numbers = sorted(channels, key=lambda number: (len(number), number))
    if numbers != [str(number) for number in range(len(channels))] or not all(isinstance(name, str) and name for name in channels.values()):
        raise AutosegError(f"{wanted}; it is {channels!r}.")
    return tuple(channels[number] for number in numbers)


def read_labels_entry(content: Mapping[str, Any], path: Path) -> Labels:
    """The meaning of label values, from `labels`; `path` is the file, for errors.

    Raises
    ------
    AutosegError
        no background 0, no foreground, a value or a name given twice, a value that is not an integer of 0..32767, or `regions_class_order`
        does not paint every region with one of its values
    """
    entry = content.get("labels")
    if not isinstance(entry, dict) or not entry:
        raise AutosegError(f'{path}: \'labels\' must give each label\'s value, like {{"background": 0, "tumour": 1}}; it is {entry!r}.')
    if all(isinstance(name, str) for name in entry.values()):
        return _from_values(entry, path)
    labels = _from_names(entry, path)
    return replace(labels, region_order=_region_order(content, labels, path))


def read_file_ending(content: Mapping[str, Any], path: Path) -> str | None:
    """The file ending that `file_ending` declares, or None; `path` is the file, for errors.

    Raises
    ------
    AutosegError
        it is none that can be read
    """
    ending = content.get("file_ending")
    if ending is not None and ending not in SUFFIXES:
        raise AutosegError(f"{path}: 'file_ending' is {ending!r}; it must be one of {known_endings()}.")
    return ending


def inside(root: Path, relative: object, *, named_in: str = FILE_NAME) -> Path:
    """A path that a file in the dataset's folder names, as a path on disk.

    Raises
    ------
    AutosegError
        the path is absolute or leads out of the dataset's folder
    """
    path = root / named_in
    if not isinstance(relative, str) or not relative:
        raise AutosegError(f"{path}: a file's path was expected instead of {relative!r}.")
    tidy = Path(os.path.normpath(relative))  # not resolved: the user's links may lead elsewhere
    absolute = bool(PureWindowsPath(relative).anchor)  # "/x" as well as "C:x", on any system
    if absolute or tidy.parts[:1] == (os.pardir,):
        raise AutosegError(f"{path}: '{relative}' leads out of the dataset's folder. Write paths relative to {root}; link files that lie elsewhere.")
    return root / tidy


def require_plain_name(name: str, root: Path) -> str:
    """A case's name that is safe to name files with.

    Raises
    ------
    AutosegError
        the name holds a separator of folders, or begins with a dot
    """
    if not name or name.startswith(".") or "/" in name or "\\" in name:
        raise AutosegError(f"{root / FILE_NAME}: '{name}' cannot name a case, since files are named after it. Use letters, digits, _ and -.")
    return name


def _from_values(entry: dict[str, str], path: Path) -> Labels:
    by_value: dict[int, str] = {}
    for key, name in entry.items():
        if not key.strip().isdecimal():
            raise AutosegError(f"{path}: labels are given as value -> name, and '{key}' is no value (an integer of 0..32767).")
        _add(by_value, _value(int(key), name, path), name, path)
    if 0 not in by_value:
        raise AutosegError(f"{path}: no label has the value 0. The background must be 0; the values are {_values(by_value)}.")
    return _labels(by_value, {}, None, path)


def _from_names(entry: dict[str, Any], path: Path) -> Labels:
    background = [value for name, value in entry.items() if name.lower() == "background"]
    if background != [0] or isinstance(background[0], bool):
        found = f"it is {background[0]!r}" if background else f"the labels are {', '.join(entry)}"
        raise AutosegError(f"{path}: 'labels' must hold \"background\": 0; {found}.")
    ignore = _value(entry["ignore"], "ignore", path) if "ignore" in entry else None
    by_value: dict[int, str] = {}
    regions: dict[str, tuple[int, ...]] = {}
    for name, value in entry.items():
        if name == "ignore":
            continue
        if isinstance(value, list):
            regions[name] = tuple(sorted({_value(single, name, path) for single in value}))
        else:
            _add(by_value, _value(value, name, path), name, path)
    if regions:  # beside regions, a single value is a region of its own, in the file's order
        regions = {
            name: regions.get(name, (value,) if isinstance(value, int) else ()) for name, value in entry.items() if name != "ignore" and value != 0
        }
    _require_sound(regions, by_value, ignore, path)
    for value in sorted({value for values in regions.values() for value in values}):
        by_value.setdefault(value, f"label_{value}")
    return _labels(by_value, regions, ignore, path)


def _region_order(content: Mapping[str, Any], labels: Labels, path: Path) -> tuple[int, ...]:
    """The value that each region paints; nothing where the file does not say."""
    order, regions = content.get("regions_class_order"), labels.regions
    if order is None or not regions:  # without regions the key says nothing, there as here
        return ()
    wanted = f"{path}: 'regions_class_order' must give one value for each of {', '.join(regions)}, in this order"
    if not isinstance(order, list) or len(order) != len(regions):
        raise AutosegError(f"{wanted}; it is {order!r}.")
    for (name, values), value in zip(regions.items(), order, strict=True):
        if isinstance(value, bool) or value not in values:
            raise AutosegError(f"{wanted}; '{name}' is {list(values)} and cannot be painted as {value!r}.")
    return tuple(order)


def _require_sound(regions: Mapping[str, tuple[int, ...]], by_value: Mapping[int, str], ignore: int | None, path: Path) -> None:
    for name, values in regions.items():
        if not values or 0 in values or ignore in values:
            raise AutosegError(f"{path}: region '{name}' is {list(values)}; it must unite label values, without the background and the ignore label.")
    if ignore is not None and ignore in by_value:
        raise AutosegError(f"{path}: the value {ignore} is both '{by_value[ignore]}' and 'ignore'. Give each its own value.")


def _labels(by_value: dict[int, str], regions: dict[str, tuple[int, ...]], ignore: int | None, path: Path) -> Labels:
    values = tuple(sorted(by_value))
    if len(values) < 2:
        raise AutosegError(f"{path}: 'labels' names only the background. Add the structures to segment.")
    names = tuple(by_value[value] for value in values)
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise AutosegError(f"{path}: several labels are called {', '.join(doubled)}. Give each value its own name.")
    return Labels(names, values, regions, ignore)


def _add(by_value: dict[int, str], value: int, name: str, path: Path) -> None:
    if value in by_value:
        raise AutosegError(f"{path}: the value {value} is both '{by_value[value]}' and '{name}'. Give each label its own value.")
    by_value[value] = name


def _value(value: object, name: str, path: Path) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 32767:
        raise AutosegError(f"{path}: label '{name}' has the value {value!r}; it must be an integer of 0..32767.")
    return value


def _values(by_value: Mapping[int, str]) -> str:
    return ", ".join(str(value) for value in sorted(by_value))
