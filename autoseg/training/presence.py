"""Where patches with and without foreground are drawn, for a network that says whether there is any.

- A slice that is to hold foreground is one of those that do, of a case drawn among those that have some; one that is not, likewise. So a batch has
  the shares that the plan says, however rare either is. Where a dataset has but one of the two, all are of that.
- A volume that is to hold foreground is centred there; others are cut anywhere from any case, and hold what they hold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoseg.preprocessing.store import ReadyCases


@dataclass(frozen=True)
class PresenceDraws:
    """Cases by what their slices hold.

    Attributes
    ----------
    present, absent : case -> its slices along Z with and without foreground, rising; only cases that have any
    everyone : all cases
    flat : patches are slices
    """

    present: Mapping[str, NDArray[np.intp]]
    absent: Mapping[str, NDArray[np.intp]]
    everyone: tuple[str, ...]
    flat: bool

    @classmethod
    def of(cls, store: ReadyCases, names: Sequence[str], *, flat: bool) -> "PresenceDraws":
        """Look through the segmentations of ready cases."""
        present = {name: store.foreground_slices(name) for name in names}
        absent = {name: np.setdiff1d(np.arange(store.shape(name)[0]), slices) for name, slices in present.items()} if flat else {}
        return cls(_with_any(present), _with_any(absent), tuple(names), flat)

    def draw(self, generator: np.random.Generator, *, foreground: bool) -> tuple[str, int | None]:
        """A case, and the slice of it where patches are slices."""
        if not self.flat:
            names = tuple(self.present) if foreground and self.present else self.everyone
            return names[generator.integers(len(names))], None
        slices = (self.present or self.absent) if foreground else (self.absent or self.present)
        name = tuple(slices)[generator.integers(len(slices))]
        return name, int(generator.choice(slices[name]))


def _with_any(slices: Mapping[str, NDArray[np.intp]]) -> dict[str, NDArray[np.intp]]:
    return {name: found for name, found in slices.items() if len(found)}
