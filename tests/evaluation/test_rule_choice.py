"""Rules that help are found, rules that only fit what they were chosen on are not; figures against the slow way."""

from collections.abc import Sequence
from math import isnan

import numpy as np
import pytest

from autoseg.data.dataset import Labels
from autoseg.errors import AutosegError
from autoseg.evaluation.pair import pair_up
from autoseg.evaluation.parts import CaseParts, foreseeable, parts_of
from autoseg.evaluation.postprocessing import Rule, Structure, apply_rules, structures_of
from autoseg.evaluation.result import Target
from autoseg.evaluation.rule_choice import choose_rules
from autoseg.evaluation.schemes import SCHEMES, measure
from autoseg.evaluation.targets import targets_of
from autoseg.imaging.image import Geometry, LabelMap

BRATS = Labels(("background", "necrosis", "edema", "enhancing"), (0, 1, 2, 4), {"WT": (1, 2, 4), "TC": (1, 4), "ET": (4,)}, region_order=(2, 1, 4))
REGIONS = tuple(Target(name, values, region=True) for name, values in BRATS.regions.items())
ORGAN = Labels(("background", "organ"), (0, 1))
SHAPE = (16, 16, 16)
SPACING = (2.0, 1.0, 1.0)
Maps = dict[str, tuple[np.ndarray, np.ndarray]]


def cube(array: np.ndarray, at: Sequence[int], size: int, value: int) -> None:
    array[tuple(slice(start, start + size) for start in at)] = value


def organ(shift: int = 0) -> np.ndarray:
    array = np.zeros(SHAPE, dtype=np.uint8)
    cube(array, (4, 4, 4 + shift), 6, 1)
    return array


