"""One case folder of BraTS: which file is which modality, which one is the segmentation.

- A modality is told by the end of a file's name in any letter case, after `_` or `-`: flair t1 t1ce t2 to 2022, t1n t1c t2w t2f since.
- The segmentation ends with `seg`; failing that, it is the one NIfTI that is no modality (case 355 of 2020 has such a name).
- A copy on Kaggle has folders named like files (`X_flair.nii/`) with the file inside under any name: the folder's name counts.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autoseg.data.channels import SPELLINGS
from autoseg.data.layouts._folder import entries
from autoseg.imaging.read import stem_of, suffix_of

_MODALITY = re.compile(rf"(?:(.*)[_-])?({'|'.join(sorted(SPELLINGS, key=len, reverse=True))})", re.IGNORECASE)
_SEGMENTATION = re.compile(r"(?:(.*)[_-])?seg", re.IGNORECASE)
_TO_2022 = re.compile(r"brats(?:20)?(?:1[7-9]|2[0-2])_.*\d", re.IGNORECASE)
_FROM_2023 = re.compile(r"brats-[a-z]+(?:-[a-z]+)*-\d.*", re.IGNORECASE)
_LEVELS = 3


@dataclass(frozen=True)
class CaseFolder:
    """What was found in one folder.

    Attributes
    ----------
    folder : the folder, whose name is the case's
    modalities : canonical name -> its files, one unless something is wrong
    spellings : the modalities as the file names spell them, in small letters
    prefixes : what stands before the modality in the file names
    segmentations : none, one, or several (ambiguous)
    guessed : the segmentation is known only by not being a modality
    """

    folder: Path
    modalities: dict[str, tuple[Path, ...]]
    spellings: frozenset[str]
    prefixes: frozenset[str]
    segmentations: tuple[Path, ...]
    guessed: bool

    @property
    def name(self) -> str:
        return self.folder.absolute().name

    @property
    def follows_release(self) -> bool:
        """The folder is named as a BraTS release names its cases."""
        return is_to_2022(self.name) or is_from_2023(self.name)

    @property
    def is_case(self) -> bool:
        """The folder is a case, be it incomplete."""
        return bool(self.modalities) or self.follows_release


def is_to_2022(case: str) -> bool:
    """`BraTS20_Training_001`, `Brats18_2013_2_1`, `BraTS2021_00000`: label 4 is the enhancing tumour."""
    return _TO_2022.fullmatch(case) is not None


def is_from_2023(case: str) -> bool:
    """`BraTS-GLI-00000-000` and the like: label 3 is the enhancing tumour."""
    return _FROM_2023.fullmatch(case) is not None


def split_modality(stem: str) -> tuple[str, str] | None:
    """`BraTS20_Training_001_t1ce` -> ("BraTS20_Training_001", "t1ce"); None where no modality ends the name."""
    match = _MODALITY.fullmatch(stem)
    return (match[1] or "", match[2].lower()) if match else None


def split_segmentation(stem: str) -> str | None:
    """`BraTS20_Training_001_seg` -> "BraTS20_Training_001"; None where the name does not end with `seg`."""
    match = _SEGMENTATION.fullmatch(stem)
    return (match[1] or "") if match else None


def read_case_folder(folder: Path) -> CaseFolder:
    """Look at the names in one folder; subfolders count only if they are named like NIfTI files."""
    modalities: dict[str, tuple[Path, ...]] = {}
    spellings, prefixes = set(), set()
    named: list[Path] = []
    others: list[Path] = []
    for entry in entries(folder):
        path = _nifti(entry)
        if path is None:
            continue
        parts = split_modality(stem_of(entry))
        if parts is not None:
            prefix, spelling = parts
            modalities[SPELLINGS[spelling]] = (*modalities.get(SPELLINGS[spelling], ()), path)
            spellings.add(spelling)
            prefixes.add(prefix)
        elif split_segmentation(stem_of(entry)) is not None:
            named.append(path)
        else:
            others.append(path)
    return CaseFolder(folder, modalities, frozenset(spellings), frozenset(prefixes), tuple(named or others), bool(others) and not named)


def single_case_name(folder: Path) -> str | None:
    """The case's name if the folder itself is one case: its own name where a release named it, else what its files' names begin with."""
    found = read_case_folder(folder)
    if found.follows_release and found.modalities:
        return found.name
    once = all(len(files) == 1 for files in found.modalities.values())
    if len(found.modalities) > 1 and once and len(found.prefixes) == 1:
        return next(iter(found.prefixes)) or found.name
    return None


def case_folders(root: Path, levels: int = _LEVELS) -> Iterator[CaseFolder]:
    """The case folders up to three levels below `root`, in the order of their paths.

    A folder that holds modalities is a case; any other is one only if it is the last of its branch and holds NIfTI files, or is named
    like a case of BraTS.
    """
    for folder in _subfolders(root):
        found = read_case_folder(folder)
        below = [] if found.modalities else _subfolders(folder)
        if below and levels > 1:
            yield from case_folders(folder, levels - 1)
        elif found.modalities or found.segmentations or found.follows_release:
            yield found


def _subfolders(folder: Path) -> list[Path]:
    return [entry for entry in entries(folder) if entry.is_dir() and suffix_of(entry) is None]


def _nifti(entry: Path) -> Path | None:
    """The NIfTI file that an entry is, or that lies in a folder named like one."""
    if suffix_of(entry) not in (".nii", ".nii.gz"):
        return None
    if entry.is_file():
        return entry
    if not entry.is_dir():
        return None
    within = [file for file in entries(entry) if suffix_of(file) in (".nii", ".nii.gz") and file.is_file()]
    return within[0] if len(within) == 1 else None
