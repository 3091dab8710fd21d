"""Where a validation predicts to, `validation/` in the folder of a fold, what is said of it beforehand, and which of its cases are shown."""

from collections.abc import Iterable, Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Protocol

from autoseg.data.dataset import Case
from autoseg.errors import counted
from autoseg.files import read_json, remove_folder
from autoseg.imaging.image import Shape3
from autoseg.inference.class_table import TABLE as CLASSES
from autoseg.inference.execution import Execution
from autoseg.inference.record import RECORD
from autoseg.inference.run import Source, record_of
from autoseg.progress import duration

CLASSES_PICTURE = "classification.png"
RESULTS = (
    "metrics.csv", "metrics.json", "scores.png", "validation.png", "class_metrics.csv", "class_metrics.json", CLASSES_PICTURE, CLASSES,
)  # fmt: skip
SHOWN = 4  # cases in the picture: from the worst to the best


class Predicts(Protocol):
    """What predicts the cases, and knows how long it takes."""

    @property
    def execution(self) -> Execution: ...

    def expected_seconds(self, shapes: Iterable[Shape3]) -> float: ...


def validation_folder(folder: Path, source: Source) -> Path:
    """Where the validation's predictions go; those of weights that are no more, or that nothing accounts for, go with all that tells of them."""
    output = folder / "validation"
    if output.is_dir() and (not (output / RECORD).is_file() or read_json(output / RECORD) != record_of(source)):
        for name in RESULTS:
            (folder / name).unlink(missing_ok=True)
        remove_folder(output)
    return output


def announcement(cases: Sequence[Case], ahead: Sequence[str], by: Predicts, shapes: Mapping[str, Shape3] | None) -> str:
    """A line on what will be done: of how many cases, which of them are `ahead`, how, and how long it takes where their shapes are known."""
    time = f": about {duration(max(1.0, by.expected_seconds(shapes[name] for name in ahead)))}" if shapes is not None else ""
    there = f", {len(cases) - len(ahead)} of them predicted already" if len(ahead) < len(cases) else ""
    return f"Validation of {counted(len(cases), 'case')} at full resolution{there} ({by.execution.describe()}){time}."


def from_worst_to_best(scores: Mapping[str, float]) -> list[str]:
    """A few cases, evenly spread by their scores; those without a score, where there was nothing to find, only if there are no others."""
    names = sorted((name for name in scores if not isnan(scores[name])), key=scores.__getitem__) or sorted(scores)
    count = min(SHOWN, len(names))
    return list(dict.fromkeys(names[round(index * (len(names) - 1) / max(1, count - 1))] for index in range(count)))
