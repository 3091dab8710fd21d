"""What is drawn follows the plan's chances and ranges, and the seed."""

from collections.abc import Iterable
from types import SimpleNamespace

import numpy as np
import pytest

COUNT = 6000
SLACK = 0.03  # four standard deviations of a chance near 1/2 over COUNT draws


def share(hits: Iterable[object]) -> float:
    return float(np.mean(list(hits)))


def test_same_seed_same_draws_other_seed_others(make: SimpleNamespace) -> None:
    rules = make.augmentation(rotation={"probability": 0.5, "range": [-30, 30]}, noise={"probability": 0.5, "range": [0, 1]}, mirror_axes=[0, 1, 2])
    assert make.draws(rules, 50) == make.draws(rules, 50)
    assert make.draws(rules, 50) != make.draws(rules, 50, seed=2)


def test_empty_rules_draw_nothing(make: SimpleNamespace) -> None:
    from autoseg.training.draws import nothing

    for one in make.draws(make.augmentation(), 20, channels=3):
        assert {**vars(one), "noise_seed": 0} == vars(nothing(3))
        assert not one.moves


def test_rotation_chance_range_and_three_independent_angles(make: SimpleNamespace) -> None:
    angles = np.array([one.angles for one in make.draws(make.augmentation(rotation={"probability": 0.2, "range": [-30, 40]}), COUNT)])
    turned = angles.any(1)
    assert abs(turned.mean() - 0.2) < SLACK
    assert angles.min() >= -30 and angles.max() < 40
    assert angles[turned].min() < -29 and angles[turned].max() > 39
    assert np.abs(angles[turned].mean(0) - 5).max() < 3
    assert np.abs(np.corrcoef(angles[turned].T) - np.eye(3)).max() < 0.15


def test_in_plane_turns_about_z_only_and_says_so(make: SimpleNamespace) -> None:
    drawn = make.draws(make.augmentation(rotation={"probability": 1, "range": [-180, 180]}), 100, in_plane=True)
    assert all(one.angles[0] and one.angles[1:] == (0.0, 0.0) and one.in_plane for one in drawn)


def test_scaling_is_uniform_over_its_range(make: SimpleNamespace) -> None:
    scales = np.array([one.scale for one in make.draws(make.augmentation(scaling={"probability": 0.2, "range": [0.7, 1.4]}), COUNT)])
    chosen = scales[scales != 1]
    assert abs(len(chosen) / COUNT - 0.2) < SLACK
    assert 0.7 <= chosen.min() < 0.71 and 1.39 < chosen.max() <= 1.4
    assert abs(share(chosen < 1) - 0.3 / 0.7) < 0.06  # not split at 1


def test_rotation_and_scaling_are_chosen_independently(make: SimpleNamespace) -> None:
    rules = make.augmentation(rotation={"probability": 0.5, "range": [-30, 30]}, scaling={"probability": 0.5, "range": [0.7, 1.4]})
    drawn = make.draws(rules, COUNT)
    assert abs(share(any(one.angles) and one.scale != 1 for one in drawn) - 0.25) < SLACK
    assert abs(share(one.moves for one in drawn) - 0.75) < SLACK


def test_noise_chance_range_and_own_seed(make: SimpleNamespace) -> None:
    drawn = make.draws(make.augmentation(noise={"probability": 0.1, "range": [0, 0.1]}), COUNT)
    strengths = np.array([one.noise for one in drawn if one.noise])
    assert abs(len(strengths) / COUNT - 0.1) < SLACK
    assert strengths.max() <= 0.1 and abs(strengths.mean() - 0.05) < 0.01
    assert len({one.noise_seed for one in drawn}) > 0.99 * COUNT


@pytest.mark.parametrize("name", ["brightness", "contrast", "gamma", "gamma_inverted"])
def test_factors_touch_all_channels_and_both_sides_of_one_equally(make: SimpleNamespace, name: str) -> None:
    drawn = np.array([getattr(one, name) for one in make.draws(make.augmentation(**{name: {"probability": 0.3, "range": [0.7, 1.5]}}), COUNT)])
    chosen = (drawn != 1).any(1)
    assert abs(chosen.mean() - 0.3) < SLACK
    factors = drawn[chosen]
    assert (factors != 1).all()
    assert abs(share((factors < 1).ravel()) - 0.5) < 0.06
    assert 0.7 <= factors.min() < 0.72 and 1.48 < factors.max() <= 1.5
    assert abs(factors[factors < 1].mean() - 0.85) < 0.02 and abs(factors[factors > 1].mean() - 1.25) < 0.03
    assert abs(np.corrcoef(factors.T)[0, 1]) < 0.12  # each channel has its own


