"""Merging is RFC 7396's, writing is its inverse."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.planning.schema.inherit import difference, inheritance_faults, whole, wrote

NAMES = st.sampled_from(["a", "b", "c", "spacing", "median_shape", "why", "previous_stage"])
NUMBERS = st.integers(-2, 9) | st.floats(0.1, 5)
LENGTHS = st.lists(st.floats(0.25, 8) | st.integers(1, 9), min_size=2, max_size=3)
VALUES = st.recursive(NUMBERS | st.text("xy", max_size=2) | LENGTHS, lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=6)
CONFIGURATIONS = st.builds(
    lambda rest, shape: rest | shape,
    st.dictionaries(NAMES, VALUES, max_size=5),
    st.fixed_dictionaries({}, optional={"spacing": LENGTHS, "median_shape": LENGTHS}),
)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # the cases of RFC 7396, appendix A, whose target and patch are objects
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target: dict[str, Any], patch: dict[str, Any], result: dict[str, Any]) -> None:
    assert whole({"child": {"inherits": "parent"} | patch, "parent": target}, "child") == {"inherits": "parent"} | result


@given(CONFIGURATIONS, CONFIGURATIONS)
def test_what_was_written_is_read_again(child: dict[str, Any], parent: dict[str, Any]) -> None:
    child = {"inherits": "parent"} | child
    assert whole({"child": difference(child, parent), "parent": parent}, "child") == child


@given(CONFIGURATIONS, CONFIGURATIONS)
def test_only_differences_are_written(child: dict[str, Any], parent: dict[str, Any]) -> None:
    own = {"inherits", "previous_stage", "why"}
    assert difference(parent, parent).keys() <= own
    derived = {"median_shape"}  # from the spacing
    changed = {key for key in {*child, *parent} - own - derived if child.get(key) != parent.get(key)}
    assert difference(child, parent).keys() - own - derived == changed


def test_chains_in_any_order() -> None:
    written = {"c": {"inherits": "b", "z": 3}, "b": {"inherits": "a", "y": 2, "x": None}, "a": {"x": 1, "why": {"x": "because"}}}
    assert inheritance_faults(written) == ([], set())
    assert whole(written, "c") == {"inherits": "b", "y": 2, "z": 3}


def test_reasons_and_the_previous_stage_are_not_inherited() -> None:
    parent = {"x": 1, "why": {"x": "because"}, "previous_stage": "low"}
    assert whole({"p": parent, "c": {"inherits": "p"}}, "c") == {"inherits": "p", "x": 1}


@pytest.mark.parametrize(
    ("patch", "shape"),
    [
        ({"spacing": [2.0, 1.0, 0.3]}, [50, 150.5, 333]),
        ({"spacing": [1000, 1.0, 1.0]}, [1, 150.5, 100]),
        ({"spacing": [2.0, 2.0, 2.0], "median_shape": [7, 7, 7]}, [7, 7, 7]),
        ({"spacing": [2.0, 2.0]}, [100, 150.5, 100]),
        ({"spacing": "wide"}, [100, 150.5, 100]),
        ({"spacing": [0, 1, 1]}, [100, 150.5, 100]),
        ({"spacing": [5e-324, 1, 1]}, [100, 150.5, 100]),
        ({}, [100, 150.5, 100]),
    ],
)
def test_another_spacing_scales_the_median_shape(patch: dict[str, Any], shape: list[float]) -> None:
    parent = {"spacing": [1.0, 1.0, 1.0], "median_shape": [100, 150.5, 100]}
    assert whole({"p": parent, "c": {"inherits": "p"} | patch}, "c")["median_shape"] == shape


def test_a_median_shape_that_did_not_follow_the_spacing_is_written() -> None:
    parent = {"spacing": [1.0, 1.0], "median_shape": [100, 100]}
    child = {"spacing": [2.0, 2.0], "median_shape": [100, 100]}
    assert difference(child, parent) == child
    assert difference(child | {"median_shape": [50, 50]}, parent) == {"spacing": [2.0, 2.0]}


def test_faults_of_parents_are_all_named() -> None:
    circle = {"b": {"inherits": "c"}, "a": {"inherits": "b"}, "c": {"inherits": "a"}, "beside": {"inherits": "a"}}
    faults, lost = inheritance_faults({"one": {"inherits": "tow"}, "two": {}, "heir": {"inherits": "one"}} | circle)
    assert lost == {"one", "heir", *circle}
    assert [str(fault) for fault in faults] == [
        "configurations.one.inherits: there is no such configuration (found: 'tow'); did you mean 'two'? choose from two, heir, b, a, c, beside",
        "configurations.b.inherits: b -> c -> a -> b goes in a circle; one of them must be whole, without inherits",
    ]


def test_where_something_was_written() -> None:
    configuration = {"network": {"strides": [[1, 1], [2, 2]]}, "batch_size": None}
    assert wrote(configuration, ("network", "strides", 1))
    assert wrote(configuration, ("batch_size",))
    assert not wrote(configuration, ("network", "family"))
    assert not wrote(configuration, ("patch_size", 0))
