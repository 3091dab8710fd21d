"""Where structures lie in segmented cases: a picture each, sheets of many, and, for `locate`, their places in a table."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoseg.data.dataset import Case, Labels
from autoseg.data.pictures import FOLDER, is_sheet, picture_of, require_apart, sheet
from autoseg.data.source_kinds import may_have_colours, tells_place, tells_spacing
from autoseg.errors import AutosegError, GeometryMismatch, listing
from autoseg.evaluation.localisation import localise
from autoseg.evaluation.localisation_file import LocalisationFile
from autoseg.evaluation.result import Target
from autoseg.evaluation.targets import targets_learned
from autoseg.files import require_writable, sweep
from autoseg.imaging.image import Image, LabelMap, require_same_grid
from autoseg.imaging.read import read_image, read_labels
from autoseg.imaging.sources import LabelSource, files_of
from autoseg.imaging.values import count_values
from autoseg.preprocessing.source import naming
from autoseg.progress import Progress, silent
from autoseg.reporting.canvas import notes_of
from autoseg.reporting.location import MOST_CELLS, Location, draw_location, draw_sheet

_SHOWN, _CASES = "autoseg: shown", "autoseg: cases"  # notes in pictures and in sheets


@dataclass(frozen=True)
class Marked:
    """What was drawn: a picture of every case, sheets of them, and the cases of which nothing had to be done."""

    pictures: dict[str, Path]
    sheets: tuple[Path, ...]
    skipped: tuple[str, ...]


def require_room(files: Sequence[Path], output: Path, *, overwrite: bool) -> None:
    """Make sure, before any work, that the pictures will not take the place of something else.

    Parameters
    ----------
    files : segmentations that lie in `output`, or will
    overwrite : foreign files may be replaced

    Raises
    ------
    AutosegError
        a segmentation has the name of a sheet, a file that is no sheet of ours has, or the folder cannot be written
    """
    for file in files:
        require_apart(file)
    require_writable(output / FOLDER)
    foreign = sheet(output, 1)
    if foreign.exists() and not overwrite and _CASES not in notes_of(foreign):
        raise AutosegError(f"{foreign} is there already, and autoseg did not make it. Choose another folder with -o, or replace it with --overwrite.")


def mark_cases(
    cases: Sequence[Case],
    segmentations: Mapping[str, LabelSource],
    labels: Labels,
    output: Path,
    *,
    regions: bool,
    table: LocalisationFile | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Marked:
    """Draw cases into `overlays/` and onto sheets, and put their structures into a table; what is newer than its files is passed over.

    Parameters
    ----------
    cases : sorted by name
    segmentations : of each of them
    labels : what their values mean
    output : the folder for the pictures
    regions : whether regions were learned, so that their edges are drawn; else the classes'
    table : gets the places of all structures; None where nobody wants them
    overwrite : draw and measure again

    Raises
    ------
    AutosegError
        a file cannot be read, a segmentation does not lie on its scan's grid or holds a value that nobody declared (names the case);
        the folder cannot be written
    """
    targets = targets_learned(labels, regions=regions)
    outlined = tuple(target for target in targets if regions or not target.region)
    pictures = {case.name: picture_of(output, case.name) for case in cases}
    sweep(output)
    sweep(output / FOLDER)
    skipped = []
    progress("locate" if table else "overlay", 0, len(cases))
    for done, case in enumerate(cases, start=1):
        source, picture = segmentations[case.name], pictures[case.name]
        notes = {_SHOWN: json.dumps([str(source), [str(channel) for channel in case.channels], [[one.name, *one.values] for one in outlined]])}
        drawn = not overwrite and _is_drawn(picture, (*case.scans, *files_of(source)), notes)
        listed = table is None or (not overwrite and case.name in table)
        if drawn and listed:
            skipped.append(case.name)
        else:
            with naming(case):
                found = _read_declared(source, labels)
                if table is not None and not listed:
                    measured, placed = tells_spacing(case.first), tells_place(case.first)
                    table.put(case.name, found.geometry, localise(found, targets, measured=measured, placed=placed), measured=measured)
                if not drawn:
                    draw_location(_location(case, source, found), outlined, picture, notes=notes)
        progress("locate" if table else "overlay", done, len(cases), case.name)
    return Marked(pictures, _draw_sheets(pictures, outlined, output), tuple(skipped))


def _is_drawn(picture: Path, files: Sequence[Path], notes: Mapping[str, str]) -> bool:
    if not picture.is_file():
        return False
    newest = max((file.stat().st_mtime_ns for file in files if file.is_file()), default=0)  # a missing file is the reader's to name
    return picture.stat().st_mtime_ns >= newest and notes.items() <= notes_of(picture).items()


def _read_declared(source: LabelSource, labels: Labels) -> LabelMap:
    found = read_labels(source)
    strange = sorted(count_values(found.array).keys() - set(labels.allowed))
    if strange:
        raise AutosegError(
            f"{source} holds the label values {listing(strange)}; declared are {listing(labels.allowed, limit=20)}. Correct the file, or name its"
            " dataset with -d."
        )
    return found


def _location(case: Case, source: LabelSource, found: LabelMap) -> Location:
    first = case.first
    scan: Image = read_image([first])
    try:
        require_same_grid(scan.geometry, found.geometry)
    except GeometryMismatch as error:
        raise GeometryMismatch(f"{source} does not lie on the grid of {first}: {error}. Give the segmentation of this scan.") from None
    geometry = scan.geometry
    affine = geometry.affine if tells_place(first) and not geometry.flat else None
    return Location(case.name, scan.array, found.array, geometry.spacing, affine, flat=geometry.flat, colours=may_have_colours(first))


def _draw_sheets(pictures: Mapping[str, Path], outlined: Sequence[Target], output: Path) -> tuple[Path, ...]:
    """The sheets of all these pictures; further ones, of an earlier and larger number of cases, are removed."""
    names = sorted(pictures)
    sheets: list[Path] = []
    for start in range(0, len(names), MOST_CELLS):
        shown = {name: pictures[name] for name in names[start : start + MOST_CELLS]}
        target = sheet(output, len(sheets) + 1)
        notes = {_CASES: json.dumps(list(shown))}
        if not _is_drawn(target, [*shown.values()], notes):
            title = f"Cases {start + 1} to {start + len(shown)} of {len(names)}" if len(names) > len(shown) else "Where structures lie"
            draw_sheet(shown, outlined, target, title=title, notes=notes)
        sheets.append(target)
    for file in sorted(output.glob(f"{FOLDER}_*.png")):
        if is_sheet(file) and file not in sheets and _CASES in notes_of(file):
            file.unlink()
    return tuple(sheets)
