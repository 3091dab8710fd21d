"""Reference segmentations for an evaluation, found in whatever the user points at.

- A folder of label files, a dataset in any known layout, a folder of BraTS cases, one case's folder, or one file.
- BraTS cases need no modalities here: the segmentation is enough.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from autoseg.data.layouts import open_dataset, recognise
from autoseg.data.layouts._brats_folder import case_folders, read_case_folder, single_case_name, split_modality, split_segmentation
from autoseg.data.layouts._folder import describe, image_files, known_endings
from autoseg.errors import AutosegError, listing
from autoseg.imaging.image import Spacing3
from autoseg.imaging.read import stem_of, suffix_of
from autoseg.imaging.sources import LabelSource


def find_references(source: Path, *, stack: Spacing3 | None = None) -> Mapping[str, LabelSource]:
    """The label file of each case.

    Parameters
    ----------
    source : a folder of files `<case>.ext` or `<case>_seg.ext`, a dataset's folder, a folder of BraTS cases, one case's folder, or one file
    stack : millimetres along Z, Y, X where the slices of a patient were read as one volume

    Returns
    -------
    case name -> its segmentation, sorted by name

    Raises
    ------
    AutosegError
        nothing was found, a case has several candidates, or two files are for the same case
    """
    if not os.path.lexists(source):
        raise AutosegError(f"{source} does not exist. Name a folder of label files or a dataset's folder.")
    if source.is_file():
        if suffix_of(source) is None:
            raise AutosegError(f"{source} is no image that can be read. Known endings are {known_endings()}.")
        return _from_files([source])
    layout = recognise(source)
    found: Mapping[str, LabelSource]
    if layout in ("decathlon", "nnunet", "coco", "lgg"):
        found = {case.name: case.label for case in open_dataset(source, stack=stack if layout == "lgg" else None).cases if case.label is not None}
    elif layout is None and single_case_name(source) is None and image_files(source):
        found = _from_files(image_files(source))
    else:
        found = _from_brats(source)
    if not found:
        raise AutosegError(
            f"{source} holds no label files: {describe(source)}. Looked for files <case> ending with {known_endings()},"
            " BraTS cases with a segmentation, datasets with a dataset.json, LGG slices with masks, and COCO's annotations."
        )
    return found


def _from_files(files: Iterable[Path]) -> dict[str, Path]:
    """Files called `<case>_seg` where there are such beside modalities, else every file, its whole name being the case's."""
    files = list(files)
    segmentations = [file for file in files if split_segmentation(stem_of(file))]
    known = [file for file in files if split_segmentation(stem_of(file)) or split_modality(stem_of(file))]
    if segmentations and len(known) == len(files):
        return _unique((split_segmentation(stem_of(file)) or "", file) for file in segmentations)
    return _unique((stem_of(file), file) for file in files)


def _from_brats(source: Path) -> dict[str, Path]:
    own = single_case_name(source)
    folders = [read_case_folder(source)] if own else list(case_folders(source))
    ambiguous = [one for one in folders if len(one.segmentations) > 1]
    if ambiguous:
        lines = "".join(f"\n  - {one.folder}: {listing(file.name for file in one.segmentations)}" for one in ambiguous)
        raise AutosegError(f"Several files could be the segmentation:{lines}\nKeep one NIfTI file beside the modalities.")
    return _unique((own or one.name, one.segmentations[0]) for one in folders if one.segmentations)


def _unique(named: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name, file in sorted(named):
        if name in found:
            raise AutosegError(f"Two label files are for the case {name}: {found[name]} and {file}. Keep one of them.")
        found[name] = file
    return found
