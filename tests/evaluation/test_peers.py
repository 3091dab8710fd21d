"""Numbers of other programs for small masks of boxes, recorded with their versions in data/peers.json."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from autoseg.evaluation.distances import surface_measures
from autoseg.evaluation.evaluate import evaluate_case
from autoseg.evaluation.metrics import RATIOS, counts, relative_volume_difference
from autoseg.evaluation.result import Target
from autoseg.imaging.image import Geometry, LabelMap

PEERS = json.loads((Path(__file__).parent / "data" / "peers.json").read_text())
CASES = PEERS["cases"]
SHAPE = tuple(PEERS["shape"])


def named(case: dict[str, Any]) -> str:
    return f"{case['name']}, {case['spacing']}"


def drawn(boxes: list[list[int]]) -> NDArray[np.bool_]:
    """Boxes given by centre and half widths, Z, Y, X each."""
    grid = np.indices(SHAPE)
    mask = np.zeros(SHAPE, dtype=bool)
    for *centre, half_z, half_y, half_x in boxes:
        apart = np.abs(grid - np.array(centre)[:, None, None, None])
        mask |= (apart[0] <= half_z) & (apart[1] <= half_y) & (apart[2] <= half_x)
    return mask


def judged(case: dict[str, Any], scheme: str, tumour: str = "glioma") -> dict[str, float]:
    geometry = Geometry.of(SHAPE, tuple(case["spacing"]))
    maps = (LabelMap(drawn(case[name]).astype(np.uint8), geometry) for name in ("prediction", "reference"))
    (row,) = evaluate_case(*maps, [Target("lesion", (1,))], scheme=scheme, tumour=tumour)
    return dict(row.metrics)


@pytest.mark.parametrize("tumour", ["glioma", "meningioma", "metastasis"])
@pytest.mark.parametrize("case", CASES, ids=named)
def test_brats23_is_what_the_challenge_computes(case: dict[str, Any], tumour: str) -> None:
    expected = case["brats23"][tumour]
    found = judged(case, "brats23", tumour)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("case", CASES, ids=named)
def test_brats25_is_what_panoptica_computes(case: dict[str, Any]) -> None:
    expected = {name: np.nan if value is None else value for name, value in case["brats25"].items()}
    if case["spacing"] != [1.0, 1.0, 1.0]:  # there the whole structure's distances are in voxels
        del expected["hd95"]
    found = judged(case, "brats25")
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("case", [case for case in CASES if "medpy" in case], ids=named)
def test_overlap_and_pooled_hd95_are_medpys(case: dict[str, Any]) -> None:
    prediction, reference = drawn(case["prediction"]), drawn(case["reference"])
    c = counts(prediction, reference)
    found = {name: ratio(c) for name, ratio in RATIOS.items()} | surface_measures(prediction, reference, tuple(case["spacing"]), tolerance=1.0)
    found["relative_volume_difference"] = relative_volume_difference(c)
    expected = {name: value for name, value in case["medpy"].items() if value is not None}
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("case", [case for case in CASES if "monai" in case], ids=named)
def test_pooled_assd_and_nsd_are_monais(case: dict[str, Any]) -> None:
    expected = dict(case["monai"])
    tolerance = expected.pop("tolerance")
    found = surface_measures(drawn(case["prediction"]), drawn(case["reference"]), tuple(case["spacing"]), tolerance=tolerance)
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-5)


def test_the_recorded_cases_tell_the_schemes_apart() -> None:
    assert len(CASES) >= 30 and {tuple(case["spacing"]) for case in CASES} == {(1.0, 1.0, 1.0), (3.0, 1.0, 0.75)}
    dice = np.array([[case["brats23"][t]["lesion_dice"] for t in ("glioma", "meningioma", "metastasis")] for case in CASES])
    assert (dice[:, 0] != dice[:, 1]).any() and (dice[:, 1] != dice[:, 2]).any()
