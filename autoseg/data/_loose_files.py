"""A folder of loose image files, grouped into the cases that a model with given channels can predict.

- Three readings are tried in turn: by channel name (`<case>_flair.nii.gz`), by channel number (`<case>_0000.nii.gz`), and one whole file a case.
- Channel names match in any letter case and through the spellings of BraTS; a file that fits no reading is an error, never passed over in
  silence, unless it belongs to a case by its name (a segmentation beside its scan).
- Pictures often carry running numbers (`frame_0007.png`), so for them numbers are channels only if some case has all of them.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

from autoseg.data.channels import CHANNELS, SPELLINGS, canonical
from autoseg.data.dataset import Case
from autoseg.data.layouts._brats_folder import split_modality, split_segmentation
from autoseg.data.layouts._folder import is_picture, split_number
from autoseg.errors import AutosegError, listing
from autoseg.imaging.read import stem_of
from autoseg.imaging.sources import Absent

Grouped = dict[str, dict[int, list[Path]]]


def group_files(files: Sequence[Path], channel_names: tuple[str, ...], spare: Collection[int] = ()) -> list[Case]:
    """The cases that files in one folder make up.

    Parameters
    ----------
    files : image files, at least one
    channel_names : the model's channels, in its order
    spare : places of channels that may be missing where files are named by channel, since no network looks at them; bare numbers must be complete,
        as nobody can tell the second channel of a case from the first of another

    Raises
    ------
    AutosegError
        a channel is missing or is there twice, a file belongs to no channel, two files make the same case; all cases are named
    """
    grouped = _by_name(files, channel_names, needed=len(channel_names) - len(set(spare)))
    return group_numbered(files, channel_names) if grouped is None else _complete(grouped, channel_names, channel_names, spare)


def group_numbered(files: Sequence[Path], channel_names: tuple[str, ...], spare: Collection[int] = ()) -> list[Case]:
    """Like `group_files`, where names of channels are not looked for; `spare` only where somebody declared what the numbers mean."""
    grouped = _by_number(files, len(channel_names))
    if grouped is None:
        return group_whole(files, len(channel_names))
    return _complete(grouped, channel_names, [f"{channel} ({index:04d})" for index, channel in enumerate(channel_names)], spare)


def group_whole(files: Sequence[Path], n_channels: int = 1) -> list[Case]:
    """Each file a case, with all its channels.

    Raises
    ------
    AutosegError
        two files make the same case (`a.nii` and `a.nii.gz`)
    """
    numbers = [split_number(file) for file in files]
    # colour pictures of the nnU-Net layout: every case has the one file <case>_0000
    of_nnunet = is_picture(files[0]) and n_channels > 1 and all(parts is not None and parts[1] == 0 for parts in numbers)
    named: dict[str, Path] = {}
    faults = []
    for file, parts in zip(files, numbers, strict=True):
        name = parts[0] if of_nnunet and parts else stem_of(file)
        if name in named:
            faults.append(f"{name}: two files make this case: {named[name].name} and {file.name}")
        named.setdefault(name, file)
    require_complete(faults)
    return [Case(name, (file,), None, group=name) for name, file in sorted(named.items())]


def split_channel(stem: str, channel_names: Sequence[str]) -> tuple[str, int] | None:
    """`patient_t1gd` -> ("patient", index of the channel "T1ce"); None where no channel's name ends the stem."""
    small = stem.lower()
    best: tuple[int, int] | None = None
    for index, name in enumerate(channel_names):
        for spelling in {name.strip().lower(), *(key for key, value in SPELLINGS.items() if value == canonical(name))}:
            if (small == spelling or small.endswith((f"_{spelling}", f"-{spelling}"))) and (best is None or len(spelling) > best[0]):
                best = (len(spelling), index)
    return (stem[: -best[0] - 1] if len(stem) > best[0] else "", best[1]) if best else None


