"""COCO's layout: folders of pictures (`train`, `valid`, `test`), each with `_annotations.coco.json`.

- Objects are polygons, run lengths or, where neither is given, boxes; crowds are objects too. A picture without objects is a negative.
- An outline of one or two points is left out beside proper ones, with a warning; an object of such alone is an error, never its box.
- Categories of one name are one class; categories that no object uses are left out. A number stands for one picture and one name.
- Pictures are grey if the first few are, else in colours, and each is read as that.
- `test` is kept aside. Where there are both `train` and `valid`, the fold is theirs: trained on the one, validated on the other.
- Copies of one picture (Roboflow's `<picture>.rf.<hash>.jpg`) stay together in a fold. Where `train` and `valid` part them, the check warns.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autoseg.data.dataset import Case, Dataset, Finding, Labels, Part
from autoseg.data.layouts._description import inside, require_plain_name
from autoseg.errors import AutosegError, UnreadableFile, counted, listing
from autoseg.imaging.read import read_stored, stem_of
from autoseg.imaging.sources import Drawing, Drawn, Picture

if TYPE_CHECKING:
    from autoseg.data.layouts._annotations import Annotations, Object

GREY, COLOURS = ("grey",), ("red", "green", "blue")
LOOKED_AT = 5  # pictures
FILE_NAME = "_annotations.coco.json"
LOOKS_LIKE = f"COCO: train/, valid/ or test/ with pictures and {FILE_NAME}"
TRAINING, VALIDATION, ASIDE = ("train",), ("valid", "val"), ("test",)
_COPY = re.compile(r"(.+)\.rf\.[0-9a-f]+")


def recognises(root: Path) -> bool:
    """Whether the folder, or one of its splits, has COCO's annotations."""
    return any(True for _ in _splits(root))


def load(root: Path) -> Dataset:
    """Read the annotations of what is not kept aside, and a few pictures; one that cannot be decoded is left to the check.

    Raises
    ------
    AutosegError
        annotations are damaged or contradict themselves, or lead out of their folder
    """
    splits = {name: folder for name, folder in _splits(root) if name not in ASIDE} or dict(_splits(root))
    contents = {name: _read(folder / FILE_NAME) for name, folder in splits.items()}
    labels, values, notes = _classes(contents, root)
    problems = [finding for name, folder in splits.items() for finding in _ambiguous(contents[name], folder / FILE_NAME)]
    found: dict[str, tuple[Path, Drawing, Part]] = {}
    parts: dict[str, Part] = {name: "validation" if name in VALIDATION else "training" for name in splits}
    both = set(parts.values()) == {"training", "validation"}
    for name, folder in splits.items():
        drawn = _objects(contents[name], values[name], folder / FILE_NAME, problems)
        for picture in contents[name].images:
            file = inside(folder, picture.file_name, named_in=FILE_NAME)
            case = require_plain_name(stem_of(file), root)
            if not file.is_file():
                problems.append(Finding("error", case, file, f"a picture that {FILE_NAME} names is missing", "add it or remove its entry"))
                continue
            if case in found:
                problems.append(Finding("error", case, file, "two pictures have this name", "rename one of the two, in its annotations too"))
                continue
            drawing = Drawing(folder / FILE_NAME, picture.file_name, picture.height, picture.width, drawn.get(picture.id, ()))
            found[case] = file, drawing, parts[name]
    colours = not all(_is_grey(file) for file, _, _ in islice(found.values(), LOOKED_AT))
    cases = [
        Case(name, (Picture(file, colours),), drawing, group=_original(name), part=part if both else None)
        for name, (file, drawing, part) in sorted(found.items())
    ]
    return Dataset(
        name=root.absolute().name,
        root=root,
        layout="coco",
        channel_names=COLOURS if colours else GREY,
        labels=labels,
        cases=tuple(cases),
        file_ending=".png",
        notes=tuple(notes),
        problems=tuple(problems),
    )


def to_predict(root: Path) -> list[Path]:
    """The pictures to predict, of `test` where there is one."""
    found = dict(_splits(root))
    names = [name for name in found if name in ASIDE] or list(found)
    return [inside(found[name], picture.file_name, named_in=FILE_NAME) for name in names for picture in _read(found[name] / FILE_NAME).images]


def _splits(root: Path) -> Iterator[tuple[str, Path]]:
    """Names and folders of the splits; a folder with annotations of its own is one."""
    if (root / FILE_NAME).is_file():
        yield root.name, root
        return
    for name in (*TRAINING, *VALIDATION, *ASIDE):
        if (root / name / FILE_NAME).is_file():
            yield name, root / name


