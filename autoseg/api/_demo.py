"""`demo`: the main job on synthetic brain tumours, from scans to a judged segmentation."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from autoseg.api._evaluate import evaluate
from autoseg.api._plan import plan
from autoseg.api._predict import predict
from autoseg.api._train import train
from autoseg.api._validate import draw_cases
from autoseg.data.layouts import open_dataset
from autoseg.data.phantom import write_phantoms
from autoseg.evaluation.result import Evaluation
from autoseg.files import write_text
from autoseg.progress import Progress, silent

DATASET = "DatasetPhantom20"
SEED = 20
TRAINING_CASES, UNSEEN_CASES = 24, 6
EPOCHS, STEPS = 3, 150  # of a training without a budget; an epoch of the preset for CPUs has 50 steps
COMPLETE = ".complete"


@dataclass(frozen=True)
class Demonstrated:
    """What the demo made: the workspace, the judgement of the unseen phantoms, and where pictures and numbers lie."""

    workspace: Path
    evaluation: Evaluation
    picture: Path
    curves: Path
    numbers: Path


def demo(
    folder: Path | str = "demo",
    *,
    budget: str | None = None,
    device: str = "auto",
    progress: Progress = silent,
    notify: Callable[[str], None] = lambda text: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Demonstrated:
    """Plan, train, predict unseen phantoms, evaluate, draw.

    Parameters
    ----------
    folder : a workspace of its own, made if it is missing; what an earlier demo finished there is used
    budget : time to train; by default `STEPS` steps, however long they take
    device : "auto", "cpu", "cuda", "cuda:1" or "mps"
    progress, notify : told how far each stage is, and what is decided
    should_stop : asked after every training step; yes saves the state and raises `Interrupted`

    Raises
    ------
    Interrupted
        `should_stop` answered yes
    AutosegError
        the folder cannot be written, or the device does not exist
    """
    root = Path(folder)
    raw, unseen, output = root / "raw_data" / DATASET, root / "unseen", root / "predictions"
    notify(f"1/5 Writing {TRAINING_CASES + UNSEEN_CASES} synthetic brain-tumour cases in the BraTS layout to {root}")
    _phantoms(raw, TRAINING_CASES, 1)
    _phantoms(unseen, UNSEEN_CASES, TRAINING_CASES + 1)
    notify("2/5 autoseg plan: check, fingerprint, decisions, preprocessing")
    plan(DATASET, workspace=root, preset="cpu", progress=progress)
    notify(f"3/5 autoseg train 3d_fullres 0 {f'--budget {budget}' if budget else f'--epochs {EPOCHS}'}")
    train(
        "3d_fullres", 0, dataset=DATASET, workspace=root, epochs=None if budget else EPOCHS, budget=budget, device=device, progress=progress,
        notify=notify, should_stop=should_stop,
    )  # fmt: skip
    notify(f"4/5 autoseg predict: {UNSEEN_CASES} cases that the network has not seen")
    predicted = predict(unseen, output, dataset=DATASET, workspace=root, device=device, progress=progress)
    notify("5/5 autoseg evaluate")
    evaluated = evaluate(output, unseen, output=root, dataset=DATASET, workspace=root, scheme="brats20", progress=progress)
    dataset = open_dataset(unseen)
    picture = root / "demo.png"
    draw_cases(
        list(dataset.cases), dict(predicted.files), evaluated.evaluation, dataset.labels, dataset.channel_names, picture, title="Unseen phantoms"
    )
    curves = root / "models" / DATASET / "3d_fullres" / "fold_0" / "progress.png"
    return Demonstrated(root, evaluated.evaluation, picture, curves, evaluated.csv)


def _phantoms(folder: Path, count: int, first: int) -> None:
    marker = folder / COMPLETE
    if not marker.is_file():
        write_phantoms(folder, count=count, seed=SEED, first=first)
        write_text(marker, "written\n")