def tumour(shift: int = 0, *, enhancing: int = 4) -> np.ndarray:
    """An edema of 10, a core of 6, and an enhancing cube of so many voxels along an axis."""
    array = np.zeros(SHAPE, dtype=np.uint8)
    for size, value in ((10, 2), (6, 1), (enhancing, 4)):
        cube(array, (8 - size // 2, 8 - size // 2, 8 - size // 2 + shift), size, value)
    return array


def on_grid(array: np.ndarray) -> LabelMap:
    return LabelMap(array, Geometry.of(SHAPE, SPACING))


def taken_apart(maps: Maps, structures: Sequence[Structure], labels: Labels) -> dict[str, CaseParts]:
    return {name: parts_of(on_grid(prediction), on_grid(reference), structures, labels) for name, (prediction, reference) in maps.items()}


def dice_on_voxels(maps: Maps, rules_of: dict[str, tuple[Rule, ...]], targets: Sequence[Target], scheme: str) -> np.ndarray:
    rows = []
    for name, (prediction, reference) in maps.items():
        pair = pair_up(apply_rules(on_grid(prediction), rules_of[name]).array, reference, (1, 2, 4))
        rows.append([measure(pair.counts(target.values), None, SCHEMES[scheme])["dice"] for target in targets])
    return np.array(rows)


def mean_of_means(dice: np.ndarray) -> float:
    means = [column[np.isfinite(column)].mean() for column in dice.T if np.isfinite(column).any()]
    return float(np.mean(means))


def with_specks(count: int = 15) -> Maps:
    rng = np.random.default_rng(0)
    maps = {}
    for case in range(count):
        prediction = organ(shift=case % 3)
        for _ in range(case % 4):
            prediction[tuple(rng.choice([0, 2, 12, 14], size=3))] = 1
        maps[f"case{case:02d}"] = prediction, organ()
    return maps


def in_folds(maps: Maps, count: int = 5) -> dict[str, str]:
    return {name: str(place % count) for place, name in enumerate(maps)}


def test_isolated_false_positives_are_found() -> None:
    maps, structures, targets = with_specks(), structures_of(ORGAN, regions=False), targets_of(ORGAN)
    found = choose_rules(taken_apart(maps, structures, ORGAN), in_folds(maps), structures, targets, "nnunet")
    # the organ has 216 voxels of 2 mm^3, a speck 2: below 1 % of the organ, 4.3 mm^3, all specks go, and so they do by larger volumes
    assert found.rules == (Rule(kind="remove_small", structure="organ", values=(1,), becomes=0, below_mm3=4.3),)
    assert found.by_fold == dict.fromkeys("01234", found.rules)
    nothing, clean = (dice_on_voxels(maps, dict.fromkeys(maps, rules), targets, "nnunet") for rules in ((), found.rules))
    assert found.gain == pytest.approx(mean_of_means(clean) - mean_of_means(nothing), rel=1e-9)
    assert 0 < found.low < found.gain < found.high
    assert found.reason.startswith("Post-processing by 1 rule: ")
    assert f"from {mean_of_means(nothing):.4f} by {found.gain:.4f}" in found.reason
    assert "of 15 cases" in found.reason


def test_large_false_positives_leave_the_largest_part() -> None:
    maps = {f"case{case}": (organ(), organ()) for case in range(6)}
    for prediction, _ in maps.values():
        cube(prediction, (12, 12, 12), 3, 1)  # 12.5 % of the organ: more than any volume that is tried
    structures = structures_of(ORGAN, regions=False)
    found = choose_rules(taken_apart(maps, structures, ORGAN), in_folds(maps), structures, targets_of(ORGAN), "nnunet")
    assert found.rules == (Rule(kind="keep_largest", structure="organ", values=(1,), becomes=0),)


def split_by_fold() -> Maps:
    """In fold 0 a second part is wrong, in the folds 1 and 2 it is right, and costs less to lose in sum than it brings to remove in fold 0."""
    maps = {}
    for case in range(12):
        prediction, reference = organ(), organ()
        fold = case % 3
        cube(prediction, (12, 12, 12), 3, 1)
        if fold != 0:
            cube(reference, (12, 12, 12), 3, 1)
            prediction[4:7, 4:10, 4:10] = 0  # half of the organ is missed, so that the part counts for less
            prediction[12:15, 12:15, 12:14] = prediction[14, 12:15, 14] = 0  # and most of the part
        maps[f"case{case:02d}"] = prediction, reference
    return maps


def test_what_helps_by_the_noise_of_one_fold_is_refused() -> None:
    maps, structures, targets = split_by_fold(), structures_of(ORGAN, regions=False), targets_of(ORGAN)
    folds = in_folds(maps, 3)
    cases = taken_apart(maps, structures, ORGAN)
    keep = (Rule(kind="keep_largest", structure="organ", values=(1,), becomes=0),)
    nothing, kept = (mean_of_means(dice_on_voxels(maps, dict.fromkeys(maps, rules), targets, "nnunet")) for rules in ((), keep))
    assert kept > nothing  # judged on the cases it was chosen on, it looks like a gain
    found = choose_rules(cases, folds, structures, targets, "nnunet")
    assert found.rules == ()
    assert found.by_fold["0"] == ()
    assert found.by_fold["1"] != ()
    assert found.gain < 0
    assert "No post-processing" in found.reason
    assert f"{found.gain:+.4f}" in found.reason
    assert "no gain" in found.reason


def test_a_gain_that_may_be_a_loss_is_refused() -> None:
    maps = {}
    for case in range(12):
        prediction, reference = organ(), organ()
        prediction[0, 0, 0:8:2] = 1
        if case == 5:  # one case of many has small parts that are right
            prediction[13:16:2, 0:8:2, 0:6:2] = reference[13:16:2, 0:8:2, 0:6:2] = 1
        maps[f"case{case:02d}"] = prediction, reference
    structures = structures_of(ORGAN, regions=False)
    found = choose_rules(taken_apart(maps, structures, ORGAN), in_folds(maps, 4), structures, targets_of(ORGAN), "nnunet")
    assert found.rules == ()
    assert found.low < 0 < found.gain
    assert "may be a loss" in found.reason


def test_a_gain_that_is_hardly_one_is_refused() -> None:
    for voxels, worth_it in ((1, False), (5, True)):
        maps = {}
        for case in range(6):
            reference = np.zeros(SHAPE, dtype=np.uint8)
            reference[2:14, 2:14, 2:8] = 1
            prediction = reference.copy()
            prediction[-1, -1, -voxels:] = 1
            maps[f"case{case}"] = prediction, reference
        structures, labels = structures_of(ORGAN, regions=False), ORGAN
        found = choose_rules(taken_apart(maps, structures, labels), in_folds(maps, 3), structures, targets_of(labels), "nnunet")
        assert found.gain == pytest.approx(1 - 2 * 864 / (2 * 864 + voxels)) and bool(found.rules) is worth_it
        assert worth_it or "which is less than the 0.001 that it takes (0.00058)" in found.reason


def test_a_gain_that_one_target_pays_for_is_refused() -> None:
    """Only fold 0 has a small part of class 2 that is right, and what is chosen without fold 0 removes it."""
    labels = Labels(("background", "one", "two"), (0, 1, 2))
    maps = {}
    for case in range(9):
        reference = organ()
        cube(reference, (4, 4, 4), 3, 2)
        if case % 3 == 0:
            reference[15, 15, 15] = 2
        prediction = reference.copy()
        prediction[0, ::2, ::2] = 1
        maps[f"case{case}"] = prediction, reference
    structures, targets = structures_of(labels, regions=False), targets_of(labels)
    found = choose_rules(taken_apart(maps, structures, labels), in_folds(maps, 3), structures, targets, "nnunet")
    assert [rule.structure for rule in found.by_fold["0"]] == ["foreground"]
    assert [rule.structure for rule in found.by_fold["1"]] == ["one"]
    assert found.rules == ()
    assert 0 < found.low < found.gain
    assert "but lower that of two from 1.0000 to " in found.reason


def test_volumes_are_fractions_of_what_the_choice_may_see() -> None:
    maps = with_specks(12)
    for place, (prediction, reference) in enumerate(maps.values()):
        prediction[15, 15, 15] = 1
        if place % 2 == 0:
            cube(prediction, (4, 4, 4), 8, 1)
            cube(reference, (4, 4, 4), 8, 1)
    structures = structures_of(ORGAN, regions=False)
    found = choose_rules(taken_apart(maps, structures, ORGAN), in_folds(maps, 2), structures, targets_of(ORGAN), "nnunet")
    # 512 voxels of 2 mm^3 in fold 0, 216 in fold 1, specks of 2 mm^3: 0.3 % of the large organ, 1 % of the small one
    assert {fold: rule.below_mm3 for fold, (rule,) in found.by_fold.items()} == {"0": 4.3, "1": 3.1}


def test_volumes_are_those_of_the_structure_also_where_a_class_is_called_foreground() -> None:
    labels = Labels(("background", "rest", "foreground"), (0, 1, 2))
    maps = {}
    for case in range(6):
        reference = organ()
        cube(reference, (12, 2, 2), 2, 2)
        prediction = reference.copy()
        prediction[0, ::2, ::2], prediction[15, ::2, ::2] = 1, 2
        maps[f"case{case}"] = prediction, reference
    structures, targets = structures_of(labels, regions=False), targets_of(labels)
    found = choose_rules(taken_apart(maps, structures, labels), in_folds(maps), structures, targets, "nnunet")
    # specks of 2 mm^3 are less than 1 % of all 448 mm^3, and more than 10 % of the 16 mm^3 of the class
    assert [(rule.values, rule.below_mm3) for rule in found.rules] == [((1, 2), 4.5)]


def test_nothing_to_mend_means_nothing_is_done() -> None:
    maps = {f"case{case}": (organ(case % 2), organ()) for case in range(6)}
    structures = structures_of(ORGAN, regions=False)
    found = choose_rules(taken_apart(maps, structures, ORGAN), in_folds(maps), structures, targets_of(ORGAN), "nnunet")
    assert (found.rules, found.gain, found.low, found.high) == ((), 0.0, 0.0, 0.0)
    assert "no rule raises the mean Dice" in found.reason


def test_no_target_may_pay_for_another() -> None:
    """Removing the foreground's small parts mends class 1 much and costs class 2 a little."""
    labels = Labels(("background", "one", "two"), (0, 1, 2))
    maps = {}
    for case in range(8):
        reference = organ()
        cube(reference, (4, 4, 4), 3, 2)
        reference[15, 15, 15] = 2
        prediction = reference.copy()
        prediction[0, ::2, ::2] = 1
        maps[f"case{case}"] = prediction, reference
    structures, targets = structures_of(labels, regions=False), targets_of(labels)
    cases = taken_apart(maps, structures, labels)
    rule = Rule(kind="remove_small", structure="foreground", values=(1, 2), becomes=0, below_mm3=4.3)
    nothing, tried = (dice_on_voxels(maps, dict.fromkeys(maps, rules), targets, "nnunet") for rules in ((), (rule,)))
    assert mean_of_means(tried) > mean_of_means(nothing)
    found = choose_rules(cases, in_folds(maps), structures, targets, "nnunet")
    assert [rule.structure for rule in found.rules] == ["one"]


def without_enhancing() -> Maps:
    """Two of three cases have no enhancing tumour, but a predicted one of a fifth of the usual size."""
    maps = {}
    for case in range(12):
        bare = case % 3 != 0
        reference, prediction = tumour(enhancing=0 if bare else 4), tumour(shift=case % 2, enhancing=0 if bare else 4)
        if bare:
            prediction[7:9, 7:10, 7:9] = 4
        maps[f"case{case:02d}"] = prediction, reference
    return maps


@pytest.mark.parametrize("scheme", ["brats20", "nnunet"])
def test_a_small_enhancing_tumour_is_relabelled(scheme: str) -> None:
    maps, structures = without_enhancing(), structures_of(BRATS, regions=True)
    found = choose_rules(taken_apart(maps, structures, BRATS), in_folds(maps, 4), structures, REGIONS, scheme)
    # 64 voxels of 2 mm^3 are usual, 12 are invented: above 10 % and below 30 %
    assert found.rules == (Rule(kind="relabel_small", structure="ET", values=(4,), becomes=1, below_mm3=38.0),)
    rules_of = {name: found.by_fold[fold] for name, fold in in_folds(maps, 4).items()}
    nothing, after = (dice_on_voxels(maps, rules, REGIONS, scheme) for rules in (dict.fromkeys(maps, ()), rules_of))
    assert found.gain == pytest.approx(mean_of_means(after) - mean_of_means(nothing), rel=1e-9)
    if scheme == "nnunet":  # case by case there is no gain at all
        assert np.isnan(after).any()
        assert np.nanmax(after - nothing) == 0


@pytest.mark.parametrize("scheme", ["brats20", "nnunet"])
def test_the_figures_are_the_slow_way(scheme: str) -> None:
    rng = np.random.default_rng(7)
    maps = without_enhancing()
    for prediction, _ in maps.values():
        for value in (1, 2, 4, 4):
            cube(prediction, rng.integers(0, 13, size=3), int(rng.integers(1, 3)), value)
    structures, folds = structures_of(BRATS, regions=True), in_folds(maps, 3)
    found = choose_rules(taken_apart(maps, structures, BRATS), folds, structures, REGIONS, scheme, seed=5, draws=300)
    rules_of = {name: found.by_fold[fold] for name, fold in folds.items()}
    assert any(rules_of.values())
    nothing, after = (dice_on_voxels(maps, rules, REGIONS, scheme) for rules in (dict.fromkeys(maps, ()), rules_of))
    assert found.gain == pytest.approx(mean_of_means(after) - mean_of_means(nothing), rel=1e-9)
    times = np.random.default_rng(5).multinomial(len(maps), np.full(len(maps), 1 / len(maps)), size=300)
    drawn = [np.repeat(np.arange(len(maps)), row) for row in times]
    differences = [mean_of_means(after[rows]) - mean_of_means(nothing[rows]) for rows in drawn]
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(differences, (2.5, 97.5))), rel=1e-9)


