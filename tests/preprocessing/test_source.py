"""Files against the plan: what fits comes back as it was stored, what does not is named after case and file."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data.dataset import Case
from autoseg.errors import AutosegError, GeometryMismatch, Interrupted, UnreadableFile
from autoseg.imaging.image import Geometry, Image, LabelMap
from autoseg.imaging.read import read_image, read_labels
from autoseg.imaging.sources import Absent
from autoseg.imaging.write import write_image, write_labels
from autoseg.planning.plan import Plan
from autoseg.preprocessing.source import naming, read_scan, read_segmentation, read_shown

Plans, Cases = Callable[..., Plan], Callable[..., Case]


def test_what_fits_is_read_as_it_is(small_plan: Plans, make_case: Cases) -> None:
    case, plan = make_case(), small_plan()
    scan = read_scan(case, plan)
    np.testing.assert_array_equal(scan.array, read_image(case.channels).array)
    labels = read_segmentation(case, plan, scan.geometry)
    assert labels is not None
    np.testing.assert_array_equal(labels.array, read_labels(case.label).array)  # type: ignore[arg-type]
    assert read_segmentation(Case(case.name, case.channels, None, case.group), plan, scan.geometry) is None


@pytest.mark.parametrize("values", [(np.nan,), (np.inf,), (-np.inf,), (np.inf, -np.inf)])
def test_what_is_no_number_is_refused(values: tuple[float, ...], small_plan: Plans, make_case: Cases) -> None:
    case, plan = make_case(), small_plan()
    scan = read_image(case.channels[1:])
    array = scan.array.copy()
    array[0, 3, 3, : len(values)] = values
    write_image(Image(array, scan.geometry), case.channels[1])
    with pytest.raises(AutosegError, match=r"case_0001\.nii\.gz holds values that are no numbers \(NaN or infinity\) in channel t2"):
        read_scan(case, plan)


def test_numbers_whose_sum_is_none_are_numbers(small_plan: Plans, make_case: Cases) -> None:
    case, plan = make_case(), small_plan()
    scan = read_image(case.channels[1:])
    array = scan.array.copy()
    array[0, 3, 3, :9] = 3e38
    write_image(Image(array, scan.geometry), case.channels[1])
    assert read_scan(case, plan).array[1, 3, 3, 8] == np.float32(3e38)


def test_the_ignore_label_is_declared(small_plan: Plans, make_case: Cases) -> None:
    case = make_case()
    write_labels(LabelMap(np.full((12, 14, 16), 9, np.uint8), Geometry.of((12, 14, 16))), case.label)  # type: ignore[arg-type]
    assert read_segmentation(case, small_plan(ignore=9), Geometry.of((12, 14, 16))) is not None
    with pytest.raises(AutosegError, match=r"holds the label values 9; declared are 0, 1, 2, 4"):
        read_segmentation(case, small_plan(), Geometry.of((12, 14, 16)))


def test_a_segmentation_elsewhere_is_of_the_kind_that_says_so(small_plan: Plans, make_case: Cases) -> None:
    with pytest.raises(GeometryMismatch, match="does not lie on the grid"):
        read_segmentation(make_case(), small_plan(), Geometry.of((12, 14, 16), (2.0, 1.0, 1.0)))


@pytest.mark.parametrize("kind", [AutosegError, UnreadableFile, GeometryMismatch])
def test_the_case_is_named_and_the_kind_stays(kind: type[AutosegError], make_case: Cases) -> None:
    with pytest.raises(kind, match=r"^Case a: the text$") as caught, naming(make_case("a")):
        raise kind("the text")
    assert type(caught.value) is kind


def test_interruptions_and_defects_pass_as_they_are(make_case: Cases) -> None:
    for error in (Interrupted("Stopped."), ValueError("a defect")):
        with pytest.raises(type(error)) as caught, naming(make_case()):
            raise error
        assert caught.value is error


@pytest.mark.parametrize(("names", "value"), [(("t1n", "t2f"), 1.0), (("pre", "FLAIR"), 1.0), (("CT", "PET"), 0.0)])
@pytest.mark.parametrize("together", [False, True])
def test_pictures_show_flair_where_there_is_one(names: tuple[str, str], value: float, together: bool, tmp_path: Path) -> None:
    grid = Geometry.of((2, 3, 4))
    files = [tmp_path / f"{channel}.nii.gz" for channel in (0, 1)]
    for channel, file in enumerate(files):
        write_image(Image(np.full((1, 2, 3, 4), channel, np.float32), grid), file)
    if together:
        joined = sitk.JoinSeries([sitk.ReadImage(str(file)) for file in files])
        files = [tmp_path / "both.nii.gz"]
        sitk.WriteImage(joined, str(files[0]))
    assert (read_shown(Case("a", tuple(files), None, "a"), names).array == np.full((1, 2, 3, 4), value)).all()


def test_pictures_show_what_there_is_where_flair_is_absent(tmp_path: Path) -> None:
    file = tmp_path / "t1.nii.gz"
    write_image(Image(np.full((1, 2, 3, 4), 7, np.float32), Geometry.of((2, 3, 4))), file)
    assert (read_shown(Case("a", (Absent(), file), None, "a"), ("FLAIR", "T1")).array == 7).all()
