"""Where structures lie: in segmentations that are there, and in those that a small network makes."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
from nibabel.affines import apply_affine

import autoseg
from autoseg.api._overlays import mark_cases
from autoseg.data.layouts import open_dataset
from autoseg.data.phantom import write_phantoms
from autoseg.errors import AutosegError
from autoseg.evaluation.localisation_file import LocalisationFile
from autoseg.evaluation.targets import targets_learned
from autoseg.imaging.image import Geometry, Image, LabelMap
from autoseg.imaging.read import read_labels
from autoseg.imaging.write import write_image, write_labels
from autoseg.reporting.canvas import notes_of

NAME = "DatasetPhantom20"
Times = dict[str, int]


def times(folder: Path) -> Times:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def changed(before: Times, after: Times) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


@pytest.fixture(scope="module")
def brats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("locate") / "DatasetPhantom"
    write_phantoms(folder, count=2, seed=4, shape=(24, 24, 24))
    return folder


def test_a_dataset_is_located_by_its_own_references(brats: Path, tmp_path: Path) -> None:
    said: list[str] = []
    located = autoseg.locate(brats, tmp_path / "out", segmentations=brats, notify=said.append)
    assert located.structures == ("WT", "TC", "ET") and said == []
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["localisation.csv", "localisation.json", "overlays", "overlays.png"]
    case = "BraTS20_Training_001"
    labels = read_labels(brats / case / f"{case}_seg.nii.gz")
    core = np.argwhere(np.isin(labels.array, (1, 4)))
    entry = json.loads(located.json.read_text())["cases"][case]
    found = entry["structures"]["TC"]
    assert entry["shape"] == [24, 24, 24] and found["values"] == [1, 4]
    assert (found["box"]["first"], found["box"]["last"]) == (core.min(axis=0).tolist(), core.max(axis=0).tolist())
    assert found["volume_mm3"] == pytest.approx(len(core) * np.prod(labels.geometry.spacing))
    world = np.asarray(labels.geometry.affine) @ [*core.mean(axis=0)[::-1], 1.0]
    np.testing.assert_allclose(found["centroid_ras_mm"], world[:3], atol=1e-3)
    assert sum(part["voxels"] for part in found["parts"]) == len(core)
    assert json.loads(notes_of(located.pictures[case])["found"])[0] == "WT"
    assert json.loads(json.dumps(located.to_json()))["csv"] == str(located.csv)


def test_repeating_does_nothing_and_what_changed_is_done_again(brats: Path, tmp_path: Path) -> None:
    scans, segmentations, out = tmp_path / "scans", tmp_path / "segmentations", tmp_path / "out"
    rng = np.random.default_rng(0)
    for number, case in enumerate(("a", "b")):
        array = np.zeros((9, 9, 9), np.uint8)
        array[2:5, 3:6, 4 + number] = 3
        write_image(Image(rng.random((1, 9, 9, 9), dtype=np.float32), Geometry.of((9, 9, 9))), scans / f"{case}.nii.gz")
        write_labels(LabelMap(array, Geometry.of((9, 9, 9))), segmentations / f"{case}.nii.gz")
    said: list[str] = []
    first = autoseg.locate(scans, out, segmentations=segmentations, notify=said.append)
    assert first.skipped == () and first.structures == ("label 3",)
    assert said == ["No dataset is known: the values 3 are taken as they are. Name one with -d."]
    before = times(out)
    assert autoseg.locate(scans, out, segmentations=segmentations).skipped == ("a", "b")
    assert changed(before, times(out)) == set()
    later = max(before.values()) + 10**6
    os.utime(segmentations / "b.nii.gz", ns=(later, later))
    again = autoseg.locate(scans, out, segmentations=segmentations)
    assert again.skipped == ("a",)
    assert changed(before, times(out)) == {"overlays/b.png", "overlays.png", "localisation.json", "localisation.csv"}
    (out / "overlays" / "a.png").write_bytes(b"half of a picture")
    assert autoseg.locate(scans, out, segmentations=segmentations).skipped == ("b",)
    assert autoseg.locate(scans, out, segmentations=segmentations, overwrite=True).skipped == ()
    (one,) = autoseg.locate(scans / "a.nii.gz", tmp_path / "one", segmentations=segmentations / "b.nii.gz").files.values()
    assert one == segmentations / "b.nii.gz"  # two files belong together


def test_pictures_have_pixels_and_no_millimetres(tmp_path: Path) -> None:
    picture = np.random.default_rng(1).integers(0, 255, (3, 1, 12, 16)).astype(np.float32)
    mask = np.zeros((1, 12, 16), np.uint8)
    mask[0, 2:5, 10:14] = 1
    geometry = Geometry.of((1, 12, 16), flat=True)
    write_image(Image(picture, geometry), tmp_path / "in" / "a.png", dtype="uint8")
    write_labels(LabelMap(mask, geometry), tmp_path / "out" / "a.png")
    for _ in range(2):  # the second time there is a sheet beside the segmentation
        autoseg.locate(tmp_path / "in", tmp_path / "out", segmentations=tmp_path / "out")
        table = pd.read_csv(tmp_path / "out" / "localisation.csv")
        assert table["case"].tolist() == ["a", "a"]
        assert table.loc[0, ["voxels", "first_y", "first_x", "last_y", "last_x"]].tolist() == [12, 2, 10, 4, 13]
        assert table[[name for name in table.columns if "mm" in name]].isna().all(axis=None)


def test_stacked_slices_have_millimetres_and_no_place_in_the_world(tmp_path: Path) -> None:
    geometry = Geometry.of((1, 8, 10), flat=True)
    for number in range(1, 4):
        picture, mask = np.full((3, 1, 8, 10), 10 * number, np.float32), np.zeros((1, 8, 10), np.uint8)
        picture[:, :, 0] = 200
        mask[0, 2:4, 5:8] = 255 * (number > 1)
        write_image(Image(picture, geometry), tmp_path / "kaggle_3m" / "P_1" / f"P_1_{number}.tif", dtype="uint8")
        write_labels(LabelMap(mask, geometry), tmp_path / "kaggle_3m" / "P_1" / f"P_1_{number}_mask.tif")
    dataset = open_dataset(tmp_path / "kaggle_3m", stack=(5.0, 1.0, 0.5))
    (case,) = dataset.cases
    assert case.label is not None
    table = LocalisationFile(tmp_path / "out", targets_learned(dataset.labels, regions=False), {"P_1": case.label})
    mark_cases([case], {"P_1": case.label}, dataset.labels, tmp_path / "out", regions=False, table=table)
    row = pd.read_csv(table.finish()[1]).iloc[0]
    assert row[["volume_mm3", "size_z_mm", "size_y_mm", "size_x_mm"]].tolist() == [30.0, 10.0, 2.0, 1.5]
    assert row[[name for name in row.index if name[-5:] in ("_r_mm", "_a_mm", "_s_mm")]].isna().all()


def test_what_does_not_belong_together_is_said(brats: Path, tmp_path: Path) -> None:
    scan = Image(np.ones((1, 8, 8, 8), np.float32), Geometry.of((8, 8, 8)))
    for case in ("a", "b"):
        write_image(scan, tmp_path / "in" / f"{case}.nii.gz")
    write_labels(LabelMap(np.ones((8, 8, 9), np.uint8), Geometry.of((8, 8, 9))), tmp_path / "segs" / "a.nii.gz")
    write_labels(LabelMap(np.ones((8, 8, 8), np.uint8), Geometry.of((8, 8, 8))), tmp_path / "segs" / "c.nii.gz")
    said: list[str] = []
    with pytest.raises(AutosegError, match=r"Case a: .*a\.nii\.gz does not lie on the grid of .*shape \(8, 8, 9\)"):
        autoseg.locate(tmp_path / "in", tmp_path / "out", segmentations=tmp_path / "segs", notify=said.append)
    assert said[:2] == ["Passed over, without a segmentation: b", "Passed over, without a scan: c"]
    (tmp_path / "segs" / "a.nii.gz").rename(tmp_path / "segs" / "d.nii.gz")
    with pytest.raises(AutosegError, match=r"No scan has a segmentation: .* holds c, d, the scans are a, b"):
        autoseg.locate(tmp_path / "in", tmp_path / "out", segmentations=tmp_path / "segs")
    with pytest.raises(AutosegError, match="model and segmentations that are there already exclude each other"):
        autoseg.locate(tmp_path / "in", tmp_path / "out", segmentations=tmp_path / "segs", model=tmp_path)
    with pytest.raises(AutosegError, match="the folder that the scans lie in"):
        autoseg.locate(tmp_path / "in", tmp_path / "in", segmentations=tmp_path / "segs")
    (tmp_path / "taken").mkdir()
    write_labels(LabelMap(np.ones((1, 8, 8), np.uint8), Geometry.of((1, 8, 8), flat=True)), tmp_path / "taken" / "overlays.png")
    with pytest.raises(AutosegError, match=r"overlays\.png is there already, and autoseg did not make it"):
        autoseg.locate(brats, tmp_path / "taken", segmentations=brats)


def test_datasets_whose_labels_differ_are_not_taken_together(brats: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    image, labels = Image(np.ones((1, 8, 8, 8), np.float32), Geometry.of((8, 8, 8))), LabelMap(np.ones((8, 8, 8), np.uint8), Geometry.of((8, 8, 8)))
    write_image(image, raw / "imagesTr" / "a_0000.nii.gz")
    write_labels(labels, raw / "labelsTr" / "a.nii.gz")
    facts = {"channel_names": {"0": "T1"}, "labels": {"background": 0, "ball": 1}, "numTraining": 1, "file_ending": ".nii.gz"}
    (raw / "dataset.json").write_text(json.dumps(facts))
    with pytest.raises(AutosegError, match=r"The labels of .*Phantom mean something else than those of .*raw\. .*-d"):
        autoseg.locate([brats, raw], tmp_path / "both", segmentations=brats)


def test_predicting_with_overlays_and_locating_go_together(workspace: Path, shrink: Callable[[Path], None], tmp_path: Path) -> None:
    planned = autoseg.plan(NAME, workspace=workspace, preset="cpu", preprocess=False)
    shrink(planned.path)
    autoseg.train("3d_fullres", 0, workspace=workspace, epochs=1, device="cpu")
    out = tmp_path / "out"
    predicted = autoseg.predict(workspace / "raw_data" / NAME, out, workspace=workspace, device="cpu", overlay=True)
    assert predicted.overlays == (out / "overlays.png",)
    assert sorted(path.stem for path in (out / "overlays").iterdir()) == sorted(predicted.files)
    assert not (out / "localisation.json").exists()
    before = times(out)
    located = autoseg.locate(workspace / "raw_data" / NAME, out, workspace=workspace, device="cpu")
    assert located.files == predicted.files and located.skipped == ()
    assert {name: before[name] for name in before} == {name: time for name, time in times(out).items() if name in before}
    assert located.structures == planned.plan.structure_names
    by_files = autoseg.locate(workspace / "raw_data" / NAME, tmp_path / "again", segmentations=out, workspace=workspace)
    ours, theirs = (json.loads(one.json.read_text())["cases"] for one in (located, by_files))
    assert ours == theirs
    evaluated = autoseg.evaluate(out, workspace / "raw_data" / NAME, output=tmp_path / "m", surface=False)  # the sheet is no segmentation
    assert evaluated.evaluation.table["case"].nunique() == 3


@pytest.mark.skipif("AUTOSEG_TEST_DATA" not in os.environ, reason="needs real scans")
def test_a_real_tumour(tmp_path: Path) -> None:
    case = Path(os.environ["AUTOSEG_TEST_DATA"]) / "brats_as_downloaded" / "BraTS2021_01476"
    located = autoseg.locate(case, tmp_path / "out", segmentations=case)
    found = json.loads(located.json.read_text())["cases"][case.name]["structures"]
    assert list(found) == ["label 1", "label 2", "label 4"]
    stored: Any = nibabel.load(case / f"{case.name}_seg.nii.gz")
    voxels = np.asarray(stored.dataobj)  # X, Y, Z
    for value in (1, 2, 4):
        indices, entry = np.argwhere(voxels == value), found[f"label {value}"]
        assert entry["voxels"] == len(indices)
        assert entry["box"] == {"first": indices.min(axis=0)[::-1].tolist(), "last": indices.max(axis=0)[::-1].tolist()}
        np.testing.assert_allclose(entry["centroid_ras_mm"], apply_affine(stored.affine, indices.mean(axis=0)), atol=1e-3)
