"""Rules worked out by hand and against the slow way; which structures they may act on; what a file may say."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pydantic import ValidationError
from scipy.ndimage import label

from autoseg.data.dataset import Labels
from autoseg.evaluation.postprocessing import FOREGROUND, Rule, Structure, apply_rules, structures_of
from autoseg.imaging.image import Geometry, LabelMap

BRATS = Labels(("background", "necrosis", "edema", "enhancing"), (0, 1, 2, 4), {"WT": (1, 2, 4), "TC": (1, 4), "ET": (4,)}, region_order=(2, 1, 4))
LINE = [0, 1, 1, 0, 2, 4, 4, 1, 0, 4, 0, 2, 2, 0]  # parts of 2, 4, 1 and 2 voxels


def line(values: list[int], spacing: tuple[float, float, float] = (1.0, 1.0, 1.0), dtype: type = np.uint8) -> LabelMap:
    return LabelMap(np.array(values, dtype=dtype).reshape(1, 1, -1), Geometry.of((1, 1, len(values)), spacing))


def after(values: list[int], *rules: Rule, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> list[int]:
    return list(apply_rules(line(values, spacing), rules).array.ravel().tolist())


def keep(*values: int, becomes: int = 0) -> Rule:
    return Rule(kind="keep_largest", structure="it", values=values, becomes=becomes)


def remove(*values: int, below: float, becomes: int = 0) -> Rule:
    return Rule(kind="remove_small", structure="it", values=values, becomes=becomes, below_mm3=below)


def relabel(*values: int, below: float, becomes: int) -> Rule:
    return Rule(kind="relabel_small", structure="it", values=values, becomes=becomes, below_mm3=below)


def test_the_largest_part_of_a_union_stays() -> None:
    assert after(LINE, keep(1, 2, 4)) == [0, 0, 0, 0, 2, 4, 4, 1, 0, 0, 0, 0, 0, 0]
    assert after(LINE, keep(4, becomes=1)) == [0, 1, 1, 0, 2, 4, 4, 1, 0, 1, 0, 2, 2, 0]


def test_of_equal_parts_the_first_stays() -> None:
    assert after([0, 1, 1, 0, 1, 1, 0, 1], keep(1)) == [0, 1, 1, 0, 0, 0, 0, 0]
    grid = np.zeros((3, 3, 3), dtype=np.uint8)
    grid[0, 2, 2] = grid[2, 0, 0] = 1  # the first along Z is the last along X
    found = apply_rules(LabelMap(grid, Geometry.of(grid.shape)), [keep(1)]).array
    assert np.argwhere(found).tolist() == [[0, 2, 2]]


def test_small_parts_go_by_their_volume() -> None:
    assert after(LINE, remove(1, 2, 4, below=2)) == [0, 1, 1, 0, 2, 4, 4, 1, 0, 0, 0, 2, 2, 0]
    assert after(LINE, remove(1, 2, 4, below=12), spacing=(3.0, 2.0, 1.0)) == [*LINE[:9], 0, *LINE[10:]]  # parts of just 12 mm^3 stay
    assert after(LINE, remove(1, 2, 4, below=12.5), spacing=(3.0, 2.0, 1.0)) == [0, 0, 0, 0, 2, 4, 4, 1, 0, 0, 0, 0, 0, 0]


def test_a_small_structure_is_relabelled_as_a_whole() -> None:
    assert after(LINE, relabel(4, below=3, becomes=1)) == LINE  # three voxels in two parts
    assert after(LINE, relabel(4, below=4, becomes=1)) == [1 if value == 4 else value for value in LINE]
    assert after([0, 1, 2], relabel(4, below=9, becomes=1)) == [0, 1, 2]


def test_rules_act_on_what_the_ones_before_left() -> None:
    # The largest enhancing part lies in a small tumour that is removed first.
    values = [0, 4, 4, 4, 0, 2, 2, 4, 2, 2, 1, 4, 4, 0]
    assert after(values, keep(4, becomes=1)) == [0, 4, 4, 4, 0, 2, 2, 1, 2, 2, 1, 1, 1, 0]
    assert after(values, keep(1, 2, 4), keep(4, becomes=1)) == [0, 0, 0, 0, 0, 2, 2, 1, 2, 2, 1, 4, 4, 0]
    assert after(values, keep(1, 2, 4), relabel(4, below=4, becomes=1)) == [0, 0, 0, 0, 0, 2, 2, 1, 2, 2, 1, 1, 1, 0]
    assert after(values, keep(1, 2, 4), remove(1, 4, below=2, becomes=2)) == [0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 1, 4, 4, 0]


def test_nothing_but_background_stays_so() -> None:
    assert after([0, 0, 0], keep(1), remove(1, below=5), relabel(1, below=5, becomes=2)) == [0, 0, 0]


def test_what_was_given_is_left_alone() -> None:
    given_map = line(LINE)
    found = apply_rules(given_map, [keep(1, 2, 4)])
    assert given_map.array.ravel().tolist() == LINE
    assert found.geometry == given_map.geometry
    assert found.array.dtype == np.uint8


def test_a_value_that_the_type_cannot_hold_widens_it() -> None:
    found = apply_rules(line([0, 1, 0, 1, 1]), [keep(1, becomes=300)]).array
    assert found.ravel().tolist() == [0, 300, 0, 1, 1]


def slowly(array: np.ndarray, rule: Rule, voxel: float) -> np.ndarray:
    array = array.copy()
    mask = np.zeros(array.shape, dtype=bool)
    for value in rule.values:
        mask |= array == value
    parts, count = label(mask, np.ones((3, 3, 3)))
    places = [np.argwhere(parts == number) for number in range(1, count + 1)]
    if rule.kind == "keep_largest":
        gone = sorted(places, key=lambda place: (-len(place), place.tolist()[0]))[1:]
    elif rule.kind == "remove_small":
        gone = [place for place in places if len(place) * voxel < rule.below_mm3]
    else:
        gone = places if mask.sum() * voxel < rule.below_mm3 else []
    for place in gone:
        array[tuple(place.T)] = rule.becomes
    return array


ANY_RULE = st.one_of(
    st.builds(keep, st.sampled_from([1, 2, 4]), becomes=st.sampled_from([0, 7])),
    st.builds(remove, st.sampled_from([1, 2]), st.just(4), below=st.sampled_from([2.0, 3.0, 6.5]), becomes=st.sampled_from([0, 7])),
    st.builds(relabel, st.sampled_from([1, 2, 4]), below=st.sampled_from([4.0, 30.0]), becomes=st.sampled_from([0, 7])),
)


@settings(max_examples=150, deadline=None)
@given(
    array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6).flatmap(
        lambda shape: arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 0, 1, 2, 4]))
    ),
    st.lists(ANY_RULE, max_size=3),
)
def test_rules_are_the_slow_way(array: np.ndarray, rules: list[Rule]) -> None:
    expected = array
    for rule in rules:
        expected = slowly(expected, rule, 1.5)
    found = apply_rules(LabelMap(array, Geometry.of(array.shape, (3.0, 0.5, 1.0))), rules)
    assert np.array_equal(found.array, expected)


def test_what_rules_do_is_told_in_a_line() -> None:
    whole = Rule(kind="keep_largest", structure="WT", values=(1, 2, 4), becomes=0)
    core = Rule(kind="remove_small", structure="TC", values=(1, 4), becomes=2, below_mm3=1_200_000.0)
    enhancing = Rule(kind="relabel_small", structure="ET", values=(4,), becomes=1, below_mm3=0.25)
    assert whole.describe() == "WT (1, 2, 4): all connected parts but the largest become background"
    assert core.describe() == "TC (1, 4): connected parts of less than 1200000 mm^3 become label 2"
    assert enhancing.describe() == "ET (4): becomes label 1 in a scan with less than 0.25 mm^3 of it"


def test_rules_come_back_from_a_file_as_they_went() -> None:
    for rule in (keep(1, 2), remove(4, below=3.5), relabel(4, below=20, becomes=1)):
        assert Rule.model_validate(json.loads(json.dumps(rule.model_dump(mode="json")))) == rule


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"kind": "keep_all"}, "kind"),
        ({"values": []}, "values"),
        ({"values": [0, 1]}, "values.0"),
        ({"values": [1, 1]}, "values"),
        ({"values": ["1"]}, "values.0"),
        ({"values": [True]}, "values.0"),
        ({"values": [1.0]}, "values.0"),
        ({"becomes": 1}, "becomes"),
        ({"becomes": -1}, "becomes"),
        ({"becomes": None}, "becomes"),
        ({"below_mm3": 0}, "below_mm3"),
        ({"below_mm3": True}, "below_mm3"),
        ({"below_mm3": "5"}, "below_mm3"),
        ({"below_mm3": float("inf")}, "below_mm3"),
        ({"below_mm3": None}, "below_mm3"),
        ({"kind": "relabel_small", "below_mm3": None}, "below_mm3"),
        ({"kind": "keep_largest"}, "below_mm3"),
        ({"below": 3}, "below"),
    ],
)
def test_a_rule_that_says_something_else_is_refused(change: dict[str, object], place: str) -> None:
    sound = {"kind": "remove_small", "structure": "it", "values": [1, 2], "becomes": 0, "below_mm3": 5}
    assert Rule.model_validate(sound).below_mm3 == 5.0
    with pytest.raises(ValidationError) as raised:
        Rule.model_validate(sound | change)
    assert [".".join(map(str, error["loc"])) for error in raised.value.errors()] == [place]


def test_a_volume_that_is_not_there_is_missed() -> None:
    with pytest.raises(ValidationError, match="needs a volume"):
        Rule.model_validate({"kind": "remove_small", "structure": "it", "values": [1], "becomes": 0})
    assert Rule.model_validate({"kind": "keep_largest", "structure": "it", "values": [1], "becomes": 0}).below_mm3 is None


def test_regions_of_brats() -> None:
    assert structures_of(BRATS, regions=True) == (Structure("WT", (1, 2, 4), 0), Structure("TC", (1, 4), 2), Structure("ET", (4,), 1, 1))


def test_classes_of_brats() -> None:
    assert structures_of(BRATS, regions=False) == (
        Structure(FOREGROUND, (1, 2, 4)),
        Structure("necrosis", (1,), 0, 4),
        Structure("edema", (2,)),
        Structure("enhancing", (4,), 0, 1),
    )


def test_a_single_class_is_the_foreground_itself() -> None:
    assert structures_of(Labels(("background", "tumour"), (0, 3)), regions=False) == (Structure("tumour", (3,)),)


def test_inner_regions_that_are_named_first_come_last() -> None:
    labels = Labels(("background", "a", "b", "c"), (0, 1, 2, 3), {"inner": (1,), "outer": (1, 2), "other": (3,)}, region_order=(1, 2, 3))
    assert structures_of(labels, regions=True) == (
        Structure(FOREGROUND, (1, 2, 3)),
        Structure("outer", (1, 2)),
        Structure("inner", (1,), 2, 2),
        Structure("other", (3,)),
    )


def test_a_region_that_crosses_or_repeats_another_is_left_out() -> None:
    regions = {"left": (1, 2), "right": (2, 3), "again": (2, 1), "all": (1, 2, 3), "one": (1,)}
    labels = Labels(("background", "a", "b", "c"), (0, 1, 2, 3), regions, region_order=(1, 3, 2, 3, 1))
    assert [structure.name for structure in structures_of(labels, regions=True)] == ["all", "left", "one"]


def test_removed_parts_become_background_where_more_than_one_value_lies_around() -> None:
    labels = Labels(("background", "a", "b", "c"), (0, 1, 2, 3), {"whole": (1, 2, 3), "core": (1,)}, region_order=(2, 1))
    assert structures_of(labels, regions=True)[1] == Structure("core", (1,), 0, None)
