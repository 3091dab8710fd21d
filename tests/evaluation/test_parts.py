"""What rules would do, in counts, against what they do on voxels."""

import os
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from autoseg.data.dataset import Labels
from autoseg.errors import GeometryMismatch
from autoseg.evaluation.metrics import Counts
from autoseg.evaluation.pair import pair_up
from autoseg.evaluation.parts import PooledParts, foreseeable, parts_of
from autoseg.evaluation.postprocessing import Rule, Structure, apply_rules, structures_of
from autoseg.evaluation.result import Target
from autoseg.evaluation.targets import targets_of
from autoseg.imaging.image import Geometry, LabelMap
from autoseg.imaging.read import read_labels

BRATS = Labels(
    ("background", "necrosis", "edema", "enhancing"), (0, 1, 2, 4), {"WT": (1, 2, 4), "TC": (1, 4), "ET": (4,)}, ignore=9, region_order=(2, 1, 4)
)
SIBLINGS = Labels(
    ("background", "a", "b", "c", "d"),
    (0, 1, 2, 4, 5),
    {"one": (1,), "two": (2,), "both": (1, 2), "far": (4, 5), "near": (5,)},
    region_order=(1, 2, 2, 4, 5),
)
FAMILIES = {
    "regions": (BRATS, structures_of(BRATS, regions=True)),
    "classes": (BRATS, structures_of(BRATS, regions=False)),
    "siblings": (SIBLINGS, structures_of(SIBLINGS, regions=True)),
}
SPACING = (2.0, 0.5, 1.5)


def on_grid(array: np.ndarray, spacing: tuple[float, float, float] = SPACING) -> LabelMap:
    return LabelMap(array, Geometry.of(array.shape, spacing))


def on_voxels(prediction: LabelMap, reference: LabelMap, rules: list[Rule], targets: tuple[Target, ...], labels: Labels) -> tuple[Counts, ...]:
    pair = pair_up(apply_rules(prediction, rules).array, reference.array, labels.allowed, ignore=labels.ignore)
    return tuple(pair.counts(target.values) for target in targets)


@st.composite
def rules_for(draw: st.DrawFn, structures: tuple[Structure, ...]) -> list[Rule]:
    """At most one of each kind a structure, from outer to inner."""
    rules = []
    for structure in structures:
        for kind in draw(st.lists(st.sampled_from(["keep_largest", "remove_small", "relabel_small"]), unique=True, max_size=3)):
            becomes = structure.becomes if kind != "relabel_small" else structure.relabel_to
            if becomes is not None:
                below = None if kind == "keep_largest" else draw(st.sampled_from([2.0, 3.1, 4.5, 9.0, 20.0, 100.0]))
                rules.append(Rule(kind=kind, structure=structure.name, values=structure.values, becomes=becomes, below_mm3=below))
    return rules


@st.composite
def maps(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """A prediction and a reference with parts of some size; the reference has ignored voxels, both have values that nobody declared."""
    shape = draw(array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=8))
    seed, background = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([0.4, 0.7, 0.85]))
    rng = np.random.default_rng(seed)
    share = np.array([background, *[(1 - background) / 6] * 6])
    prediction, reference = (rng.choice([0, 1, 2, 4, 5, 7, other], size=shape, p=share).astype(np.int16) for other in (1, 9))
    if draw(st.booleans()):
        prediction = np.repeat(prediction, 2, axis=1)[:, : shape[1]]
    return prediction, reference


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=250, deadline=None)
@given(data=st.data())
def test_counts_are_those_of_the_voxels(family: str, data: st.DataObject) -> None:
    labels, structures = FAMILIES[family]
    prediction, reference = map(on_grid, data.draw(maps()))
    rules = data.draw(rules_for(structures))
    parts, targets = parts_of(prediction, reference, structures, labels), targets_of(labels)
    if all(foreseeable(earlier, later) for earlier, later in combinations(rules, 2)):
        assert parts.after(rules, targets) == on_voxels(prediction, reference, rules, targets, labels)
    else:
        with pytest.raises(ValueError, match="nobody can tell"):
            parts.after(rules, targets)


@settings(max_examples=100, deadline=None)
@given(rules_for(FAMILIES["regions"][1]))
def test_every_sequence_is_foreseeable_for_the_regions_of_brats(rules: list[Rule]) -> None:
    assert all(foreseeable(earlier, later) for earlier, later in combinations(rules, 2))


def test_parts_that_would_join_cannot_be_foreseen() -> None:
    labels, structures = FAMILIES["siblings"]
    small_one = Rule(kind="remove_small", structure="one", values=(1,), becomes=2, below_mm3=3.0)
    large_two = Rule(kind="keep_largest", structure="two", values=(2,), becomes=0)
    row = np.array([2, 2, 1, 2, 2, 0, 2, 2, 2], dtype=np.uint8).reshape(1, 1, -1)
    # on voxels the relabelled one makes a part of five of two parts of two
    assert apply_rules(on_grid(row), [small_one, large_two]).array.ravel().tolist() == [2, 2, 2, 2, 2, 0, 0, 0, 0]
    with pytest.raises(ValueError, match="nobody can tell what 'two"):
        parts_of(on_grid(row), on_grid(row), structures, labels).after([small_one, large_two], targets_of(labels))
    assert not foreseeable(small_one, large_two)
    assert foreseeable(large_two, small_one)


