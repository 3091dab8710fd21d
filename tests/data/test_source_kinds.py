"""What files tell beside their voxels, also of what stands for a file."""

from pathlib import Path

import pytest

from autoseg.data.source_kinds import tells_place, tells_spacing
from autoseg.imaging.sources import Drawing, Mask, Slices, Source

SCAN, PICTURE = Path("a.nii.gz"), Path("a.tif")
STACK = Slices((PICTURE,), (5.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("source", "spacing", "place"),
    [
        (SCAN, True, True),
        (PICTURE, False, False),
        (STACK, True, False),
        (Mask(SCAN), True, True),
        (Mask(PICTURE), False, False),
        (Mask(STACK), True, False),
        (Drawing(Path("annotations.json"), "a.jpg", 4, 4, ()), False, False),
    ],
)
def test_what_is_known_of_a_source(source: Source, spacing: bool, place: bool) -> None:
    assert (tells_spacing(source), tells_place(source)) == (spacing, place)