def test_the_best_candidate_of_a_structure_is_taken() -> None:
    maps = with_specks(9)
    for prediction, reference in maps.values():
        prediction[12, 12, 8:13] = 1  # wrong, 10 mm^3
        cube(reference, (0, 12, 8), 2, 1)
        cube(prediction, (0, 12, 8), 2, 1)  # right, 16 mm^3
    structures, targets = structures_of(ORGAN, regions=False), targets_of(ORGAN)
    found = choose_rules(taken_apart(maps, structures, ORGAN), in_folds(maps), structures, targets, "nnunet")
    median = float(np.median([(reference == 1).sum() * 2.0 for _, reference in maps.values()]))
    volumes = [float(f"{median * share:.2g}") for share in (0.001, 0.003, 0.01, 0.03, 0.1)]
    candidates = [Rule(kind="remove_small", structure="organ", values=(1,), becomes=0, below_mm3=below) for below in volumes]
    candidates.append(Rule(kind="keep_largest", structure="organ", values=(1,), becomes=0))
    means = [mean_of_means(dice_on_voxels(maps, dict.fromkeys(maps, (rule,)), targets, "nnunet")) for rule in candidates]
    assert int(np.argmax(np.round(means, 12))) == 3  # milder ones and harsher ones are worse
    assert found.rules == (candidates[3],)