def test_inner_parts_leave_with_the_outer_one() -> None:
    labels, structures = FAMILIES["regions"]
    prediction = on_grid(np.array([0, 4, 4, 4, 0, 2, 2, 4, 2, 4, 4, 0], dtype=np.uint8).reshape(1, 1, -1), (1.0, 1.0, 1.0))
    reference = on_grid(np.array([0, 0, 0, 9, 0, 2, 2, 2, 2, 4, 4, 4], dtype=np.uint8).reshape(1, 1, -1), (1.0, 1.0, 1.0))
    parts = parts_of(prediction, reference, structures, labels)
    whole = Rule(kind="keep_largest", structure="WT", values=(1, 2, 4), becomes=0)
    enhancing = Rule(kind="keep_largest", structure="ET", values=(4,), becomes=1)
    target = [Target("ET", (4,))]
    assert parts.after([], target) == (Counts(tp=2, fp=3, fn=1, tn=5),)
    assert parts.after([enhancing], target) == (Counts(tp=0, fp=2, fn=3, tn=6),)  # the ignored voxel makes the wrong part the largest
    assert parts.after([whole, enhancing], target) == (Counts(tp=2, fp=0, fn=1, tn=8),)
    assert parts.reference_mm3((4,)) == 3.0


def test_pooled_cases_do_not_touch_each_other() -> None:
    labels, structures = FAMILIES["regions"]
    rng = np.random.default_rng(0)
    targets = targets_of(labels)
    pairs = [
        (on_grid(prediction, spacing), on_grid(reference, spacing))
        for spacing in [SPACING, (1.0, 1.0, 1.0), (0.5, 0.5, 3.0)]
        for prediction, reference in [rng.choice([0, 0, 0, 1, 2, 4], size=(2, 6, 7, 5)).astype(np.uint8)]
    ]
    empty = on_grid(np.zeros((4, 4, 4), dtype=np.uint8))
    pairs.insert(1, (empty, LabelMap(np.ones((4, 4, 4), dtype=np.uint8), empty.geometry)))
    cases = [parts_of(prediction, reference, structures, labels) for prediction, reference in pairs]
    rules = [
        Rule(kind="remove_small", structure="TC", values=(4, 1), becomes=2, below_mm3=3.0),
        Rule(kind="keep_largest", structure="ET", values=(4,), becomes=1),
        Rule(kind="relabel_small", structure="ET", values=(4,), becomes=1, below_mm3=8.0),
    ]
    pool = PooledParts(cases)
    codes = pool.codes
    for rule in rules:
        codes = pool.applied(codes, rule)
    found = pool.counts(codes, targets)
    for case, (prediction, reference) in enumerate(pairs):
        expected = on_voxels(prediction, reference, rules, targets, labels)
        assert [Counts(*row) for row in found[case].tolist()] == list(expected)
    assert found.shape == (4, 6, 4)


def test_more_classes_than_a_byte_holds() -> None:
    values = tuple(range(301))
    labels = Labels(tuple(f"c{value}" for value in values), values)
    rng = np.random.default_rng(1)
    prediction, reference = (on_grid(array) for array in rng.integers(0, 301, size=(2, 9, 10, 8)))
    structures = structures_of(labels, regions=False)
    rules = [Rule(kind="keep_largest", structure=f"c{value}", values=(value,), becomes=0) for value in (5, 260)]
    targets = targets_of(labels)
    assert parts_of(prediction, reference, structures, labels).after(rules, targets) == on_voxels(prediction, reference, rules, targets, labels)


def test_what_does_not_belong_together_is_refused() -> None:
    labels, structures = FAMILIES["regions"]
    grid = on_grid(np.ones((3, 4, 5), dtype=np.uint8))
    with pytest.raises(GeometryMismatch):
        parts_of(grid, on_grid(np.ones((3, 4, 6), dtype=np.uint8)), structures, labels)
    with pytest.raises(ValueError, match="nested or apart"):
        parts_of(grid, grid, structures[::-1], labels)
    with pytest.raises(ValueError, match="nested or apart"):
        parts_of(grid, grid, [Structure("a", (1, 2)), Structure("b", (2, 4))], labels)
    with pytest.raises(ValueError, match="taken apart for edema"):
        parts_of(grid, grid, structures, labels).after([Rule(kind="keep_largest", structure="edema", values=(2,), becomes=0)], targets_of(labels))
    with pytest.raises(ValueError, match="same structures"):
        PooledParts([parts_of(grid, grid, structures, labels), parts_of(grid, grid, structures[:2], labels)])


@pytest.mark.skipif("AUTOSEG_TEST_DATA" not in os.environ, reason="needs the real data")
def test_a_real_tumour_with_parts_moved_about() -> None:
    file = sorted((Path(os.environ["AUTOSEG_TEST_DATA"]) / "brats_as_downloaded").rglob("*seg.nii*"))[0]
    labels, structures = FAMILIES["regions"]
    reference = read_labels(file)
    prediction = reference.array.copy()
    prediction[:, 3:] |= np.where(reference.array == 2, 2, 0)[:, :-3].astype(prediction.dtype)
    prediction[np.isin(prediction, (0, 1, 2, 4), invert=True)] = 1
    prediction[20:24, 30:34, 40:44], prediction[25, 30, 40] = 4, 1
    rules = [
        Rule(kind="remove_small", structure="WT", values=(1, 2, 4), becomes=0, below_mm3=30.0),
        Rule(kind="keep_largest", structure="TC", values=(1, 4), becomes=2),
        Rule(kind="remove_small", structure="ET", values=(4,), becomes=1, below_mm3=50.0),
    ]
    mended = LabelMap(prediction, reference.geometry)
    targets = targets_of(labels)
    assert parts_of(mended, reference, structures, labels).after(rules, targets) == on_voxels(mended, reference, rules, targets, labels)
