"""What batchgeneratorsv2, the augmentation of nnU-Net, makes of a small scan: augmentation_peers.py TOLD.

- Run with a Python that has `batchgeneratorsv2`; the answer is kept as tests/training/data/batchgenerators.json. Nothing else of autoseg is needed.
- Each change is made alone and every time, with nnU-Net's ranges, and a few numbers are taken of what comes out. The tests take the same numbers of
  what autoseg makes of the same scan, and compare their distributions.
"""

import json
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BOX, PATCH, COUNT, CHANNELS = 48, 20, 200, 3
RANGES = {
    "rotation": (-30.0, 30.0), "scaling": (0.7, 1.4), "noise": (0.0, 0.1), "blur": (0.5, 1.0), "brightness": (0.75, 1.25),
    "contrast": (0.75, 1.25), "low_resolution": (0.5, 1.0), "gamma_inverted": (0.7, 1.5), "gamma": (0.7, 1.5),
}  # fmt: skip
SLOPES, NEIGHBOURS = ("slope_z", "slope_y", "slope_x"), ("neighbours_z", "neighbours_y", "neighbours_x")
FACTS = {
    "rotation": (*SLOPES, "neighbours_z", "deviation", "share"), "scaling": (*SLOPES, "neighbours_z", "deviation", "share"), "noise": ("added",),
    "blur": NEIGHBOURS, "brightness": ("deviation",), "contrast": ("deviation", "largest"), "low_resolution": (*NEIGHBOURS, "deviation"),
    "gamma_inverted": ("skewness", "largest"), "gamma": ("skewness", "largest"), "mirror": SLOPES,
}  # fmt: skip


@lru_cache(maxsize=1)
def scan() -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """A scan of three channels (a ramp, white noise, a skewed one) and its labels, (C, Z, Y, X) and (Z, Y, X)."""
    generator = np.random.default_rng(0)
    z, y, x = np.indices((BOX,) * 3) - (BOX - 1) / 2
    image = np.stack([z + 2 * y + 3 * x, generator.standard_normal(z.shape), generator.lognormal(0.0, 0.5, z.shape)]).astype(np.float32)
    labels = np.where((z / 7) ** 2 + (y / 5) ** 2 + (x / 9) ** 2 < 1, 1, 0)
    labels[(abs(z - 1) < 3) & (abs(y) < 3) & (abs(x + 2) < 4)] = 2
    return image, labels.astype(np.int8)


def middle(array: NDArray[Any]) -> NDArray[Any]:
    """The patch in the middle of the scan."""
    inside = slice((BOX - PATCH) // 2, (BOX + PATCH) // 2)
    return array[..., inside, inside, inside]


def facts(image_CZYX: NDArray[np.float32], labels_ZYX: NDArray[np.integer[Any]]) -> dict[str, float]:
    """Numbers that tell what was done to the patch in the middle of the scan, to four digits."""
    before = middle(scan()[0]).astype(np.float64)
    ramp, noise, skewed = image_CZYX.astype(np.float64)
    told = {name: np.diff(ramp, axis=axis).mean() for axis, name in enumerate(SLOPES)}
    for axis, name in enumerate(NEIGHBOURS):  # how alike they are
        first, second = noise.take(range(PATCH - 1), axis), noise.take(range(1, PATCH), axis)
        told[name] = np.corrcoef(first.ravel(), second.ravel())[0, 1]
    told |= {"deviation": noise.std() / before[1].std(), "added": (noise - before[1]).std(), "largest": noise.max()}
    told |= {"skewness": ((skewed - skewed.mean()) ** 3).mean() / skewed.std() ** 3, "share": (labels_ZYX > 0).mean() + (labels_ZYX > 1).mean()}
    return {name: float(f"{value:.4g}") for name, value in told.items()}


def main() -> None:
    """Record what the changes of batchgeneratorsv2 give."""
    import torch

    np.random.seed(1)
    torch.manual_seed(1)
    torch.set_num_threads(1)
    answer: dict[str, Any] = {"made_with": {name: version(name) for name in ("batchgeneratorsv2", "numpy", "torch")}, "facts": {}}
    for name, change in _changes():
        image, labels = scan()
        if name not in ("rotation", "scaling"):
            image, labels = middle(image), middle(labels)
        results = [change(image=torch.from_numpy(image.copy()), segmentation=torch.from_numpy(labels[None].copy())) for _ in range(COUNT)]
        rows = [facts(result["image"].numpy(), result["segmentation"][0].numpy()) for result in results]
        answer["facts"][name] = {fact: sorted(row[fact] for row in rows) for fact in FACTS[name]}
    Path(sys.argv[1]).write_text(json.dumps(answer).replace("}, ", "},\n ").replace("], ", "],\n  ") + "\n", encoding="utf-8")


def _changes() -> Iterator[tuple[str, Any]]:
    """nnU-Net's, as its trainer makes them, but for the chances."""
    from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
    from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
    from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
    from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
    from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
    from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
    from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform

    low, high = np.deg2rad(RANGES["rotation"]).tolist()
    for name, chances in (("rotation", {"p_rotation": 1.0}), ("scaling", {"p_scaling": 1.0})):
        yield (
            name,
            SpatialTransform(
                (PATCH,) * 3, 0, random_crop=False, rotation=(low, high), scaling=RANGES["scaling"], p_synchronize_scaling_across_axes=1,
                border_mode_seg="constant", padding_value_seg=-1, **chances,
            ),
        )  # fmt: skip
    yield "noise", GaussianNoiseTransform(RANGES["noise"], p_per_channel=1, synchronize_channels=True)
    yield "blur", GaussianBlurTransform(RANGES["blur"], synchronize_channels=False, synchronize_axes=False, p_per_channel=0.5)
    yield "brightness", MultiplicativeBrightnessTransform(BGContrast(RANGES["brightness"]), synchronize_channels=False, p_per_channel=1)
    yield "contrast", ContrastTransform(BGContrast(RANGES["contrast"]), preserve_range=True, synchronize_channels=False, p_per_channel=1)
    yield (
        "low_resolution",
        SimulateLowResolutionTransform(
            RANGES["low_resolution"], synchronize_channels=False, synchronize_axes=True, ignore_axes=None, p_per_channel=0.5
        ),
    )
    for name, inverted in (("gamma_inverted", 1), ("gamma", 0)):
        yield name, GammaTransform(BGContrast(RANGES[name]), inverted, synchronize_channels=False, p_per_channel=1, p_retain_stats=1)
    yield "mirror", MirrorTransform((0, 1, 2))


if __name__ == "__main__":
    main()
