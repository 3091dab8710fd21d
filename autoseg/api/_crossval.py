"""`crossval`: what the trained folds of each configuration say together, and which are missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

import pandas as pd

from autoseg.api._fold_cases import read_cases
from autoseg.api._tasks import SEGMENTATION, require_segmenting
from autoseg.data.folds import read_folds
from autoseg.errors import AutosegError, listing
from autoseg.evaluation.crossval import DRAWS, SEED, UNTOLD, CrossValidation, cross_validate, on_few, read_metrics
from autoseg.files import require_writable, write_json, write_text
from autoseg.inference.model_folder import MODEL, PLAN, configuration_of, fold_of, task_of, trained_folds
from autoseg.planning.plan import read_plan
from autoseg.reporting.scores import draw_scores
from autoseg.training.run import RUN, read_run
from autoseg.workspace import Workspace


@dataclass(frozen=True)
class ConfigurationScores:
    """The folds of one configuration.

    Attributes
    ----------
    name : of the configuration
    scores : what the validated folds say together, or None where none is validated
    missing : folds that are not validated, with the reason: "2 (not trained)"
    remarks : what a reader of the numbers should know
    """

    name: str
    scores: CrossValidation | None
    missing: tuple[str, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class CrossValidated:
    """The cross-validation of a dataset's configurations.

    Attributes
    ----------
    dataset : its name
    configurations : those that were asked for, by name
    csv, json, picture : the files that were written
    """

    dataset: str
    configurations: tuple[ConfigurationScores, ...]
    csv: Path
    json: Path
    picture: Path


def crossval(configuration: str | None = None, *, dataset: str | None = None, workspace: Path | str | None = None) -> CrossValidated:
    """Put the validations of the trained folds together.

    Writes `crossval.csv`, `crossval.json` and `crossval.png` into `models/<dataset>/`, or for one configuration into its own folder.

    Parameters
    ----------
    configuration : by default all that have a validated fold
    dataset : by default the one last planned
    workspace : by default `AUTOSEG_WORKSPACE`, else the current folder

    Raises
    ------
    AutosegError
        nothing is validated, the configuration is not trained, a table is damaged, or folds were judged by different schemes
    """
    place = Workspace.find(workspace)
    name = place.resolve(dataset) if dataset else place.current()
    root = place.root / "models" / name
    there = [folder.name for folder in sorted(root.iterdir()) if _is_configuration(folder)] if root.is_dir() else []
    if configuration is not None and configuration not in there:
        raise AutosegError(f"'{configuration}' of {name} is not trained. Trained are: {', '.join(there) or 'none'}.")
    tasks = {one: _task(place.model(name, one)) for one in there}
    if configuration is not None:
        where = f"fold_<k>/metrics.json in {place.model(name, configuration)}"
        require_segmenting(
            {configuration: tasks[configuration]}, f"there is no Dice of folds to put together. How well each of its folds does stands in {where}."
        )
    there = [one for one in there if tasks[one] == SEGMENTATION]
    found = tuple(_scores(place.model(name, one), place.folds(name)) for one in there if configuration in (None, one))
    if not any(one.scores for one in found):
        raise AutosegError(
            f"No fold of {configuration or name} is validated yet. Train them: autoseg train {configuration or '3d_fullres'} cv -d {name}"
        )
    folder = root if configuration is None else place.model(name, configuration)
    require_writable(folder)
    return _write(name, found, folder)


def _is_configuration(folder: Path) -> bool:
    """Whether there are folds, and their models were not trained under another name than the folder has now."""
    trained = trained_folds(folder)
    return any(folder.glob("fold_*")) and (not trained or not (trained[0] / MODEL).is_file() or configuration_of(trained[0]) == folder.name)


def _task(folder: Path) -> str:
    """By the plan of its first fold, trained or not."""
    plans = [entry for entry in sorted(folder.glob("fold_*")) if (entry / PLAN).is_file()]
    return task_of(plans[0]) if plans else SEGMENTATION


def _scores(folder: Path, folds: Path) -> ConfigurationScores:
    expected = read_folds(folds).validation if folds.is_file() else ()
    fold_folders = {fold_of(entry): entry for entry in sorted(folder.glob("fold_*"))}
    numbers = sorted({str(number) for number in range(len(expected))} | {fold for fold in fold_folders if fold.isdecimal()}, key=int)
    validated = [fold for fold in numbers if fold in fold_folders and (fold_folders[fold] / "metrics.csv").is_file()]
    missing = tuple(f"{fold} ({'not validated yet' if fold in fold_folders else 'not trained'})" for fold in numbers if fold not in validated)
    if not validated:
        return ConfigurationScores(folder.name, None, missing, (*_on_number(folds), *_on_all(fold_folders)))
    try:
        tables = {fold: read_metrics(fold_folders[fold] / "metrics.csv") for fold in validated}
        patients = [_patients(fold_folders[fold]) for fold in validated]
        scores = cross_validate(tables, patients={case: name for known in patients for case, name in (known or {}).items()})
    except AutosegError as error:
        raise AutosegError(f"{folder}: {error}") from error
    remarks = (
        *_on_number(folds),
        *_on_settings({fold: fold_folders[fold] for fold in validated}, folder.name),
        *_on_cases(tables, expected),
        *((UNTOLD,) if None in patients else ()),
        *on_few(scores.patients, sum(scores.folds.values())),
        *_on_all(fold_folders),
    )
    return ConfigurationScores(folder.name, scores, missing, remarks)


def _patients(folder: Path) -> Mapping[str, str] | None:
    cases = read_cases(folder)
    return cases.patients if cases else None


def _on_all(fold_folders: Mapping[str, Path]) -> tuple[str, ...]:
    return ("Fold all learnt from every case: it has no validation and is not counted.",) if "all" in fold_folders else ()


def _on_number(folds: Path) -> tuple[str, ...]:
    return () if folds.is_file() else (f"{folds} is missing: nobody knows how many folds there are, and which are missing. Put it back.",)


def _on_settings(folders: Mapping[str, Path], configuration: str) -> list[str]:
    """What was trained otherwise than in the first of the folds of which it is known, and of which it is not."""
    if len(folders) < 2:
        return []
    differing: dict[tuple[str, str], list[str]] = {}
    unknown = []
    for file, subject, read in ((PLAN, "the plan's settings", _planned), (RUN, "recipe, length, seed and start", _decided)):
        settings = {fold: found for fold, folder in folders.items() if (found := read(folder, configuration)) is not None}
        if without := [fold for fold in folders if fold not in settings]:
            told = f"Fold {without[0]} has" if len(without) == 1 else f"Folds {listing(without)} have"
            unknown.append(f"{told} no {file}: {subject} are unknown, so that nobody can say whether all folds were trained alike.")
        for fold in list(settings)[1:]:
            first = next(iter(settings))
            keys = settings[first].keys() | settings[fold].keys()
            differing.setdefault((fold, first), []).extend(key for key in keys if settings[first].get(key) != settings[fold].get(key))
    others = [
        f"Fold {fold} was trained with other settings than fold {first}: {listing(sorted(keys))}. The mean is over unlike networks."
        for (fold, first), keys in sorted(differing.items())
        if keys
    ]
    return others + unknown


def _planned(folder: Path, configuration: str) -> dict[str, object] | None:
    """What of the plan shaped a training, flat; None where nobody knows."""
    if not (folder / PLAN).is_file():
        return None
    plan = read_plan(folder / PLAN)
    settings = _flat(plan.configuration(configuration).model_dump(exclude={"why", "inference", "inherits"}))
    return settings | {"dataset.labels": plan.dataset.labels, "dataset.channel_names": plan.dataset.channel_names}


def _decided(folder: Path, configuration: str) -> dict[str, object] | None:
    """What was decided when a training began; None where nobody knows."""
    run = read_run(folder)
    if run is None:
        return None
    length = f"{run.steps} steps" if run.steps else f"{run.seconds} seconds"
    return {"recipe": run.recipe, "length": length, "seed": run.seed, "pretrained": run.pretrained_weights}


def _flat(content: Mapping[str, Any], above: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in content.items():
        flat |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value}
    return flat


def _on_cases(tables: Mapping[str, pd.DataFrame], expected: Sequence[Sequence[str]]) -> list[str]:
    changed = [fold for fold, table in tables.items() if expected and (int(fold) >= len(expected) or set(table["case"]) != set(expected[int(fold)]))]
    return [f"The folds were divided anew since fold {listing(changed)} was validated, on other cases than it has now."] * bool(changed)


def _write(dataset: str, found: Sequence[ConfigurationScores], folder: Path) -> CrossValidated:
    csv, json, picture = (folder / f"crossval.{ending}" for ending in ("csv", "json", "png"))
    validated = [(one.name, one.scores) for one in found if one.scores]
    tables = []
    for name, scores in validated:
        head = pd.DataFrame(
            {"configuration": name, "scheme": scores.scheme, "hd95_convention": scores.hd95_convention, "length_unit": scores.length_unit},
            index=scores.summary.index,
        )
        tables.append(pd.concat([head, scores.summary], axis=1))
    write_text(csv, pd.concat(tables, ignore_index=True).to_csv(index=False))
    write_json(json, {"dataset": dataset, "interval": f"95 %, {DRAWS} bootstrap resamples of the patients, seed {SEED}",
                      "configurations": {one.name: _document(one) for one in found}})  # fmt: skip
    _draw(dataset, validated, picture)
    return CrossValidated(dataset, tuple(found), csv, json, picture)


def _draw(dataset: str, validated: Sequence[tuple[str, CrossValidation]], picture: Path) -> None:
    """A strip for each configuration, with its interval, then one for each of its folds in the same colour."""
    dots: list[pd.DataFrame] = []
    means: dict[str, tuple[float, float, float]] = {}
    colours: dict[str, int] = {}
    for number, (name, scores) in enumerate(validated):
        row = scores.row()
        strips = {name: scores.cases} | {f"{name}, fold {fold}": scores.cases[scores.cases["fold"] == fold] for fold in scores.folds}
        dots += [cases.assign(target=strip) for strip, cases in strips.items()]
        means |= {name: (row["mean"], row["low"], row["high"])} | {f"{name}, fold {fold}": (row[f"fold_{fold}"], nan, nan) for fold in scores.folds}
        colours |= dict.fromkeys(strips, number)
    schemes = ", ".join(dict.fromkeys(scores.scheme for _, scores in validated))
    draw_scores(
        pd.concat(dots, ignore_index=True), picture, title=f"{dataset}: cross-validation (scheme {schemes})", centre="mean", means=means,
        explanation="A dot is a case: its mean Dice over structures. The line is the mean, the band its 95 % bootstrap interval over patients.",
        colours=colours,
    )  # fmt: skip


def _document(one: ConfigurationScores) -> dict[str, Any]:
    document: dict[str, Any] = {"missing_folds": list(one.missing), "remarks": list(one.remarks)}
    if one.scores is None:
        return document
    return {
        "scheme": one.scores.scheme,
        "hd95_convention": one.scores.hd95_convention,
        "length_unit": one.scores.length_unit,
        "cases_of_folds": one.scores.folds,
        "patients": one.scores.patients,
        **document,
        "structures": one.scores.summary.to_dict("records"),
    }
