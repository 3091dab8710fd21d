"""Which cases of a validation are shown."""

from math import nan

from autoseg.api._validation_folder import from_worst_to_best


def test_cases_are_spread_from_the_worst_to_the_best() -> None:
    scores = {"best": 0.9, "b": 0.5, "c": 0.6, "d": 0.7, "e": 0.8, "f": 0.4, "none": nan}
    assert from_worst_to_best(scores) == ["f", "c", "d", "best"]  # of f, b, c, d, e, best: 0, 1.67, 3.33, 5
    assert from_worst_to_best({"a": 0.3, "b": 0.1}) == ["b", "a"]
    assert from_worst_to_best({"a": nan}) == ["a"] and from_worst_to_best({}) == []
