"""Folders of predictions, ours and nnU-Net's, made into one; what does not belong together is refused by name."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import autoseg
from autoseg.data.description import read_dataset_json
from autoseg.errors import AutosegError, GeometryMismatch
from autoseg.imaging.image import Geometry, LabelMap
from autoseg.imaging.read import read_labels
from autoseg.imaging.write import write_labels
from autoseg.inference.ensembling import patterns, staple
from autoseg.planning.plan import Plan, write_plan

SHAPE = (4, 5, 6)
CASES = ("001", "b")
VALUES = np.array([0, 1, 2, 4], np.uint8)
LABELS = {"background": 0, "necrotic": 1, "edema": 2, "enhancing": 4}


def soft_member(folder: Path, seed: int, *, like_nnunet: bool = False, values: NDArray[np.uint8] = VALUES) -> NDArray[np.float16]:
    """A folder as `predict --probabilities` or nnU-Net leaves it; gives (cases, K, Z, Y, X)."""
    rng, stack = np.random.default_rng(seed), []
    for case in CASES:
        logits = 2 * rng.normal(size=(len(values), *SHAPE))
        soft = np.exp(logits) / np.exp(logits).sum(axis=0)
        soft = soft.astype(np.float32 if like_nnunet else np.float16)
        write_labels(LabelMap(values[soft.argmax(axis=0)], Geometry.of(SHAPE, (3.0, 1.0, 1.0))), folder / f"{case}.nii.gz")
        np.savez_compressed(folder / f"{case}.npz", probabilities=soft)
        if like_nnunet:
            (folder / f"{case}.pkl").write_bytes(pickle.dumps({"spacing": [3.0, 1.0, 1.0]}))
        stack.append(soft)
    (folder / "dataset.json").write_text(json.dumps({"channel_names": {"0": "MRI"}, "labels": LABELS, "numTraining": 2, "file_ending": ".nii.gz"}))
    return np.stack(stack)


def hard_member(folder: Path, seed: int, shape: tuple[int, int, int] = SHAPE, cases: tuple[str, ...] = CASES) -> list[NDArray[np.uint8]]:
    rng, maps = np.random.default_rng(seed), []
    for case in cases:
        maps.append(rng.choice(VALUES, size=shape))
        write_labels(LabelMap(maps[-1], Geometry.of(shape)), folder / f"{case}.nii.gz")
    return maps


def result(folder: Path) -> list[NDArray[np.integer]]:
    return [read_labels(folder / f"{case}.nii.gz").array for case in CASES]


def test_the_mean_of_ours_and_nnunets_is_that_of_the_stack(tmp_path: Path) -> None:
    members = [soft_member(tmp_path / "a", 0), soft_member(tmp_path / "b", 1, like_nnunet=True), soft_member(tmp_path / "c", 2)]
    notes: list[str] = []
    done = autoseg.ensemble([tmp_path / name for name in "abc"], tmp_path / "out", notify=notes.append)
    assert notes == ["The probabilities of 3 members are averaged."]
    assert (done.method, done.skipped, sorted(done.files)) == ("mean", (), ["001", "b"])
    expected = VALUES[np.mean([member.astype(np.float64) for member in members], axis=0).argmax(axis=1)]
    np.testing.assert_array_equal(result(tmp_path / "out"), expected)
    assert read_labels(tmp_path / "out" / "b.nii.gz").geometry == read_labels(tmp_path / "a" / "b.nii.gz").geometry


def test_label_maps_are_voted_on_or_weighed(tmp_path: Path) -> None:
    members = [hard_member(tmp_path / name, seed) for seed, name in enumerate("abc")]
    folders = [str(tmp_path / name) for name in "abc"]
    notes: list[str] = []
    assert autoseg.ensemble(folders, tmp_path / "vote", notify=notes.append).method == "majority"
    assert notes == [f"No probabilities (.npz) in {', '.join(folders)}: label maps are combined by majority vote."]
    for case in range(2):
        votes = np.stack([np.stack([member[case] for member in members]) == value for value in VALUES]).sum(axis=1)
        np.testing.assert_array_equal(result(tmp_path / "vote")[case], VALUES[votes.argmax(axis=0)])
    assert autoseg.ensemble(folders, tmp_path / "staple", method="staple").method == "staple"
    for case in range(2):
        np.testing.assert_array_equal(result(tmp_path / "staple")[case], staple(patterns(member[case] for member in members)))


def test_two_voters_are_told_what_becomes_of_ties(tmp_path: Path) -> None:
    one, other = hard_member(tmp_path / "a", 0), hard_member(tmp_path / "b", 1)
    notes: list[str] = []
    autoseg.ensemble([tmp_path / "a", tmp_path / "b"], tmp_path / "out", notify=notes.append)
    assert any("a tie goes to the smaller value" in note for note in notes)
    np.testing.assert_array_equal(result(tmp_path / "out"), np.minimum(one, other))


def test_finished_cases_are_passed_over_and_others_predictions_are_not_touched(tmp_path: Path) -> None:
    for seed, name in enumerate("abc"):
        hard_member(tmp_path / name, seed)
    folders, out = [tmp_path / name for name in "abc"], tmp_path / "out"
    autoseg.ensemble(folders, out)
    assert autoseg.ensemble(folders, out).skipped == CASES
    record = json.loads((out / "ensemble.json").read_text())
    assert record["method"] == "majority"
    assert [Path(member["folder"]).name for member in record["members"]] == ["a", "b", "c"]
    (out / "b.nii.gz").unlink()
    assert autoseg.ensemble(folders, out).skipped == ("001",)
    assert autoseg.ensemble(folders, out).skipped == CASES
    later = (out / "b.nii.gz").stat().st_mtime_ns + 10**9
    os.utime(tmp_path / "a" / "b.nii.gz", ns=(later, later))
    assert autoseg.ensemble(folders, out).skipped == ("001",)
    with pytest.raises(AutosegError, match=r"out holds an ensemble of other members or by another method.*--overwrite"):
        autoseg.ensemble(folders, out, method="staple")
    assert autoseg.ensemble(folders, out, method="staple", overwrite=True).skipped == ()
    (out / "ensemble.json").unlink()
    with pytest.raises(AutosegError, match=r"001\.nii\.gz is there already, and no ensemble\.json beside it"):
        autoseg.ensemble(folders, out)
    with pytest.raises(AutosegError, match="is a member itself"):
        autoseg.ensemble(folders, tmp_path / "c", overwrite=True)


def test_an_ensemble_of_ensembles_keeps_their_story(tmp_path: Path) -> None:
    for seed, name in enumerate("abc"):
        hard_member(tmp_path / name, seed)
    (tmp_path / "a" / "predictions.json").write_text(json.dumps({"dataset": "DatasetX", "configuration": "2d"}))
    autoseg.ensemble([tmp_path / name for name in "abc"], tmp_path / "first")
    autoseg.ensemble([tmp_path / name for name in ("first", "b", "c")], tmp_path / "second")
    record = json.loads((tmp_path / "second" / "ensemble.json").read_text())
    assert record["dataset"] == "DatasetX"
    assert record["members"][0]["made_by"]["members"][0]["made_by"]["configuration"] == "2d"


def test_an_ensemble_is_judged_by_its_datasets_classes(tmp_path: Path, small_plan: Callable[..., Plan]) -> None:
    write_plan(small_plan(), tmp_path / "plans" / "Dataset001_Small.json")
    hard_member(tmp_path / "b", 1)
    hard_member(tmp_path / "a", 0)
    (tmp_path / "a" / "predictions.json").write_text(json.dumps({"dataset": "Dataset001_Small"}))
    autoseg.ensemble([tmp_path / "a", tmp_path / "b"], tmp_path / "out", workspace=tmp_path)
    found = autoseg.evaluate(tmp_path / "out", tmp_path / "b", workspace=tmp_path).evaluation
    assert [target.name for target in found.targets] == ["class 1", "class 2", "class 4"]


def test_members_that_do_not_fit_are_named_all_at_once(tmp_path: Path) -> None:
    hard_member(tmp_path / "a", 0)
    hard_member(tmp_path / "b", 1, (4, 5, 7))
    hard_member(tmp_path / "c", 1, cases=("b", "d"))
    with pytest.raises(GeometryMismatch, match=r"2 predictions(.|\n)*b/001\.nii\.gz does not lie on the grid of .*a/001(.|\n)*b/b\.nii\.gz"):
        autoseg.ensemble([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    with pytest.raises(AutosegError, match=r"a lacks d\n(.|\n)*c lacks 001"):
        autoseg.ensemble([tmp_path / "a", tmp_path / "c"], tmp_path / "out")
    with pytest.raises(AutosegError, match="at least two folders"):
        autoseg.ensemble([tmp_path / "a"], tmp_path / "out")
    with pytest.raises(AutosegError, match="a is named more than once"):
        autoseg.ensemble([tmp_path / "a", tmp_path / "b" / ".." / "a"], tmp_path / "out")
    with pytest.raises(AutosegError, match=r"no method 'median'.*auto, mean"):
        autoseg.ensemble([tmp_path / "a", tmp_path / "b"], tmp_path / "out", method="median")
    (tmp_path / "empty").mkdir()
    for wrong, message in (("empty", "holds no segmentations"), ("none", "is not a folder")):
        with pytest.raises(AutosegError, match=message):
            autoseg.ensemble([tmp_path / "a", tmp_path / wrong], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def region_member(folder: Path, seed: int, *, names: bool) -> NDArray[np.float16]:
    """Whole, core and enhancing, each in the other, as networks that learn regions give them."""
    rng, stack = np.random.default_rng(seed), []
    for case in CASES:
        soft = np.sort(rng.random((3, *SHAPE)), axis=0)[::-1].astype(np.float16)
        painted = np.zeros(SHAPE, np.uint8)
        for region, value in zip(soft, (2, 1, 4), strict=True):
            painted[region > 0.5] = value
        write_labels(LabelMap(painted, Geometry.of(SHAPE, (3.0, 1.0, 1.0))), folder / f"{case}.nii.gz")
        np.savez(folder / f"{case}.npz", probabilities=soft, **({"names": np.array(["WT", "TC", "ET"])} if names else {}))
        stack.append(soft)
    labels = {"background": 0, "WT": [1, 2, 4], "TC": [1, 4], "ET": [4]}
    described = {"channel_names": {"0": "MRI"}, "labels": labels, "regions_class_order": [2, 1, 4], "numTraining": 2, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(described))
    return np.stack(stack)


def test_the_mean_of_regions_is_painted(tmp_path: Path) -> None:
    members = [region_member(tmp_path / "a", 0, names=True), region_member(tmp_path / "b", 1, names=False)]
    autoseg.ensemble([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    mean = np.mean([member.astype(np.float64) for member in members], axis=0)
    expected = np.zeros((2, *SHAPE))
    for region, value in enumerate((2, 1, 4)):
        expected[mean[:, region] > 0.5] = value
    np.testing.assert_array_equal(result(tmp_path / "out"), expected)


def test_regions_and_classes_have_no_mean(tmp_path: Path) -> None:
    region_member(tmp_path / "a", 0, names=True)
    region_member(tmp_path / "b", 1, names=True)
    folders = [tmp_path / "a", tmp_path / "b"]
    file = tmp_path / "b" / "b.npz"
    soft = np.load(file)["probabilities"]
    for names, message in ((["WT", "ET", "TC"], r"b\.npz holds WT, ET, TC, neither the regions WT, TC, ET nor"), (["x"] * 3, "holds x, x, x")):
        np.savez(file, probabilities=soft, names=np.array(names))
        with pytest.raises(AutosegError, match=message):
            autoseg.ensemble(folders, tmp_path / "out")
    np.savez(file, probabilities=np.ones((4, *SHAPE), np.float16), names=np.array(list(_names(tmp_path / "b"))))
    with pytest.raises(AutosegError, match=r"b/b\.npz holds probabilities of classes, .*a/b\.npz of regions"):
        autoseg.ensemble(folders, tmp_path / "out")
    np.savez(file, probabilities=soft[:, ::-1], names=np.array(["WT", "TC", "ET"]))
    with pytest.raises(AutosegError, match=r"b\.npz does not belong to"):
        autoseg.ensemble(folders, tmp_path / "out")


def _names(folder: Path) -> tuple[str, ...]:
    return read_dataset_json(folder / "dataset.json").labels.names


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: (b / "b.npz").unlink(), r"b lacks b\.npz"),
        (lambda b: np.savez(b / "d.npz", probabilities=0), r"d\.npz has no label map beside it"),
        (lambda b: np.savez(b / "b.npz", probabilities=np.ones((3, *SHAPE), np.float16)), "holds 3 channels, not one for each of the classes"),
        (lambda b: np.savez(b / "b.npz", probabilities=np.ones((4, 6, 5, 4), np.float16)), r"has the shape \(6, 5, 4\), but .*\(4, 5, 6\)"),
        (lambda b: np.savez(b / "b.npz", probabilities=np.load(b / "b.npz")["probabilities"][:, ::-1]), "where that has a structure"),
        (lambda b: np.savez(b / "b.npz", probabilities=np.load(b / "b.npz")["probabilities"] * [[[[1]]], [[[1]]], [[[np.nan]]], [[[1]]]]),
         r"Case b: channel 2 holds what is not a number in one of .*a/b\.npz, .*b/b\.npz"),
        (lambda b: (b / "b.npz").write_bytes(b"PK"), r"b\.npz cannot be read"),
        (lambda b: (b / "dataset.json").write_text((b / "dataset.json").read_text().replace("4", "3")), "have different classes"),
    ],
)  # fmt: skip
def test_probabilities_that_do_not_fit_are_refused(tmp_path: Path, damage: Callable[[Path], Any], message: str) -> None:
    soft_member(tmp_path / "a", 0)
    soft_member(tmp_path / "b", 1)
    damage(tmp_path / "b")
    with pytest.raises(AutosegError, match=message):
        autoseg.ensemble([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    assert not (tmp_path / "out" / "b.nii.gz").exists()


def test_classes_are_never_guessed(tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        soft_member(tmp_path / name, seed)
        (tmp_path / name / "dataset.json").unlink()
    folders = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(AutosegError, match="Nothing says which values"):
        autoseg.ensemble(folders, tmp_path / "out")
    soft_member(tmp_path / "a", 0)
    write_labels(LabelMap(np.full(SHAPE, 7, np.uint8), Geometry.of(SHAPE, (3.0, 1.0, 1.0))), tmp_path / "b" / "b.nii.gz")
    with pytest.raises(AutosegError, match=r"b/b\.nii\.gz holds the value 7, which no class has"):
        autoseg.ensemble(folders, tmp_path / "out", method="majority")
