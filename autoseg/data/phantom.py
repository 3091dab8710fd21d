"""The embedded synthetic dataset: brain-tumour phantoms in the BraTS 2020 folder layout.

- For the demonstration and for tests: no download, no patient, the same again for the same seed.
- Anatomy is a formula evaluated on smoothly displaced coordinates, so no two brains are alike and none is ever interpolated.
- A tumour is grown as the voxels nearest to its centre, where nearness is bent by smooth noise: its volume is set, its outline is irregular.
- Contrasts follow MRI: fluid is dark in T1 and FLAIR and bright in T2, edema is bright in T2 and FLAIR, the enhancing rim is bright in T1ce only.
- Caps at the ventricles that look like edema, bright vessels, a bias field, Rician noise and a scale for each scan keep a threshold from solving it.
- Outside the brain every modality is exactly 0, inside it never is, as in skull-stripped scans.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from autoseg.imaging.image import Geometry, Image, LabelMap, Shape3
from autoseg.imaging.write import write_image, write_labels

Field = NDArray[np.float32]
Mask = NDArray[np.bool_]

MODALITIES = ("flair", "t1", "t1ce", "t2")
NECROSIS, EDEMA, ENHANCING = 1, 2, 4

# Brightness of each tissue, white matter in T1 = 1, in the order of MODALITIES.
_FLUID = (0.22, 0.25, 0.27, 1.65)
_GREY = (0.86, 0.68, 0.70, 0.92)
_WHITE = (0.68, 1.00, 1.00, 0.62)
_DEEP_GREY = (0.76, 0.78, 0.80, 0.76)
_CAPS = (1.12, 0.84, 0.84, 0.88)
_VESSELS = (0.60, 0.60, 1.35, 0.70)
_EDEMA = (1.34, 0.68, 0.68, 1.28)
_NECROSIS = (0.78, 0.40, 0.42, 1.42)
_SOLID = (1.16, 0.58, 0.62, 1.20)
_RIM = (1.12, 0.72, 1.65, 1.02)


def phantom(seed: int | Sequence[int], shape: Shape3 = (48, 56, 48)) -> tuple[Field, NDArray[np.uint8]]:
    """One synthetic brain with a tumour.

    Parameters
    ----------
    seed : the same seed gives the same phantom
    shape : voxels along Z, Y, X, at least 24 each

    Returns
    -------
    float32 (4, Z, Y, X), whole numbers, FLAIR, T1, T1ce, T2, 0 outside the brain and above 0 inside;
    uint8 (Z, Y, X), 0 healthy or outside, 1 necrotic or solid core, 2 edema, 4 enhancing tumour
    """
    rng = np.random.default_rng(seed)
    brain = _anatomy(rng, shape)
    lesion = _lesion(rng, brain)
    return _scan(rng, brain, lesion), lesion.labels_ZYX


def write_phantoms(root: Path | str, *, count: int, seed: int, first: int = 1, shape: Shape3 = (48, 56, 48), with_labels: bool = True) -> list[str]:
    """Write phantoms as `root/BraTS20_Training_001/BraTS20_Training_001_{flair,t1,t1ce,t2,seg}.nii.gz`, int16 at 1 mm.

    Parameters
    ----------
    root : the folder that the cases' folders are made in
    count : how many cases
    seed : together with a case's number it decides everything about the case, so that a larger `first` continues the same dataset
    first : number of the first case
    shape : voxels along Z, Y, X, at least 24 each
    with_labels : write the segmentations too

    Returns
    -------
    the cases' names

    Raises
    ------
    AutosegError
        the folder cannot be written
    """
    names = [f"BraTS20_Training_{number:03d}" for number in range(first, first + count)]
    geometry = Geometry.of(shape)
    for number, name in enumerate(names, start=first):
        images_CZYX, labels_ZYX = phantom((seed, number), shape)
        for modality, image_ZYX in zip(MODALITIES, images_CZYX, strict=True):
            write_image(Image(image_ZYX[None], geometry), Path(root) / name / f"{name}_{modality}.nii.gz", dtype="int16")
        if with_labels:
            write_labels(LabelMap(labels_ZYX, geometry), Path(root) / name / f"{name}_seg.nii.gz")
    return names


@dataclass(frozen=True)
class _Brain:
    """Shares of the tissues, each (Z, Y, X) in 0..1; white matter is the rest."""

    inside: Mask
    fluid: Field
    grey: Field
    deep_grey: Field
    caps: Field
    vessels: Field


@dataclass(frozen=True)
class _Lesion:
    """The truth, and whether the core is solid (no enhancement) instead of necrotic."""

    labels_ZYX: NDArray[np.uint8]
    solid: bool


def _anatomy(rng: np.random.Generator, shape: Shape3) -> _Brain:
    z, y, x, voxel = _coordinates(rng, shape)
    # An egg: narrower in front (small y), flattened below.
    width = 1 - 0.10 * np.clip(-y, 0, 1) ** 2 - 0.10 * np.clip(-z, 0, 1)
    radius = np.sqrt((x / width) ** 2 + y**2 + np.where(z < 0, 1.18 * z, z) ** 2)
    depth = (1 - radius) / voxel  # in voxels below the surface
    inside = depth > 0

    # Zero levels of smooth noise are winding sheets: the furrows of the cortex.
    winding = np.abs(_noise(rng, shape, 2.3))
    furrow = _step(0.20 - winding, 0.08) * _step(5.0 - depth, 0.8)
    cortex = np.maximum(_step(2.6 - depth, 0.6), _step(0.85 - winding, 0.2) * _step(7.0 - depth, 1.0))
    fissure = _step(0.9 * voxel - np.abs(x), 0.3 * voxel) * _step(np.maximum(z - 0.30, np.abs(y + 0.02) - 0.62), 0.05)

    size = rng.uniform(0.9, 1.6)
    ventricles = np.zeros(shape, np.float32)
    for side in (-1, 1):
        bow = side * x - 0.13 - 0.20 * (y - 0.05) ** 2 - 0.05 * np.clip(y, 0, 1)
        body = np.sqrt((bow / (0.085 * size)) ** 2 + ((y - 0.02) / 0.44) ** 2 + ((z - 0.10 + 0.25 * y**2) / (0.17 * size)) ** 2)
        ventricles = np.maximum(ventricles, _step(1 - body, 0.12))
    third = np.sqrt((x / 0.04) ** 2 + ((y - 0.05) / 0.16) ** 2 + ((z + 0.14) / 0.14) ** 2)
    ventricles = np.maximum(ventricles, _step(1 - third, 0.2))

    nuclei = np.zeros(shape, np.float32)
    for side in (-1, 1):
        thalamus = np.sqrt(((side * x - 0.16) / 0.11) ** 2 + ((y - 0.16) / 0.17) ** 2 + ((z + 0.10) / 0.14) ** 2)
        putamen = np.sqrt(((side * x - 0.36 - 0.15 * y) / 0.09) ** 2 + ((y + 0.05) / 0.24) ** 2 + ((z + 0.05) / 0.17) ** 2)
        nuclei = np.maximum(nuclei, np.maximum(_step(1 - thalamus, 0.12), _step(1 - putamen, 0.12)))

    around = ndimage.gaussian_filter(ventricles, 1.3)
    caps = np.clip(rng.uniform(0.4, 2.2) * around * _step(_noise(rng, shape, 3.0) + np.abs(y) - 0.1, 0.4), 0, 0.9)
    vessels = _step(_noise(rng, shape, 1.3) - 1.5, 0.2) * np.maximum(furrow, 0.5 * _step(2.5 - depth, 0.5))
    return _Brain(inside, np.maximum(np.maximum(furrow, fissure), ventricles), cortex, nuclei, caps, vessels)


def _lesion(rng: np.random.Generator, brain: _Brain) -> _Lesion:
    """Grow one tumour, or two: edema by volume, in it the core by volume, in that a rim by thickness."""
    enhancing = rng.random() > 1 / 6
    total = int(rng.uniform(0.022, 0.11) * brain.inside.sum())
    parts = (0.72, 0.28) if rng.random() < 0.15 else (1.0,)
    labels = np.zeros(brain.inside.shape, np.uint8)
    tissue = brain.inside & (brain.fluid < 0.5)
    for part in parts:
        free = tissue & (labels == 0)
        centre = _deep(rng, free & ~_near(labels > 0, 3), 0.4)
        size = max(30, int(part * total))
        # Edema follows white matter: grey matter counts as farther away.
        whole = _grow(rng, free, centre, size, bend=0.55, penalty=0.35 * brain.grey)
        core = _grow(rng, whole, _deep(rng, whole, 0.6), int(size * rng.uniform(0.25, 0.6)), bend=0.25)
        labels[whole] = EDEMA
        labels[core] = NECROSIS
        if enhancing:
            thickness = rng.uniform(1.4, 2.4) + np.maximum(0.45 * _noise(rng, labels.shape, 2.0), -0.5)
            labels[core & (ndimage.distance_transform_edt(core) <= thickness)] = ENHANCING
    return _Lesion(labels, solid=not enhancing)


def _scan(rng: np.random.Generator, brain: _Brain, lesion: _Lesion) -> Field:
    """What a scanner makes of it: partial volume, texture, bias field, noise, and a scale that differs from scan to scan."""
    shape = brain.inside.shape
    layers = [
        (_GREY, brain.grey),
        (_DEEP_GREY, brain.deep_grey),
        (_CAPS, brain.caps),
        (_FLUID, brain.fluid),
        (_VESSELS, brain.vessels),
        (_EDEMA, _soft(lesion.labels_ZYX > 0, 0.8) * rng.uniform(0.75, 1.0)),
        (_SOLID if lesion.solid else _NECROSIS, _soft(np.isin(lesion.labels_ZYX, (NECROSIS, ENHANCING)), 0.6)),
        (_RIM, _soft(lesion.labels_ZYX == ENHANCING, 0.5) * rng.uniform(0.8, 1.0)),
    ]
    texture = _noise(rng, shape, 1.2)
    images = np.empty((len(MODALITIES), *shape), np.float32)
    for index in range(len(MODALITIES)):
        image = np.full(shape, _WHITE[index], np.float32)
        for brightness, share in layers:
            image += share * (brightness[index] * rng.normal(1, 0.03) - image)
        image *= 1 + 0.03 * texture + 0.02 * _noise(rng, shape, 1.0)
        image *= np.exp(rng.uniform(0.03, 0.09) * _noise(rng, shape, 14.0))
        noise = rng.uniform(0.025, 0.06) * rng.standard_normal((2, *shape), dtype=np.float32)
        image = np.hypot(image + noise[0], noise[1])
        scale = np.exp(rng.uniform(np.log(150), np.log(1200)))
        images[index] = np.where(brain.inside, np.clip(np.rint(scale * image), 1, 32000), 0)
    return images


def _coordinates(rng: np.random.Generator, shape: Shape3) -> tuple[Field, Field, Field, float]:
    """Z, Y, X in units of the brain's half axes after a random pose and a smooth displacement, and the length of a voxel in them."""
    turn = np.deg2rad(rng.uniform(-8, 8, 3))
    (cz, cy, cx), (sz, sy, sx) = np.cos(turn), np.sin(turn)
    about_z = np.array([[1, 0, 0], [0, cz, -sz], [0, sz, cz]])
    about_y = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    about_x = np.array([[cx, -sx, 0], [sx, cx, 0], [0, 0, 1]])
    size = np.asarray(shape, float)
    half_axes = 0.435 * size * rng.uniform(0.92, 1.0, 3)
    centre = (size - 1) / 2 + rng.uniform(-0.02, 0.02, 3) * size
    grid = np.indices(shape, dtype=np.float32) - centre[:, None, None, None].astype(np.float32)
    posed = np.tensordot((about_z @ about_y @ about_x).astype(np.float32), grid, axes=1)
    bent = [(posed[axis] + 0.014 * size[axis] * _noise(rng, shape, size.mean() / 8)) / half_axes[axis] for axis in range(3)]
    z, y, x = (axis.astype(np.float32) for axis in bent)
    return z, y, x, float(1 / half_axes.mean())


