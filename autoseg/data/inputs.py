"""Cases to predict, found in whatever the user points at.

- Folders of the known layouts, a single case's folder, loose files, or one file; segmentations beside the scans are not needed.
- Channels are matched by name wherever the layout names them, so that a model never gets its modalities in another order; only files
  that carry bare numbers are taken in the order of their numbers.
- All incomplete cases are listed at once. A channel that no network looks at may be missing.
- A model of stacked slices takes folders of patients: a picture alone does not tell which volume it is of, nor where in it.
"""

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from autoseg.data._loose_files import group_files, group_numbered, group_whole, require_complete
from autoseg.data.channels import CHANNELS, canonical
from autoseg.data.dataset import Case
from autoseg.data.layouts import brats, coco, decathlon, lgg, nnunet
from autoseg.data.layouts._brats_folder import case_folders, read_case_folder, single_case_name
from autoseg.data.layouts._description import FILE_NAME, read_channel_names, read_description
from autoseg.data.layouts._folder import describe, image_files, is_picture, known_endings
from autoseg.errors import AutosegError, listing
from autoseg.imaging.image import Spacing3
from autoseg.imaging.read import suffix_of
from autoseg.imaging.sources import Absent, Picture

Names = tuple[str, ...]


def find_cases(
    source: Path, channel_names: Sequence[str], *, spare: Collection[int] = (), layout: str | None = None, stack: Spacing3 | None = None
) -> list[Case]:
    """The cases in `source` that a model with these channels can predict.

    Parameters
    ----------
    source : a folder in any known layout (of nnU-Net's, `imagesTs` comes before `imagesTr`), one BraTS case's folder, a folder of files
        `<case>_0000.ext`, `<case>_<channel name>.ext` or `<case>.ext` (one channel, or all channels in one file), or one file
    channel_names : the model's channels, in its order
    spare : places of channels that may be missing, since no network looks at them; where a scan lacks one it is `Absent`
    layout : "nnunet", "decathlon", "coco", "lgg", "brats" or "files"; None recognises it
    stack : millimetres along Z, Y, X where the model learned volumes of a patient's slices; single pictures are refused then

    Returns
    -------
    cases sorted by name, without labels; `channels` in the model's order, or one file that holds all channels

    Raises
    ------
    AutosegError
        nothing was found, a channel is missing, names of channels do not agree, two cases share a name, or pictures are no patient's slices
    """
    names = tuple(channel_names)
    if layout not in (None, "lgg", *_READERS):
        raise AutosegError(f"There is no layout '{layout}'. Known are: lgg, {', '.join(_READERS)}.")
    if not os.path.lexists(source):
        raise AutosegError(f"{source} does not exist. Name a folder of images, one case's folder or one image file.")
    if source.is_file():
        if suffix_of(source) is None:
            raise AutosegError(f"{source} is no image that can be read. Known endings are {known_endings()}.")
        return _from_loose([source], names, spare, stack)
    found = layout or _recognise(source, names)
    return lgg.to_predict(source, stack=stack) if found == "lgg" else _require_volumes(_READERS[found](source, names, spare), stack)


def find_all_cases(
    sources: Sequence[Path], channel_names: Sequence[str], *, spare: Collection[int] = (), stack: Spacing3 | None = None
) -> list[Case]:
    """The cases in several folders and files, such as a shell makes of `cases/*`; files that are named one by one are grouped into cases.

    Parameters
    ----------
    sources : at least one
    channel_names, spare, stack : as for `find_cases`

    Returns
    -------
    cases sorted by name, as `find_cases` gives them

    Raises
    ------
    AutosegError
        as `find_cases`; or two sources hold cases of one name
    """
    files = [source for source in sources if source.is_file() and suffix_of(source)]
    if len(files) < 2:
        found = [(source, find_cases(source, channel_names, spare=spare, stack=stack)) for source in sources]
    else:
        found = [(source, find_cases(source, channel_names, spare=spare, stack=stack)) for source in sources if source not in files]
        found.append((files[0].parent, _from_loose(files, tuple(channel_names), spare, stack)))
    origin: dict[str, Path] = {}
    for source, cases in found:
        for case in cases:
            if case.name in origin:
                raise AutosegError(f"Two cases are called {case.name}: in {origin[case.name]} and in {source}. Predict them into two folders.")
            origin[case.name] = source
    return sorted((case for _, cases in found for case in cases), key=lambda case: case.name)


def _recognise(source: Path, names: Names) -> str:
    if decathlon.recognises(source):
        return "decathlon"
    if coco.recognises(source):
        return "coco"
    if names == lgg.CHANNELS and lgg.to_predict(source):
        return "lgg"
    if nnunet.recognises(source) and (_nnunet_folder(source) or "dataset" in (read_description(source) or {})):
        return "nnunet"
    if all(canonical(name) in CHANNELS for name in names) and (single_case_name(source) or _has_case_folders(source)):
        return "brats"
    return "files"


def _from_nnunet(source: Path, names: Names, spare: Collection[int]) -> list[Case]:
    content = read_description(source) or {}
    theirs = read_channel_names(content, source / FILE_NAME)
    order = _order(theirs, names, spare, source)
    if "dataset" in content and _nnunet_folder(source) != "imagesTs":
        cases = list(nnunet.load(source).cases)
    else:
        files = nnunet.images(content, source, _nnunet_folder(source) or "imagesTr")
        seen = {place for channel, place in enumerate(order) if channel not in spare}
        cases = group_numbered(files, theirs, set(range(len(theirs))) - seen)
    return [_reorder(case, order, theirs) for case in cases]