def require_complete(faults: Sequence[str]) -> None:
    """Raise one error that lists every incomplete case.

    Raises
    ------
    AutosegError
        `faults` is not empty
    """
    if faults:
        lines = "".join(f"\n  - {fault}" for fault in faults)
        raise AutosegError(f"Some cases cannot be predicted:{lines}\nAdd the missing files, or move these cases elsewhere.")


def _by_name(files: Sequence[Path], channel_names: tuple[str, ...], needed: int) -> Grouped | None:
    grouped: Grouped = defaultdict(lambda: defaultdict(list))
    unmatched = []
    for file in files:
        parts = split_channel(stem_of(file), channel_names)
        if parts is None:
            unmatched.append(file)
        else:
            grouped[parts[0] or file.absolute().parent.name][parts[1]].append(file)
    strays = [file for file in unmatched if not _beside_a_case(file, grouped, alone=len(grouped) == 1 and needed > 1)]
    of_brats = all(canonical(name) in CHANNELS for name in channel_names)
    if not (of_brats and any(split_modality(stem_of(file)) or split_segmentation(stem_of(file)) is not None for file in strays)):
        if not grouped:
            return None
        if not strays:
            return grouped
        if len(channel_names) == 1:  # some whole files happen to end with the channel's name
            return None
    raise AutosegError(
        f"{listing(file.name for file in strays)} in {strays[0].parent}: the name ends with none of the model's channels"
        f" {', '.join(channel_names)}, and no case of that name has one. Name files <case>_<channel>, or move these elsewhere."
    )


def _beside_a_case(file: Path, grouped: Grouped, *, alone: bool) -> bool:
    """A segmentation or another modality of a case that was found, by its name or because there is only one case."""
    return alone or stem_of(file).startswith(tuple(f"{case}{separator}" for case in grouped for separator in "_-"))


def _by_number(files: Sequence[Path], n_channels: int) -> Grouped | None:
    grouped: Grouped = defaultdict(lambda: defaultdict(list))
    unnumbered = []
    for file in files:
        parts = split_number(file)
        if parts is None:
            unnumbered.append(file)
        else:
            grouped[parts[0]][parts[1]].append(file)
    if not grouped:
        return None
    starts = [case for case, numbers in grouped.items() if 0 in numbers]
    if unnumbered:
        if not starts:
            return None
        example = grouped[starts[0]][0][0].name
        raise AutosegError(
            f"In {files[0].parent} some files end with a channel's number ({example}) and some do not ({listing(file.name for file in unnumbered)})."
            " Name all of them one way, or move the others elsewhere."
        )
    complete = [case for case, numbers in grouped.items() if set(numbers) >= set(range(n_channels))]
    if is_picture(files[0]) and n_channels > 1 and not complete:
        return None
    within = all(number < n_channels for numbers in grouped.values() for number in numbers)
    return grouped if within or (len(starts) == len(grouped) and len(grouped) > 1) else None


def _complete(grouped: Grouped, channel_names: tuple[str, ...], titles: Sequence[str], spare: Collection[int]) -> list[Case]:
    cases, faults = [], []
    for name, found in sorted(grouped.items()):
        there = listing(file.name for same in found.values() for file in same)
        missing = [title for index, title in enumerate(titles) if index not in found and index not in spare]
        doubled = [titles[index] for index, same in found.items() if index < len(channel_names) and len(same) > 1]
        surplus = [file.name for index, same in found.items() if index >= len(channel_names) for file in same]
        if missing:
            faults.append(f"{name}: missing channel {', '.join(missing)}; found are {there}")
        if doubled:
            faults.append(f"{name}: several files for {', '.join(doubled)}; found are {there}")
        if surplus:
            faults.append(f"{name}: {listing(surplus)} is beyond the model's {len(channel_names)} channels ({', '.join(channel_names)})")
        if not (missing or doubled or surplus):
            channels = tuple(found[index][0] if index in found else Absent() for index in range(len(channel_names)))
            cases.append(Case(name, channels, None, group=name))
    require_complete(faults)
    return cases