def test_rules_that_cannot_be_foreseen_are_not_tried() -> None:
    labels = Labels(("background", "a", "b"), (0, 1, 2), {"both": (1, 2), "one": (1,), "two": (2,)}, region_order=(1, 1, 2))
    structures, targets = structures_of(labels, regions=True), targets_of(labels)
    maps = {}
    for case in range(6):
        reference = np.zeros(SHAPE, dtype=np.uint8)
        reference[2:14, 2:14, 2:8], reference[2:14, 2:14, 8:14] = 1, 2
        prediction = reference.copy()
        prediction[4, 4, 3:6], prediction[4, 4, 10:14] = 2, 1
        maps[f"case{case}"] = prediction, reference
    cases, folds = taken_apart(maps, structures, labels), in_folds(maps, 3)
    found = choose_rules(cases, folds, structures, targets, "nnunet")
    assert [rule.structure for rule in found.rules] == ["one"]
    alone = choose_rules(cases, folds, [structure for structure in structures if structure.name != "one"], targets, "nnunet")
    assert [rule.structure for rule in alone.rules] == ["two"]
    assert not foreseeable(found.rules[0], alone.rules[0])


def test_the_choice_is_the_same_every_time_and_in_any_order() -> None:
    maps, structures = without_enhancing(), structures_of(BRATS, regions=True)
    for place, (prediction, _) in enumerate(maps.values()):
        prediction[0, 0, : 2 * place : 2] = 2
    cases, folds = taken_apart(maps, structures, BRATS), in_folds(maps, 4)
    first = choose_rules(cases, folds, structures, REGIONS, "brats20")
    assert choose_rules(cases, folds, structures, REGIONS, "brats20") == first
    turned = {name: cases[name] for name in reversed(cases)}
    assert choose_rules(turned, dict(reversed(folds.items())), structures, REGIONS, "brats20") == first