def _nnunet_folder(source: Path) -> str | None:
    return next((folder for folder in ("imagesTs", "imagesTr") if image_files(source / folder)), None)


def _from_decathlon(source: Path, names: Names, spare: Collection[int]) -> list[Case]:
    theirs = read_channel_names(read_description(source) or {}, source / FILE_NAME)
    order = _order(theirs, names, spare, source)
    to_test = decathlon.images_to_predict(source)
    cases = group_whole(to_test) if to_test else list(decathlon.load(source).cases)
    if not cases:
        raise AutosegError(f"{source}: none of the images that dataset.json names exists: {describe(source)}. Unpack the images beside it.")
    return [_reorder(case, order, theirs) for case in cases]


def _order(theirs: Names, names: Names, spare: Collection[int], source: Path) -> tuple[int | None, ...]:
    """Where each of the model's channels stands among the dataset's; None: nowhere, and it is spare."""
    if theirs == names:
        return tuple(range(len(names)))
    known = [canonical(name) for name in theirs]
    times = [known.count(canonical(name)) for name in names]
    missing = [name for place, name in enumerate(names) if times[place] > 1 or (times[place] == 0 and place not in spare)]
    if missing:
        raise AutosegError(
            f"The model needs the channels {', '.join(names)}; dataset.json in {source} names {', '.join(theirs)}, where {', '.join(missing)} is not"
            " found once. Correct the names, or point at the folder of images itself to match channels by their numbers."
        )
    return tuple(known.index(canonical(name)) if count else None for name, count in zip(names, times, strict=True))


def _reorder(case: Case, order: tuple[int | None, ...], theirs: Names) -> Case:
    together = len(case.channels) == 1 and len(theirs) > 1
    if together and order != tuple(range(len(theirs))):
        raise AutosegError(
            f"{case.name}: {case.channels[0]} holds the channels {', '.join(theirs)} in one file, in another number or order than the model's."
            " Split it into one file for each channel."
        )
    channels = case.channels if together else tuple(Absent() if place is None else case.channels[place] for place in order)
    return Case(case.name, channels, None, case.group)


def _from_brats(source: Path, names: Names, spare: Collection[int]) -> list[Case]:
    wanted = [canonical(name) for name in names]
    unseen = {wanted[place] for place in spare}
    foreign = [name for name in names if canonical(name) not in CHANNELS]
    if foreign:
        raise AutosegError(f"The model needs the channel {', '.join(foreign)}, which BraTS does not have; its channels are {', '.join(CHANNELS)}.")
    own = single_case_name(source)
    found = {source: own} if own else {one.folder: one.name for one in case_folders(source) if one.is_case}
    if not found:
        raise AutosegError(f"{source} holds no case of BraTS: {describe(source)}. Looked for: {brats.LOOKS_LIKE}.")
    cases: dict[str, Case] = {}
    folders: dict[str, Path] = {}
    faults = []
    for folder, name in found.items():
        one = read_case_folder(folder)
        faults += [f"{name}: {fault}" for fault in brats.channel_faults(one, wanted, unseen)]
        if name in folders:
            faults.append(f"{name}: two folders have this name: {folders[name]} and {folder}")
        folders.setdefault(name, folder)
        channels = brats.channels_of(one, wanted, unseen)
        if channels:
            cases[name] = Case(name, channels, None, brats.patient_of(name))
    require_complete(faults)
    return [cases[name] for name in sorted(cases)]


def _from_coco(source: Path, names: Names, _: Collection[int]) -> list[Case]:
    return _pictures(group_whole(coco.to_predict(source)), names)


def _pictures(cases: Sequence[Case], names: Names) -> list[Case]:
    """The same cases; for a model of pictures each is read in grey or in colours, as the model was trained."""
    if names not in (coco.GREY, coco.COLOURS):
        return list(cases)
    colours = names == coco.COLOURS

    def as_learned(case: Case) -> Case:
        pictures = is_picture(case.files[0])
        return replace(case, channels=tuple(Picture(file, colours) for file in case.files)) if pictures else case

    return [as_learned(case) for case in cases]


def _has_case_folders(source: Path) -> bool:
    return not read_case_folder(source).modalities and brats.recognises(source)


def _from_loose(files: Sequence[Path], names: Names, spare: Collection[int], stack: Spacing3 | None) -> list[Case]:
    return _require_volumes(_pictures(group_files(files, names, spare), names), stack)


def _require_volumes(cases: list[Case], stack: Spacing3 | None) -> list[Case]:
    """The same cases; of a model of stacked slices none may be a picture."""
    single = [file for case in cases for file in case.scans if is_picture(file)] if stack else []
    if single:
        named = listing(file.name for file in single)
        raise AutosegError(
            f"The model learned volumes of a patient's slices, and {named} in {single[0].parent} would each be a volume of its own."
            " Give the patient's folder, or the one above, with files <patient>/<patient>_1.tif, <patient>/<patient>_2.tif, ..."
        )
    return cases


def _from_files(source: Path, names: Names, spare: Collection[int]) -> list[Case]:
    files = image_files(source)
    if not files:
        raise AutosegError(
            f"{source} holds no images to predict: {describe(source)}. Looked for files <case>_0000, <case>_<channel> or <case> ending with"
            f" {known_endings()}, folders of BraTS cases, and folders with a dataset.json. The model's channels are {', '.join(names)}."
        )
    return _pictures(group_files(files, names, spare), names)


_READERS: dict[str, Callable[[Path, Names, Collection[int]], list[Case]]] = {
    "nnunet": _from_nnunet,
    "decathlon": _from_decathlon,
    "coco": _from_coco,
    "brats": _from_brats,
    "files": _from_files,
}
