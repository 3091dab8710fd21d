"""The nnU-Net raw layout: `dataset.json`, `imagesTr/<case>_0000.ext`, `labelsTr/<case>.ext`.

- Version 2 (`channel_names`, labels name -> value, regions, ignore label, the `dataset` key with explicit paths) and the older
  keys (`modality`, labels value -> name) are understood. A mistake in `dataset.json` itself is an error at once;
  what is wrong with files is collected, so that the user mends all of it in one go.
- A picture format may hold all channels (red, green, blue) in the one file `<case>_0000.ext`.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from autoseg.data.dataset import Case, Dataset, Finding
from autoseg.data.layouts import decathlon
from autoseg.data.layouts._description import (
    FILE_NAME,
    inside,
    read_channel_names,
    read_description,
    read_file_ending,
    read_labels_entry,
    require_plain_name,
)
from autoseg.data.layouts._folder import describe, image_files, is_picture, known_endings, split_number
from autoseg.errors import AutosegError, listing
from autoseg.imaging.read import stem_of, suffix_of

LOOKS_LIKE = "nnU-Net: dataset.json with 'channel_names', imagesTr/<case>_0000.nii.gz, labelsTr/<case>.nii.gz"


def recognises(root: Path) -> bool:
    """Whether the folder has a `dataset.json` that names channels and is not a Decathlon task's."""
    content = read_description(root)
    return content is not None and ("channel_names" in content or ("modality" in content and not decathlon.recognises(root)))


def load(root: Path) -> Dataset:
    """Read the folder; no image is opened.

    Raises
    ------
    AutosegError
        `dataset.json` contradicts itself, or leads out of the folder, or there are no images at all
    """
    content = read_description(root) or {}
    channel_names, labels = read_channel_names(content, root / FILE_NAME), read_labels_entry(content, root / FILE_NAME)
    notes: list[str] = []
    if labels.regions and not labels.region_order:
        notes.append("dataset.json has regions and no 'regions_class_order', the value that each is written as: classes are learned, regions judged.")
    if "dataset" in content:
        cases, problems = _explicit(content["dataset"], root, len(channel_names))
        ending = read_file_ending(content, root / FILE_NAME) or _usual_ending(case.files[-1] for case in cases)
    else:
        files = images(content, root)
        label_files = [file for file in image_files(root / "labelsTr") if _ends_as_declared(file, content, root)]
        ending = read_file_ending(content, root / FILE_NAME) or _usual_ending(label_files or files)
        passed_over = [file.name for file in image_files(root / "imagesTr") if not _ends_as_declared(file, content, root)]
        if passed_over:
            notes.append(f"Files in imagesTr that do not end with {ending} were passed over: {listing(passed_over)}.")
        cases, problems = _scanned(files, label_files, len(channel_names), root)
    expected = content.get("numTraining")
    if isinstance(expected, int) and expected != len(cases):
        notes.append(f"dataset.json announces {expected} training cases; {len(cases)} usable ones were found.")
    return Dataset(
        name=root.absolute().name,
        root=root,
        layout="nnunet",
        channel_names=channel_names,
        labels=labels,
        cases=tuple(sorted(cases, key=lambda case: case.name)),
        file_ending=ending,
        notes=tuple(notes),
        problems=tuple(problems),
    )


def images(content: dict[str, Any], root: Path, folder: str = "imagesTr") -> list[Path]:
    """Image files of a folder that have the declared file ending (any that we read, where none is declared).

    Raises
    ------
    AutosegError
        there are none; the text says what lies there instead
    """
    found = image_files(root / folder)
    files = [file for file in found if _ends_as_declared(file, content, root)]
    if not files:
        there = describe(root / folder) if (root / folder).is_dir() else "that folder does not exist"
        wanted = f"ending with {content['file_ending']}" if "file_ending" in content else f"({known_endings()})"
        raise AutosegError(f"{root / folder} holds no images {wanted}: {there}. Put the images there as <case>_0000, <case>_0001, ...")
    return files


