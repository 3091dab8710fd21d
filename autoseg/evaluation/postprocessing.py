"""Rules that mend label maps after prediction, as they act on voxels, and the structures they may act on.

- A structure is a union of label values, cut into its connected parts (26 neighbours). A rule makes another value of whole parts, or of the whole
  structure, and never draws a border of its own.
- Rules act one after the other, each on what the ones before it left.
- What is removed from within a region becomes what lies around it there, if that is one value (BraTS: removed core becomes edema), else background.
- Structures are nested or apart from each other, so that a rule on an outer one takes inner parts along whole; a region that crosses an earlier
  one is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from autoseg.data.dataset import Labels
from autoseg.evaluation.metrics import volume
from autoseg.imaging.components import components
from autoseg.imaging.crop import bounding_box
from autoseg.imaging.image import LabelMap, Spacing3

FOREGROUND = "foreground"
_Value = Annotated[int, Field(gt=0)]


class Rule(BaseModel):
    """One step of post-processing, as it stands in a file that people may edit.

    `keep_largest`: all connected parts but the largest are removed (of equal ones the first in voxel order stays); `remove_small`: parts of less
    than `below_mm3` are; `relabel_small`: the whole structure is, in a scan that has less than `below_mm3` of it (the rule of the winners of
    BraTS 2020, Isensee et al.: a small enhancing tumour is relabelled as core).

    Attributes
    ----------
    kind : what is removed
    structure : its name, for people
    values : the user's label values that the structure unites, above 0
    becomes : the user's value that removed voxels take; none of `values`
    below_mm3 : cubic millimetres, above 0; absent (None) for `keep_largest`
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    kind: Literal["keep_largest", "remove_small", "relabel_small"]
    structure: str
    values: Annotated[tuple[_Value, ...], Field(strict=False)]  # JSON has lists only; the values themselves stay strict
    becomes: Annotated[int, Field(ge=0)]
    below_mm3: float | None = Field(None, gt=0, validate_default=True)

    @field_validator("values")
    @classmethod
    def _values_differ(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if not values or len(set(values)) < len(values):
            raise ValueError("must name at least one value, and each once")
        return values

    @field_validator("becomes")
    @classmethod
    def _becomes_another(cls, becomes: int, info: ValidationInfo) -> int:
        if becomes in info.data.get("values", ()):
            raise ValueError("must be none of the structure's own values")
        return becomes

    @field_validator("below_mm3")
    @classmethod
    def _has_a_volume_if_needed(cls, below_mm3: float | None, info: ValidationInfo) -> float | None:
        kind = info.data.get("kind")
        if kind == "keep_largest" and below_mm3 is not None:
            raise ValueError("must be absent: keep_largest looks at no volume")
        if kind in ("remove_small", "relabel_small") and below_mm3 is None:
            raise ValueError(f"is missing: {kind} needs a volume in cubic millimetres")
        return below_mm3

    def describe(self) -> str:
        """What the rule does, in one line for people."""
        of = f"{self.structure} ({', '.join(map(str, self.values))})"
        into = "background" if self.becomes == 0 else f"label {self.becomes}"
        if self.kind == "keep_largest":
            return f"{of}: all connected parts but the largest become {into}"
        if self.kind == "remove_small":
            return f"{of}: connected parts of less than {self.below_mm3:.10g} mm^3 become {into}"
        return f"{of}: becomes {into} in a scan with less than {self.below_mm3:.10g} mm^3 of it"


@dataclass(frozen=True)
class Structure:
    """What rules may act on.

    Attributes
    ----------
    name : of the class or region, or `FOREGROUND`
    values : the user's label values it unites, without 0
    becomes : the user's value that removed parts take
    relabel_to : the user's value that the whole structure may take where it is small, or None where that makes no sense
    """

    name: str
    values: tuple[int, ...]
    becomes: int = 0
    relabel_to: int | None = None


def apply_rules(labels: LabelMap, rules: Sequence[Rule]) -> LabelMap:
    """Post-process one label map.

    Parameters
    ----------
    labels : the user's values; its spacing says how large a voxel is
    rules : in the order in which they act

    Returns
    -------
    a new label map on the same grid, of the same integer type unless that cannot hold a rule's value
    """
    array_ZYX = labels.array.copy()
    for rule in rules:
        array_ZYX = array_ZYX.astype(np.promote_types(array_ZYX.dtype, np.min_scalar_type(rule.becomes)), copy=False)
    box = bounding_box(array_ZYX != 0)
    inside_ZYX = array_ZYX[box]  # a view: what is written here is written there
    for rule in rules:
        mask_ZYX = np.isin(inside_ZYX, rule.values)
        inside_ZYX[_removed(rule, mask_ZYX, labels.geometry.spacing)] = rule.becomes
    return LabelMap(array_ZYX, labels.geometry)


def structures_of(labels: Labels, regions: bool) -> tuple[Structure, ...]:
    """What rules may act on in the predictions of a network.

    Parameters
    ----------
    labels : the dataset's
    regions : whether the network learns regions; then these are its structures, otherwise the classes are

    Returns
    -------
    The foreground, unless another structure is the same, and the classes or regions; outer before inner, otherwise in the order of `labels`. Each
    two are nested or apart.
    """
    family = _laminar([(name, tuple(values)) for name, values in labels.regions.items()])
    judged = family if regions else [(name, (value,)) for name, value in zip(labels.names[1:], labels.values[1:], strict=True)]
    structures = []
    for name, values in judged:
        around = _remainder(values, [of_region for _, of_region in family])
        structures.append(Structure(name, values, (around or 0) if regions else 0, around if len(values) == 1 else None))
    foreground = tuple(sorted({value for _, values in judged for value in values}))
    if all(set(structure.values) != set(foreground) for structure in structures):
        structures.insert(0, Structure(FOREGROUND, foreground))
    return tuple(sorted(structures, key=lambda structure: -len(structure.values)))  # of two nested ones the outer has more values


def _removed(rule: Rule, mask_ZYX: NDArray[np.bool_], spacing: Spacing3) -> NDArray[np.bool_]:
    """The voxels of a structure that a rule takes from it."""
    if rule.below_mm3 is not None and rule.kind == "relabel_small":
        small = volume(int(np.count_nonzero(mask_ZYX)), spacing) < rule.below_mm3
        return mask_ZYX if small else np.zeros_like(mask_ZYX)
    parts_ZYX, count = components(mask_ZYX)
    sizes = np.bincount(parts_ZYX.ravel(), minlength=count + 1)
    if rule.below_mm3 is None:
        removed = np.ones(count + 1, dtype=bool)
        removed[1 + np.argmax(sizes[1:]) if count else 0] = False
    else:
        removed = np.array([volume(int(size), spacing) < rule.below_mm3 for size in sizes])
    removed[0] = False  # what is not of the structure
    found: NDArray[np.bool_] = removed[parts_ZYX]
    return found


def _laminar(sets: Sequence[tuple[str, tuple[int, ...]]]) -> list[tuple[str, tuple[int, ...]]]:
    """Those that neither cross nor repeat one before them."""
    kept: list[tuple[str, tuple[int, ...]]] = []
    for name, values in sets:
        own = set(values)
        if all(own != set(other) and (own.isdisjoint(other) or own < set(other) or own > set(other)) for _, other in kept):
            kept.append((name, values))
    return kept


def _remainder(values: tuple[int, ...], regions: Sequence[tuple[int, ...]]) -> int | None:
    """The one value that the innermost region around a structure has beyond it; None where there is no region around it, or another number."""
    around = sorted((region for region in regions if set(region) > set(values)), key=len)
    beyond = set(around[0]) - set(values) if around else set()
    return beyond.pop() if len(beyond) == 1 else None
