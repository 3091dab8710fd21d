"""What a configuration's blocks must agree on: the patch with the strides, lists with the dimensions."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.errors import PlanError
from autoseg.planning.plan import Plan
from autoseg.planning.schema.configuration import nearest_patch

Plans = Callable[..., Plan]
TWO_STAGES = {"features_per_stage": [4, 8], "blocks_per_stage": [1, 1], "convs_per_stage_decoder": [1]}


def two_stages(stride: list[int]) -> dict[str, Any]:
    return TWO_STAGES | {"strides": [[1] * len(stride), stride], "kernel_sizes": [[3] * len(stride)] * 2}


@pytest.mark.parametrize(
    ("patch", "stride", "line"),
    [
        ((17, 16, 15), [2, 2, 2], "17 on axis 0 is not divisible by 2, the product of the strides there; 15 on axis 2 is not divisible by 2, the"
         " product of the strides there (found: [17, 16, 15]); nearest valid patch_size: [16, 16, 14]"),
        ((1, 15, 16), [1, 2, 2], "15 on axis 1 is not divisible by 2, the product of the strides there; a patch of one slice is for a 2D"
         " configuration, with two numbers (found: [1, 15, 16]); nearest valid patch_size: [2, 14, 16]"),
        ((2, 4), [2, 4], "one voxel is left at the coarsest stage, where normalisation needs more (found: [2, 4]);"
         " nearest valid patch_size: [4, 4]"),
        ((3, 2), [8, 2], "3 on axis 0 is not divisible by 8, the product of the strides there (found: [3, 2]); nearest valid patch_size: [8, 4]"),
    ],
)  # fmt: skip
def test_a_patch_that_does_not_fit_the_strides(patch: tuple[int, ...], stride: list[int], line: str, small_plan: Plans) -> None:
    with pytest.raises(PlanError) as caught:
        small_plan(patch=patch, network=two_stages(stride))
    assert str(caught.value).splitlines()[1:] == [f"  configurations.small.patch_size: {line}"]


def test_brain_sized_patch_on_five_poolings() -> None:
    assert nearest_patch((100, 128, 120), (32, 32, 32)) == (96, 128, 128)


@given(st.lists(st.tuples(st.integers(1, 24), st.sampled_from([1, 2, 4, 8])), min_size=2, max_size=3))
def test_the_nearest_patch_is_what_a_search_finds(axes: list[tuple[int, int]]) -> None:
    patch, stride = zip(*axes, strict=True)
    found = nearest_patch(patch, stride)

    def possible(size: tuple[int, ...]) -> bool:
        single_slice = len(size) == 3 and size[0] == 1
        return not single_slice and size != stride

    multiples = [[step * count for count in range(1, 32 // step + 1)] for step in stride]
    distance = min(_distance(size, patch) for size in product(*multiples) if possible(size))
    assert possible(found)
    assert all(size % step == 0 for size, step in zip(found, stride, strict=True))
    assert _distance(found, patch) == distance


def _distance(size: tuple[int, ...], patch: tuple[int, ...]) -> int:
    return sum(abs(one - other) for one, other in zip(size, patch, strict=True))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"patch": (16, 16), "spacing": (1.0, 1.0, 1.0)}, "spacing: needs 2 numbers, because dimensions is 2 (found: [1.0, 1.0, 1.0])"),
        ({"network": {"strides": [[1, 1, 1], [2, 2], [2, 2, 2]]}}, "network.strides.1: needs 3 numbers, because dimensions is 3 (found: [2, 2])"),
        ({"network": {"kernel_sizes": [[3], [3] * 3, [3] * 3]}}, "network.kernel_sizes.0: needs 3 numbers, because dimensions is 3 (found: [3])"),
        ({"patch": (16, 16), "inference": {"mirror_axes": [0, 2]}}, "inference.mirror_axes: in 2D there are only 2 axes, 0 and 1 (found: [0, 2])"),
        ({"patch": (16, 16), "learned_mirroring": [2]},
         "training.recipes.default.augmentation.mirror_axes: in 2D there are only 2 axes, 0 and 1 (found: [2])"),
    ],
)  # fmt: skip
def test_lists_fit_the_dimensions(changes: dict[str, Any], line: str, small_plan: Plans) -> None:
    with pytest.raises(PlanError) as caught:
        small_plan(**changes)
    assert str(caught.value).splitlines()[1:] == [f"  configurations.small.{line}"]
