from collections.abc import Callable

import pytest

from autoseg.errors import AutosegError
from autoseg.planning.fingerprint import Fingerprint
from autoseg.planning.hardware import SHARE, TARGETS, largest_need, largest_target
from autoseg.planning.memory import GB
from autoseg.planning.plan import DatasetBlock, Plan
from autoseg.planning.planner import make_plan

Make = Callable[..., Callable[[float], Plan]]


@pytest.fixture(scope="module")
def maker(facts_of: Callable[..., tuple[Fingerprint, DatasetBlock]]) -> Make:
    facts = facts_of([(140, 171, 137)], [(1, 1, 1)], channels=("T1", "T2"), num_cases=300)
    return lambda preset="default": lambda target: make_plan(*facts, preset=preset, gpu_memory_gb=target)


def test_targets_are_whole_and_below_eight_half_ones() -> None:
    assert TARGETS[0] == 128 and TARGETS[-1] == 1
    assert sorted(TARGETS, reverse=True) == list(TARGETS)
    assert {7.5, 8, 9} <= set(TARGETS) and 8.5 not in TARGETS


@pytest.mark.parametrize("gigabytes", [4, 12])
def test_the_largest_that_fits_and_no_larger_one(gigabytes: float, maker: Make) -> None:
    make = maker()
    target = largest_target(make, gigabytes * GB)
    assert largest_need(make(target)) <= SHARE * gigabytes * GB
    assert all(largest_need(make(larger)) > SHARE * gigabytes * GB for larger in TARGETS if target < larger < 1.5 * target)
    assert 0.7 * gigabytes < target < 1.7 * gigabytes


def test_a_card_that_is_too_small(maker: Make) -> None:
    with pytest.raises(AutosegError, match=r"has 1.0 GB, of which 0.9 GB .* predicted to need 1.\d GB.*--preset cpu"):
        largest_target(maker(), GB)


def test_targets_for_which_there_is_no_patch_are_passed_over(maker: Make) -> None:
    def make(target: float) -> Plan:
        if target < 64:
            raise AutosegError("No patch fits.")
        return maker()(target)

    with pytest.raises(AutosegError, match="no patch is small enough"):
        largest_target(make, 2 * GB)


def test_what_has_nothing_to_do_with_memory_is_said_as_it_is(maker: Make) -> None:
    with pytest.raises(AutosegError, match="no preset 'huge'"):
        largest_target(maker("huge"), 8 * GB)
    with pytest.raises(AutosegError, match="preset cpu is sized by time"):
        largest_target(maker("cpu"), 8 * GB)
