"""Where the predictions of a validation lie: `validation/` in the folder of a fold."""

from pathlib import Path

from autoseg.files import read_json, remove_folder
from autoseg.inference.class_table import TABLE as CLASSES
from autoseg.inference.record import RECORD
from autoseg.inference.run import Source, record_of

METRICS = ("metrics.csv", "metrics.json", "class_metrics.csv", "class_metrics.json", CLASSES)


def validation_folder(folder: Path, source: Source) -> Path:
    """Where the validation's predictions go; those of weights that are no more, or that nothing accounts for, are removed with their metrics."""
    output = folder / "validation"
    if output.is_dir() and (not (output / RECORD).is_file() or read_json(output / RECORD) != record_of(source)):
        for name in METRICS:
            (folder / name).unlink(missing_ok=True)
        remove_folder(output)
    return output
