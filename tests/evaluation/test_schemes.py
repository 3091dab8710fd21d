"""Rules for empty structures, as each scheme states them."""

import math

import pytest

from autoseg.errors import AutosegError
from autoseg.evaluation.metrics import RATIOS, Counts
from autoseg.evaluation.schemes import SCHEMES, measure, scheme_named

SURFACE = {"hd95": 1.5, "assd": 0.4, "nsd": 0.7}
NOTHING, MISSED, INVENTED = Counts(0, 0, 0, 50), Counts(0, 0, 10, 40), Counts(0, 10, 0, 40)


def test_brats20_rewards_two_empty_masks() -> None:
    values = measure(NOTHING, SURFACE, SCHEMES["brats20"])
    assert {name: values[name] for name in RATIOS} == dict.fromkeys(RATIOS, 1.0)
    assert (values["hd95"], values["assd"], values["nsd"]) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize("counts", [MISSED, INVENTED])
def test_brats20_punishes_one_empty_mask(counts: Counts) -> None:
    values = measure(counts, SURFACE, SCHEMES["brats20"])
    assert values["dice"] == values["iou"] == values["sensitivity"] == values["precision"] == 0.0
    assert (values["hd95"], values["assd"], values["nsd"]) == (373.12866, 373.12866, 0.0)
    assert values["specificity"] == counts.tn / (counts.tn + counts.fp)


def test_the_penalty_is_the_diagonal_of_a_brats_image() -> None:
    assert math.dist((0, 0, 0), (240, 240, 155)) == pytest.approx(373.12866, abs=1e-4)


def test_nnunet_passes_over_two_empty_masks() -> None:
    values = measure(NOTHING, SURFACE, SCHEMES["nnunet"])
    assert all(math.isnan(values[name]) for name in ("dice", "iou", "precision", "sensitivity", *SURFACE))


@pytest.mark.parametrize("counts", [MISSED, INVENTED])
def test_nnunet_gives_one_empty_mask_no_distance(counts: Counts) -> None:
    values = measure(counts, SURFACE, SCHEMES["nnunet"])
    assert values["dice"] == values["iou"] == 0.0
    assert math.isnan(values["hd95"]) and math.isnan(values["assd"])
    assert values["nsd"] == 0.0


@pytest.mark.parametrize("scheme", SCHEMES)
def test_schemes_agree_where_nothing_is_empty(scheme: str) -> None:
    values = measure(Counts(4, 2, 2, 10), SURFACE, SCHEMES[scheme])
    assert values["dice"] == pytest.approx(2 / 3)
    assert {name: values[name] for name in SURFACE} == SURFACE


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("counts", [NOTHING, MISSED, Counts(1, 1, 1, 1)])
def test_no_distance_is_made_up_when_none_was_asked_for(scheme: str, counts: Counts) -> None:
    assert list(measure(counts, None, SCHEMES[scheme])) == list(RATIOS)


@pytest.mark.parametrize(("scheme", "penalty"), [("brats23", 374.0), ("brats25", 373.0)])
def test_later_schemes_have_penalties_of_their_own(scheme: str, penalty: float) -> None:
    for counts in (MISSED, INVENTED):
        values = measure(counts, SURFACE, SCHEMES[scheme])
        assert (values["dice"], values["nsd"], values["hd95"]) == (0.0, 0.0, penalty)
    nothing = measure(NOTHING, SURFACE, SCHEMES[scheme])
    if scheme == "brats23":
        assert (nothing["dice"], nothing["hd95"]) == (1.0, 0.0)
    else:
        assert all(math.isnan(nothing[name]) for name in ("dice", "nsd", "hd95"))


def test_the_tumour_stands_in_the_schemes_name() -> None:
    assert scheme_named("brats23").name == "brats23"
    assert scheme_named("brats23", "metastasis").name == "brats23 metastasis"
    with pytest.raises(AutosegError, match=r"'lymphoma'.*glioma, meningioma, metastasis"):
        scheme_named("brats23", "lymphoma")
    with pytest.raises(AutosegError, match="brats20 has the same rules for every tumour"):
        scheme_named("brats20", "metastasis")


def test_an_unknown_scheme_lists_the_choices() -> None:
    with pytest.raises(AutosegError, match=r"'brats19'.*nnunet, brats20"):
        scheme_named("brats19")
