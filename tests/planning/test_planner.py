import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from autoseg.errors import AutosegError
from autoseg.planning.fingerprint import Fingerprint
from autoseg.planning.plan import DatasetBlock, LabelsBlock, Transform, read_plan, write_plan
from autoseg.planning.planner import make_plan
from autoseg.planning.presets import PRESETS

Make = Callable[..., tuple[Fingerprint, DatasetBlock]]
HEAVY = ("torch", "SimpleITK", "nibabel", "scipy", "pandas", "matplotlib")
CONFIGURATIONS = {"2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"}
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


def large_ct(facts_of: Make, cases: int = 40) -> tuple[Fingerprint, DatasetBlock]:
    return facts_of([(500, 512, 512)] * cases, [(1.0, 0.8, 0.8)] * cases, channels=("CT",), classes=5)


@pytest.mark.parametrize("dataset", [brats, large_ct])
@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_decision_has_its_reason(preset: str, dataset: Callable[[Make], tuple[Fingerprint, DatasetBlock]], facts_of: Make) -> None:
    plan = make_plan(*dataset(facts_of), preset=preset)
    assert set(plan.why) == {"preset", "gpu_memory_gb", "transpose_forward"} | (CONFIGURATIONS - set(plan.configurations))
    for name, configuration in plan.configurations.items():
        reasons = [*configuration.why.values(), *plan.why.values()]
        assert all(reason and "\n" not in reason and "  " not in reason and reason.endswith(".") for reason in reasons)
        if name == "3d_cascade_fullres":
            assert set(configuration.why) == {"inherits", "previous_stage", "augmentation"}
            continue
        assert set(configuration.why) == DECISIONS
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
    assert plan.why["3d_fullres"] == (
        "Not made: the median image is a single slice (1 x 290 x 210 voxels), so there is no third dimension to learn from."
    )
    assert plan.why["3d_lowres"] == plan.why["3d_cascade_fullres"] == "Not made: there is no 3d_fullres that it could help."


def test_a_patch_that_sees_little_gets_a_coarser_grid_and_a_cascade(facts_of: Make) -> None:
    plan = make_plan(*large_ct(facts_of))
    low, full, cascade = (plan.configuration(name) for name in ("3d_lowres", "3d_fullres", "3d_cascade_fullres"))
    assert (low.training.batch_dice, full.training.batch_dice, cascade.training.batch_dice) == (False, True, True)
    assert low.why["spacing"] == (
        "At 1 x 0.8 x 0.8 mm a patch of 128 x 128 x 128 sees 1.6% of the median image, less than 25%. Made 3% coarser 31 times: at 2.5 x 2 x 2 mm a"
        " patch of 128 x 128 x 128 sees 25%, and the image has 15.6 times fewer voxels."
    )
    assert low.why["batch_dice"].startswith("Off: on this grid a patch sees 25%")
    assert full.why["batch_dice"].startswith("On: a patch sees only 1.6%")
    assert low.normalization == full.normalization
    assert low.previous_stage is low.inherits is full.previous_stage is full.inherits is None


def test_the_cascade_is_the_full_resolution_with_a_segmentation_beside_it(facts_of: Make) -> None:
    plan = make_plan(*large_ct(facts_of))
    full, cascade = plan.configuration("3d_fullres"), plan.configuration("3d_cascade_fullres")
    assert (cascade.inherits, cascade.previous_stage) == ("3d_fullres", "3d_lowres")
    assert plan.input_channels("3d_cascade_fullres") == 1 + 4
    for name, recipe in cascade.training.recipes.items():
        spoilt = recipe.augmentation
        assert spoilt.previous_morphology == Transform(probability=0.4, range=(1, 8))
        assert spoilt.previous_removal == Transform(probability=0.2, range=(0, 0.15))
        unspoilt = spoilt.model_copy(update={"previous_morphology": None, "previous_removal": None})
        assert recipe.model_copy(update={"augmentation": unspoilt}) == full.training.recipes[name]
    same = cascade.model_copy(update={"inherits": None, "previous_stage": None, "training": full.training, "why": full.why})
    assert same == full


