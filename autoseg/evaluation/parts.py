"""What post-processing rules would do to a case, in counts: one look at its voxels, then any number of rules without another.

- Structures are nested or apart, and rules go from outer to inner: so every rule takes whole atoms with it, the voxels of one predicted value
  that share the part they are in of every structure. An atom's value is all that a rule changes.
- A part of an inner structure lies in one part of each structure around it. What a rule takes from an outer one takes inner parts along whole, so
  the parts that are left are those of the prediction.
- Only a rule that writes a value into another structure would make parts grow there and join: after it no rule can act on that structure here,
  see `foreseeable`.
- Sizes of parts count every voxel, as the rules do; agreement with the reference leaves out what is ignored.
- Many cases are one long list of atoms, so that a rule costs a few array operations for all of them together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from autoseg.data.dataset import Labels
from autoseg.evaluation.metrics import Counts
from autoseg.evaluation.pair import Pair, pair_up
from autoseg.evaluation.postprocessing import Rule, Structure
from autoseg.evaluation.result import Target
from autoseg.imaging.components import components
from autoseg.imaging.crop import Box
from autoseg.imaging.image import LabelMap, require_same_grid


@dataclass(frozen=True)
class CaseParts:
    """A prediction in atoms, with its reference. A value is coded as its place in `values`, `len(values)` is any other.

    Attributes
    ----------
    structures : S structures, outer before inner, each two nested or apart
    values : the user's values, `values[0]` is the background's 0
    voxel_mm3 : cubic millimetres of a voxel
    n_parts : of all structures together; parts are numbered 1..n_parts, those of one structure in voxel order
    atom_codes : (A,) the predicted value
    atom_parts : (S, A) the part of each structure that an atom lies in, 0 where it lies in none
    atom_voxels : (A,) voxels, the ignored too
    met_atoms, met_codes, met_voxels : (M,) so many voxels of an atom have that reference value; none that are ignored
    reference : (K + 1,) voxels of the whole grid by reference value; none that are ignored
    """

    structures: tuple[Structure, ...]
    values: tuple[int, ...]
    voxel_mm3: float
    n_parts: int
    atom_codes: NDArray[np.int64]
    atom_parts: NDArray[np.int64]
    atom_voxels: NDArray[np.int64]
    met_atoms: NDArray[np.int64]
    met_codes: NDArray[np.int64]
    met_voxels: NDArray[np.int64]
    reference: NDArray[np.int64]

    def after(self, rules: Sequence[Rule], targets: Sequence[Target]) -> tuple[Counts, ...]:
        """Agreement on each target after the rules: exactly that of `apply_rules`.

        Raises
        ------
        ValueError
            a rule's structure is none of `structures`, a value is none of `values`, or a rule cannot be foreseen after one before it
        """
        for earlier, later in combinations(rules, 2):
            if not foreseeable(earlier, later):
                raise ValueError(f"without voxels nobody can tell what '{later.describe()}' does after '{earlier.describe()}'")
        pool = PooledParts([self])
        codes = pool.codes
        for rule in rules:
            codes = pool.applied(codes, rule)
        return tuple(Counts(*map(int, row)) for row in pool.counts(codes, targets)[0])

    def reference_mm3(self, values: Sequence[int]) -> float:
        """Cubic millimetres of the union of `values` in the reference."""
        return int(self.reference[[self.values.index(value) for value in values]].sum()) * self.voxel_mm3


def foreseeable(earlier: Rule, later: Rule) -> bool:
    """Whether `later` still finds the parts of the prediction, some of them gone, after `earlier`."""
    before, after = set(earlier.values), set(later.values)
    return before >= after or (before.isdisjoint(after) and earlier.becomes not in after)


def parts_of(prediction: LabelMap, reference: LabelMap, structures: Sequence[Structure], labels: Labels) -> CaseParts:
    """Take a case apart.

    Parameters
    ----------
    prediction, reference : the user's values on one grid
    structures : what rules may act on, see `autoseg.evaluation.postprocessing.structures_of`
    labels : the dataset's; its ignore label counts nowhere

    Returns
    -------
    its parts

    Raises
    ------
    GeometryMismatch
        the two do not lie on one grid
    ValueError
        structures cross, or an inner one comes before an outer one
    """
    _require_nested(structures)
    require_same_grid(reference.geometry, prediction.geometry)
    declared = {*labels.values, *(value for structure in structures for value in structure.values)}
    pair = pair_up(prediction.array, reference.array, sorted(declared), ignore=labels.ignore)
    innermost_ZYX, structure_of, around = _number_parts(pair, structures)
    n_codes = len(pair.values) + 1
    inside = (pair.prediction > 0) & (pair.prediction < len(pair.values))
    keys = (innermost_ZYX[inside].astype(np.int64) * n_codes + pair.prediction[inside]) * n_codes + pair.reference[inside]
    met, met_voxels = np.unique(keys, return_counts=True)
    atoms, met_atoms = np.unique(met // n_codes, return_inverse=True)
    atom_voxels = np.zeros(len(atoms), dtype=np.int64)
    np.add.at(atom_voxels, met_atoms, met_voxels)
    counts, met_counts = np.ones(n_codes, dtype=bool), pair.histogram.sum(axis=0)
    if labels.ignore is not None:
        counts[pair.values.index(labels.ignore)] = False
    kept = counts[met % n_codes]
    return CaseParts(
        tuple(structures),
        pair.values,
        prod(prediction.geometry.spacing),
        len(around) - 1,
        atom_codes=atoms % n_codes,
        atom_parts=_climb(atoms // n_codes, structure_of, around, len(structures)),
        atom_voxels=atom_voxels,
        met_atoms=met_atoms[kept],
        met_codes=(met % n_codes)[kept],
        met_voxels=met_voxels[kept],
        reference=np.where(counts, met_counts, 0),
    )


class PooledParts:
    """The atoms of N cases in one list, and what rules make of them.

    Parameters
    ----------
    cases : at least one, all taken apart for the same structures and labels

    Attributes
    ----------
    codes : (A,) the predicted value of each atom, before any rule
    """

    def __init__(self, cases: Sequence[CaseParts]) -> None:
        first = cases[0]
        if any((case.structures, case.values) != (first.structures, first.values) for case in cases):
            raise ValueError("the cases were not taken apart for the same structures and labels")
        self._structures, self._values = first.structures, first.values
        self._n_cases = len(cases)
        self._mm3 = np.array([case.voxel_mm3 for case in cases])
        self._reference = np.stack([case.reference for case in cases])
        self.codes = np.concatenate([case.atom_codes for case in cases])
        self._voxels = np.concatenate([case.atom_voxels for case in cases])
        self._case = np.repeat(np.arange(len(cases)), [len(case.atom_codes) for case in cases])
        part_offsets = _starts([case.n_parts for case in cases])
        self._parts = np.concatenate(
            [np.where(case.atom_parts > 0, case.atom_parts + start, 0) for case, start in zip(cases, part_offsets, strict=True)], axis=1
        )
        self._case_of_part = np.concatenate([[0], np.repeat(np.arange(len(cases)), [case.n_parts for case in cases])])
        atom_offsets = _starts([len(case.atom_codes) for case in cases])
        self._met_atoms = np.concatenate([case.met_atoms + start for case, start in zip(cases, atom_offsets, strict=True)])
        self._met_codes = np.concatenate([case.met_codes for case in cases])
        self._met_voxels = np.concatenate([case.met_voxels for case in cases])
        self._counted = np.bincount(self._met_atoms, self._met_voxels, minlength=len(self.codes))  # voxels of an atom that are not ignored

    def applied(self, codes: NDArray[np.int64], rule: Rule) -> NDArray[np.int64]:
        """The value of each atom after one rule more, which must be `foreseeable` after those before it."""
        parts = self._parts[self._place(rule)]
        inside = self._member(rule.values)[codes]
        sizes = np.bincount(parts[inside], self._voxels[inside], minlength=len(self._case_of_part)).astype(np.float64)  # exact: whole numbers
        if rule.below_mm3 is None:
            removed = ~self._largest(sizes)[parts]
        elif rule.kind == "remove_small":
            removed = (sizes * self._mm3[self._case_of_part] < rule.below_mm3)[parts]
        else:
            whole = np.bincount(self._case[inside], self._voxels[inside], minlength=self._n_cases)
            removed = (whole * self._mm3 < rule.below_mm3)[self._case]
        return np.where(inside & removed, self._values.index(rule.becomes), codes)

    def counts(self, codes: NDArray[np.int64], targets: Sequence[Target]) -> NDArray[np.int64]:
        """Agreement of each case on each target: (N, T, 4) voxels, true positive, false positive, false negative, true negative."""
        n_codes = len(self._values) + 1
        predicted = np.bincount(self._case * n_codes + codes, self._counted, minlength=self._n_cases * n_codes).reshape(-1, n_codes)
        answer = np.empty((self._n_cases, len(targets), 4), dtype=np.int64)
        for place, target in enumerate(targets):
            member = self._member(target.values)
            met = member[self._met_codes]
            atoms = self._met_atoms[met]
            tp = np.bincount(self._case[atoms], self._met_voxels[met] * member[codes[atoms]], minlength=self._n_cases)
            fp, fn = predicted[:, member].sum(axis=1) - tp, self._reference[:, member].sum(axis=1) - tp
            answer[:, place] = np.stack([tp, fp, fn, self._reference.sum(axis=1) - tp - fp - fn], axis=1)
        return answer

    def _largest(self, sizes: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether a part is the largest of its case, the first of equal ones."""
        largest = np.zeros(self._n_cases)
        np.maximum.at(largest, self._case_of_part, sizes)
        candidates = np.flatnonzero((sizes > 0) & (sizes == largest[self._case_of_part]))
        chosen = np.zeros(len(sizes), dtype=bool)
        chosen[candidates[np.unique(self._case_of_part[candidates], return_index=True)[1]]] = True
        return chosen

    def _place(self, rule: Rule) -> int:
        for place, structure in enumerate(self._structures):
            if set(structure.values) == set(rule.values):
                return place
        raise ValueError(f"the cases were not taken apart for {rule.structure} with the values {rule.values}")

    def _member(self, values: Sequence[int]) -> NDArray[np.bool_]:
        member = np.zeros(len(self._values) + 1, dtype=bool)
        member[[self._values.index(value) for value in values]] = True
        return member


