"""What configurations make has one name for each task, and what does not segment is refused with it."""

from typing import get_args

import pytest

from autoseg.api._tasks import DONE, MAKES, require_segmenting, without_segmentations
from autoseg.errors import AutosegError
from autoseg.planning.schema.tasks import Task


def test_every_task_has_words() -> None:
    assert MAKES.keys() == DONE.keys() == set(get_args(Task))


def test_what_does_not_segment_is_named_with_what_it_makes() -> None:
    tasks = {"2d": "segmentation", "slices": "classification", "odd": "of another program"}
    assert without_segmentations(tasks) == "slices makes tables of classes, odd makes something else, no segmentations"
    with pytest.raises(AutosegError, match=r"^slices makes tables of classes, odd makes something else, no segmentations: choose\.$"):
        require_segmenting(tasks, "choose.")
    require_segmenting({"2d": "segmentation"}, "choose.")
    assert without_segmentations({}) == ""
