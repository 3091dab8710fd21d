"""The check finds every fault at once, names case and file, and gathers facts that agree with the slow obvious computation."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from autoseg.data.check import Report, check
from autoseg.data.dataset import Case, Dataset, Finding, Labels
from autoseg.data.layouts import open_dataset
from autoseg.errors import DatasetError

SHAPE = (10, 12, 8)  # X, Y, Z as NIfTI stores them
DATA = os.environ.get("AUTOSEG_TEST_DATA")


def save(path: Path, array_XYZ: NDArray, spacing: tuple[float, float, float] = (1.0, 1.0, 2.0), shift: float = 0.0) -> Path:
    affine = np.diag([*spacing, 1.0])
    affine[0, 3] = shift
    nibabel.save(nibabel.Nifti1Image(array_XYZ, affine), path)
    return path


def image_of(seed: int) -> NDArray:
    array = np.random.default_rng(seed).normal(100, 20, SHAPE).astype(np.float32)
    array[:2] = 0
    array[:, -3:] = 0
    return array


def labels_of(seed: int) -> NDArray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[3:6, 2 : 5 + seed % 3, 2:6] = 1
    labels[4, 3, 3:5] = 4
    return labels


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Four sound cases of two channels, labels 0, 1, 4."""
    cases = []
    for index, name in enumerate("abcd"):
        channels = (save(tmp_path / f"{name}_0000.nii.gz", image_of(2 * index)), save(tmp_path / f"{name}_0001.nii.gz", image_of(2 * index + 1)))
        cases.append(Case(name, channels, save(tmp_path / f"{name}.nii.gz", labels_of(index)), name))
    labels = Labels(("background", "core", "rim"), (0, 1, 4), {"whole": (1, 4)})
    return Dataset("Dataset001_Test", tmp_path, "nnunet", ("T1", "T2"), labels, tuple(cases), ".nii.gz")


def only(report: Report) -> Finding:
    assert len(report.findings) == 1, report.findings
    return report.findings[0]


def test_groups_on_both_sides_of_a_given_division_are_a_warning(dataset: Dataset) -> None:
    def divided(groups: str) -> Report:
        parts = ("training", "training", "validation", "validation")
        cases = (replace(case, group=group, part=part) for case, group, part in zip(dataset.cases, groups, parts, strict=True))
        return check(replace(dataset, cases=tuple(cases)))

    assert not divided("ppqq").findings
    warning = only(divided("pqrp"))
    assert warning.severity == "warning" and "1 group of cases that belong together in both training and validation: p (a and d)" in warning.problem
    assert "p (a and d), q (b and c)" in only(divided("pqqp")).problem and "--folds 5" in warning.mend
    assert not check(replace(dataset, cases=tuple(replace(case, group="p") for case in dataset.cases))).findings


def test_sound_dataset_gives_facts_of_every_case_in_order(dataset: Dataset) -> None:
    calls = []
    report = check(dataset, workers=3, progress=lambda stage, done, total, note="": calls.append((stage, done, total, note)))
    report.require_clean()

    assert report.findings == ()
    assert report.dataset == dataset
    assert calls == [("check", index + 1, 4, name) for index, name in enumerate("abcd")]
    assert [facts.name for facts in report.facts] == list("abcd")
    for index, facts in enumerate(report.facts):
        labels = labels_of(index)
        assert facts.shape == (8, 12, 10)
        assert facts.shape_after_crop == (8, 9, 8)
        assert facts.spacing == pytest.approx((2, 1, 1))
        assert facts.class_voxels == (np.sum(labels == 0), np.sum(labels == 1), np.sum(labels == 4))
        expected = np.stack([image_of(2 * index + channel).transpose(2, 1, 0)[labels.transpose(2, 1, 0) > 0] for channel in (0, 1)])
        np.testing.assert_array_equal(facts.foreground, expected)
        assert facts.foreground.dtype == np.float32


def test_foreground_is_drawn_without_replacement_and_the_same_whatever_the_threads(dataset: Dataset) -> None:
    everything = {facts.name: facts.foreground for facts in check(dataset).facts}
    drawn = {facts.name: facts.foreground for facts in check(dataset, foreground_limit=10, workers=4).facts}
    again = check(replace(dataset, cases=dataset.cases[::-1]), foreground_limit=10, workers=1).facts
    for facts in again:
        np.testing.assert_array_equal(facts.foreground, drawn[facts.name])
        assert facts.foreground.shape == (2, 10)
        pairs = set(map(tuple, facts.foreground.T.tolist()))
        assert len(pairs) == 10  # voxels keep their channels together and come once
        assert pairs <= set(map(tuple, everything[facts.name].T.tolist()))
    chosen = {name: [everything[name][0].tolist().index(value) for value in drawn[name][0]] for name in "ad"}
    assert chosen["a"] != chosen["d"]  # the same segmentation, another name, another draw