@pytest.mark.parametrize(("folds", "told"), [({"case00": "2", "case01": "2"}, "in one fold, 2"), ({}, "are none")])
def test_fewer_than_two_folds_decide_nothing(folds: dict[str, str], told: str) -> None:
    maps, structures = with_specks(2), structures_of(ORGAN, regions=False)
    cases = {name: case for name, case in taken_apart(maps, structures, ORGAN).items() if name in folds}
    found = choose_rules(cases, folds, structures, targets_of(ORGAN), "nnunet")
    assert (found.rules, found.by_fold) == ((), {})
    assert isnan(found.gain)
    assert "two folds" in found.reason
    assert told in found.reason


@pytest.mark.parametrize("scheme", ["brats23", "brats25"])
def test_schemes_that_measure_lesions_are_refused(scheme: str) -> None:
    with pytest.raises(AutosegError, match=rf"the scheme {scheme} measures lesions.*nnunet, brats20"):
        choose_rules({}, {}, structures_of(BRATS, regions=True), REGIONS, scheme)


def test_every_case_needs_its_fold() -> None:
    maps, structures = with_specks(3), structures_of(ORGAN, regions=False)
    cases = taken_apart(maps, structures, ORGAN)
    with pytest.raises(AutosegError, match="case02"):
        choose_rules(cases, {"case00": "0", "case01": "1"}, structures, targets_of(ORGAN), "nnunet")