def test_what_is_not_made_says_why_with_numbers(facts_of: Make) -> None:
    small = make_plan(*facts_of([(60, 60, 60)] * 3, [(1.0, 1.0, 1.0)] * 3))
    assert small.why["3d_lowres"] == "Not made: a patch at full resolution sees the whole median image, and 25% is enough."
    assert small.why["3d_cascade_fullres"] == "Not made: there is no 3d_lowres whose segmentation it could refine."
    assert small.configuration("3d_fullres").why["batch_dice"].startswith("Off: a patch sees the whole median image")
    nearly = make_plan(*facts_of([(210, 220, 210)] * 3, [(1.0, 1.0, 1.0)] * 3))
    assert set(nearly.configurations) == {"2d", "3d_fullres"}
    assert nearly.why["3d_lowres"] == (
        "Not made: a patch at full resolution sees 21.6% of the median image, less than 25%, but a grid on which it sees that much"
        " (1.061 x 1.061 x 1.061 mm) holds only 1.19 times fewer voxels, less than 2."
    )
    assert nearly.configuration("3d_fullres").why["batch_dice"].startswith("Off: a patch sees only 21.6%")


@pytest.mark.parametrize(
    ("shape", "spacing", "said"),
    [
        ((7, 7, 7), (1.0, 1.0, 1.0), "2d: the median image has 7 x 7 voxels at 1 x 1 mm"),
        ((1, 7, 7), (1.0, 1.0, 1.0), "3d_fullres: the median image is a single slice"),
        ((3, 11, 5), (1.0, 1.0, 1.0), "3d_fullres: the median image has 3 x 11 x 5 voxels at 1 x 1 x 1 mm"),
        ((300, 10, 180), (1.6, 0.6, 1.4), "3d_fullres: the median image has 300 x 10 x 180 voxels at 1.6 x 0.6 x 1.4 mm"),
    ],
)
def test_images_too_small_for_any_network_are_said(shape: tuple[int, ...], spacing: tuple[float, ...], said: str, facts_of: Make) -> None:
    """An axis of 10 or 11 voxels is not pooled alone, and where it is the finest by far the others wait for it."""
    with pytest.raises(AutosegError, match=r"(?s)No network can be planned for Dataset\.\n  2d: .*\n  3d_fullres: .*") as caught:
        make_plan(*facts_of([shape] * 3, [spacing] * 3))
    assert said in str(caught.value)
    assert "--spacing helps" in str(caught.value)


def test_the_way_out_of_too_few_voxels_works(facts_of: Make) -> None:
    facts = facts_of([(7, 7, 7)] * 3, [(1.0, 1.0, 1.0)] * 3)
    assert set(make_plan(*facts, spacing=(0.5, 0.5, 0.5)).configurations) == {"2d", "3d_fullres"}


def test_a_network_too_small_in_one_dimensionality_leaves_the_other(facts_of: Make) -> None:
    plan = make_plan(*facts_of([(9, 10, 5)] * 3, [(1.0, 1.0, 1.0)] * 3))
    assert list(plan.configurations) == ["3d_fullres"]
    assert "10 x 5 voxels at 1 x 1 mm" in plan.why["2d"]


def test_memory_for_no_more_than_a_few_voxels_is_said(facts_of: Make) -> None:
    facts = facts_of([(100, 100, 100)] * 3, [(1.0, 1.0, 1.0)] * 3)
    with pytest.raises(AutosegError, match=r"(?s)only a patch of .* voxels fits the memory target.*--gpu-memory"):
        make_plan(*facts, gpu_memory_gb=1e-4)


def test_a_patch_of_one_slice_is_left_to_slices(facts_of: Make) -> None:
    """Two slices of 1,400 x 1,400 cover as much of the image along every axis; the first is what fits is reduced along in the end."""
    plan = make_plan(*facts_of([(2, 1400, 1400)] * 3, [(8.0, 0.5, 0.5)] * 3), gpu_memory_gb=2)
    assert list(plan.configurations) == ["2d"]
    assert "a single slice, which is what 2d is for" in plan.why["3d_fullres"]


