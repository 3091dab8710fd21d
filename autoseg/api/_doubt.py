"""Pictures of the predictions that a person should look at first."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from autoseg.data.dataset import Case
from autoseg.errors import AutosegError
from autoseg.imaging.read import read_image, read_labels
from autoseg.inference.uncertainty_files import FOLDER, TABLE, map_files
from autoseg.planning.plan import Plan
from autoseg.preprocessing.source import read_shown
from autoseg.reporting.overlay import Comparison, draw_comparison

SHOWN = 4  # cases in the picture


def draw_doubtful(cases: Sequence[Case], files: Mapping[str, Path], plan: Plan, output: Path) -> None:
    """Draw the most doubtful of these cases into `uncertainty/most_doubtful.png`: scan, segmentation, and entropy in the slice that has most of it.

    It lies apart from the segmentations, since a picture beside them could be one.

    Parameters
    ----------
    cases, files : what was predicted, and where the segmentations are
    plan : what the labels mean
    output : the folder with `uncertainty.csv`

    Raises
    ------
    AutosegError
        a file is damaged or gone
    """
    table = read_doubts(output / TABLE)
    doubts = {str(name): float(value) for name, value in table["doubt"].items()}
    by_name = {case.name: case for case in cases}
    chosen = sorted(by_name, key=lambda name: (-doubts[name], name))[:SHOWN]
    rows = [_row(by_name[name], plan.dataset.channel_names, files[name], doubts[name]) for name in chosen]
    draw_comparison(rows, output / FOLDER / "most_doubtful.png", labels=plan.labels, title="Most doubtful cases")


def read_doubts(path: Path) -> pd.DataFrame:
    """`uncertainty.csv` with cases as its index.

    Raises
    ------
    AutosegError
        it cannot be read
    """
    try:
        return pd.read_csv(path, dtype={"case": str}, keep_default_na=False, na_values=[""]).set_index("case")
    except (OSError, ValueError, KeyError) as error:
        raise AutosegError(f"{path} cannot be read: {error}. Remove it, and predict again with --uncertainty.") from error


def _row(case: Case, channel_names: Sequence[str], segmentation: Path, doubt: float) -> Comparison:
    scan = read_shown(case, channel_names)
    path = map_files(segmentation, 1)[0]
    entropy = read_image([path]).array[0] / (255 if path.suffix == ".png" else 1)
    geometry = scan.geometry
    return Comparison(
        case.name, scan.array[0], read_labels(segmentation).array, None, geometry.spacing, note=f"doubt {doubt:.3f}",
        affine=None if geometry.flat else geometry.affine, uncertainty=entropy,
    )  # fmt: skip