def _grow(rng: np.random.Generator, allowed: Mask, centre: tuple[int, ...], size: int, *, bend: float, penalty: Field | float = 0.0) -> Mask:
    """At most `size` connected voxels of `allowed` around `centre`: a ball bent by noise."""
    radius = (3 * size / (4 * np.pi)) ** (1 / 3)
    stretch = rng.uniform(0.8, 1.25, 3)
    offsets = np.ogrid[tuple(slice(-c, n - c) for c, n in zip(centre, allowed.shape, strict=True))]
    distance = np.sqrt(sum((offset / factor) ** 2 for offset, factor in zip(offsets, stretch, strict=True)))
    reach = distance / radius + bend * _noise(rng, allowed.shape, max(1.5, 0.45 * radius)) + penalty
    reach[~allowed | (distance > 2.5 * radius)] = np.inf
    size = min(size, int(np.isfinite(reach).sum()))
    pieces, _ = ndimage.label(reach <= np.partition(reach, size - 1, axis=None)[size - 1])
    return np.asarray(pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:]))


def _deep(rng: np.random.Generator, mask: Mask, share: float) -> tuple[int, ...]:
    """A random voxel at least `share` as far inside the mask as its deepest one."""
    depth = ndimage.distance_transform_edt(mask)
    chosen = rng.choice(np.flatnonzero(depth >= share * depth.max()))
    return tuple(int(index) for index in np.unravel_index(chosen, mask.shape))


def _near(mask: Mask, voxels: int) -> Mask:
    return ndimage.binary_dilation(mask, iterations=voxels) if mask.any() else mask


def _noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Field:
    """Gaussian noise smoothed by `sigma` voxels, mean 0 and standard deviation 1; in Fourier space the width costs nothing."""
    spectrum = np.fft.rfftn(rng.standard_normal(shape, dtype=np.float32))
    for axis, size in enumerate(shape):
        frequency = np.fft.rfftfreq(size) if axis == 2 else np.fft.fftfreq(size)
        response = np.exp(-2 * (np.pi * sigma * frequency) ** 2)
        spectrum *= response.reshape([-1 if other == axis else 1 for other in range(3)])
    spectrum[0, 0, 0] = 0
    smooth = np.fft.irfftn(spectrum, shape, axes=(0, 1, 2))
    return np.asarray(smooth / smooth.std(), np.float32)


def _step(x: NDArray[np.floating], width: float) -> Field:
    """0 below, 1 above zero, with a soft edge of `width`."""
    return np.asarray(0.5 + 0.5 * np.tanh(x / width), np.float32)


def _soft(mask: Mask, sigma: float) -> Field:
    return ndimage.gaussian_filter(mask.astype(np.float32), sigma)
