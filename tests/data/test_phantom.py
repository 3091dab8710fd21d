"""Phantoms are the same for the same seed, look like BraTS to the program, and are neither trivial nor impossible."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from autoseg.data.check import check
from autoseg.data.layouts import open_dataset
from autoseg.data.phantom import EDEMA, ENHANCING, NECROSIS, phantom, write_phantoms
from autoseg.imaging.read import read_image, read_labels

SMALL = (32, 36, 32)


@pytest.fixture(scope="module")
def phantoms() -> list[tuple[np.ndarray, np.ndarray]]:
    return [phantom((7, number), SMALL) for number in range(40)]


def test_the_seed_decides() -> None:
    images, labels = phantom(5, SMALL)
    again, labels_again = phantom(5, SMALL)
    np.testing.assert_array_equal(images, again)
    np.testing.assert_array_equal(labels, labels_again)
    assert np.any(labels != phantom(6, SMALL)[1])


def test_background_is_zero_in_all_modalities_and_the_brain_in_none(phantoms: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for images, labels in phantoms:
        assert images.dtype == np.float32 and labels.dtype == np.uint8
        assert images.shape == (4, *SMALL) and labels.shape == SMALL
        inside = images != 0
        assert np.all(inside == inside[0])
        assert 0.2 < inside[0].mean() < 0.45
        assert np.all(inside[0][labels > 0])
        np.testing.assert_array_equal(images, images.astype(np.int16))
        assert images.min() == 0


def test_tumours_have_the_sizes_and_the_nesting_of_tumours(phantoms: list[tuple[np.ndarray, np.ndarray]]) -> None:
    fractions, closed = [], []
    for images, labels in phantoms:
        assert set(np.unique(labels)) <= {0, NECROSIS, EDEMA, ENHANCING}
        assert np.any(labels == EDEMA) and np.any(np.isin(labels, (NECROSIS, ENHANCING)))
        fractions.append((labels > 0).sum() / (images[0] > 0).sum())
        necrosis = labels == NECROSIS
        if np.any(labels == ENHANCING) and necrosis.sum() > 20:
            closed.append(np.mean(labels[ndimage.binary_dilation(necrosis) & ~necrosis] == ENHANCING))
    assert np.mean(closed) > 0.8 and min(closed) > 0.3  # a rim around the necrosis, in a few broken
    assert min(fractions) > 0.01 and max(fractions) < 0.12
    assert max(fractions) / min(fractions) > 2.5


def test_some_have_no_enhancing_tumour_and_some_have_two_lesions() -> None:
    labels = [phantom((11, number), (24, 24, 24))[1] for number in range(90)]
    without = np.mean([not np.any(label == ENHANCING) for label in labels])
    assert 1 / 6 - 0.1 < without < 1 / 6 + 0.1
    several = np.mean([np.sum(np.bincount(ndimage.label(np.isin(label, (1, 4)))[0].ravel())[1:] > 5) > 1 for label in labels])
    assert 0.02 < several < 0.4


def test_contrasts_are_those_of_mri(phantoms: list[tuple[np.ndarray, np.ndarray]]) -> None:
    def ratio(modality: int, *values: int) -> float:
        """Lesion against healthy brain, medians, averaged over the cases with enough of it."""
        pairs = [(images[modality], images[modality][(images[0] > 0) & (labels == 0)], np.isin(labels, values)) for images, labels in phantoms]
        return float(np.mean([np.median(image[lesion]) / np.median(healthy) for image, healthy, lesion in pairs if lesion.sum() > 50]))

    flair, t1, t1ce, t2 = range(4)
    assert ratio(flair, EDEMA) > 1.3 and ratio(t2, EDEMA) > 1.1
    assert ratio(t1, EDEMA) < 1.1
    assert ratio(t1, NECROSIS) < 0.85 and ratio(t1ce, NECROSIS) < 0.95
    assert ratio(t1ce, ENHANCING) > 1.3 and ratio(t1, ENHANCING) < 1.1


def test_a_threshold_does_not_solve_it(phantoms: list[tuple[np.ndarray, np.ndarray]]) -> None:
    best = []
    for images, labels in phantoms:
        scaled = images[0] / np.median(images[0][images[0] > 0])
        best.append([2 * np.sum((scaled > level) & (labels > 0)) / (np.sum(scaled > level) + np.sum(labels > 0)) for level in np.arange(1, 2, 0.1)])
    assert np.mean(best, axis=0).max() < 0.8


def test_folder_is_a_sound_brats_dataset(tmp_path: Path) -> None:
    names = write_phantoms(tmp_path / "DatasetPhantom", count=3, seed=2, first=9, shape=SMALL)
    assert names == ["BraTS20_Training_009", "BraTS20_Training_010", "BraTS20_Training_011"]

    dataset = open_dataset(tmp_path / "DatasetPhantom")
    assert dataset.layout == "brats"
    assert [case.name for case in dataset.cases] == names
    report = check(dataset)
    assert report.errors == ()
    assert len(report.facts) == 3

    images, labels = phantom((2, 10), SMALL)
    files = [tmp_path / "DatasetPhantom" / names[1] / f"{names[1]}_{modality}.nii.gz" for modality in ("flair", "t1", "t1ce", "t2")]
    np.testing.assert_array_equal(read_image(files).array, images)
    np.testing.assert_array_equal(read_labels(tmp_path / "DatasetPhantom" / names[1] / f"{names[1]}_seg.nii.gz").array, labels)


def test_labels_can_be_left_out(tmp_path: Path) -> None:
    (name,) = write_phantoms(str(tmp_path), count=1, seed=2, shape=(24, 24, 24), with_labels=False)
    assert sorted(path.name.removeprefix(name) for path in (tmp_path / name).iterdir()) == [
        "_flair.nii.gz",
        "_t1.nii.gz",
        "_t1ce.nii.gz",
        "_t2.nii.gz",
    ]
