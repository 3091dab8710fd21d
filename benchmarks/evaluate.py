"""How long it takes to judge BraTS-sized cases, how much memory, and how HD95 compares with the usual way.

    python benchmarks/evaluate.py [FOLDER]

- FOLDER holds label files (`*seg.nii*` or `*.nii.gz`, searched through); without it, `$AUTOSEG_TEST_DATA/brats_as_downloaded`.
- The predictions are the labels moved by one voxel along every axis, with every fourth case eroded by a voxel instead.
- Times are on the clock, reading included; the peak is that of the whole process, its imports included, up to that line.
- The usual HD95: two exact Euclidean distance transforms of the whole grid. Both ways must agree.
"""

import os
import resource
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt

from autoseg.data.dataset import Labels
from autoseg.evaluation.distances import surface_measures
from autoseg.evaluation.evaluate import evaluate_folder
from autoseg.evaluation.targets import targets_from_regions
from autoseg.imaging.image import Spacing3
from autoseg.imaging.read import read_labels

Answer = TypeVar("Answer")
COMPARED = 4  # cases; the usual way takes seconds for each
LABELS = Labels(("background", "necrosis", "edema", "enhancing"), (0, 1, 2, 4))
REGIONS = targets_from_regions({"WT": (1, 2, 4), "TC": (1, 4), "ET": (4,)})
WAYS = (
    ("Dice alone", "brats20", False),
    ("Dice, HD95, ASSD and NSD", "brats20", True),
    ("the same and lesions", "brats23", True),
    ("the same and lesions", "brats25", True),
)


def main() -> None:
    """Print the table."""
    references = find_labels()
    with tempfile.TemporaryDirectory() as folder:
        predictions = {case: predict(path, index, Path(folder)) for index, (case, path) in enumerate(references.items())}
        print(f"{len(references)} cases, {len(REGIONS)} regions, {os.cpu_count()} processors, {memory()} before")
        for name, scheme, surface in WAYS:
            seconds, _ = timed(partial(evaluate_folder, predictions, references, LABELS, targets=REGIONS, scheme=scheme, surface=surface))
            print(f"{scheme}, {name}: {seconds:.2f} s, {1000 * seconds / len(references):.0f} ms a case, peak {memory()}")
        compare(predictions, dict(list(references.items())[:COMPARED]))


def compare(predictions: dict[str, Path], references: dict[str, Path]) -> None:
    """Time HD95 of the whole tumour both ways, on masks in memory, in one thread."""
    ours = usual = 0.0
    for case, path in references.items():
        reference = read_labels(path)
        masks = read_labels(predictions[case]).array > 0, reference.array > 0
        seconds, distance = timed(lambda masks=masks, spacing=reference.geometry.spacing: surface_measures(*masks, spacing, tolerance=1.0)["hd95"])
        ours += seconds
        seconds, expected = timed(lambda masks=masks, spacing=reference.geometry.spacing: usual_hd95(*masks, spacing))
        usual += seconds
        np.testing.assert_allclose(distance, expected, rtol=1e-6)
    ours, usual = 1000 * ours / len(references), 1000 * usual / len(references)
    print(
        f"HD95 of the whole tumour, {len(references)} cases: distance transforms {usual:.0f} ms, ours {ours:.0f} ms: {usual / ours:.0f} times faster"
    )


def usual_hd95(prediction: NDArray[np.bool_], reference: NDArray[np.bool_], spacing: Spacing3) -> float:
    """HD95 on the whole grid."""
    borders = [mask & ~binary_erosion(mask) for mask in (prediction, reference)]
    ways = [distance_transform_edt(~borders[1 - way], sampling=spacing)[borders[way]] for way in (0, 1)]
    return float(np.percentile(np.concatenate(ways), 95))


def predict(reference: Path, index: int, folder: Path) -> Path:
    """A prediction that is nearly right."""
    image = nibabel.load(reference)
    labels = np.asarray(image.dataobj).astype(np.uint8)
    labels = labels * binary_erosion(labels > 0) if index % 4 == 3 else np.roll(labels, 1, axis=(0, 1, 2))
    path = folder / f"{index}.nii.gz"
    nibabel.save(nibabel.Nifti1Image(labels, image.affine), path)
    return path


def find_labels() -> dict[str, Path]:
    """Label files by their folder's or their own name."""
    if len(sys.argv) > 1:
        folder = Path(sys.argv[1])
    elif "AUTOSEG_TEST_DATA" in os.environ:
        folder = Path(os.environ["AUTOSEG_TEST_DATA"]) / "brats_as_downloaded"
    else:
        raise SystemExit("Give a folder with label files, or set AUTOSEG_TEST_DATA.")
    found = sorted(folder.rglob("*seg.nii*")) or sorted(folder.rglob("*.nii.gz"))
    if not found:
        raise SystemExit(f"{folder} holds no label file.")
    return {path.name.split(".nii")[0]: path for path in found}


def memory() -> str:
    """The most memory that this process has held so far."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{kilobytes / 1024:.0f} MB"


def timed(work: Callable[[], Answer]) -> tuple[float, Answer]:
    start = perf_counter()
    answer = work()
    return perf_counter() - start, answer


if __name__ == "__main__":
    main()
