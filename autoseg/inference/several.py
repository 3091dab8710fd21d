"""Several configurations segment a scan together: each says what it thinks on its own grid, the mean of their probabilities decides on the scan's.

- One configuration works at a time. Its logits then wait on disk, and of the scan only the configuration at work and the next one hold what they made
  of it, so that memory does not grow with how many there are; that of the networks' weights does.
- All are for the same channels and labels, and take a scan's axes in the same order, so that their planes coincide.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from autoseg.errors import AutosegError
from autoseg.imaging.image import Image, Shape3
from autoseg.inference.cascade import TrainedFolds, at_spacing
from autoseg.inference.decide import Prediction, decide
from autoseg.inference.execution import Execution, enough_memory
from autoseg.inference.logits import Logits
from autoseg.inference.placed import TOO_LARGE
from autoseg.inference.predictor import Segmenter, Stage
from autoseg.inference.run import Source
from autoseg.planning.plan import Plan


@dataclass(frozen=True)
class ReadyForFirst:
    """A scan made ready for the first of several configurations; the others make it ready when it is their turn.

    Attributes
    ----------
    image : the scan
    first : what the first configuration made of it
    windows : of each configuration
    """

    image: Image
    first: Any
    windows: tuple[int, ...]


class Several:
    """A segmenter of several configurations.

    Parameters
    ----------
    stages : predictors and cascades, at least two

    Raises
    ------
    AutosegError
        there are fewer than two, or two are for other channels or labels, or take the axes in another order (names both)
    """

    def __init__(self, stages: Sequence[Stage[Any]]) -> None:
        if len(stages) < 2:
            raise AutosegError("A mean over configurations needs at least two. Name another, or predict with the one.")
        first = stages[0]
        for stage in stages[1:]:
            if unlike := difference(first.plan, stage.plan):
                raise AutosegError(
                    f"{first.made_by} and {stage.made_by} {unlike}, so their probabilities have no mean."
                    " Train both with one plan, or predict with one of them."
                )
        self._stages = tuple(stages)

    @property
    def plan(self) -> Plan:
        return self._stages[0].plan

    @property
    def execution(self) -> Execution:
        """How the first configuration's networks run."""
        return self._stages[0].execution

    @property
    def members(self) -> int:
        """Folds, over all configurations."""
        return sum(stage.members for stage in self._stages)

    def prepare(self, image: Image) -> ReadyForFirst:
        """Make a scan ready for the first configuration; needs no device and may run in another thread."""
        return ReadyForFirst(image, self._stages[0].prepare(image), tuple(stage.count_windows(image) for stage in self._stages))

    def predict(
        self,
        ready: ReadyForFirst,
        *,
        probabilities: bool = False,
        uncertainty: bool = False,
        folder: Path | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Prediction:
        """Segment a scan with every configuration, and with the mean of their probabilities. Parameters and errors as of `Predictor.predict`."""
        with torch.inference_mode(), enough_memory(self.execution.device, TOO_LARGE):
            logits = self._logits(ready, each_fold=uncertainty, folder=folder, progress=progress)
            return decide(logits, self.plan, probabilities=probabilities, uncertainty=uncertainty, folder=folder)

    def expected_seconds(self, shapes: Iterable[Shape3]) -> float:
        """About how long all will take for scans whose ready shapes (Z, Y, X) for the first configuration are these."""
        first, known = self._stages[0].configuration, list(shapes)
        return sum(stage.expected_seconds(at_spacing(shape, first, stage.configuration) for shape in known) for stage in self._stages)

    def _logits(self, ready: ReadyForFirst, *, each_fold: bool, folder: Path | None, progress: Callable[[int, int], None]) -> list[Logits]:
        made: list[Logits] = []
        total = sum(ready.windows)
        current = ready.first
        with ThreadPoolExecutor(1, "preparer") as preparer:
            for index, stage in enumerate(self._stages):
                after = self._stages[index + 1 : index + 2]
                upcoming = preparer.submit(after[0].prepare, ready.image) if after else None

                def report(done: int, of: int, before: int = sum(ready.windows[:index])) -> None:
                    progress(before + done, total)

                made.append(stage.logits(current, wait=True, each_fold=each_fold, folder=folder, progress=report))
                current = upcoming.result() if upcoming else None
        return made


def place_together(
    trained: Sequence[TrainedFolds], device: str, *, step: float | None = None, mirror: bool = True
) -> tuple[Segmenter[Any], tuple[Source, ...]]:
    """Place one configuration or several on a device; also what each is, for the record.

    Parameters
    ----------
    trained : at least one
    device, step, mirror : as of `Predictor`, for all of them

    Raises
    ------
    AutosegError
        as of `Predictor` and `Several`
    """
    placed = [folds.place(device, step=step, mirror=mirror) for folds in trained]
    sources = tuple(source for _, source in placed)
    stages = [stage for stage, _ in placed]
    return (stages[0] if len(stages) == 1 else Several(stages)), sources


def difference(ours: Plan, theirs: Plan) -> str | None:
    """In what two plans differ that must agree for a mean over configurations, in words that go on from their names."""
    a, b = ours.dataset, theirs.dataset
    if a.labels != b.labels:
        kinds = {a.labels.trained, b.labels.trained}
        return "were trained for other labels" if len(kinds) == 1 else f"learned {' and '.join(sorted(kinds))}"
    if a.channel_names != b.channel_names:
        return f"see other channels ({', '.join(a.channel_names)}; {', '.join(b.channel_names)})"
    return "take the axes of a scan in another order" if ours.transpose_forward != theirs.transpose_forward else None
