"""Cases in files, small enough to prepare in milliseconds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from autoseg.data.dataset import Case
from autoseg.imaging.image import Geometry, Image, LabelMap
from autoseg.imaging.write import write_image, write_labels

MakeCase = Callable[..., Case]


@pytest.fixture
def make_case(tmp_path: Path) -> MakeCase:
    """Write a case of two channels and labels 0, 1, 2, 4 under `tmp_path/raw`."""

    def make(name: str = "case", seed: int = 0, shape: tuple[int, int, int] = (12, 14, 16)) -> Case:
        rng = np.random.default_rng(seed)
        geometry = Geometry.of(shape)
        channels = (tmp_path / "raw" / f"{name}_0000.nii.gz", tmp_path / "raw" / f"{name}_0001.nii.gz")
        for path in channels:
            write_image(Image(rng.uniform(1, 9, (1, *shape)).astype(np.float32), geometry), path)
        label = tmp_path / "raw" / f"{name}.nii.gz"
        write_labels(LabelMap(rng.choice([0, 0, 0, 1, 2, 4], shape), geometry), label)
        return Case(name, channels, label, name)

    return make
