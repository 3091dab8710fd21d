"""The nnU-Net raw layout, with everything that dataset.json may say and files may lack."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from autoseg.data.dataset import Labels
from autoseg.data.layouts import nnunet, open_dataset
from autoseg.errors import AutosegError


def make(root: Path, files: tuple[str, ...] = (), **content: Any) -> Path:
    """A dataset of two channels with the given files, by default two sound cases."""
    files = files or tuple(f"{file}.nii.gz" for case in "ab" for file in (f"imagesTr/{case}_0000", f"imagesTr/{case}_0001", f"labelsTr/{case}"))
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    default = {"channel_names": {"0": "T2", "1": "ADC"}, "labels": {"background": 0, "PZ": 1, "TZ": 2}, "numTraining": 2, "file_ending": ".nii.gz"}
    merged = {key: value for key, value in (default | content).items() if value is not None}
    (root / "dataset.json").write_text(json.dumps(merged))
    return root


def findings(root: Path) -> list[tuple[str, str]]:
    return [(finding.case, finding.problem) for finding in open_dataset(root).problems]


def test_sound_dataset(tmp_path: Path) -> None:
    dataset = open_dataset(make(tmp_path))
    assert (dataset.layout, dataset.file_ending, dataset.channel_names) == ("nnunet", ".nii.gz", ("T2", "ADC"))
    assert dataset.labels == Labels(("background", "PZ", "TZ"), (0, 1, 2))
    assert [case.name for case in dataset.cases] == ["a", "b"]
    assert [path.name for path in dataset.cases[1].channels] == ["b_0000.nii.gz", "b_0001.nii.gz"]
    assert dataset.cases[1].label == tmp_path / "labelsTr" / "b.nii.gz"
    assert dataset.notes == dataset.problems == ()


def test_more_than_ten_channels_keep_their_order(tmp_path: Path) -> None:
    names = {str(number): f"c{number}" for number in range(11)}
    files = tuple(f"imagesTr/a_{number:04d}.nii.gz" for number in range(11))
    dataset = open_dataset(make(tmp_path, (*files, "labelsTr/a.nii.gz"), channel_names=names, numTraining=1))
    assert dataset.channel_names == tuple(f"c{number}" for number in range(11))
    assert [path.name for path in dataset.cases[0].channels] == [Path(name).name for name in files]


def test_values_need_not_be_consecutive_and_are_sorted(tmp_path: Path) -> None:
    labels = open_dataset(make(tmp_path, labels={"background": 0, "tumour": 9, "liver": 3})).labels
    assert labels == Labels(("background", "liver", "tumour"), (0, 3, 9))


def test_regions_give_plain_classes(tmp_path: Path) -> None:
    entry = {"background": 0, "whole": [1, 2, 4], "core": [4, 2], "enhancing": 4, "ignore": 5}
    labels = open_dataset(make(tmp_path, labels=entry)).labels
    assert labels.values == (0, 1, 2, 4)
    assert labels.names == ("background", "label_1", "label_2", "enhancing")
    assert list(labels.regions.items()) == [("whole", (1, 2, 4)), ("core", (2, 4)), ("enhancing", (4,))]
    assert labels.ignore == 5


def test_regions_paint_in_the_order_that_is_declared(tmp_path: Path) -> None:
    entry = {"background": 0, "core": [4, 2], "enhancing": 4, "whole": [1, 2, 4], "ignore": 5}
    dataset = open_dataset(make(tmp_path / "declared", labels=entry, regions_class_order=[2, 4, 1]))
    assert list(dataset.labels.regions) == ["core", "enhancing", "whole"] and dataset.labels.region_order == (2, 4, 1)
    assert dataset.notes == ()
    (undeclared,) = open_dataset(make(tmp_path / "not", labels=entry)).notes
    assert "no 'regions_class_order'" in undeclared and "classes are learned" in undeclared
    assert open_dataset(make(tmp_path / "classes", labels={"background": 0, "organ": 1}, regions_class_order=[1])).labels.region_order == ()


@pytest.mark.parametrize("order", [[2, 4], [2, 1, 1], [2, 4, 5], [2, True, 1], "2, 4, 1", [[2], 4, 1]])
def test_an_order_that_cannot_be_painted(tmp_path: Path, order: object) -> None:
    entry = {"background": 0, "core": [4, 2], "enhancing": 4, "whole": [1, 2, 4]}
    with pytest.raises(AutosegError, match="'regions_class_order' must give one value for each of core, enhancing, whole, in this order"):
        open_dataset(make(tmp_path, labels=entry, regions_class_order=order))


def test_ignore_label_is_no_class(tmp_path: Path) -> None:
    labels = open_dataset(make(tmp_path, labels={"background": 0, "vessel": 1, "ignore": 2})).labels
    assert (labels.values, labels.ignore, labels.allowed, labels.regions) == ((0, 1), 2, (0, 1, 2), {})


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ({"tumour": 1}, 'must hold "background": 0'),
        ({"background": 1, "tumour": 0}, 'must hold "background": 0'),
        ({"background": False, "tumour": 1}, 'must hold "background": 0'),
        ({"background": 0}, "only the background"),
        ({"background": 0, "a": 1, "b": 1}, "both 'a' and 'b'"),
        ({"background": 0, "a": 1.5}, "must be an integer"),
        ({"background": 0, "a": -1}, "must be an integer"),
        ({"background": 0, "a": True}, "must be an integer"),
        ({"background": 0, "a": 70000}, "must be an integer"),
        ({"background": 0, "a": "1"}, "must be an integer"),
        ({"background": 0, "a": [0, 1]}, "without the background"),
        ({"background": 0, "a": []}, "must unite label values"),
        ({"background": 0, "a": [1, 2], "ignore": 2}, "and the ignore label"),
        ({"background": 0, "a": 1, "ignore": 1}, "both 'a' and 'ignore'"),
        ({"1": "tumour", "2": "edema"}, "no label has the value 0"),
        ({"0": "background", "1": "x", "2": "x"}, "several labels are called x"),
        ({"0": "background", "one": "x"}, "'one' is no value"),
        ({}, "must give each label's value"),
        ([0, 1], "must give each label's value"),
    ],
)
def test_mistaken_labels_are_refused(tmp_path: Path, labels: Any, text: str) -> None:
    with pytest.raises(AutosegError, match=text):
        open_dataset(make(tmp_path, labels=labels))


@pytest.mark.parametrize("channels", [{"1": "T2"}, {"0": "T2", "2": "ADC"}, {"T2": 0}, {}, ["T2"], {"0": ""}])
def test_mistaken_channel_names_are_refused(tmp_path: Path, channels: Any) -> None:
    with pytest.raises(AutosegError, match="must number the channels"):
        open_dataset(make(tmp_path, channel_names=channels))


def test_old_keys(tmp_path: Path) -> None:
    training = [{"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"} for case in "ab"]
    old = {"modality": {"0": "T2", "1": "ADC"}, "labels": {"0": "background", "1": "PZ", "7": "TZ"}, "training": training}
    dataset = open_dataset(make(tmp_path, channel_names=None, **old))
    assert (dataset.layout, dataset.channel_names) == ("nnunet", ("T2", "ADC"))
    assert dataset.labels == Labels(("background", "PZ", "TZ"), (0, 1, 7))
    assert len(dataset.cases) == 2 and len(dataset.cases[0].channels) == 2 and dataset.problems == ()


def test_another_number_of_cases_is_a_note(tmp_path: Path) -> None:
    dataset = open_dataset(make(tmp_path, numTraining=3))
    assert "announces 3 training cases; 2 usable" in dataset.notes[0] and dataset.problems == ()


def test_all_problems_are_listed_at_once(tmp_path: Path) -> None:
    files = (
        *("imagesTr/whole_0000.nii.gz", "imagesTr/whole_0001.nii.gz", "labelsTr/whole.nii.gz"),
        *("imagesTr/unlabelled_0000.nii.gz", "imagesTr/unlabelled_0001.nii.gz"),
        "labelsTr/blind.nii.gz",
        *("imagesTr/half_0001.nii.gz", "labelsTr/half.nii.gz"),
        *(f"imagesTr/surplus_000{number}.nii.gz" for number in range(3)),
        "labelsTr/surplus.nii.gz",
        *("imagesTr/shifted_0001.nii.gz", "imagesTr/shifted_0002.nii.gz", "labelsTr/shifted.nii.gz"),
        *("imagesTr/bare.nii.gz", "labelsTr/bare.nii.gz"),
    )
    dataset = open_dataset(make(tmp_path, files))
    assert [case.name for case in dataset.cases] == ["whole"]
    problems = {finding.case: finding for finding in dataset.problems}
    assert set(problems) == {"unlabelled", "blind", "half", "surplus", "shifted", "bare"} and len(dataset.problems) == 6
    assert "without a label" in problems["unlabelled"].problem
    assert "without an image" in problems["blind"].problem
    assert "missing channel: half_0000" in problems["half"].problem
    assert "missing channel: shifted_0000" in problems["shifted"].problem
    assert "surplus_0002.nii.gz" in problems["surplus"].problem
    assert problems["bare"].mend == "name it bare_0000.nii.gz"
    assert all(finding.severity == "error" and finding.file is not None for finding in dataset.problems)


def test_macos_files_do_not_exist(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "imagesTr" / "._a_0000.nii.gz").touch()
    (tmp_path / "labelsTr" / "._c.nii.gz").touch()
    dataset = open_dataset(tmp_path)
    assert len(dataset.cases) == 2 and dataset.problems == ()


def test_file_ending_is_derived(tmp_path: Path) -> None:
    files = ("imagesTr/a_0000.mha", "imagesTr/a_0001.mha", "labelsTr/a.mha")
    dataset = open_dataset(make(tmp_path, files, file_ending=None, numTraining=1))
    assert dataset.file_ending == ".mha" and dataset.cases[0].label == tmp_path / "labelsTr" / "a.mha"


def test_two_files_for_one_channel(tmp_path: Path) -> None:
    files = ("imagesTr/a_0000.nii", "imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz", "labelsTr/a.nii")
    problems = findings(make(tmp_path, files, file_ending=None))
    assert sum("there twice" in problem for _, problem in problems) == 2 and {case for case, _ in problems} == {"a"}


def test_other_endings_are_noted(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "imagesTr" / "c_0000.nrrd").touch()
    assert "c_0000.nrrd" in open_dataset(tmp_path).notes[0]


def test_declared_ending_that_no_file_has(tmp_path: Path) -> None:
    with pytest.raises(AutosegError, match=r"no images ending with \.nrrd: found are a_0000\.nii\.gz"):
        open_dataset(make(tmp_path, file_ending=".nrrd"))


def test_unknown_ending_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(AutosegError, match=r"'\.dcm'; it must be one of .*\.nrrd"):
        open_dataset(make(tmp_path, file_ending=".dcm"))


def test_no_images_folder(tmp_path: Path) -> None:
    with pytest.raises(AutosegError, match=r"imagesTr holds no images .* that folder does not exist"):
        open_dataset(make(tmp_path, ("labelsTr/a.nii.gz",)))


def test_colour_pictures_hold_all_channels(tmp_path: Path) -> None:
    colours = {"0": "R", "1": "G", "2": "B"}
    dataset = open_dataset(make(tmp_path, ("imagesTr/a_0000.png", "labelsTr/a.png"), channel_names=colours, file_ending=".png", numTraining=1))
    assert dataset.cases[0].channels == (tmp_path / "imagesTr" / "a_0000.png",) and dataset.problems == ()


def test_explicit_paths(tmp_path: Path) -> None:
    files = ("site1/x-t2.nii.gz", "site1/x-adc.nii.gz", "site1/x-mask.nii.gz", "all.nii.gz")
    entry = {
        "x": {"images": ["site1/x-t2.nii.gz", "./site1/../site1/x-adc.nii.gz"], "label": "site1/x-mask.nii.gz"},
        "y": {"images": ["all.nii.gz"], "label": "site1/x-mask.nii.gz"},
    }
    dataset = open_dataset(make(tmp_path, files, dataset=entry))
    assert dataset.cases[0].channels == (tmp_path / "site1/x-t2.nii.gz", tmp_path / "site1/x-adc.nii.gz")
    assert dataset.cases[1].channels == (tmp_path / "all.nii.gz",)
    assert dataset.problems == () and dataset.file_ending == ".nii.gz"


def test_predictions_end_as_labels_do(tmp_path: Path) -> None:
    """JPEG cannot hold labels: pictures of that kind have labels of another."""
    grey = {"channel_names": {"0": "grey"}, "file_ending": None, "numTraining": 1}
    assert open_dataset(make(tmp_path / "a", ("imagesTr/a_0000.jpg", "labelsTr/a.png"), **grey)).file_ending == ".png"
    entry = {"x": {"images": ["x.jpg"], "label": "x.tif"}}
    assert open_dataset(make(tmp_path / "b", ("x.jpg", "x.tif"), dataset=entry, **grey)).file_ending == ".tif"


def test_explicit_paths_that_are_missing_or_too_many(tmp_path: Path) -> None:
    entry = {"x": {"images": ["a.nii.gz", "gone.nii.gz"], "label": "a.nii.gz"}, "y": {"images": ["a.nii.gz"] * 3, "label": "a.nii.gz"}}
    dataset = open_dataset(make(tmp_path, ("a.nii.gz",), dataset=entry))
    assert dataset.cases == ()
    assert [(finding.case, finding.file) for finding in dataset.problems] == [("x", tmp_path / "gone.nii.gz"), ("y", tmp_path / "dataset.json")]


@pytest.mark.parametrize(
    "path", ["../secret.nii.gz", "a/../../secret.nii.gz", "{absolute}", "..", "C:\\secret.nii.gz", "C:secret.nii.gz", "\\secret", "", 3]
)
@pytest.mark.parametrize("place", ["images", "label"])
def test_paths_may_not_leave_the_folder(tmp_path: Path, path: Any, place: str) -> None:
    (tmp_path / "secret.nii.gz").touch()
    path = str(tmp_path / "secret.nii.gz") if path == "{absolute}" else path
    files = {"images": ["a.nii.gz", "a.nii.gz"], "label": "a.nii.gz"} | {place: [path, "a.nii.gz"] if place == "images" else path}
    with pytest.raises(AutosegError, match=r"leads out of|path was expected"):
        open_dataset(make(tmp_path / "data", ("a.nii.gz",), dataset={"x": files}))


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ".hidden", "", "a\\b"])
def test_case_names_may_not_lead_elsewhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(AutosegError, match="cannot name a case"):
        open_dataset(make(tmp_path, ("a.nii.gz",), dataset={name: {"images": ["a.nii.gz"], "label": "a.nii.gz"}}))


def test_links_of_the_user_are_followed(tmp_path: Path) -> None:
    (tmp_path / "far.nii.gz").touch()
    root = make(tmp_path / "data", ("label.nii.gz",), dataset={"x": {"images": ["near.nii.gz"], "label": "label.nii.gz"}})
    (root / "near.nii.gz").symlink_to(tmp_path / "far.nii.gz")
    assert open_dataset(root).cases[0].channels == (root / "near.nii.gz",)


def test_broken_link_is_a_missing_channel(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "imagesTr" / "b_0001.nii.gz").unlink()
    (tmp_path / "imagesTr" / "b_0001.nii.gz").symlink_to(tmp_path / "gone")
    assert findings(tmp_path) == [("b", "missing channel: b_0001")]


def test_explicit_entry_without_keys(tmp_path: Path) -> None:
    with pytest.raises(AutosegError, match="needs the keys 'images'"):
        open_dataset(make(tmp_path, ("a.nii.gz",), dataset={"x": {"image": "a.nii.gz"}}))


@pytest.mark.skipif("AUTOSEG_TEST_DATA" not in os.environ, reason="needs the real data")
def test_hippocampus() -> None:
    root = Path(os.environ["AUTOSEG_TEST_DATA"]) / "Dataset004_Hippocampus"
    assert nnunet.recognises(root)
    dataset = open_dataset(root)
    assert (len(dataset.cases), dataset.channel_names, dataset.labels.names) == (200, ("MRI",), ("background", "Anterior", "Posterior"))
    assert dataset.notes == dataset.problems == ()
