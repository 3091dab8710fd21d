"""What the trainer knows of a network: what it is shown, how its output is judged, what an epoch's scores are.

- Which objective a network has follows from its configuration's task (`objectives.py`).
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from torch import Tensor

from autoseg.training.batches import Batch

Forward = Callable[[Tensor], Any]


class Objective(Protocol):
    """What a network is taught.

    Attributes
    ----------
    columns : of the log, one a score
    leading : the log's column that `overall` goes to
    """

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def leading(self) -> str: ...

    def judge(self, forward: Forward, batch: Batch) -> tuple[Tensor, Any]:
        """The loss of a batch, and what the network said of it at full resolution; `forward` runs the network on images (B, C, *patch)."""
        ...

    def tally(self, output: Any, batch: Batch) -> Tensor:
        """Numbers that are added up over the batches of an epoch, on the CPU."""
        ...

    def scores(self, total: Tensor) -> list[float]:
        """One score a column from the sum of tallies; not a number where nothing can be said."""
        ...

    def overall(self, scores: Sequence[float]) -> float:
        """The one score that the curve of a training shows; not a number where nothing can be said."""
        ...

    def describe(self, overall: float | None, scores: Sequence[float]) -> str:
        """Scores in words, for the progress; empty before the first."""
        ...
