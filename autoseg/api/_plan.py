"""`check` and `plan`: from a folder of scans to a plan and the store of ready cases."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autoseg.api._decide import Learned, Memory, Wishes, add_recipes, decide, keep, keep_recipes, recipes_dropped, with_attributes
from autoseg.data.check import Report
from autoseg.data.check import check as check_dataset
from autoseg.data.dataset import Dataset
from autoseg.data.folds import make_folds, read_folds, write_folds
from autoseg.data.layouts import open_dataset
from autoseg.errors import AutosegError
from autoseg.files import require_writable, sweep
from autoseg.imaging.image import Spacing3
from autoseg.planning.fingerprint import describe_dataset, fingerprint, write_fingerprint
from autoseg.planning.plan import Plan, read_plan
from autoseg.progress import Progress, silent
from autoseg.workspace import Workspace


@dataclass(frozen=True)
class Planned:
    """A plan and where it came from.

    Attributes
    ----------
    plan, path : the plan, and its file
    report : what the check found; without errors
    made_ready : configuration -> number of cases preprocessed now (0: they were there); configurations that share theirs are named once;
        empty with `preprocess=False`
    dropped : configurations by recipes that the plan before it had, and that `force` left out
    """

    plan: Plan
    path: Path
    report: Report
    made_ready: dict[str, int]
    dropped: tuple[str, ...] = ()


def check(dataset: str, *, stack: Spacing3 | None = None, workspace: Path | str | None = None, progress: Progress = silent) -> Report:
    """Verify every file of a dataset.

    Parameters
    ----------
    dataset : its folder's name under `raw_data/`, with or without `Dataset` and the three digits
    stack : as for `plan`
    workspace : folder with `raw_data/`; by default `AUTOSEG_WORKSPACE`, else the current one
    progress : told which case is done

    Returns
    -------
    Report : `errors`, `warnings`, and the facts that planning needs

    Raises
    ------
    AutosegError
        there is no such dataset, or its layout is none that is known
    """
    place = Workspace.find(workspace)
    return check_dataset(open_dataset(place.raw(place.resolve(dataset)), stack=stack), progress=progress)


def plan(
    dataset: str,
    *,
    workspace: Path | str | None = None,
    preset: str | None = None,
    gpu_memory_gb: Memory | None = None,
    spacing: Spacing3 | None = None,
    source: Path | str | None = None,
    labels: Learned | None = None,
    stack: Spacing3 | None = None,
    folds: int | None = None,
    recipes: Sequence[str] = (),
    encoder_weights: str | None = None,
    preprocess: bool = True,
    force: bool = False,
    progress: Progress = silent,
) -> Planned:
    """Check a dataset, take its fingerprint, decide everything, and make its cases ready.

    Parameters
    ----------
    dataset : its folder's name under `raw_data/`, with or without `Dataset` and the three digits
    workspace : folder with `raw_data/`; by default `AUTOSEG_WORKSPACE`, else the current one
    preset : "default", "cpu", "resenc_m", "resenc_l" or "resenc_xl"; by default "default"
    gpu_memory_gb : memory to plan for, in GB, or "auto" for that of the graphics card at hand; by default the preset's own
    spacing : millimetres along Z, Y, X to resample to, instead of the rule's; of slices Y and X count
    source : a plan to take over instead of deciding: another dataset's name, or a file of ours or of nnU-Net's (`nnUNetPlans.json`)
    labels : "regions" (a sigmoid each; they may overlap) or "classes"; by default regions where the dataset declares them with the values that they
        are written as, as BraTS does
    stack : millimetres along Z, Y, X: the slices of a patient become one volume of that spacing; by default each is an image of its own
    folds : number of folds of the cross-validation; by default those that are there, else the division that the dataset comes with, else 5
    recipes : published approaches (`recipes()` lists them), by name or as files; each becomes a configuration beside the planned ones, those of a
        plan that is there stay
    encoder_weights : what the encoders of recipes start from, in place of what they say: "imagenet", a file of weights, or "none" for random ones
    preprocess : also make all cases ready
    force : replace a plan that is there and differs (edited by hand, or made with other settings), and folds that differ
    progress : told how far each stage is

    Raises
    ------
    DatasetError
        files are damaged or contradict each other; all findings are listed
    AutosegError
        a plan is there and differs, a wish cannot be met, or a folder cannot be written
    """
    place = Workspace.find(workspace)
    name = place.resolve(dataset)
    path = place.plan(name)
    wishes = Wishes(preset, gpu_memory_gb, spacing, source, labels, tuple(recipes), encoder_weights)
    require_writable(path.parent)
    if preprocess:
        require_writable(place.root / "preprocessed" / name)
    sweep(path.parent)
    wishes.require_possible(name, place)
    there = read_plan(path) if wishes.only_add and path.is_file() and not force else None
    if there is not None and stack not in (None, there.dataset.stack):
        raise AutosegError(f"{path} reads the slices of {name} otherwise (--stack). Leave --stack out to add to it, or plan anew with --force.")
    report = check_dataset(open_dataset(place.raw(name), stack=there.dataset.stack if there else stack), progress=progress)
    report.require_clean()
    facts = fingerprint(report.dataset, report.facts)
    if there is not None:
        made = add_recipes(with_attributes(there, describe_dataset(report.dataset)), wishes, place)
    else:
        made = decide(wishes, facts, describe_dataset(report.dataset), place)
        made = made if force else keep_recipes(made, path)
    dropped = recipes_dropped(made, path) if force else ()
    made = keep(made, path, force=force)
    write_fingerprint(facts, place.fingerprint(name))
    _provide_folds(place, report.dataset, made.seed, folds, force)
    place.set_current(name)
    ready = _preprocess_all(place, report.dataset, made, progress) if preprocess else {}
    return Planned(made, path, report, ready, dropped)


def _provide_folds(place: Workspace, dataset: Dataset, seed: int, count: int | None, force: bool) -> None:
    """Divide the cases where that was not done yet; with `force` also where cases came or went, or another number is asked for.

    The old division is kept beside the new.
    """
    path = place.folds(dataset.name)
    made = make_folds(dataset.cases, seed=seed, count=count)
    if path.is_file():
        try:
            there = read_folds(path, [case.name for case in dataset.cases])
            if count is None or len(there.validation) == len(made.validation):
                return
            raise AutosegError(
                f"{path} divides the cases into {len(there.validation)} fold(s), and {len(made.validation)} are asked for."
                " Trained folds belong to the old division: leave out --folds, or replace it with --force."
            )
        except AutosegError:
            if not force:
                raise
        path.replace(path.with_name(f"{path.name}.bak"))
    write_folds(made, path)


def _preprocess_all(place: Workspace, dataset: Dataset, made: Plan, progress: Progress) -> dict[str, int]:
    from autoseg.preprocessing.dataset import preprocess
    from autoseg.preprocessing.store import CaseStore, store_name

    stores = {
        name: CaseStore.of(place.preprocessed(made.dataset.name, name), made, configuration)
        for name, configuration in made.configurations.items()
        if store_name(made, name) == name  # else it uses another one's ready cases
    }
    for store in stores.values():
        sweep(store.folder)
    return preprocess(dataset.cases, made, stores, progress=progress)
