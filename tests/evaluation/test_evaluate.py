"""One case by hand, folders with all that can be wrong with them, and real scans."""

import json
import os
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from autoseg.data.dataset import Labels
from autoseg.errors import AutosegError, GeometryMismatch
from autoseg.evaluation.distances import surface_measures
from autoseg.evaluation.evaluate import evaluate_case, evaluate_folder, labels_from_values
from autoseg.evaluation.metrics import counts, dice, specificity
from autoseg.evaluation.result import Target
from autoseg.evaluation.targets import targets_of
from autoseg.imaging.image import Geometry, LabelMap

BRATS = Labels(
    names=("background", "necrosis", "edema", "enhancing"),
    values=(0, 1, 2, 4),
    regions={"WT": (1, 2, 4), "TC": (1, 4), "ET": (4,)},
)
SPACING = (3.0, 1.0, 0.5)
OF_SURFACES = ["hd95", "assd", "nsd", "nsd_tolerance", "hd95_convention", "nsd_convention"]


def phantom(seed: int, enhancing: bool = True) -> NDArray[np.uint8]:
    """A ball of edema with a core and a rim, somewhere in 16 x 20 x 18 voxels."""
    shape = (16, 20, 18)
    centre = np.random.default_rng(seed).uniform(6, 10, 3)
    distance = np.linalg.norm(np.indices(shape) - centre[:, None, None, None], axis=0)
    labels = np.zeros(shape, dtype=np.uint8)
    for radius, value in ((6, 2), (4, 4 if enhancing else 1), (2.5, 1)):
        labels[distance < radius] = value
    return labels


def label_map(array: NDArray[np.integer], spacing: tuple[float, float, float] = SPACING) -> LabelMap:
    z, y, x = array.shape
    return LabelMap(array, Geometry.of((z, y, x), spacing))