@pytest.mark.parametrize("thickness", [2, 3, 5])
def test_a_few_thick_slices_make_a_network_that_pools_within_them_and_learns(thickness: int, facts_of: Make) -> None:
    import torch

    from autoseg.networks import build

    full = make_plan(*facts_of([(thickness, 64, 64)] * 3, [(8.0, 1.0, 1.0)] * 3), preset="cpu").configuration("3d_fullres")
    assert full.patch_size == (thickness, 64, 64)
    assert {stride[0] for stride in full.network.strides} == {1}
    assert full.training.recipes["default"].augmentation.slice_wise
    narrow = full.network.model_copy(update={"features_per_stage": (2, 4, 4, 4, 4)[: len(full.network.strides)]})
    module = build(full.model_copy(update={"network": narrow}), in_channels=1, num_classes=2)
    logits = module(torch.rand(2, 1, *full.patch_size))
    sum(one.square().mean() for one in logits).backward()
    assert logits[0].shape == (2, 2, *full.patch_size)
    assert all(weight.grad is not None and bool(weight.grad.isfinite().all()) for weight in module.parameters())


def test_the_preset_for_cpus_makes_large_pictures_coarser(facts_of: Make) -> None:
    """Not so the others, nor slices of volumes, nor where the user gives a spacing."""
    pictures = facts_of([(1, 640, 640)] * 20, [(1.0, 1.0, 1.0)] * 20)
    (made,) = make_plan(*pictures, preset="cpu").configurations.values()
    assert made.patch_size == (384, 384) and made.median_shape == (399, 399) and made.spacing == pytest.approx((1.03**16,) * 2)
    assert "sees 36% of the median image, less than the 90% that the preset wants: made 3% coarser 16 times" in made.why["spacing"]
    for plan in (make_plan(*pictures), make_plan(*pictures, preset="cpu", spacing=(1.0, 1.0, 1.0))):
        assert plan.configuration("2d").spacing == (1.0, 1.0)
    volumes = make_plan(*facts_of([(100, 640, 640)] * 20, [(1.0, 1.0, 1.0)] * 20), preset="cpu")
    assert volumes.configuration("2d").spacing == (1.0, 1.0)


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


def test_many_cases_are_planned_at_once_without_a_heavy_library() -> None:
    """50 ms for 1,251 cases, with every preset; four times that is allowed to a busy machine."""
    script = f"""
import sys, time
from autoseg.planning.planner import make_plan
from autoseg.planning.presets import PRESETS
from tests.planning.conftest import make_facts

for shape in ((140, 170, 137), (500, 512, 512), (24, 320, 320), (1, 640, 640)):
    facts = make_facts([shape] * 1251, [(3.0, 0.9, 0.9)] * 1251)
    for preset in PRESETS:
        took = []
        for _ in range(4):
            begun = time.perf_counter()
            make_plan(*facts, preset=preset)
            took.append(time.perf_counter() - begun)
        assert min(took) < 0.2, (shape, preset, took)
print([name for name in {HEAVY} if name in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (found.stdout.strip(), found.stderr) == ("[]", "")


def test_what_is_learned_changes_neither_networks_nor_patches(facts_of: Make) -> None:
    facts, block = facts_of([(40, 48, 44)] * 3, [(1.0, 1.0, 1.0)] * 3, classes=4)
    declared = {"regions": {"all": block.labels.values[1:], "first": block.labels.values[1:2]}, "region_order": (2, 1)}
    plans = {}
    for trained in ("classes", "regions"):
        labels = block.labels.model_copy(update=declared | {"trained": trained})
        plans[trained] = make_plan(facts, block.model_copy(update={"labels": labels}))
    assert plans["classes"].configurations == plans["regions"].configurations
    assert plans["regions"].output_names == ("all", "first") and plans["classes"].output_names == block.labels.names
    assert plans["regions"].why["labels"].startswith("The regions all, first are declared") and "as was wished" in plans["classes"].why["labels"]
    judged = block.labels.model_copy(update={"regions": declared["regions"]})
    assert "without the value" in make_plan(facts, block.model_copy(update={"labels": judged})).why["labels"]
    assert "labels" not in make_plan(facts, block).why
