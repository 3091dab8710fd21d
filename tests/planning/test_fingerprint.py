from pathlib import Path

import numpy as np
import pytest

from autoseg.data.dataset import Case, Dataset, Labels
from autoseg.data.facts import CaseFacts
from autoseg.errors import AutosegError
from autoseg.files import read_json
from autoseg.planning.fingerprint import fingerprint, validate_fingerprint, write_fingerprint


def make_case(name: str, seed: int, samples: int, class_voxels: tuple[int, ...] = (10, 5, 1), crop: int = 8) -> CaseFacts:
    foreground = np.random.default_rng(seed).normal(1000, 5, (2, samples)).astype(np.float32)
    return CaseFacts(name, (10, 10, 10), (crop, 10, 10), (1.0, 2.0, float(seed)), class_voxels, foreground)


def make_dataset(*names: str) -> Dataset:
    cases = tuple(Case(name, (), None, name) for name in names)
    return Dataset("D", Path(), "nnunet", ("T1", "T2"), Labels(("background", "a", "b"), (0, 1, 2)), cases, ".nii.gz")


CASES = [make_case("b", 1, 400), make_case("a", 2, 37, (7, 3, 0), crop=6), make_case("c", 3, 0, (20, 0, 0), crop=3)]


def test_statistics_are_those_of_all_samples_together() -> None:
    found = fingerprint(make_dataset("a", "b", "c"), CASES)
    for channel, statistics in enumerate(found.intensities):
        pooled = np.concatenate([case.foreground[channel] for case in CASES]).astype(np.float64)
        assert statistics.mean == pytest.approx(pooled.mean(), rel=1e-12)
        assert statistics.std == pytest.approx(pooled.std(), rel=1e-9)
        assert statistics.min == pooled.min()
        assert statistics.max == pooled.max()
        for key, percentile in (("percentile_00_5", 0.5), ("median", 50), ("percentile_99_5", 99.5)):
            assert getattr(statistics, key) == pytest.approx(np.percentile(pooled, percentile), rel=1e-6)


def test_sums_do_not_drown_in_large_offsets() -> None:
    foreground = np.tile(np.array([1e6, 1e6 + 1], dtype=np.float32), (2, 50_000))
    case = CaseFacts("a", (4, 4, 4), (4, 4, 4), (1.0, 1.0, 1.0), (1, 1, 1), foreground)
    assert fingerprint(make_dataset("a"), [case]).intensities[0].std == pytest.approx(0.5, rel=1e-9)


def test_facts_stand_in_the_order_of_names_whatever_order_they_came_in() -> None:
    found = fingerprint(make_dataset("a", "b", "c"), CASES)
    assert found == fingerprint(make_dataset("a", "b", "c"), CASES[::-1])
    assert found.spacings == ((1.0, 2.0, 2.0), (1.0, 2.0, 1.0), (1.0, 2.0, 3.0))
    assert found.shapes_after_crop[2] == (3, 10, 10)


def test_classes_and_crop() -> None:
    found = fingerprint(make_dataset("a", "b", "c"), CASES)
    assert found.class_voxels == (37, 8, 1)
    assert found.cases_without_class == (0, 1, 2)
    assert found.median_relative_size_after_crop == pytest.approx(0.6)


def test_nothing_labelled_is_said() -> None:
    with pytest.raises(AutosegError, match="nothing to learn"):
        fingerprint(make_dataset("c"), CASES[2:])


def test_missing_facts_are_named() -> None:
    with pytest.raises(AutosegError, match=r"1 cases of D \(d\)"):
        fingerprint(make_dataset("a", "b", "c", "d"), CASES)


def test_round_trip(tmp_path: Path) -> None:
    found = fingerprint(make_dataset("a", "b", "c"), CASES)
    write_fingerprint(found, tmp_path / "f.json")
    assert validate_fingerprint(read_json(tmp_path / "f.json"), "f.json") == found


def test_a_file_that_is_no_fingerprint_is_named() -> None:
    with pytest.raises(AutosegError, match=r"f\.json is not a fingerprint.*\n(.*\n)*.*spacings") as caught:
        validate_fingerprint({"spacings": 3, "colour": 1}, "f.json")
    assert "colour" in str(caught.value)