def test_ignored_voxels_count_nowhere(dataset: Dataset) -> None:
    ignoring = replace(dataset, labels=Labels(("background", "core"), (0, 1), ignore=4))
    report = check(ignoring)
    report.require_clean()
    for index, facts in enumerate(report.facts):
        assert facts.class_voxels == (np.sum(labels_of(index) == 0), np.sum(labels_of(index) == 1))
        assert facts.foreground.shape[1] == np.sum(labels_of(index) == 1)


def test_all_errors_are_listed_at_once(dataset: Dataset) -> None:
    a, b, c = dataset.cases[:3]
    a.channels[1].write_bytes(a.channels[1].read_bytes()[:-40])
    b.channels[0].unlink()
    labels = labels_of(2)
    labels[0, 0, :3] = 7
    save(c.label, labels)
    report = check(replace(dataset, problems=(Finding("error", "", dataset.root, "a folder of the layout", "rename it"),)))

    assert [(finding.case, finding.file) for finding in report.errors] == [
        ("", dataset.root),
        ("a", a.channels[1]),
        ("b", b.channels[0]),
        ("c", c.label),
    ]
    assert [facts.name for facts in report.facts] == ["d"]
    with pytest.raises(DatasetError) as caught:
        report.require_clean()
    text = str(caught.value)
    assert "4 error(s)" in text and "Rename it." in text
    for finding in report.errors:
        assert str(finding.file) in text and finding.problem in text
    assert "case d" not in text


def change_image(array: NDArray, **grid: object) -> Callable[[Case], Path]:
    return lambda case: save(case.channels[1], array, **grid)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (change_image(image_of(0)[:, :-1]), r"a_0000.nii.gz: shape \(8, 11, 10\) instead of \(8, 12, 10\)"),
        (change_image(image_of(0), spacing=(1.0, 1.0, 2.02)), r"a_0000.nii.gz: spacing .* off by 1.00%"),
        (change_image(image_of(0), shift=3.0), r"a_0000.nii.gz: origin or orientation differs: corners lie up to 3.00 mm"),
        (change_image(np.where(image_of(0) == 0, np.nan, 1)), r"384 voxel\(s\) are not a number"),
        (change_image(np.where(np.arange(8) == 3, np.inf, image_of(0))), r"120 voxel\(s\) are not a number or infinite"),
    ],
)
def test_faults_of_one_channel(dataset: Dataset, change: Callable[[Case], Path], problem: str) -> None:
    file = change(dataset.cases[0])
    report = check(dataset)
    finding = only(report)
    assert (finding.severity, finding.case, finding.file) == ("error", "a", file)
    with pytest.raises(DatasetError, match=problem):
        report.require_clean()
    assert len(report.facts) == 3


def test_differences_within_the_tolerance_are_no_fault(dataset: Dataset) -> None:
    save(dataset.cases[0].channels[1], image_of(1), spacing=(1.0, 1.0, 2.001))
    assert check(dataset).findings == ()


def test_label_of_another_shape(dataset: Dataset) -> None:
    file = save(dataset.cases[1].label, labels_of(1)[:-2])
    finding = only(check(dataset))
    assert (finding.severity, finding.file) == ("error", file)
    assert str(dataset.cases[1].channels[0]) in finding.problem and "(8, 12, 8)" in finding.problem


def test_undeclared_label_values_are_counted(dataset: Dataset) -> None:
    labels = labels_of(0)
    labels[0, 0, :3], labels[0, 1, 0] = 7, 9
    save(dataset.cases[0].label, labels)
    assert "label value 7 (3 voxels), 9 (1 voxels) where only 0, 1, 4 are declared" in only(check(dataset)).problem


def test_case_without_a_segmentation(dataset: Dataset) -> None:
    cases = (replace(dataset.cases[0], label=None), *dataset.cases[1:])
    assert "no segmentation" in only(check(replace(dataset, cases=cases))).problem


def test_too_few_channels_are_said_once(dataset: Dataset) -> None:
    cases = (replace(dataset.cases[0], channels=dataset.cases[0].channels[:1]), *dataset.cases[1:])
    lacking = replace(dataset, cases=cases)
    assert only(check(lacking)).problem == "1 channel(s) instead of 2 (T1, T2)"

    named = Finding("error", "a", dataset.root, "channel T2 is missing", "add it")
    report = check(replace(lacking, problems=(named,)))
    assert report.findings == (named,)
    assert [facts.name for facts in report.facts] == ["b", "c", "d"]


def test_names_that_clash(dataset: Dataset) -> None:
    a, b, c, d = dataset.cases
    report = check(replace(dataset, cases=(a, b, replace(c, name="A"), replace(d, name="a"))))
    assert [(finding.severity, finding.case) for finding in report.findings] == [("error", "A"), ("error", "a")]
    assert "upper and lower case" in report.findings[0].problem
    assert "name of another case" in report.findings[1].problem


