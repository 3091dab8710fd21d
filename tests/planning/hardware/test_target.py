from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from autoseg.errors import AutosegError
from autoseg.planning.fingerprint import Fingerprint
from autoseg.planning.hardware.compute import describe_cost
from autoseg.planning.hardware.memory import GB, MemoryEstimate
from autoseg.planning.hardware.target import SHARE, TARGETS, largest_need, largest_target
from autoseg.planning.plan import DatasetBlock, Plan
from autoseg.planning.planner import make_plan
from autoseg.planning.presets import PRESETS

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


def test_where_the_dataset_is_the_limit_no_more_is_asked_for_than_changes_anything(facts_of: Callable[..., tuple[Fingerprint, DatasetBlock]]) -> None:
    facts = facts_of([(36, 50, 35)], [(1, 1, 1)], num_cases=10)

    def decided(target: float) -> object:
        return [one.model_dump(exclude={"why"}) for one in make_plan(*facts, gpu_memory_gb=target).configurations.values()]

    target = largest_target(lambda memory: make_plan(*facts, gpu_memory_gb=memory), 24 * GB)
    smaller = TARGETS[TARGETS.index(target) + 1] if target != TARGETS[-1] else None
    assert target < 24 and decided(target) == decided(128)
    assert smaller is None or decided(smaller) != decided(target)


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


def test_table_of_the_page_is_what_the_model_says(facts_of: Callable[..., tuple[Fingerprint, DatasetBlock]]) -> None:
    facts = facts_of([(140, 171, 137)], [(1, 1, 1)], channels=("T1", "T1ce", "T2", "FLAIR"), classes=4, num_cases=369)
    rows = []
    for name, preset in PRESETS.items():
        costs = {cost.name: cost.memory_bytes / GB for cost in describe_cost(make_plan(*facts, preset=name), None)}
        rows.append(f"| `{name}` | {preset.reference_gb:g} | {costs['2d']:.1f} | {costs['3d_fullres']:.1f} |")
    page = (Path(__file__).parents[3] / "docs" / "hardware.md").read_text(encoding="utf-8")
    assert [line for line in page.splitlines() if line.startswith("| `") and line.count("|") == 5 and line.split("`")[1] in PRESETS] == rows


def test_page_explains_every_part_of_the_estimate() -> None:
    page = (Path(__file__).parents[3] / "docs" / "hardware.md").read_text(encoding="utf-8")
    assert not [part.name for part in fields(MemoryEstimate) if f"| `{part.name}` |" not in page]


@pytest.mark.parametrize(("gigabytes", "target"), [(8, 9), (24, 26)])
def test_targets_that_the_page_names(gigabytes: int, target: int, facts_of: Callable[..., tuple[Fingerprint, DatasetBlock]]) -> None:
    facts = facts_of([(140, 171, 137)], [(1, 1, 1)], channels=("T1", "T1ce", "T2", "FLAIR"), classes=4, num_cases=369)
    assert largest_target(lambda memory: make_plan(*facts, gpu_memory_gb=memory), gigabytes * GB) == target
