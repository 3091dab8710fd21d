import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from autoseg.errors import AutosegError
from autoseg.planning.fingerprint import Fingerprint
from autoseg.planning.plan import DatasetBlock, LabelsBlock, read_plan, write_plan
from autoseg.planning.planner import make_plan
from autoseg.planning.presets import PRESETS

Make = Callable[..., tuple[Fingerprint, DatasetBlock]]
DECISIONS = {
    "spacing",
    "median_shape",
    "patch_size",
    "batch_size",
    "network",
    "normalization",
    "resampling",
    "training",
    "batch_dice",
    "augmentation",
    "inference",
}


def brats(facts_of: Make, cases: int = 20) -> tuple[Fingerprint, DatasetBlock]:
    shapes = [(138 + index % 9, 170 + index % 7, 136 + index % 5) for index in range(cases)]
    return facts_of(shapes, [(1.0, 1.0, 1.0)] * cases, channels=("FLAIR", "T1", "T1ce", "T2"), classes=4, relative_size=0.37)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_decision_has_its_reason(preset: str, facts_of: Make) -> None:
    plan = make_plan(*brats(facts_of), preset=preset)
    assert set(plan.why) == {"preset", "gpu_memory_gb", "transpose_forward"}
    for configuration in plan.configurations.values():
        assert set(configuration.why) == DECISIONS
        assert all(reason and "\n" not in reason and reason.endswith(".") for reason in configuration.why.values())
        assert " x ".join(map(str, configuration.patch_size)) in configuration.why["network"]
        assert configuration.why["batch_size"].endswith(f": {configuration.batch_size}.")


def test_brain_tumours(facts_of: Make) -> None:
    plan = make_plan(*brats(facts_of))
    full = plan.configuration("3d_fullres")
    assert full.patch_size == (128, 160, 112)
    assert full.batch_size == 2
    assert all(one.scheme == "zscore" and one.use_mask for one in full.normalization)
    assert full.inference.mirror_axes == (0, 1, 2)
    assert plan.configuration("2d").inference.mirror_axes == (0, 1)
    assert plan.configuration("2d").training.batch_dice
    assert full.training.deep_supervision


def test_single_slices_get_no_volumes_and_the_plan_says_why(facts_of: Make) -> None:
    plan = make_plan(*facts_of([(1, 300, 200), (1, 280, 220)], [(999.0, 1.0, 1.0)] * 2))
    assert set(plan.configurations) == {"2d"}
    assert "single slice" in plan.why["3d_fullres"]


def test_batch_dice_where_a_lower_resolution_would_be_worth_it(facts_of: Make) -> None:
    large = make_plan(*facts_of([(500, 512, 512)] * 3, [(1.0, 0.8, 0.8)] * 3)).configuration("3d_fullres")
    small = make_plan(*facts_of([(60, 60, 60)] * 3, [(1.0, 1.0, 1.0)] * 3)).configuration("3d_fullres")
    assert large.training.batch_dice
    assert large.why["batch_dice"].startswith("On: ")
    assert not small.training.batch_dice
    assert small.why["batch_dice"].startswith("Off: ")


def test_memory_and_spacing_are_the_users(facts_of: Make) -> None:
    facts = facts_of([(100, 300, 300)] * 40, [(3.0, 0.8, 0.8)] * 40)
    plain, given = make_plan(*facts), make_plan(*facts, gpu_memory_gb=16, spacing=(2.0, 1.0, 1.0))
    assert given.configuration("3d_fullres").spacing == (2.0, 1.0, 1.0)
    assert given.configuration("3d_fullres").median_shape == (150, 240, 240)
    assert given.gpu_memory_gb == 16
    assert "2 times the preset's 8 GB" in given.why["gpu_memory_gb"]
    more = make_plan(*facts, gpu_memory_gb=16).configuration("3d_fullres")
    less = plain.configuration("3d_fullres")
    assert more.patch_size[0] * more.patch_size[1] * more.patch_size[2] > less.patch_size[0] * less.patch_size[1] * less.patch_size[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "huge"}, "no preset 'huge'"),
        ({"gpu_memory_gb": 0.0}, "--gpu-memory"),
        ({"gpu_memory_gb": float("nan")}, "--gpu-memory"),
        ({"spacing": (1.0, -1.0, 1.0)}, "--spacing"),
    ],
)
def test_impossible_wishes_are_named(options: dict[str, object], message: str, facts_of: Make) -> None:
    with pytest.raises(AutosegError, match=message):
        make_plan(*brats(facts_of), **options)


def test_regions_and_ignore_count_as_they_are_predicted(facts_of: Make) -> None:
    """Background, regions instead of classes, and the ignore label enter the cost; more of them leave less for the batch."""
    fingerprint, block = facts_of([(40, 40, 40)] * 300, [(1.0, 1.0, 1.0)] * 300, classes=3, num_cases=100_000)

    def batch(labels: LabelsBlock) -> int:
        return make_plan(fingerprint, block.model_copy(update={"labels": labels})).configuration("2d").batch_size

    names = tuple(f"class {index}" for index in range(41))
    many = LabelsBlock(names=names, values=tuple(range(41)))
    regions = many.model_copy(update={"regions": {"all": tuple(range(1, 41)), "first": (1,)}})
    three = LabelsBlock(names=names[:3], values=(0, 1, 2))
    two_and_ignore = LabelsBlock(names=names[:2], values=(0, 1), ignore=9)
    assert batch(many) < batch(regions) == batch(three) == batch(two_and_ignore)


@pytest.mark.parametrize("preset", ["default", "cpu", "resenc_l"])
def test_round_trip(preset: str, facts_of: Make, tmp_path: Path) -> None:
    plan = make_plan(*facts_of([(60, 70, 80), (61, 70, 83)], [(2.0, 1.0, 0.7), (2.1, 1.0, 0.7)], channels=("CT", "T1")), preset=preset)
    write_plan(plan, tmp_path / "plan.json")
    assert read_plan(tmp_path / "plan.json") == plan


def test_same_facts_same_plan(facts_of: Make) -> None:
    assert make_plan(*brats(facts_of)) == make_plan(*brats(facts_of))


@pytest.mark.parametrize(("shape", "preset"), [((140, 170, 137), "cpu"), ((500, 512, 512), "default"), ((500, 512, 512), "cpu")])
def test_many_cases_are_planned_at_once(shape: tuple[int, int, int], preset: str, facts_of: Make) -> None:
    """50 ms for 1,251 cases; four times that is allowed to a busy machine."""
    facts = facts_of([shape] * 1251, [(1.0, 0.9, 0.9)] * 1251)
    took = []
    for _ in range(3):
        start = time.perf_counter()
        make_plan(*facts, preset=preset)
        took.append(time.perf_counter() - start)
    assert min(took) < 0.2


def test_planning_imports_no_heavy_library() -> None:
    script = (
        "import sys, autoseg.planning.planner; print([name for name in ('torch', 'SimpleITK', 'nibabel', 'scipy', 'pandas') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert found.stdout.strip() == "[]"