def _require_nested(structures: Sequence[Structure]) -> None:
    for outer, inner in combinations((set(structure.values) for structure in structures), 2):
        if not (outer > inner or outer.isdisjoint(inner)):
            raise ValueError(f"structures must be nested or apart, outer before inner, but {sorted(outer)} comes before {sorted(inner)}")


def _number_parts(pair: Pair, structures: Sequence[Structure]) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Number the parts of all structures together.

    Returns
    -------
    int32 (Z, Y, X) the part of the innermost structure at each voxel, 0 in none; for each part its structure, and the part of the next structure
    around it, 0 if there is none
    """
    innermost_ZYX = np.zeros(pair.prediction.shape, dtype=np.int32)
    boxes = find_objects(pair.prediction, max_label=len(pair.values))
    structure_of, around = [np.zeros(1, dtype=np.int64)], [np.zeros(1, dtype=np.int64)]
    numbered = 0
    for place, structure in enumerate(structures):
        codes = [pair.values.index(value) for value in structure.values]
        box = _hull([box for box in (boxes[code - 1] for code in codes) if box is not None])
        if box is None:
            continue
        member = np.zeros(len(pair.values) + 1, dtype=bool)
        member[codes] = True
        mask_ZYX = member[pair.prediction[box]]
        parts_ZYX, count = components(mask_ZYX)
        parts, numbers_ZYX = parts_ZYX[mask_ZYX], innermost_ZYX[box]
        outer = np.zeros(count + 1, dtype=np.int64)
        outer[parts] = numbers_ZYX[mask_ZYX]  # so far this is the part around, the same for all voxels of a part
        numbers_ZYX[mask_ZYX] = parts.astype(np.int32) + numbered
        structure_of.append(np.full(count, place, dtype=np.int64))
        around.append(outer[1:])
        numbered += count
    return innermost_ZYX, np.concatenate(structure_of), np.concatenate(around)


def _climb(innermost: NDArray[np.int64], structure_of: NDArray[np.int64], around: NDArray[np.int64], n_structures: int) -> NDArray[np.int64]:
    """From the innermost part of each atom to its parts of all structures around."""
    parts = np.zeros((n_structures, len(innermost)), dtype=np.int64)
    atoms, numbers = np.flatnonzero(innermost), innermost[innermost > 0]
    while len(atoms):
        parts[structure_of[numbers], atoms] = numbers
        numbers = around[numbers]
        atoms, numbers = atoms[numbers > 0], numbers[numbers > 0]
    return parts


def _hull(boxes: Sequence[tuple[slice, ...]]) -> Box | None:
    if not boxes:
        return None
    z, y, x = (slice(min(edge.start for edge in edges), max(edge.stop for edge in edges)) for edges in zip(*boxes, strict=True))
    return z, y, x


def _starts(lengths: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
