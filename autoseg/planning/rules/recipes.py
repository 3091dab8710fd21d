"""How a network is trained: the two recipes that every plan offers.

- `default` is the field's long recipe (the rule of nnU-Net, Isensee et al. 2021): large steps of SGD that need tens of thousands of them.
- `fast` is for trainings of minutes or hours: AdamW with a short warm-up, averaged weights, and fewer kinds of augmentation.
- A cascade's network must not trust the stage before it blindly: its segmentation is spoilt at random, shapes and components, in either recipe.
- Every number that may be tuned stands at the top of this file.
"""

from collections.abc import Mapping
from typing import Literal

from autoseg.planning.plan import Augmentation, Recipe, Transform

Recipes = dict[Literal["default", "fast"], Recipe]

# fast: measured at width 16 on the hippocampus (600 steps of two patches); smaller steps for wider networks
FAST_LEARNING_RATE_AT_WIDTH_16 = 2e-3
FAST_WEIGHT_DECAY = 1e-2
FAST_WARMUP = 0.03
FAST_CLIP = 1.0
FAST_WEIGHT_AVERAGE = 0.99
FAST_BETA = 0.9
FAST_ROTATION, FAST_SCALING = 0.2, Transform(probability=0.2, range=(0.7, 1.4))
FAST_BRIGHTNESS = Transform(probability=0.15, range=(0.8, 1.25))
FAST_CONTRAST = Transform(probability=0.15, range=(0.8, 1.25))
# Anatomy that may lie any way round takes longer to learn than a short training has. Seen on the hippocampus: 280 steps with mirroring gave a
# Dice of 0.81, 600 steps on smaller patches without it 0.90; a comparison at equal steps (benchmarks/recipes.py) is still owed.
FAST_MIRROR_AXES: tuple[Literal[0, 1, 2], ...] = ()
FAST_GAMMA = Transform(probability=0.15, range=(0.8, 1.25))

DEFAULT_ROTATION, DEFAULT_SCALING = 0.2, Transform(probability=0.2, range=(0.7, 1.4))
DEFAULT_NOISE = Transform(probability=0.1, range=(0.0, 0.1))
DEFAULT_BLUR = Transform(probability=0.2, range=(0.5, 1.0))
DEFAULT_BRIGHTNESS = Transform(probability=0.15, range=(0.75, 1.25))
DEFAULT_CONTRAST = Transform(probability=0.15, range=(0.75, 1.25))
DEFAULT_LOW_RESOLUTION = Transform(probability=0.25, range=(0.5, 1.0))
DEFAULT_GAMMA_INVERTED = Transform(probability=0.1, range=(0.7, 1.5))
DEFAULT_GAMMA = Transform(probability=0.3, range=(0.7, 1.5))

# cascade: radius in voxels; share of the patch up to which a component may be removed
PREVIOUS_MORPHOLOGY = Transform(probability=0.4, range=(1.0, 8.0))
PREVIOUS_REMOVAL = Transform(probability=0.2, range=(0.0, 0.15))

ANISOTROPIC_ABOVE = 3.0
ELONGATED_ABOVE = 1.5


def recipes(patch_size: tuple[int, ...], base_features: int) -> Recipes:
    """Both recipes for patches of one size.

    Parameters
    ----------
    patch_size : voxels an axis, two or three axes, transposed
    base_features : width of the network, which sets the learning rate of `fast`
    """
    return {"default": _default(patch_size), "fast": _fast(patch_size, base_features)}


def cascade_recipes(single: Mapping[Literal["default", "fast"], Recipe]) -> Recipes:
    """The same recipes for a network that also sees a segmentation (the rule of nnU-Net, Isensee et al. 2021)."""
    spoilt = {"previous_morphology": PREVIOUS_MORPHOLOGY, "previous_removal": PREVIOUS_REMOVAL}
    return {name: recipe.model_copy(update={"augmentation": recipe.augmentation.model_copy(update=spoilt)}) for name, recipe in single.items()}


def is_slice_wise(patch_size: tuple[int, ...]) -> bool:
    """Spatial augmentation acts on slices: a 3D patch that is more than three times longer in-plane than through the slices."""
    return len(patch_size) == 3 and max(patch_size) / patch_size[0] > ANISOTROPIC_ABOVE