@pytest.mark.parametrize("count", [0, 1])
def test_at_least_two_cases(dataset: Dataset, count: int) -> None:
    finding = only(check(replace(dataset, cases=dataset.cases[:count])))
    assert finding.severity == "error" and f"{count} case(s)" in finding.problem


def test_warnings_do_not_stop(dataset: Dataset) -> None:
    a, b, c, d = dataset.cases
    save(a.channels[1], np.full(SHAPE, 5, np.float32))
    save(b.label, np.zeros(SHAPE, np.uint8))
    for target, source in zip(d.channels, c.channels, strict=True):
        save(target, np.asarray(nibabel.load(source).dataobj))
    report = check(replace(dataset, labels=Labels(("background", "core", "never", "rim"), (0, 1, 2, 4))))
    report.require_clean()

    assert len(report.facts) == 4
    assert [(finding.case, finding.file) for finding in report.warnings] == [
        ("", None),
        ("a", a.channels[1]),
        ("b", b.label),
        ("d", d.channels[0]),
    ]
    problems = [finding.problem for finding in report.warnings]
    assert "class never (value 2) occurs in none of 4" in problems[0]
    assert "every voxel is 5: channel T2" in problems[1]
    assert "no foreground" in problems[2]
    assert "the same images under two names" in problems[3] and "case c" in problems[3]


@pytest.mark.parametrize("shift", [0, -120, 40_000, 70_000])
@pytest.mark.parametrize("dtype", ["uint8", "int16", ">i2", "uint16", "int32", "int64", "float64"])
def test_what_is_found_does_not_depend_on_the_type_that_a_file_stores(dataset: Dataset, dtype: str, shift: int) -> None:
    whole = np.rint(image_of(0)).clip(0, 255) + shift
    if np.dtype(dtype).kind != "f" and not np.iinfo(dtype).min <= whole.min() <= whole.max() <= np.iinfo(dtype).max:
        whole = np.rint(image_of(0)).clip(0, 255)
    a, b = dataset.cases[:2]
    for case, stored in ((a, np.float32), (b, dtype)):
        nibabel.save(nibabel.Nifti1Image(whole.astype(stored), np.diag([1, 1, 2, 1]), dtype=np.dtype(stored)), case.channels[0])
        save(case.channels[1], image_of(1))
        save(case.label, labels_of(0))
    report = check(dataset)
    finding = only(report)
    assert finding.case == "b" and "every voxel equals case a" in finding.problem
    first, second = (replace(facts, name="", foreground=facts.foreground.tolist()) for facts in report.facts[:2])
    assert first == second
    whole[4, 4, 4] += 1  # a single voxel
    nibabel.save(nibabel.Nifti1Image(whole.astype(dtype), np.diag([1, 1, 2, 1]), dtype=np.dtype(dtype)), b.channels[0])
    assert check(dataset).findings == ()


def test_hardly_credible_spacing_is_a_warning(dataset: Dataset) -> None:
    a = dataset.cases[0]
    for channel, file in enumerate(a.channels):
        save(file, image_of(channel), spacing=(0.01, 1.0, 2.0))
    save(a.label, labels_of(0), spacing=(0.01, 1.0, 2.0))
    finding = only(check(dataset))
    assert finding.severity == "warning" and "200 times as coarse" in finding.problem


def test_empty_image_keeps_its_shape(dataset: Dataset) -> None:
    for file in dataset.cases[0].channels:
        save(file, np.zeros(SHAPE, np.float32))
    report = check(dataset)
    assert len(report.warnings) == 2 and report.errors == ()
    assert report.facts[0].shape_after_crop == report.facts[0].shape


def test_optional_values_that_no_case_has_are_dropped(dataset: Dataset) -> None:
    labels = Labels(("background", "core", "cavity", "rim", "cyst"), (0, 1, 3, 4, 5), {"whole": (1, 4, 5), "cavity": (3,)}, optional=(3, 4, 5))
    report = check(replace(dataset, labels=labels))
    assert report.findings == ()
    assert report.dataset.labels == Labels(("background", "core", "rim"), (0, 1, 4), {"whole": (1, 4)})
    for index, facts in enumerate(report.facts):
        assert facts.class_voxels == tuple(np.sum(labels_of(index) == value) for value in (0, 1, 4))


@pytest.mark.skipif(not DATA, reason="AUTOSEG_TEST_DATA is not set")
def test_real_hippocampus_in_seconds() -> None:
    start = time.perf_counter()
    report = check(open_dataset(Path(DATA or "") / "Dataset004_Hippocampus"))
    assert report.errors == ()
    assert len(report.facts) == 200
    assert all(facts.foreground.shape == (1, sum(facts.class_voxels[1:])) for facts in report.facts)
    assert time.perf_counter() - start < 30  # a few seconds; room for a busy machine
