"""The LGG layout, as `kaggle_3m` is downloaded: a folder a patient, `<patient>_<n>.tif` with its mask `<patient>_<n>_mask.tif`.

- A picture's three colours are the sequences before contrast, FLAIR and after contrast; where one was not taken, FLAIR stands in its place.
- A mask marks what is above 0: the abnormality in FLAIR. Most slices have none.
- A slice is a case of its own, and slices of a patient stay in one fold; stacked, a patient is a volume, its slices ordered by their numbers.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from autoseg.data.dataset import Case, Dataset, Finding, Labels
from autoseg.data.layouts._folder import entries
from autoseg.errors import AutosegError
from autoseg.imaging.image import Spacing3
from autoseg.imaging.read import stem_of, suffix_of
from autoseg.imaging.sources import Mask, Slices

LOOKS_LIKE = "LGG (kaggle_3m): folders <patient>/ with <patient>_1.tif, <patient>_1_mask.tif"
CHANNELS = ("pre-contrast", "FLAIR", "post-contrast")
LABELS = Labels(names=("background", "abnormality"), values=(0, 1))
_DEPTH = 2  # folders below the dataset's in which patients are looked for
_NUMBERED = re.compile(r"(.+)_(\d+)")
_MASK = "_mask"


def recognises(root: Path) -> bool:
    """Whether a folder of a patient lies in it, or in a folder of it, in which numbered pictures have masks beside them."""
    return any(True for _ in islice(_patients(root), 1))


def load(root: Path, *, stack: Spacing3 | None = None) -> Dataset:
    """Read the folder; no image is opened.

    Parameters
    ----------
    stack : millimetres along Z, Y, X where a patient's slices are one volume; None: each slice is a case

    Raises
    ------
    AutosegError
        a folder cannot be listed
    """
    problems: list[Finding] = []
    cases: list[Case] = []
    for patient in _patients(root):
        pictures, masks, surplus = _slices(patient)
        problems += [_doubled(file, other) for file, other in surplus]
        for number in sorted(pictures.keys() ^ masks.keys()):
            problems.append(_unpaired(patient, number, pictures.get(number), masks.get(number)))
        paired = [(number, pictures[number], masks[number]) for number in sorted(pictures.keys() & masks.keys())]
        if stack is None:
            cases += [Case(stem_of(picture), (picture,), Mask(mask), group=patient.name) for _, picture, mask in paired]
            continue
        problems += _gaps(patient, [number for number, _, _ in paired])
        images, marks = (Slices(files, stack) for files in (tuple(picture for _, picture, _ in paired), tuple(mask for _, _, mask in paired)))
        cases.append(Case(patient.name, (images,), Mask(marks), group=patient.name))
    patients = len({case.group for case in cases})
    return Dataset(
        name=root.absolute().name,
        root=root,
        layout="lgg",
        channel_names=CHANNELS,
        labels=LABELS,
        cases=tuple(sorted(cases, key=lambda case: case.name)),
        file_ending=".nii.gz" if stack else ".png",
        notes=(f"{patients} patients; slices of a patient stay together in a fold.",) if stack is None else (),
        problems=tuple(problems),
        stack=stack,
    )


def to_predict(root: Path, *, stack: Spacing3 | None = None) -> list[Case]:
    """The pictures, masks or none beside them, as cases to predict; sorted by name.

    Raises
    ------
    AutosegError
        two pictures of a patient have one number; all of them are named
    """
    found: list[Case] = []
    doubled: list[Finding] = []
    for patient in _patients(root, with_masks=False):
        pictures, masks, surplus = _slices(patient)
        doubled += [_doubled(file, other) for file, other in surplus if other not in masks.values()]
        files = tuple(pictures[number] for number in sorted(pictures))
        if stack is None:
            found += [Case(stem_of(file), (file,), None, group=patient.name) for file in files]
        else:
            found.append(Case(patient.name, (Slices(files, stack),), None, group=patient.name))
    if doubled:
        lines = "".join(f"\n  - {finding.file}: {finding.problem}" for finding in doubled)
        raise AutosegError(f"Some slices have the number of another one:{lines}\nRename or remove one of each two.")
    return sorted(found, key=lambda case: case.name)


def _patients(root: Path, *, with_masks: bool = True) -> Iterator[Path]:
    level = [root]
    for _ in range(_DEPTH + 1):
        for folder in level:
            pictures, masks, _ = _slices(folder)
            if pictures and (masks or not with_masks):
                yield folder
        level = [entry for folder in level for entry in entries(folder) if entry.is_dir()]


def _slices(folder: Path) -> tuple[dict[int, Path], dict[int, Path], list[tuple[Path, Path]]]:
    """Pictures and masks by their numbers, of files that are called as the folder is; and files whose number another file has, with that one."""
    pictures: dict[int, Path] = {}
    masks: dict[int, Path] = {}
    surplus: list[tuple[Path, Path]] = []
    for file in entries(folder):
        if suffix_of(file) not in (".tif", ".tiff") or not file.is_file():
            continue
        stem = stem_of(file)
        match = _NUMBERED.fullmatch(stem.removesuffix(_MASK))
        if match and match[1] == folder.name:
            other = (masks if stem.endswith(_MASK) else pictures).setdefault(int(match[2]), file)
            if other != file:
                surplus.append((file, other))
    return pictures, masks, surplus


def _doubled(file: Path, other: Path) -> Finding:
    what = "mask" if stem_of(file).endswith(_MASK) else "slice"
    return Finding(
        "error", stem_of(file).removesuffix(_MASK), file, f"a {what} of the same number as {other.name}", "rename or remove one of the two"
    )


def _unpaired(patient: Path, number: int, picture: Path | None, mask: Path | None) -> Finding:
    name = f"{patient.name}_{number}"
    if mask is None:
        return Finding("error", name, picture, f"a slice without a mask: there is no {name}{_MASK}.tif", "add the mask or remove the slice")
    return Finding("error", name, mask, f"a mask without a slice: there is no {name}.tif", "add the slice or remove the mask")


def _gaps(patient: Path, numbers: Sequence[int]) -> Iterator[Finding]:
    missing = sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers)) if numbers else []
    if missing:
        listed = ", ".join(map(str, missing[:10])) + (" ..." if len(missing) > 10 else "")
        problem = f"slice {listed} is missing between {numbers[0]} and {numbers[-1]}: the volume would be too short"
        yield Finding("warning", patient.name, patient, problem, "Add the slices, or use the slices as pictures, without --stack.")
