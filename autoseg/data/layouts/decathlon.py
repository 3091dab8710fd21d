"""The Medical Segmentation Decathlon layout: `dataset.json` with `modality` and a `training` list; 4-D files hold all channels.

- Files are those that `training` names, with or without a leading `./`.
- A folder converted for the first nnU-Net keeps that `dataset.json`, but its files carry `_0000`: that one is read as nnU-Net's.
"""

from pathlib import Path
from typing import Any

from autoseg.data.dataset import Case, Dataset, Finding
from autoseg.data.layouts._description import FILE_NAME, inside, read_channel_names, read_description, read_labels_entry, require_plain_name
from autoseg.errors import AutosegError
from autoseg.imaging.read import stem_of, suffix_of

LOOKS_LIKE = "Medical Segmentation Decathlon: dataset.json with 'modality' and a 'training' list of images and labels"


def recognises(root: Path) -> bool:
    """Whether the folder has a `dataset.json` of the Decathlon whose files are named as it says."""
    content = read_description(root)
    if content is None or "channel_names" in content or "modality" not in content or not isinstance(content.get("training"), list):
        return False
    return not any(_numbered_twin(image).is_file() for image, _ in _pairs(content, root))


def load(root: Path) -> Dataset:
    """Read the folder; no image is opened.

    Raises
    ------
    AutosegError
        `dataset.json` contradicts itself, or leads out of the folder
    """
    content = read_description(root) or {}
    channel_names, labels = read_channel_names(content, root / FILE_NAME), read_labels_entry(content, root / FILE_NAME)
    cases: dict[str, Case] = {}
    problems: list[Finding] = []
    for image, label in _pairs(content, root):
        name = require_plain_name(stem_of(image), root)
        missing = [file for file in (image, label) if not file.is_file()]
        for file in missing:
            problems.append(
                Finding("error", name, file, "a file that dataset.json names is missing", "add the file or remove the case from 'training'")
            )
        if name in cases:
            problems.append(Finding("error", name, image, "the case is listed twice under 'training'", "keep one of the two entries"))
        elif not missing:
            cases[name] = Case(name, (image,), label, group=name)
    announced = content.get("numTraining")
    notes = (
        [f"dataset.json announces {announced} training cases; {len(cases)} usable ones were found."] if announced not in (None, len(cases)) else []
    )
    endings = [suffix_of(case.files[0]) or "" for case in cases.values()]
    return Dataset(
        name=root.absolute().name,
        root=root,
        layout="decathlon",
        channel_names=channel_names,
        labels=labels,
        cases=tuple(cases[name] for name in sorted(cases)),
        file_ending=endings[0] if endings else ".nii.gz",
        notes=tuple(notes),
        problems=tuple(problems),
    )


def images_to_predict(root: Path) -> list[Path]:
    """Files that the `test` list names and that exist; the list may be missing."""
    listed = (read_description(root) or {}).get("test", [])
    if not isinstance(listed, list):
        raise AutosegError(f"{root / FILE_NAME}: 'test' must be a list of paths.")
    # some tasks list a test case as {"image": path}
    paths = [inside(root, entry.get("image") if isinstance(entry, dict) else entry) for entry in listed]
    return [path for path in paths if path.is_file()]


def _pairs(content: dict[str, Any], root: Path) -> list[tuple[Path, Path]]:
    pairs = []
    for entry in content["training"]:
        if not isinstance(entry, dict) or not {"image", "label"} <= entry.keys():
            raise AutosegError(f"{root / FILE_NAME}: each entry of 'training' needs the keys 'image' and 'label'; one is {entry!r}.")
        pairs.append((inside(root, entry["image"]), inside(root, entry["label"])))
    return pairs


def _numbered_twin(image: Path) -> Path:
    return image.with_name(f"{stem_of(image)}_0000{suffix_of(image) or ''}")
