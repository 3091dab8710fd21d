"""`select`: which configuration or ensemble to predict with, and with which post-processing, found on out-of-fold predictions."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pandas as pd

from autoseg.api._fold_cases import patients_of
from autoseg.api._out_of_fold import OutOfFold, find_out_of_fold, make_out_of_fold
from autoseg.data.dataset import Case
from autoseg.data.folds import read_folds
from autoseg.data.layouts import open_dataset
from autoseg.errors import AutosegError, UnreadableFile, counted, listing
from autoseg.evaluation.crossval import FEW, cases_of, patients_named
from autoseg.evaluation.evaluate import evaluate_case
from autoseg.evaluation.parts import CaseParts, parts_of
from autoseg.evaluation.postprocessing import structures_of
from autoseg.evaluation.result import Target
from autoseg.evaluation.rule_choice import RuleChoice, choose_rules
from autoseg.evaluation.schemes import scheme_named
from autoseg.evaluation.selection import MARGIN, Choice, Members, candidates_of, choose
from autoseg.evaluation.selection_file import SELECTION, SelectedMember, Selection, read_selection, write_selection
from autoseg.evaluation.targets import targets_learned
from autoseg.files import require_writable, sweep, write_text
from autoseg.imaging.image import LabelMap, require_same_grid
from autoseg.imaging.read import read_labels
from autoseg.imaging.values import count_values
from autoseg.inference.ensembling import mean_argmax, mean_regions
from autoseg.inference.execution import pick_device
from autoseg.inference.probabilities import ProbabilityFile
from autoseg.preprocessing.source import naming
from autoseg.progress import Progress, silent
from autoseg.reporting.candidates import draw_candidates
from autoseg.workspace import Workspace

_Answer = TypeVar("_Answer")
_MOST_TOGETHER = 4  # cases in memory, each with a few volumes of the scan's size
_COUNTED = ("nnunet", "brats20")  # schemes whose Dice is one of voxels


@dataclass(frozen=True)
class Selected:
    """What was selected.

    Attributes
    ----------
    dataset : its name
    choice : the candidates, and the one that was taken
    rules : what became of post-processing
    selection : what prediction follows from now on
    path, csv, picture : the files that were written
    """

    dataset: str
    choice: Choice
    rules: RuleChoice
    selection: Selection
    path: Path
    csv: Path
    picture: Path


def select(
    configurations: str | Sequence[str] = (),
    *,
    dataset: str | None = None,
    scheme: str = "nnunet",
    force: bool = False,
    device: str = "auto",
    workspace: Path | str | None = None,
    progress: Progress = silent,
    notify: Callable[[str], None] = lambda text: None,
) -> Selected:
    """Compare the trained configurations and their ensembles, and choose what to predict with.

    Writes `selection.json`, which `predict` follows from then on, `selection.csv` and `selection.png` into `models/<dataset>/`.

    Parameters
    ----------
    configurations : those to compare, in any order; by default all of which as many folds are trained as of the most complete one
    dataset : by default the one last planned
    scheme : rules for empty structures, "nnunet" or "brats20"; what counts is the mean Dice
    force : replace an earlier selection that rests on more than this one would
    device : for predictions that are missing
    workspace : by default `AUTOSEG_WORKSPACE`, else the current folder
    progress, notify : told how far it is, and what is compared or left out

    Raises
    ------
    AutosegError
        nothing is trained, configurations do not belong together or share no case, an earlier selection compared more cases or other
        configurations too, a case cannot be read or predicted, or the scheme judges lesions
    """
    if scheme_named(scheme).name not in _COUNTED:
        raise AutosegError(
            f"Candidates are compared by the Dice of whole structures, and {scheme} judges lesions. Choose --scheme nnunet or brats20."
        )
    place = Workspace.find(workspace)
    name = place.resolve(dataset) if dataset else place.current()
    wanted = (configurations,) if isinstance(configurations, str) else tuple(dict.fromkeys(configurations))
    compared, shared = find_out_of_fold(place, name, wanted, notify)
    root = place.root / "models" / name
    require_writable(root)
    sweep(root)
    if not force:
        _require_no_loss(root / SELECTION, compared, shared)
    known = {case.name: case for case in open_dataset(place.raw(name), stack=compared[0].plan.dataset.stack).cases if case.label is not None}
    remarks = _remarks(place, name, compared, shared, patients_of(known.values()))
    for remark in remarks:
        notify(remark)
    chosen_device = pick_device(device)
    for one in compared:
        own = _labelled(known, one.folders, place.raw(name))
        make_out_of_fold(one, own, chosen_device, probabilities=len(compared) > 1, progress=progress, notify=notify)
    cases = _labelled(known, shared, place.raw(name))
    bench = _Bench({one.name: one for one in compared}, {case.name: case for case in cases}, scheme)
    choice = choose(bench.judge(progress), {one.name: one.cost for one in compared}, patients=bench.patients)
    rules = bench.rules(choice.chosen.members, progress)
    return _write(root, name, choice, rules, remarks, bench)


@dataclass(frozen=True)
class _Bench:
    """What candidates are judged on."""

    compared: Mapping[str, OutOfFold]
    cases: Mapping[str, Case]
    scheme: str

    @property
    def first(self) -> OutOfFold:
        return next(iter(self.compared.values()))

    @property
    def targets(self) -> tuple[Target, ...]:
        """What the mean is over: the classes, or the regions where networks learn regions."""
        plan = self.first.plan
        targets = targets_learned(plan.labels, regions=plan.learns_regions)
        return targets if plan.learns_regions else tuple(target for target in targets if not target.region)

    @property
    def patients(self) -> dict[str, str]:
        return patients_of(self.cases.values())

    def judge(self, progress: Progress) -> dict[Members, pd.DataFrame]:
        """Dice of every candidate: a row a case, a column a structure."""
        candidates = [members for members in candidates_of(list(self.compared)) if self._can_predict_together(members)]

        def work(case: str) -> list[list[float]]:
            with naming(self.cases[case]):
                reference = self._reference(case)
                return [self._dice(self.segmentation(case, members), reference) for members in candidates]

        found = _for_each(list(self.cases), work, progress, f"judge {counted(len(candidates), 'candidate')}")
        columns = [target.name for target in self.targets]
        return {
            members: pd.DataFrame([found[case][place] for case in self.cases], index=list(self.cases), columns=columns)
            for place, members in enumerate(candidates)
        }

    def _can_predict_together(self, members: Members) -> bool:
        """Configurations that resize whole images have no mean with those that crop them, see `decide`."""
        return len({_resizes(self.compared[name]) for name in members}) == 1

    def rules(self, members: Members, progress: Progress) -> RuleChoice:
        """The post-processing of a candidate."""
        plan = self.first.plan
        structures = structures_of(plan.labels, plan.learns_regions)

        def work(case: str) -> CaseParts:
            with naming(self.cases[case]):
                return parts_of(self.segmentation(case, members), self._reference(case), structures, plan.labels)

        parts = _for_each(list(self.cases), work, progress, "try post-processing")
        folds = {case: self.compared[members[0]].fold(case) for case in self.cases}
        return choose_rules(
            {case: parts[case] for case in self.cases}, folds, structures, self.targets, self.scheme, patients=self.patients
        )  # fmt: skip

    def segmentation(self, case: str, members: Members) -> LabelMap:
        """The out-of-fold segmentation of a case by one configuration or by the mean of several."""
        try:
            return self._segmentation(case, members)
        except UnreadableFile as error:
            raise AutosegError(f"Case {case}: {error} Or delete it: autoseg select makes it anew.") from error

    def _segmentation(self, case: str, members: Members) -> LabelMap:
        own, labels = read_labels(self.compared[members[0]].labels(case)), self.first.plan.labels
        if len(members) == 1:
            if strange := sorted(count_values(own.array).keys() - set(labels.values)):
                path = self.compared[members[0]].labels(case)
                raise AutosegError(f"{path} holds the value {listing(strange)}, which no class has. Delete it: autoseg select makes it anew.")
            return own
        files = [ProbabilityFile.open(self.compared[name].probabilities(case)) for name in members]
        for file in files:
            if file.shape != own.array.shape or file.channels != self.first.plan.output_channels:
                raise AutosegError(
                    f"{file.path} holds {file.channels} channels of {file.shape} voxels; {self.first.plan.output_channels} of {own.array.shape} are"
                    " expected. Remove it: autoseg select makes it anew."
                )
        try:
            classes = mean_regions(files, labels.painted_classes) if self.first.plan.learns_regions else mean_argmax(files)
        except ValueError as error:
            named = listing(file.path for file in files)
            raise AutosegError(f"Case {case}: {error} in one of {named}. Remove them: autoseg select makes them anew.") from error
        return LabelMap(labels.to_values(classes), own.geometry)

    def _reference(self, case: str) -> LabelMap:
        label = self.cases[case].label
        if label is None:
            raise AutosegError("it has no segmentation any more. Put its label file back.")
        return read_labels(label)

    def _dice(self, prediction: LabelMap, reference: LabelMap) -> list[float]:
        require_same_grid(reference.geometry, prediction.geometry)
        labels = self.first.plan.labels
        rows = evaluate_case(prediction, reference, self.targets, scheme=self.scheme, ignore=labels.ignore, surface=False)
        return [float(row.metrics["dice"]) for row in rows]


def _require_no_loss(path: Path, compared: Sequence[OutOfFold], shared: Sequence[str]) -> None:
    """An earlier selection that rests on more is not replaced by the way."""
    try:
        before = read_selection(path) if path.is_file() else None
    except AutosegError:  # nothing is lost
        before = None
    if before is None:
        return
    names = {one.name for one in compared}
    judged = [str(one["candidate"]) for one in before.candidates if " + " not in str(one.get("candidate", " + "))]
    missing = [name for name in judged if name not in names]
    if missing or (before.cases or 0) > len(shared):
        raise AutosegError(
            f"{path} compared {', '.join(sorted(judged))} on {counted(before.cases or 0, 'case')}; now {', '.join(sorted(names))} can be compared on"
            f" {len(shared)}. Train what is missing, or replace it all the same with --force."
        )


def _remarks(place: Workspace, dataset: str, compared: Sequence[OutOfFold], shared: Sequence[str], patients: Mapping[str, str]) -> tuple[str, ...]:
    """What a reader of the numbers should know."""
    count = len(read_folds(place.folds(dataset)).validation) if place.folds(dataset).is_file() else 0
    remarks = []
    for one in compared:
        if missing := [str(fold) for fold in range(count) if str(fold) not in one.weights]:
            remarks.append(f"{one.name} lacks fold {listing(missing)}, of {count}.")
    whole = [one.name for one in compared if _resizes(one)]
    if cropped := [one.name for one in compared if whole and not _resizes(one)]:
        remarks.append(f"{listing(whole)} resizes whole images, {listing(cropped)} crops them: ensembles of both are not compared.")
    count = len(set(patients_named(shared, patients)))
    if count < FEW:
        remarks.append(f"{cases_of(count, len(shared))}: so few say little about which is best, and about post-processing.")
    return tuple(remarks)


def _resizes(one: OutOfFold) -> bool:
    return one.plan.configuration(one.name).resampling.resize is not None


def _labelled(known: Mapping[str, Case], names: Iterable[str], raw: Path) -> list[Case]:
    if gone := [name for name in names if name not in known]:
        raise AutosegError(f"{raw} has no segmentation of {listing(gone)} any more, which were trained on. Put the files back.")
    return [known[name] for name in names]


def _for_each(cases: Sequence[str], work: Callable[[str], _Answer], progress: Progress, stage: str) -> dict[str, _Answer]:
    """The answers of all cases, a few at a time in threads: reading and inflating release the interpreter."""
    found: dict[str, _Answer] = {}
    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_TOGETHER)) as executor:
        for case, answer in zip(cases, executor.map(work, cases), strict=True):
            found[case] = answer
            progress(stage, len(found), len(cases), case)
    return found


def _write(root: Path, dataset: str, choice: Choice, rules: RuleChoice, remarks: tuple[str, ...], bench: _Bench) -> Selected:
    path, csv, picture = root / SELECTION, root / "selection.csv", root / "selection.png"
    cheapest = min(one.cost for one in choice.candidates)
    table = pd.DataFrame(
        [
            {
                "candidate": one.name, "scheme": bench.scheme, "cost": one.cost / cheapest, "dice": one.mean, "low": one.low, "high": one.high,
                "difference": one.difference, "difference_low": one.difference_low, "difference_high": one.difference_high,
                **{f"dice_{name}": value for name, value in one.structures.items()},
            }
            for one in choice.candidates
        ]
    )  # fmt: skip
    write_text(csv, table.to_csv(index=False))
    title = f"{dataset}: mean Dice of {counted(len(bench.cases), 'case')}, 95 % intervals (scheme {bench.scheme})"
    draw_candidates(table, choice.chosen.name, picture, margin=MARGIN, title=title)
    selection = Selection(
        dataset=dataset,
        members=tuple(SelectedMember(configuration=name, weights=dict(bench.compared[name].weights)) for name in choice.chosen.members),
        postprocessing=rules.rules,
        scheme=bench.scheme,
        mean_dice=choice.chosen.mean + (rules.gain if rules.rules else 0.0),
        cases=len(bench.cases),
        why={"members": choice.reason, "postprocessing": rules.reason},
        remarks=remarks,
        candidates=tuple(table.to_dict("records")),
    )
    write_selection(selection, path)
    return Selected(dataset, choice, rules, selection, path, csv, picture)
