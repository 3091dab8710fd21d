import pytest

from autoseg.planning.rules.recipes import augmentation_reason, cascade_augmentation_reason, cascade_recipes, is_slice_wise, recipes, rotation_limit


@pytest.mark.parametrize(
    ("patch", "limit", "slice_wise"),
    [
        ((128, 128, 128), 30, False),
        ((40, 120, 80), 30, False),
        ((40, 121, 80), 180, True),
        ((128, 40, 40), 30, False),
        ((256, 256), 180, False),
        ((300, 200), 180, False),
        ((301, 200), 15, False),
        ((200, 301), 15, False),
    ],
)
def test_rotation_follows_the_patch(patch: tuple[int, ...], limit: float, slice_wise: bool) -> None:
    assert rotation_limit(patch) == limit
    assert is_slice_wise(patch) == slice_wise
    default = recipes(patch, 32)["default"].augmentation
    assert default.rotation is not None
    assert default.rotation.range == (-limit, limit)
    assert default.slice_wise == slice_wise
    assert default.mirror_axes == tuple(range(len(patch)))
    assert f"{limit} degrees" in augmentation_reason(patch)


def test_default_is_the_long_recipe() -> None:
    default = recipes((128, 128, 128), 32)["default"]
    assert (default.optimizer, default.learning_rate, default.momentum, default.weight_decay) == ("sgd", 1e-2, 0.99, 3e-5)
    assert (default.clip_gradient_norm, default.warmup_fraction, default.weight_average) == (12, 0, 0)
    expected = {
        "rotation": (0.2, (-30, 30)),
        "scaling": (0.2, (0.7, 1.4)),
        "noise": (0.1, (0, 0.1)),
        "blur": (0.2, (0.5, 1)),
        "brightness": (0.15, (0.75, 1.25)),
        "contrast": (0.15, (0.75, 1.25)),
        "low_resolution": (0.25, (0.5, 1)),
        "gamma_inverted": (0.1, (0.7, 1.5)),
        "gamma": (0.3, (0.7, 1.5)),
    }
    assert {key: (getattr(default.augmentation, key).probability, getattr(default.augmentation, key).range) for key in expected} == expected


@pytest.mark.parametrize(("width", "rate"), [(16, 2e-3), (32, 1e-3)])
def test_fast_takes_smaller_steps_with_wider_networks(width: int, rate: float) -> None:
    fast = recipes((64, 64, 64), width)["fast"]
    assert fast.optimizer == "adamw"
    assert fast.learning_rate == rate
    assert (fast.clip_gradient_norm, fast.weight_average, fast.warmup_fraction) == (1, 0.99, 0.03)
    assert fast.augmentation.blur is None
    assert fast.augmentation.low_resolution is None


def test_fast_rotates_no_further_than_default() -> None:
    fast = recipes((400, 100), 16)["fast"].augmentation
    assert fast.rotation is not None
    assert fast.rotation.range == (-15, 15)


def test_a_cascade_spoils_what_it_is_shown_in_both_recipes() -> None:
    single = recipes((64, 64, 64), 32)
    for name, recipe in cascade_recipes(single).items():
        morphology, removal = recipe.augmentation.previous_morphology, recipe.augmentation.previous_removal
        assert morphology is not None and removal is not None
        assert (morphology.probability, morphology.range) == (0.4, (1, 8))
        assert (removal.probability, removal.range) == (0.2, (0, 0.15))
        assert single[name].augmentation.previous_morphology is single[name].augmentation.previous_removal is None
    assert set(cascade_recipes(single)) == {"default", "fast"}
    assert "with chance 0.4" in cascade_augmentation_reason() and "up to 15% of the patch" in cascade_augmentation_reason()