def test_a_range_on_one_side_of_one_is_uniform(make: SimpleNamespace) -> None:
    factors = np.array([one.gamma for one in make.draws(make.augmentation(gamma={"probability": 1, "range": [1.2, 2.2]}), COUNT)])
    assert factors.min() >= 1.2 and abs(factors.mean() - 1.7) < 0.03


@pytest.mark.parametrize(("name", "neutral", "limits"), [("blur", 0.0, [0.5, 1.5]), ("low_resolution", 1.0, [0.5, 1.2])])
def test_blur_and_low_resolution_touch_half_of_the_channels_uniformly(make: SimpleNamespace, name: str, neutral: float, limits: list[float]) -> None:
    drawn = np.array([getattr(one, name) for one in make.draws(make.augmentation(**{name: {"probability": 0.4, "range": limits}}), COUNT)])
    assert abs(share((drawn != neutral).ravel()) - 0.2) < SLACK
    assert abs(share((drawn != neutral).all(1)) - 0.1) < SLACK
    strengths = drawn[drawn != neutral]
    assert strengths.min() >= limits[0] and strengths.max() <= limits[1]
    expected = (1 - limits[0]) / (limits[1] - limits[0])
    assert abs(share(strengths < 1) - expected) < 0.05


def test_each_named_axis_is_flipped_half_of_the_time(make: SimpleNamespace) -> None:
    flips = [one.flips for one in make.draws(make.augmentation(mirror_axes=[0, 2]), COUNT)]
    assert not any(1 in one for one in flips)
    assert abs(share(0 in one for one in flips) - 0.5) < SLACK
    assert abs(share(one == (0, 2) for one in flips) - 0.25) < SLACK


PREVIOUS = {"previous_morphology": {"probability": 0.4, "range": [1, 8]}, "previous_removal": {"probability": 0.2, "range": [0, 0.15]}}


def test_each_class_of_the_previous_stage_gets_one_operation_in_random_order(make: SimpleNamespace) -> None:
    drawn = make.draws(make.augmentation(**PREVIOUS), COUNT, previous_classes=3)
    chosen = [one.morphology for one in drawn if one.morphology]
    assert abs(len(chosen) / COUNT - 0.4) < SLACK
    assert all({operation.label for operation in one} == {1, 2, 3} and len(one) == 3 for one in chosen)
    assert all(abs(share(one[0].label == label for one in chosen) - 1 / 3) < 0.05 for label in (1, 2, 3))
    for kind in ("dilation", "erosion", "opening", "closing"):
        assert abs(share(operation.kind == kind for one in chosen for operation in one) - 0.25) < SLACK
    radii = np.array([operation.radius for one in chosen for operation in one])
    assert 1 <= radii.min() < 1.1 and 7.9 < radii.max() < 8 and abs(radii.mean() - 4.5) < 0.1


def test_removal_has_its_chance_and_a_number_for_each_class(make: SimpleNamespace) -> None:
    chosen = [one.removal for one in make.draws(make.augmentation(**PREVIOUS), COUNT, previous_classes=3) if one.removal]
    assert abs(len(chosen) / COUNT - 0.2) < SLACK
    assert all(one.share == (0, 0.15) for one in chosen)
    picks = np.array([one.picks for one in chosen])
    assert picks.shape[1] == 3 and picks.min() >= 0 and picks.max() < 1 and abs(picks.mean() - 0.5) < SLACK


def test_the_previous_stage_is_drawn_last_and_only_where_there_is_one(make: SimpleNamespace) -> None:
    rules = {"rotation": {"probability": 0.5, "range": [-30, 30]}, "gamma": {"probability": 0.5, "range": [0.7, 1.5]}, "mirror_axes": [0, 1, 2]}
    assert make.draws(make.augmentation(**rules, **PREVIOUS), 50) == make.draws(make.augmentation(**rules), 50)
    (first,), (with_stage,) = (make.draws(make.augmentation(**rules, **PREVIOUS), 1, previous_classes=count, seed=4) for count in (0, 3))
    assert with_stage.morphology or with_stage.removal
    assert {**vars(with_stage), "morphology": (), "removal": None} == vars(first)
