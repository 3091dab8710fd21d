"""COCO's layout: splits, categories, every way to draw an object, pictures in grey and in colours."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from autoseg.data.check import check
from autoseg.data.dataset import Dataset
from autoseg.data.folds import make_folds
from autoseg.data.inputs import find_cases
from autoseg.data.layouts import coco, open_dataset
from autoseg.data.references import find_references
from autoseg.errors import AutosegError
from autoseg.imaging.read import read_image, read_labels

REAL = Path(os.environ.get("AUTOSEG_TEST_DATA", "")) / "coco_2d"
HEIGHT, WIDTH = 6, 8
SQUARE = [2, 1, 5, 1, 5, 4, 2, 4]  # columns 2 to 4 of rows 1 to 3


def save(path: Path, colours: int = 1, value: int = 7) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (HEIGHT, WIDTH) if colours == 1 else (HEIGHT, WIDTH, colours)
    voxels = np.full(shape, value, np.uint8)
    if colours == 3:
        voxels[..., 1] += 10
    sitk.WriteImage(sitk.GetImageFromArray(voxels, isVector=colours > 1), str(path))


def write_split(
    root: Path, split: str, pictures: dict[str, list[dict[str, Any]]], *, colours: int = 1, categories: dict[int, str] | None = None
) -> None:
    """Pictures with the objects on each, as annotations hold them."""
    images, annotations = [], []
    for number, (name, objects) in enumerate(pictures.items()):
        save(root / split / name, colours)
        images.append({"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH, "license": 1})
        annotations += [{"id": len(annotations), "image_id": number, "category_id": 1, "iscrowd": 0} | one for one in objects]
    listed = [{"id": key, "name": name} for key, name in (categories or {0: "Tumor", 1: "Tumor"}).items()]
    content = {"info": {}, "images": images, "annotations": annotations, "categories": listed}
    (root / split / coco.FILE_NAME).write_text(json.dumps(content))


def drawn(dataset: Dataset, name: str) -> NDArray[np.integer]:
    label = next(case.label for case in dataset.cases if case.name == name)
    assert label is not None
    found = read_labels(label)
    assert found.geometry.flat
    return found.array[0]


def square() -> NDArray[np.uint8]:
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[1:4, 2:5] = 1
    return expected


def test_polygons_runs_and_boxes_draw_the_same(tmp_path: Path) -> None:
    runs = [2 * HEIGHT + 1, 3, 3, 3, 3, 3, 3 * HEIGHT + 2]  # down the columns, off and on
    objects: dict[str, list[dict[str, Any]]] = {
        "polygon.png": [{"segmentation": [SQUARE]}],
        "runs.png": [{"segmentation": {"size": [HEIGHT, WIDTH], "counts": runs}}],
        "box.png": [{"bbox": [2, 1, 3, 3]}],
        "box_and_nothing.png": [{"segmentation": [], "bbox": [2, 1, 3, 3]}],
        "halves.png": [{"segmentation": [[2, 1, 4, 1, 4, 4, 2, 4], [4, 1, 5, 1, 5, 4, 4, 4]]}],
        "negative.png": [],
    }
    write_split(tmp_path, "train", objects)
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, dataset.channel_names, dataset.labels.names, dataset.file_ending) == ("coco", ("grey",), ("background", "Tumor"), ".png")
    assert "2 categories are called Tumor; they are one class." in dataset.notes
    for name in ("polygon", "runs", "box", "box_and_nothing", "halves"):
        np.testing.assert_array_equal(drawn(dataset, name), square(), err_msg=name)
    assert not drawn(dataset, "negative").any()


def test_compressed_runs_are_those_of_the_library(tmp_path: Path) -> None:
    from pycocotools import mask

    counts = mask.encode(np.asfortranarray(square()))["counts"].decode()
    write_split(tmp_path, "train", {"a.png": [{"segmentation": {"size": [HEIGHT, WIDTH], "counts": counts}}]})
    np.testing.assert_array_equal(drawn(open_dataset(tmp_path), "a"), square())


@pytest.mark.parametrize("counts", [[1, 2, 3], [500], "~~~~~~~~~", "", "PPYo0"])
def test_damaged_runs_are_an_error(tmp_path: Path, counts: object) -> None:
    write_split(tmp_path, "train", {"a.png": [{"segmentation": {"size": [HEIGHT, WIDTH], "counts": counts}}]})
    with pytest.raises(AutosegError, match=r"annotations of a\.png.*object 1 cannot be drawn"):
        drawn(open_dataset(tmp_path), "a")


def test_runs_of_another_picture_are_an_error(tmp_path: Path) -> None:
    runs = [2 * HEIGHT + 1, 3, 3, 3, 3, 3, 3 * HEIGHT + 2]
    write_split(tmp_path, "train", {"a.png": [{"segmentation": {"size": [WIDTH, HEIGHT], "counts": runs}}]})
    with pytest.raises(AutosegError, match=r"annotations of a\.png.*its runs are of 8 x 6 pixels, the picture has 6 x 8"):
        drawn(open_dataset(tmp_path), "a")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("key", ["segmentation", "bbox"])
def test_what_is_no_number_is_an_error(tmp_path: Path, key: str, bad: float) -> None:
    one: dict[str, Any] = {"segmentation": [[*SQUARE[:-1], bad]]} if key == "segmentation" else {"bbox": [2, 1, 3, bad]}
    write_split(tmp_path, "train", {"a.png": [one]})
    with pytest.raises(AutosegError, match=rf"annotations\.0\.{key}.*finite number"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("one", [{"segmentation": [[*SQUARE[:-1], 5e8]]}, {"bbox": [2, 1, 3, 5e8]}])
def test_objects_far_outside_are_an_error_of_the_check(tmp_path: Path, one: dict[str, Any]) -> None:
    write_split(tmp_path, "train", {"a.png": [one], "b.png": [{"segmentation": [SQUARE]}]})
    (error,) = check(open_dataset(tmp_path)).errors
    assert error.case == "a" and "leads far out of the picture" in error.problem


def test_classes_are_the_names_that_are_used_and_the_later_object_wins(tmp_path: Path) -> None:
    categories = {4: "unused", 7: "edema", 9: "core"}
    objects: list[dict[str, Any]] = [{"category_id": 7, "segmentation": [SQUARE]}, {"category_id": 9, "bbox": [2, 1, 1, 1]}]
    write_split(tmp_path, "train", {"a.png": objects}, categories=categories)
    dataset = open_dataset(tmp_path)
    assert dataset.labels.names == ("background", "core", "edema")
    expected = square() * 2
    expected[1, 2] = 1
    np.testing.assert_array_equal(drawn(dataset, "a"), expected)
    assert any("left out: unused" in note for note in dataset.notes)


def test_train_and_valid_are_the_fold_and_test_is_kept_aside(tmp_path: Path) -> None:
    for split, names in (("train", "ab"), ("valid", "cd"), ("test", "ef")):
        write_split(tmp_path, split, {f"{name}.png": [{"segmentation": [SQUARE]}] for name in names})
    cases = open_dataset(tmp_path).cases
    assert [case.name for case in cases] == list("abcd")
    assert make_folds(cases, seed=0).validation == (("c", "d"),)
    assert len(make_folds(cases, seed=0, count=2).validation) == 2
    assert [case.name for case in find_cases(tmp_path, ("grey",))] == ["e", "f"]
    assert sorted(find_references(tmp_path / "test")) == ["e", "f"]


def test_one_split_alone_is_divided_and_copies_stay_together(tmp_path: Path) -> None:
    names = [f"{name}_jpg.rf.{copy * 4}.png" for name in "abcdef" for copy in ("00a1", "ffb2")]
    write_split(tmp_path, "valid", {name: [{"segmentation": [SQUARE]}] for name in names})
    for fold in make_folds(open_dataset(tmp_path).cases, seed=0).validation:
        stems = [name.split(".rf.")[0] for name in fold]
        assert len(stems) == 2 * len(set(stems))


def test_copies_on_both_sides_of_the_division_stay_and_are_a_warning(tmp_path: Path) -> None:
    for split, names in (("train", ["a.rf.01", "b.rf.02"]), ("valid", ["a.rf.03", "c.rf.04"])):
        write_split(tmp_path, split, {f"{name}.png": [{"segmentation": [SQUARE]}] for name in names})
    dataset = open_dataset(tmp_path)
    assert make_folds(dataset.cases, seed=0).validation == (("a.rf.03", "c.rf.04"),)
    warnings = [finding.problem for finding in check(dataset).warnings if "training and validation" in finding.problem]
    assert len(warnings) == 1 and warnings[0].endswith(": a (a.rf.01 and a.rf.03)")
    assert any(set(fold) >= {"a.rf.01", "a.rf.03"} for fold in make_folds(dataset.cases, seed=0, count=2).validation)


@pytest.mark.parametrize("colours", [1, 3])
def test_pictures_are_read_as_the_dataset_was(tmp_path: Path, colours: int) -> None:
    write_split(tmp_path, "train", {f"{name}.png": [{"segmentation": [SQUARE]}] for name in "ab"}, colours=colours)
    dataset = open_dataset(tmp_path)
    assert dataset.channel_names == (coco.GREY if colours == 1 else coco.COLOURS)
    save(tmp_path / "other" / "grey.png", 1)
    save(tmp_path / "other" / "colour.png", 3)
    found = {case.name: read_image(case.channels).array[:, 0, 0, 0].tolist() for case in find_cases(tmp_path / "other", dataset.channel_names)}
    luma = pytest.approx([0.299 * 7 + 0.587 * 17 + 0.114 * 7])
    assert found == ({"grey": [7], "colour": luma} if colours == 1 else {"grey": [7, 7, 7], "colour": [7, 17, 7]})


def test_all_faults_are_listed(tmp_path: Path) -> None:
    objects: list[dict[str, Any]] = [{"segmentation": [SQUARE]}, {"image_id": 99, "segmentation": [SQUARE]}, {"category_id": 5}, {"segmentation": []}]
    write_split(tmp_path, "train", {"a.png": objects, "b.png": []})
    (tmp_path / "train" / "b.png").unlink()
    problems = [finding.problem for finding in open_dataset(tmp_path).problems]
    assert problems == [
        "annotation 1 is of picture 99, which is not listed",
        "annotation 2 is of category 5, which is not listed",
        "annotation 3 has neither a segmentation nor a box",
        f"a picture that {coco.FILE_NAME} names is missing",
    ]


SHORT, ODD = [2, 1, 5, 1], [*SQUARE, 2]


@pytest.mark.parametrize("segmentation", [[SHORT], [SHORT, [2, 1]], [ODD], [SQUARE, ODD]])
def test_damaged_outlines_are_an_error_and_never_the_box(tmp_path: Path, segmentation: list[list[float]]) -> None:
    write_split(tmp_path, "train", {"a.png": [{"segmentation": segmentation, "bbox": [0, 0, 8, 6]}, {"segmentation": [SQUARE]}]})
    dataset = open_dataset(tmp_path)
    (finding,) = dataset.problems
    assert finding.severity == "error" and finding.problem in (
        "annotation 0 has no outline of three points or more",
        "annotation 0 has an outline with an x that has no y",
    )
    np.testing.assert_array_equal(drawn(dataset, "a"), square())


def test_a_short_outline_beside_others_is_left_out_with_a_warning(tmp_path: Path) -> None:
    write_split(
        tmp_path, "train", {"a.png": [{"segmentation": [SHORT, SQUARE, [], [0, 0]]}], "b.png": [{"segmentation": [[]], "bbox": [2, 1, 3, 3]}]}
    )
    dataset = open_dataset(tmp_path)
    (finding,) = dataset.problems
    assert (finding.severity, finding.problem) == ("warning", "annotation 0 has 2 outlines of fewer than three points, left out")
    for name in "ab":
        np.testing.assert_array_equal(drawn(dataset, name), square())


@pytest.mark.parametrize(("box", "said"), [([2, 1, 0, 3], "0 x 3"), ([2, 1, 3, -3], "3 x -3")])
def test_boxes_without_area_are_an_error(tmp_path: Path, box: list[float], said: str) -> None:
    write_split(tmp_path, "train", {"a.png": [{"bbox": box}]})
    (finding,) = open_dataset(tmp_path).problems
    assert (finding.severity, finding.problem) == ("error", f"annotation 0 has no segmentation, and a box of {said} pixels")


def test_a_number_stands_for_one_picture_and_one_category(tmp_path: Path) -> None:
    write_split(tmp_path, "train", {f"{name}.png": [{"segmentation": [SQUARE]}] for name in "ab"})
    path = tmp_path / "train" / coco.FILE_NAME
    content = json.loads(path.read_text())
    content["categories"] += [{"id": 0, "name": "Tumor "}, {"id": 1, "name": "edema"}]  # the first says the same again
    content["images"][1]["id"] = 0
    path.write_text(json.dumps(content))
    errors = [finding.problem for finding in open_dataset(tmp_path).problems if finding.severity == "error"]
    assert errors == [
        "2 pictures have the number 0 (a.png, b.png): which of them an object is of is not known",
        "2 categories have the number 1 (Tumor, edema): which of them an object is of is not known",
        "annotation 1 is of picture 1, which is not listed",
    ]


def test_a_damaged_picture_is_left_to_the_check(tmp_path: Path) -> None:
    write_split(tmp_path, "train", {f"{name}.png": [{"segmentation": [SQUARE]}] for name in "abc"}, colours=3)
    for name in "ab":
        (tmp_path / "train" / f"{name}.png").write_bytes(b"no picture")
    dataset = open_dataset(tmp_path)
    assert dataset.channel_names == coco.COLOURS
    assert [finding.case for finding in check(dataset).errors] == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[", "holds no annotations of COCO"),
        ("{}", "images: Field required"),
        ('{"images": [{"id": 0, "file_name": "../../x.png", "height": 1, "width": 1}], "annotations": [], "categories": []}', "no picture has"),
    ],
)
def test_damaged_annotations_are_an_error(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / coco.FILE_NAME).write_text(content)
    with pytest.raises(AutosegError, match=said):
        open_dataset(tmp_path)


def test_pictures_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    write_split(tmp_path, "train", {"a.png": [{"segmentation": [SQUARE]}]})
    path = tmp_path / "train" / coco.FILE_NAME
    path.write_text(path.read_text().replace("a.png", "../../a.png"))
    with pytest.raises(AutosegError, match="leads out of"):
        open_dataset(tmp_path)


@pytest.mark.skipif(not REAL.is_dir(), reason="AUTOSEG_TEST_DATA is not set")
def test_real_pictures_are_sound() -> None:
    dataset = open_dataset(REAL)
    assert len(dataset.cases) == 201 and dataset.labels.names == ("background", "Tumor")
    report = check(dataset)
    assert not report.errors
    assert len(find_cases(REAL, dataset.channel_names)) == 100
