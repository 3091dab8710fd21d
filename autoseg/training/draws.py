"""The parameters of random augmentation, drawn separately from their application.

- A draw is plain numbers: it can be logged, replayed, and applied on any device.
- All draws come from one seeded host generator; the same seed gives the same sequence whatever the device.
- What concerns the previous stage of a cascade is drawn last, and only where there is one: other sequences do not know of it.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from autoseg.planning.plan import Augmentation, Range, Transform

CHANNEL_CHANCE = 0.5  # blur and low resolution touch each channel of a chosen sample with this chance
Kind = Literal["dilation", "erosion", "opening", "closing"]
KINDS: tuple[Kind, ...] = ("dilation", "erosion", "opening", "closing")


@dataclass(frozen=True)
class Operation:
    """What happens to the shape of one class of the previous stage's segmentation; `radius` in voxels."""

    label: int
    kind: Kind
    radius: float


@dataclass(frozen=True)
class Removal:
    """Of each class of the previous stage's segmentation one component is removed, if any has the size for it.

    Attributes
    ----------
    picks : for the classes 1, 2, ...: a number from 0 to below 1 that chooses among the class's candidates
    share : candidates cover at least the first and less than the second part of the patch
    """

    picks: tuple[float, ...]
    share: Range


@dataclass(frozen=True)
class Draw:
    """What happens to one sample; one entry a channel where a tuple is named after channels.

    Attributes
    ----------
    angles : degrees about Z, Y, X
    scale : factor on coordinates: above 1 the patch shows more of the scan, smaller
    in_plane : the first axis is neither rotated nor scaled
    flips : axes (0, 1, 2 = Z, Y, X) that are mirrored
    noise, noise_seed : standard deviation of added Gaussian noise, and its own seed
    blur : sigma in voxels, 0 leaves a channel alone
    brightness, contrast : factors, 1 leaves a channel alone
    low_resolution : scale, 1 leaves a channel alone
    gamma_inverted, gamma : exponents, 1 leaves a channel alone
    morphology : changes of the previous stage's segmentation, one a class, in their order; empty leaves it alone
    removal : of its components, or None
    """

    angles: tuple[float, float, float]
    scale: float
    in_plane: bool
    flips: tuple[int, ...]
    noise: float
    noise_seed: int
    blur: tuple[float, ...]
    brightness: tuple[float, ...]
    contrast: tuple[float, ...]
    low_resolution: tuple[float, ...]
    gamma_inverted: tuple[float, ...]
    gamma: tuple[float, ...]
    morphology: tuple[Operation, ...] = ()
    removal: Removal | None = None

    @property
    def moves(self) -> bool:
        """Whether voxels must be interpolated."""
        return self.scale != 1.0 or any(self.angles)


def draw(generator: np.random.Generator, rules: Augmentation, channels: int, *, in_plane: bool, previous_classes: int = 0) -> Draw:
    """Draw what happens to one sample.

    Parameters
    ----------
    generator : the only source of chance
    rules : the plan's augmentation
    channels : of the image
    in_plane : rotate about Z only and leave Z unscaled (2D networks and slice-wise augmentation)
    previous_classes : foreground classes of the previous stage's segmentation, 0 without a previous stage
    """
    rotates = rules.rotation is not None and generator.random() < rules.rotation.probability
    angles = [float(generator.uniform(*rules.rotation.range)) if rotates and rules.rotation else 0.0 for _ in range(3)]
    if in_plane:
        angles[1:] = 0.0, 0.0
    scale = float(generator.uniform(*rules.scaling.range)) if _chosen(generator, rules.scaling) and rules.scaling else 1.0
    noise = float(generator.uniform(*rules.noise.range)) if _chosen(generator, rules.noise) and rules.noise else 0.0
    return Draw(
        angles=(angles[0], angles[1], angles[2]),
        scale=scale,
        in_plane=in_plane,
        noise=noise,
        noise_seed=int(generator.integers(2**31)),
        blur=_some_channels(generator, rules.blur, channels, neutral=0.0),
        brightness=_all_channels(generator, rules.brightness, channels),
        contrast=_all_channels(generator, rules.contrast, channels),
        low_resolution=_some_channels(generator, rules.low_resolution, channels, neutral=1.0),
        gamma_inverted=_all_channels(generator, rules.gamma_inverted, channels),
        gamma=_all_channels(generator, rules.gamma, channels),
        flips=tuple(axis for axis in rules.mirror_axes if generator.random() < 0.5),
        morphology=_morphology(generator, rules.previous_morphology, previous_classes),
        removal=_removal(generator, rules.previous_removal, previous_classes),
    )


def nothing(channels: int) -> Draw:
    """The draw that leaves a sample as it is."""
    ones = (1.0,) * channels
    return Draw((0.0, 0.0, 0.0), 1.0, False, (), 0.0, 0, (0.0,) * channels, ones, ones, ones, ones, ones)


def _chosen(generator: np.random.Generator, rule: Transform | None) -> bool:
    return rule is not None and bool(generator.random() < rule.probability)


def _all_channels(generator: np.random.Generator, rule: Transform | None, channels: int) -> tuple[float, ...]:
    """A factor or exponent for each channel, weaker and stronger equally likely."""
    if not _chosen(generator, rule) or rule is None:
        return (1.0,) * channels
    return tuple(_around_one(generator, rule.range) for _ in range(channels))


def _some_channels(generator: np.random.Generator, rule: Transform | None, channels: int, *, neutral: float) -> tuple[float, ...]:
    """A strength for each channel that is touched at all."""
    if not _chosen(generator, rule) or rule is None:
        return (neutral,) * channels
    return tuple(float(generator.uniform(*rule.range)) if generator.random() < CHANNEL_CHANCE else neutral for _ in range(channels))


def _morphology(generator: np.random.Generator, rule: Transform | None, classes: int) -> tuple[Operation, ...]:
    """One operation for each class, in random order."""
    if not classes or not _chosen(generator, rule) or rule is None:
        return ()
    labels = (generator.permutation(classes) + 1).tolist()
    return tuple(Operation(label, KINDS[generator.integers(len(KINDS))], float(generator.uniform(*rule.range))) for label in labels)


def _removal(generator: np.random.Generator, rule: Transform | None, classes: int) -> Removal | None:
    if not classes or not _chosen(generator, rule) or rule is None:
        return None
    return Removal(tuple(generator.random(classes).tolist()), rule.range)


def _around_one(generator: np.random.Generator, limits: Range) -> float:
    """Where a range lies on both sides of 1, weaker and stronger are equally likely, however far each side reaches."""
    low, high = limits
    if low < 1 < high:
        low, high = (low, 1.0) if generator.random() < 0.5 else (1.0, high)
    return float(generator.uniform(low, high))