def rotation_limit(patch_size: tuple[int, ...]) -> float:
    """Largest rotation in degrees: what does not turn much of the image out of the patch."""
    if len(patch_size) == 2:
        return 15.0 if max(patch_size) / min(patch_size) > ELONGATED_ABOVE else 180.0
    return 180.0 if is_slice_wise(patch_size) else 30.0


def augmentation_reason(patch_size: tuple[int, ...]) -> str:
    """The line that explains rotation and slice-wise augmentation."""
    limit = rotation_limit(patch_size)
    if len(patch_size) == 2:
        aspect = max(patch_size) / min(patch_size)
        side = "above" if aspect > ELONGATED_ABOVE else "not above"
        return f"The patch's aspect is {aspect:.2f}, {side} {ELONGATED_ABOVE:g}: rotations up to {limit:g} degrees in the default recipe."
    ratio = max(patch_size) / patch_size[0]
    if is_slice_wise(patch_size):
        what = f"above {ANISOTROPIC_ABOVE:g}: rotation and scaling act on slices, up to {limit:g} degrees in the default recipe."
    else:
        what = f"not above {ANISOTROPIC_ABOVE:g}: rotation and scaling act on the volume, up to {limit:g} degrees about each axis."
    return f"The patch's longest edge is {ratio:.2f} times its first, {what}"


def cascade_augmentation_reason() -> str:
    """The line that explains how the previous stage's segmentation is spoilt."""
    shapes, removal = PREVIOUS_MORPHOLOGY, PREVIOUS_REMOVAL
    return (
        "As without a previous stage, whose segmentation is also spoilt, so that this network learns to mend it instead of copying it:"
        f" with chance {shapes.probability:g} classes grow, shrink or are smoothed by {shapes.range[0]:g} to {shapes.range[1]:g} voxels,"
        f" with chance {removal.probability:g} components of up to {removal.range[1]:.0%} of the patch are removed."
    )


def _default(patch_size: tuple[int, ...]) -> Recipe:
    limit = rotation_limit(patch_size)
    return Recipe(
        optimizer="sgd",
        learning_rate=1e-2,
        momentum=0.99,
        weight_decay=3e-5,
        warmup_fraction=0.0,
        clip_gradient_norm=12.0,
        weight_average=0.0,
        augmentation=Augmentation(
            slice_wise=is_slice_wise(patch_size),
            rotation=Transform(probability=DEFAULT_ROTATION, range=(-limit, limit)),
            scaling=DEFAULT_SCALING,
            noise=DEFAULT_NOISE,
            blur=DEFAULT_BLUR,
            brightness=DEFAULT_BRIGHTNESS,
            contrast=DEFAULT_CONTRAST,
            low_resolution=DEFAULT_LOW_RESOLUTION,
            gamma_inverted=DEFAULT_GAMMA_INVERTED,
            gamma=DEFAULT_GAMMA,
            mirror_axes=_all_axes(patch_size),
        ),
    )


def _fast(patch_size: tuple[int, ...], base_features: int) -> Recipe:
    limit = min(30.0, rotation_limit(patch_size))
    return Recipe(
        optimizer="adamw",
        learning_rate=FAST_LEARNING_RATE_AT_WIDTH_16 * 16 / base_features,
        momentum=FAST_BETA,
        weight_decay=FAST_WEIGHT_DECAY,
        warmup_fraction=FAST_WARMUP,
        clip_gradient_norm=FAST_CLIP,
        weight_average=FAST_WEIGHT_AVERAGE,
        augmentation=Augmentation(
            slice_wise=is_slice_wise(patch_size),
            rotation=Transform(probability=FAST_ROTATION, range=(-limit, limit)),
            scaling=FAST_SCALING,
            brightness=FAST_BRIGHTNESS,
            contrast=FAST_CONTRAST,
            gamma=FAST_GAMMA,
            mirror_axes=FAST_MIRROR_AXES,
        ),
    )


def _all_axes(patch_size: tuple[int, ...]) -> tuple[Literal[0, 1, 2], ...]:
    return (0, 1, 2) if len(patch_size) == 3 else (0, 1)