def _scanned(files: list[Path], label_files: list[Path], n_channels: int, root: Path) -> tuple[list[Case], list[Finding]]:
    problems: list[Finding] = []
    scans: dict[str, dict[int, Path]] = {}
    strays: set[str] = set()
    for file in files:
        parts = split_number(file)
        if parts is None:
            strays.add(stem_of(file))
            problems.append(_error(stem_of(file), file, "an image without a channel number", f"name it {stem_of(file)}_0000{suffix_of(file)}"))
            continue
        name, number = parts
        if number in scans.setdefault(name, {}):
            twin = scans[name][number].name
            problems.append(_error(name, file, f"channel {number} is there twice: {twin} and {file.name}", "keep one of the two files"))
        scans[name].setdefault(number, file)
    labels: dict[str, Path] = {}
    for file in label_files:
        name = stem_of(file)
        if name in labels:
            problems.append(_error(name, file, f"the label is there twice: {labels[name].name} and {file.name}", "keep one of the two files"))
        elif name not in scans and name not in strays:
            problems.append(_error(name, file, f"a label without an image: imagesTr holds no {name}_0000", "add the image or remove the label"))
        labels.setdefault(name, file)
    cases = []
    for name, found in scans.items():
        channels, label = _complete(found, n_channels), labels.get(name)
        if channels is None:
            problems.append(_misnumbered(name, found, n_channels, root))
        if label is None:
            problems.append(
                _error(name, found[min(found)], f"an image without a label: labelsTr holds no {name}", "add the label or remove the image")
            )
        if channels is not None and label is not None:
            cases.append(Case(name, channels, label, group=name))
    return cases, problems


def _complete(found: dict[int, Path], n_channels: int) -> tuple[Path, ...] | None:
    """One file for each channel, or one picture that holds all; None if the numbers found do not fit the channels."""
    if sorted(found) == list(range(n_channels)):
        return tuple(found[number] for number in range(n_channels))
    if list(found) == [0] and is_picture(found[0]):
        return (found[0],)
    return None


def _explicit(entry: object, root: Path, n_channels: int) -> tuple[list[Case], list[Finding]]:
    if not isinstance(entry, dict) or not entry:
        raise AutosegError(f'{root / FILE_NAME}: \'dataset\' must give each case its files: {{"case": {{"images": [...], "label": "..."}}}}.')
    cases, problems = [], []
    for name, files in entry.items():
        require_plain_name(name, root)
        if not isinstance(files, dict) or not isinstance(files.get("images"), list) or "label" not in files:
            raise AutosegError(f"{root / FILE_NAME}: case '{name}' under 'dataset' needs the keys 'images' (a list of paths) and 'label' (a path).")
        channels = tuple(inside(root, image) for image in files["images"])
        label = inside(root, files["label"])
        missing = [file for file in (*channels, label) if not file.is_file()]
        for file in missing:
            problems.append(_error(name, file, "a file that dataset.json names is missing", "add the file or mend the path in dataset.json"))
        fits = len(channels) in (1, n_channels)
        if not fits:
            problem = f"{len(channels)} images are listed for {n_channels} channels"
            problems.append(_error(name, root / FILE_NAME, problem, "list one file for each channel, or a single file that holds all"))
        if fits and not missing:
            cases.append(Case(name, channels, label, group=name))
    return cases, problems


def _misnumbered(name: str, found: dict[int, Path], n_channels: int, root: Path) -> Finding:
    missing = [f"{name}_{number:04d}" for number in range(n_channels) if number not in found]
    folder = root / "imagesTr"
    if missing:
        return _error(name, folder, f"missing channel: {', '.join(missing)}", "add the file or remove the case")
    extra = listing(found[number].name for number in sorted(found) if number >= n_channels)
    return _error(
        name, folder, f"more files than the {n_channels} channels in dataset.json: {extra}", "name the channel in dataset.json or remove the file"
    )


def _ends_as_declared(file: Path, content: dict[str, Any], root: Path) -> bool:
    ending = read_file_ending(content, root / FILE_NAME)
    return ending is None or suffix_of(file) == ending


def _usual_ending(files: Iterable[Path]) -> str:
    endings = Counter(suffix_of(file) or "" for file in files)
    return max(endings, key=lambda ending: endings[ending], default=".nii.gz")


def _error(case: str, file: Path, problem: str, mend: str) -> Finding:
    return Finding("error", case, file, problem, mend)