def save(path: Path, array: NDArray[np.integer], spacing: tuple[float, float, float] = SPACING) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array.T, np.diag([*spacing[::-1], 1.0])), path)
    return path


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three predictions, each its reference moved by a voxel along Y."""
    for seed, case in enumerate(("a", "b", "c")):
        labels = phantom(seed, enhancing=case != "b")
        save(tmp_path / "labels" / f"{case}.nii.gz", labels)
        save(tmp_path / "out" / f"{case}.nii.gz", np.roll(labels, 1, axis=1))
    return tmp_path / "out", tmp_path / "labels"


def test_each_row_is_what_its_masks_say() -> None:
    reference = phantom(0)
    prediction = np.roll(phantom(1), 2, axis=2)
    rows = evaluate_case(label_map(prediction), label_map(reference), targets_of(BRATS), scheme="nnunet")
    assert [row.target for row in rows] == ["necrosis", "edema", "enhancing", "WT", "TC", "ET"]
    for row, target in zip(rows, targets_of(BRATS), strict=True):
        masks = np.isin(prediction, target.values), np.isin(reference, target.values)
        assert row.counts == counts(*masks)
        assert row.metrics["dice"] == dice(row.counts) > 0
        assert row.metrics["specificity"] == specificity(row.counts)
        distances = surface_measures(*masks, SPACING, tolerance=1.0)
        assert {name: row.metrics[name] for name in distances} == distances
        assert row.metrics["hd95"] > 0
        assert row.metrics["volume_prediction"] == pytest.approx(masks[0].sum() * 1.5)
        assert row.metrics["volume_difference"] == pytest.approx((masks[0].sum() - masks[1].sum()) * 1.5)


def test_a_case_against_itself_is_perfect() -> None:
    labels = label_map(phantom(3))
    for row in evaluate_case(labels, labels, targets_of(BRATS), scheme="nnunet"):
        assert [row.metrics[name] for name in ("dice", "iou", "precision", "sensitivity", "specificity", "accuracy")] == [1.0] * 6
        assert row.metrics["hd95"] == row.metrics["volume_difference"] == 0.0


def test_what_nobody_annotated_counts_nowhere() -> None:
    reference, prediction = phantom(0), phantom(0)
    reference[:, :9] = 9
    prediction[:, :9] = 4  # wrong everywhere, were it judged
    wild = evaluate_case(label_map(prediction), label_map(reference), targets_of(BRATS), scheme="nnunet", ignore=9)
    assert all(row.metrics["dice"] == 1.0 and row.metrics["hd95"] == 0.0 for row in wild)
    assert {row.counts.total for row in wild} == {16 * 11 * 18}
    judged = evaluate_case(label_map(prediction), label_map(reference), targets_of(BRATS), scheme="nnunet")
    assert judged[-1].metrics["dice"] < 0.5


@pytest.mark.parametrize("spacing", [(3.0, 1.0, 0.6), (0.5, 1.0, 3.0)])
def test_two_grids_give_no_number(spacing: tuple[float, float, float]) -> None:
    labels = phantom(0)
    with pytest.raises(GeometryMismatch, match="spacing"):
        evaluate_case(label_map(labels, spacing), label_map(labels), [Target("WT", (1, 2, 4))], scheme="nnunet")


def test_a_folder(folders: tuple[Path, Path]) -> None:
    steps: list[tuple[str, int, int, str]] = []
    found = evaluate_folder(*folders, BRATS, workers=2, progress=lambda *step: steps.append(step))
    assert found.scheme == "nnunet" and found.missing == ()
    assert list(dict.fromkeys(found.table["case"])) == ["a", "b", "c"]
    expected = [
        {"case": case, "target": row.target, **row.metrics}
        for seed, case in enumerate("abc")
        for labels in [phantom(seed, enhancing=case != "b")]
        for row in evaluate_case(label_map(np.roll(labels, 1, axis=1)), label_map(labels), targets_of(BRATS), scheme="nnunet")
    ]
    pd.testing.assert_frame_equal(found.table[list(expected[0])], pd.DataFrame(expected))
    mean = found.mean()
    assert mean.loc["ET", "empty_both"] == 1 and mean.loc["ET", "dice_cases"] == 2
    assert 0.5 < found.foreground_mean() < 0.95
    assert [step[:3] for step in steps] == [("evaluate", done, 3) for done in (1, 2, 3)]
    assert {step[3] for step in steps} == {"a", "b", "c"}


def test_workers_and_scheme_change_no_count(folders: tuple[Path, Path]) -> None:
    one = evaluate_folder(*folders, BRATS, workers=1)
    many = evaluate_folder(*folders, BRATS, workers=3, scheme="brats20")
    pd.testing.assert_frame_equal(one.under("brats20").table, many.table)


def test_without_surfaces_the_rest_is_the_same(folders: tuple[Path, Path]) -> None:
    full = evaluate_folder(*folders, BRATS)
    pd.testing.assert_frame_equal(evaluate_folder(*folders, BRATS, surface=False).table, full.table.drop(columns=OF_SURFACES))


def test_paths_may_be_named_by_case(folders: tuple[Path, Path]) -> None:
    predictions = {"patient": folders[0] / "a.nii.gz"}
    found = evaluate_folder(predictions, {"patient": folders[1] / "b.nii.gz"}, BRATS)
    assert set(found.table["case"]) == {"patient"}


def test_a_reference_without_prediction_is_told_and_not_counted(folders: tuple[Path, Path]) -> None:
    (folders[0] / "b.nii.gz").unlink()
    found = evaluate_folder(*folders, BRATS)
    assert found.missing == ("b",)
    assert set(found.table["case"]) == {"a", "c"}


def test_predictions_without_reference_are_listed(folders: tuple[Path, Path]) -> None:
    for case in ("a", "c"):
        (folders[1] / f"{case}.nii.gz").unlink()
    with pytest.raises(AutosegError, match="No reference for the prediction of: a, c"):
        evaluate_folder(*folders, BRATS)


def test_other_files_are_not_predictions(folders: tuple[Path, Path]) -> None:
    for name in ("metrics.json", ".abc123.a.nii.gz", "plan.json"):
        (folders[0] / name).write_text("{}")
    assert set(evaluate_folder(*folders, BRATS).table["case"]) == {"a", "b", "c"}


def test_two_files_of_one_case(folders: tuple[Path, Path]) -> None:
    save(folders[0] / "a.nii", phantom(0))
    with pytest.raises(AutosegError, match=r"Two files for the case a: .*a\.nii.*a\.nii\.gz"):
        evaluate_folder(*folders, BRATS)


def test_nothing_to_evaluate(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(AutosegError, match="not a folder"):
        evaluate_folder(tmp_path / "elsewhere", folders[1], BRATS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AutosegError, match=r"no prediction to evaluate in .*empty"):
        evaluate_folder(tmp_path / "empty", folders[1], BRATS)
    with pytest.raises(AutosegError, match="no metric scheme"):
        evaluate_folder(*folders, BRATS, scheme="best")


@pytest.mark.parametrize("shape", [True, False])
def test_another_grid_names_both_files(folders: tuple[Path, Path], shape: bool) -> None:
    save(folders[0] / "b.nii.gz", phantom(1)[1:] if shape else phantom(1), SPACING if shape else (3.0, 1.0, 0.7))
    with pytest.raises(GeometryMismatch) as caught:
        evaluate_folder(*folders, BRATS)
    text = str(caught.value)
    assert str(folders[0] / "b.nii.gz") in text and str(folders[1] / "b.nii.gz") in text
    assert ("shape" if shape else "spacing") in text


@pytest.mark.parametrize("which", [0, 1])
def test_a_value_nobody_declared_names_file_and_value(folders: tuple[Path, Path], which: int) -> None:
    labels = phantom(1)
    labels[0, 0, :2] = 3, 7
    file = save(folders[which] / "b.nii.gz", labels)
    with pytest.raises(AutosegError, match="values 3, 7, which no label declares; declared are 0, 1, 2, 4") as caught:
        evaluate_folder(*folders, BRATS)
    assert str(file) in str(caught.value)


def test_all_faults_are_told_together(folders: tuple[Path, Path]) -> None:
    save(folders[0] / "a.nii.gz", phantom(0)[:-1])
    save(folders[0] / "b.nii.gz", phantom(1) + np.uint8(10))
    (folders[0] / "c.nii.gz").write_bytes((folders[0] / "c.nii.gz").read_bytes()[:-20])
    with pytest.raises(AutosegError, match="3 cases cannot be evaluated") as caught:
        evaluate_folder(*folders, BRATS)
    assert all(f"{case}.nii.gz" in str(caught.value) for case in "abc")
    save(folders[0] / "d.nii.gz", phantom(3))
    with pytest.raises(AutosegError, match=r"4 cases cannot be evaluated:\n- No reference for the prediction of: d\.") as caught:
        evaluate_folder(*folders, BRATS)
    assert all(f"{case}.nii.gz" in str(caught.value) for case in "abc")


def test_the_ignore_label_of_the_dataset(folders: tuple[Path, Path]) -> None:
    labels = phantom(0)
    labels[:8] = 9
    save(folders[1] / "a.nii.gz", labels)
    with pytest.raises(AutosegError, match="value 9"):
        evaluate_folder(*folders, BRATS)
    partly = Labels(BRATS.names, BRATS.values, BRATS.regions, ignore=9)
    table = evaluate_folder(*folders, partly).table
    rows = table[table["case"] == "a"]
    assert set(rows[["tp", "fp", "fn", "tn"]].sum(axis=1)) == {8 * 20 * 18}


def test_labels_from_values_keeps_the_users_values(folders: tuple[Path, Path]) -> None:
    labels = labels_from_values(sorted(folders[1].iterdir()))
    assert labels.values == (0, 1, 2, 4)
    assert labels.names == ("background", "label 1", "label 2", "label 4")
    found = evaluate_folder(*folders, labels)
    assert list(found.mean().index) == ["label 1", "label 2", "label 4"]
    assert [target.values for target in found.targets] == [(1,), (2,), (4,)]


@pytest.mark.parametrize("values", [(0, 255), (7,), (0, 3, 300), (0, 2, 70_000)])
def test_values_of_any_size_are_found(tmp_path: Path, values: tuple[int, ...]) -> None:
    array = np.full((4, 5, 6), values[0], np.int32)
    array[1, 2, 3 : 2 + len(values)] = values[1:]
    assert labels_from_values([save(tmp_path / "a.nii.gz", array)]).values == tuple(sorted({0, *values}))


def test_labels_from_values_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(AutosegError, match="nothing but background"):
        labels_from_values([save(tmp_path / "a.nii.gz", np.zeros((4, 5, 6), dtype=np.uint8))])


@pytest.mark.skipif("AUTOSEG_TEST_DATA" not in os.environ, reason="needs real scans")
def test_real_labels_against_themselves_and_a_shift(tmp_path: Path) -> None:
    folder = Path(os.environ["AUTOSEG_TEST_DATA"]) / "Dataset004_Hippocampus" / "labelsTr"
    files = {path.name.removesuffix(".nii.gz"): path for path in sorted(folder.glob("*.nii.gz"))[:4]}
    labels = labels_from_values(list(files.values()))
    assert labels.values == (0, 1, 2)
    assert evaluate_folder(files, files, labels).foreground_mean() == 1.0
    for case, path in files.items():
        image = nibabel.load(path)
        moved = np.roll(np.asarray(image.dataobj).astype(np.uint8), 1, axis=0)
        nibabel.save(nibabel.Nifti1Image(moved, image.affine, image.header), tmp_path / f"{case}.nii.gz")
    mean = evaluate_folder(tmp_path, files, labels).mean()
    assert mean["dice"].between(0.7, 0.97).all()
    assert mean["hd95"].between(1.0, 1.5).all()


@pytest.mark.skipif("AUTOSEG_TEST_DATA" not in os.environ, reason="needs real scans")
def test_a_real_tumour_without_enhancing_part() -> None:
    folder = Path(os.environ["AUTOSEG_TEST_DATA"]) / "brats_as_downloaded"
    files = {case: folder / case / f"{case}_seg.nii.gz" for case in ("BraTS2021_01476", "BraTS2021_01477")}
    found = evaluate_folder(files, files, BRATS)
    enhancing = found.mean().loc["ET"]
    assert (enhancing["empty_both"], enhancing["dice"], enhancing["dice_cases"]) == (1, 1.0, 1)
    assert found.under("brats20").mean().loc["ET", "dice_cases"] == 2
    assert set(found.table[["tp", "fp", "fn", "tn"]].sum(axis=1)) == {155 * 240 * 240}


def test_pictures_are_judged_in_pixels(tmp_path: Path) -> None:
    """They do not tell how large a pixel is; what is of both kinds says so."""
    square = np.zeros((12, 16), dtype=np.uint8)
    square[4:8, 4:8] = 1
    for folder, array in (("out", np.roll(square, 2, axis=1)), ("labels", square)):
        (tmp_path / folder).mkdir()
        Image.fromarray(array).save(tmp_path / folder / "a.png")
    labels = Labels(("background", "structure"), (0, 1))
    found = evaluate_folder(tmp_path / "out", tmp_path / "labels", labels)
    assert found.length_unit == "pixels" and found.table["hd95"].tolist() == [2.0] and found.table["volume_reference"].tolist() == [16.0]
    units = json.loads(found.write(tmp_path)[1].read_text())["units"]
    assert units == {"hd95": "pixels", "assd": "pixels", "lesion_hd95": "pixels", "nsd_tolerance": "pixels", "volume": "pixels"}
    for folder in ("out", "labels"):
        save(tmp_path / folder / "b.nii.gz", square[None])
    assert evaluate_folder(tmp_path / "out", tmp_path / "labels", labels).length_unit == "mm or pixels"