def _read(path: Path) -> "Annotations":
    from autoseg.data.layouts._annotations import read_annotations  # evaluation knows this layout, and does without pydantic

    return read_annotations(path)


def _classes(contents: Mapping[str, "Annotations"], root: Path) -> tuple[Labels, dict[str, dict[int, int]], list[str]]:
    """The labels, the value of each category by split, and notes."""
    names: dict[str, dict[int, str]] = {split: {one.id: one.name.strip() for one in content.categories} for split, content in contents.items()}
    used = {names[split].get(one.category_id, "") for split, content in contents.items() for one in content.annotations}
    classes = sorted(name for name in used if name)
    if not classes:
        raise AutosegError(f"{root}: no picture has an annotated object, so there is nothing to learn.")
    notes = []
    for name in classes:
        same = max(sum(other == name for other in categories.values()) for categories in names.values())
        if same > 1:
            notes.append(f"{same} categories are called {name}; they are one class.")
    unused = sorted({name for categories in names.values() for name in categories.values()} - set(classes))
    if unused:
        notes.append(f"Categories that no object has were left out: {listing(unused)}.")
    values = {split: {key: classes.index(name) + 1 for key, name in categories.items() if name in classes} for split, categories in names.items()}
    return Labels(names=("background", *classes), values=tuple(range(len(classes) + 1))), values, notes


def _ambiguous(content: "Annotations", path: Path) -> Iterator[Finding]:
    """Numbers that stand for two pictures or two names."""
    named = (("pictures", [(one.id, one.file_name) for one in content.images]), ("categories", [(one.id, one.name) for one in content.categories]))
    for kind, pairs in named:
        names: dict[int, set[str]] = defaultdict(set)
        for number, name in pairs:
            names[number].add(name.strip())
        for number, several in names.items():
            if len(several) > 1:
                problem = f"{len(several)} {kind} have the number {number} ({listing(sorted(several))}): which of them an object is of is not known"
                yield Finding("error", "", path, problem, "give each a number of its own, in the annotations too")


def _objects(content: "Annotations", values: Mapping[int, int], path: Path, problems: list[Finding]) -> dict[int, tuple[Drawn, ...]]:
    """What is drawn on each picture, by its number."""
    known = {picture.id for picture in content.images}
    drawn: dict[int, list[Drawn]] = defaultdict(list)
    for number, one in enumerate(content.annotations):
        shape, fault = _shape(one)
        if one.image_id not in known or one.category_id not in values:
            what = f"picture {one.image_id}" if one.image_id not in known else f"category {one.category_id}"
            problem, mend = f"annotation {number} is of {what}, which is not listed", "remove the annotation, or list it"
        elif shape is None:
            problem, mend = f"annotation {number} {fault}", "draw it anew, or remove it"
        else:
            drawn[one.image_id].append(replace(shape, value=values[one.category_id]))
            if fault:
                problems.append(Finding("warning", "", path, f"annotation {number} {fault}", "look whether they were meant, and draw them anew"))
            continue
        problems.append(Finding("error", "", path, problem, mend))
    return {picture: tuple(objects) for picture, objects in drawn.items()}


def _shape(one: "Object") -> tuple[Drawn | None, str]:
    """What is drawn, or None; and what is wrong with it, or ""."""
    if not isinstance(one.segmentation, tuple):
        return Drawn(0, runs=one.segmentation.counts, runs_of=one.segmentation.size), ""
    outlines = tuple(outline for outline in one.segmentation if outline)
    proper = tuple(outline for outline in outlines if len(outline) >= 6)
    if any(len(outline) % 2 for outline in outlines):
        return None, "has an outline with an x that has no y"
    if outlines and not proper:
        return None, "has no outline of three points or more"
    if proper:
        short = len(outlines) - len(proper)
        return Drawn(0, proper), f"has {counted(short, 'outline')} of fewer than three points, left out" if short else ""
    if one.bbox is None:
        return None, "has neither a segmentation nor a box"
    x, y, width, height = one.bbox
    if width <= 0 or height <= 0:
        return None, f"has no segmentation, and a box of {width:g} x {height:g} pixels"
    return Drawn(0, ((x, y, x + width, y, x + width, y + height, x, y + height),)), ""


def _is_grey(file: Path) -> bool:
    try:
        voxels, _ = read_stored(file)
    except UnreadableFile:  # the check says so, with all that is damaged
        return True
    return len(voxels) == 1 or all(np.array_equal(voxels[0], channel) for channel in voxels[1:])


def _original(case: str) -> str:
    match = _COPY.fullmatch(case)
    return match[1] if match else case
