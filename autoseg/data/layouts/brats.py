"""BraTS as downloaded, 2017 to 2024: one folder a case, possibly under `HGG/`, `LGG/` or the archive's own folder.

- Channels are FLAIR, T1, T1ce, T2 in this order, however the release spells them.
- Label 4 is the enhancing tumour to 2022 and the resection cavity since 2024: the cases' names decide, and where they follow no
  release, the spelling of the modalities does. A folder that holds both meanings is refused, and so is BraTS-PED, which has meanings of its own.
- The tumour's regions are declared with the order in which they paint a segmentation: whole tumour as edema, core as necrosis, enhancing.
- The grade of a case, HGG or LGG, is an attribute of it where a table or a folder tells it (`_grades.py`).
- Timepoints of one patient (`BraTS-GLI-00005-100`, `-101`) form a group, so that no patient is on both sides of a split.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from autoseg.data.channels import CHANNELS
from autoseg.data.dataset import Case, Dataset, Finding, Labels
from autoseg.data.layouts._brats_folder import CaseFolder, case_folders, is_from_2023, is_to_2022
from autoseg.data.layouts._grades import GRADE, grades_of
from autoseg.errors import listing
from autoseg.imaging.sources import Absent, ImageSource

LOOKS_LIKE = "BraTS: case folders with <case>_flair, _t1, _t1ce, _t2 (or -t2f, -t1n, -t1c, -t2w) and <case>_seg as .nii or .nii.gz"
LABELS_TO_2022 = Labels(
    names=("background", "necrotic", "edema", "enhancing"),
    values=(0, 1, 2, 4),
    regions={"WT": (1, 2, 4), "TC": (1, 4), "ET": (4,)},
    region_order=(2, 1, 4),
)
LABELS_FROM_2023 = Labels(
    names=("background", "necrotic", "edema", "enhancing", "cavity"),
    values=(0, 1, 2, 3, 4),
    regions={"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,), "RC": (4,)},
    optional=(4,),
    region_order=(2, 1, 3, 4),
)
_TO_2022, _FROM_2023 = "to 2022 (4 = enhancing tumour)", "from 2023 (3 = enhancing tumour)"
_SPELLED_TO_2022, _SPELLED_FROM_2023 = frozenset({"flair", "t1ce"}), frozenset({"t2f", "t1n", "t1c", "t2w"})
_TIMEPOINT = re.compile(r"(brats(?:-[a-z]+)+-[^-]+)-\d+", re.IGNORECASE)


def recognises(root: Path) -> bool:
    """Whether a folder up to three levels below holds at least two modalities of one case, or is named like a case of BraTS."""
    return any(len(found.modalities) > 1 or found.follows_release for found in case_folders(root))


def load(root: Path) -> Dataset:
    """Read the folder; no image is opened.

    Raises
    ------
    AutosegError
        a folder cannot be listed
    """
    found = list(case_folders(root))
    case_like = [one for one in found if one.is_case]
    notes = [
        f"{one.name}: {one.segmentations[0].name} is taken as the segmentation, being the one NIfTI file that is no modality."
        for one in case_like
        if one.guessed and len(one.segmentations) == 1
    ]
    passed_over = [str(one.folder.relative_to(root)) for one in found if not one.is_case]
    if passed_over:
        notes.append(f"Folders without any modality were passed over: {listing(passed_over)}.")
    labels, label_notes, problems = _meaning(case_like, root)
    unlabelled = all(not one.segmentations for one in case_like)
    if unlabelled:
        problems.append(
            Finding("error", "", root, f"none of the {len(case_like)} cases has a segmentation", "use the training data; these are cases to predict")
        )
    cases: dict[str, Case] = {}
    seen: dict[str, Path] = {}
    for one in case_like:
        problems += _faults(one, twin=seen.get(one.name), label_expected=not unlabelled)
        seen.setdefault(one.name, one.folder)
        channels = channels_of(one, CHANNELS)
        if channels and len(one.segmentations) == 1:
            cases.setdefault(one.name, Case(one.name, channels, one.segmentations[0], patient_of(one.name)))
    grades, grade_notes, grade_problems = grades_of({one.name: one for one in case_like if one.name in cases}, root)
    cases |= {name: replace(cases[name], attributes={GRADE: grade}) for name, grade in grades.items()}
    return Dataset(
        name=root.absolute().name,
        root=root,
        layout="brats",
        channel_names=CHANNELS,
        labels=labels,
        cases=tuple(cases[name] for name in sorted(cases)),
        file_ending=".nii.gz",
        notes=(*notes, *label_notes, *grade_notes),
        problems=(*problems, *grade_problems),
    )


def channels_of(found: CaseFolder, names: Sequence[str], spare: Collection[str] = ()) -> tuple[ImageSource, ...] | None:
    """The files of the canonical channels `names`; None if one is there twice, or is missing and not among the `spare`, which may be."""
    files = [found.modalities.get(name, ()) for name in names]
    sound = all(len(same) == 1 or (not same and name in spare) for name, same in zip(names, files, strict=True))
    return tuple(same[0] if same else Absent() for same in files) if sound else None


def channel_faults(found: CaseFolder, names: Sequence[str], spare: Collection[str] = ()) -> list[str]:
    """What is wrong with the files of the canonical channels `names`, of which those in `spare` may be missing, in words."""
    missing = [name for name in names if name not in found.modalities and name not in spare]
    faults = []
    if missing:
        there = [path.name for paths in found.modalities.values() for path in paths]
        faults.append(f"missing {', '.join(missing)}; " + (f"found are {listing(there)}" if there else "no modality was found"))
    for name in names:
        files = found.modalities.get(name, ())
        if len(files) > 1:
            faults.append(f"{len(files)} files for {name}: {listing(file.name for file in files)}")
    return faults


def patient_of(case: str) -> str:
    """The patient a case belongs to: the name without its timepoint since 2023, the whole name before."""
    match = _TIMEPOINT.fullmatch(case)
    return match[1] if match else case


def _faults(found: CaseFolder, *, twin: Path | None, label_expected: bool) -> list[Finding]:
    def error(problem: str, mend: str) -> Finding:
        return Finding("error", found.name, found.folder, problem, mend)

    faults = [error(fault, "add the missing file, or remove the case or the surplus file") for fault in channel_faults(found, CHANNELS)]
    if twin is not None:
        faults.append(error(f"two folders have the name {found.name}: {twin} and {found.folder}", "keep one of the two"))
    if len(found.segmentations) > 1:
        which = listing(path.name for path in found.segmentations)
        faults.append(error(f"several files could be the segmentation: {which}", "keep one NIfTI file beside the four modalities"))
    if not found.segmentations and label_expected:
        faults.append(error("no segmentation", "add the file that ends with seg, or remove the case"))
    return faults


def _meaning(found: Sequence[CaseFolder], root: Path) -> tuple[Labels, list[str], list[Finding]]:
    """What the label values mean, with notes and problems."""
    notes: list[str] = []
    problems: list[Finding] = []
    examples: dict[str, CaseFolder] = {}
    named: set[str] = set()
    for one in found:
        by_name = _TO_2022 if is_to_2022(one.name) else _FROM_2023 if is_from_2023(one.name) else None
        by_spelling = [convention for convention, known in ((_TO_2022, _SPELLED_TO_2022), (_FROM_2023, _SPELLED_FROM_2023)) if one.spellings & known]
        if by_name is None and len(by_spelling) == 2:
            spelled = ", ".join(sorted(one.spellings))
            problem = f"the modalities are spelled {spelled}, which mixes releases to 2022 and since: the meaning of label 4 is unknown"
            problems.append(Finding("error", one.name, one.folder, problem, "spell the modalities as one release does"))
            continue
        convention = by_name or next(iter(by_spelling), None)
        if convention is not None:
            examples.setdefault(convention, one)
        if by_name is not None:
            named.add(by_name)
    if len(examples) == 2:
        cases = " and ".join(f"{one.name} {convention}" for convention, one in examples.items())
        mend = "split the folder into two datasets, one for each meaning of the labels"
        problems.append(Finding("error", "", root, f"the cases' labels have two meanings: {cases}", mend))
    else:
        for convention, one in examples.items():
            if convention not in named:
                spelled = ", ".join(sorted(one.spellings))
                notes.append(f"Case names follow no BraTS release; the spelling of the modalities ({spelled}) tells labels {convention}.")
    problems += _pediatric(found)
    return LABELS_FROM_2023 if list(examples) == [_FROM_2023] else LABELS_TO_2022, notes, problems


def _pediatric(found: Sequence[CaseFolder]) -> list[Finding]:
    first = next((one for one in found if one.name.lower().startswith("brats-ped-")), None)
    if first is None:
        return []
    problem = "BraTS-PED labels mean something else (1 enhancing, 2 non-enhancing, 3 cystic, 4 edema)"
    return [Finding("error", first.name, first.folder, problem, "convert the dataset to the nnU-Net layout, whose dataset.json names its labels")]
