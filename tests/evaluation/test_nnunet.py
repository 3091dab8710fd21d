"""The scheme `nnunet` against what nnU-Net wrote about the same files, recorded in data/nnunet_hippocampus.json."""

import json
import os
from math import nan
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from autoseg.evaluation.evaluate import evaluate_folder, label_files, labels_from_values

ANSWERS = json.loads((Path(__file__).parent / "data" / "nnunet_hippocampus.json").read_text())
COLUMNS = ["dice", "iou", "tp", "fp", "fn", "tn"]


def altered(labels: NDArray[np.uint8], index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Reference and prediction of the case of that index, as they were when nnU-Net judged them; X, Y, Z."""
    if index % 10 == 5:  # no posterior part
        labels = np.where(labels == 2, 0, labels).astype(np.uint8)
    moved = (labels * binary_erosion(labels > 0), np.roll(labels, (1, 0, -1), (0, 1, 2)), np.roll(labels, 1, 1))[index % 3]
    if index == 7:
        moved[moved == 2] = 0
    if index == 11:
        moved[:] = 0
    if index == 25:
        moved[2:5, 2:5, 2:5] = 2
    return labels, moved


@pytest.mark.skipif("AUTOSEG_TEST_DATA" not in os.environ, reason="needs real scans")
def test_thirty_cases_are_judged_as_nnunet_judges_them(tmp_path: Path) -> None:
    source = Path(os.environ["AUTOSEG_TEST_DATA"]) / "Dataset004_Hippocampus" / "labelsTr"
    for folder in ("reference", "prediction"):
        (tmp_path / folder).mkdir()
    for index, case in enumerate(ANSWERS["cases"]):
        image = nibabel.load(source / f"{case}.nii.gz")
        for folder, labels in zip(("reference", "prediction"), altered(np.asarray(image.dataobj).astype(np.uint8), index), strict=True):
            nibabel.save(nibabel.Nifti1Image(labels, image.affine, image.header), tmp_path / folder / f"{case}.nii.gz")
    labels = labels_from_values(list(label_files(tmp_path / "reference").values()))
    found = evaluate_folder(tmp_path / "prediction", tmp_path / "reference", labels, scheme="nnunet")
    assert len(ANSWERS["cases"]) == found.table["case"].nunique() == 30
    expected = [[nan if value is None else value for value in row] for case in ANSWERS["cases"].values() for row in case.values()]
    np.testing.assert_allclose(found.table[COLUMNS].to_numpy(dtype=float), np.array(expected), rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.mean()[["dice", "iou"]].to_numpy(dtype=float), np.array(list(ANSWERS["mean"].values())), atol=1e-9)
    assert found.foreground_mean() == pytest.approx(ANSWERS["foreground_mean"], abs=1e-9)
    assert np.isnan(expected).any()
