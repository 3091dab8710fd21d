"""How large the probabilities of a BraTS-sized case become, and how long one core deflates them: rounded or not, at two levels of zlib.

    python benchmarks/probabilities.py

- Four classes (softmax) and three nested regions (sigmoid) on 155 x 240 x 240 voxels, of which the head's box is not certain background.
- Logits are the distance to the borders of nested ellipsoids, with smooth and fine noise. "sure" is a well-trained network: only voxels near a border
  are in doubt. "unsure" is one that was hardly trained: about a third of all voxels is.
- Seconds are those of one thread's processor. "moved" are voxels whose plain rounding would decide otherwise; `decide.py` lets none of them.
"""

import zlib
from time import thread_time

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

SHAPE, BOX = (155, 240, 240), (slice(5, 145), slice(40, 205), slice(50, 190))
RADII = (40.0, 24.0, 14.0)  # of whole tumour, core and enhancing tumour, voxels
ROUNDINGS = {"unrounded": None, "1/1024": 1024, "1/256": 256}
LEVELS = (1, 6)
KINDS = {"sure": (2.0, 12.0), "unsure": (0.07, 2.0)}  # what distances are multiplied with, and the size of the noise


def main() -> None:
    """Print a line for each kind of probabilities and each rounding."""
    rng = np.random.default_rng(0)
    smooth, fine = (np.stack([gaussian_filter(rng.normal(size=SHAPE), width) for _ in RADII]) for width in (4.0, 0.7))
    for kind, (steepness, noise) in KINDS.items():
        regions = steepness * inside(RADII) + noise * (smooth / smooth.std() + 0.1 * fine / fine.std())
        for name, soft in (("softmax", softmax(regions)), ("sigmoid", certain(1 / (1 + np.exp(-regions)), 0))):
            doubtful = float(((soft > 0.002) & (soft < 0.998)).any(0).mean())
            print(f"{kind} {name}, {doubtful:.1%} of the voxels in doubt")
            for rounding, steps in ROUNDINGS.items():
                print(f"  {rounding}: {deflated(soft, steps)}")


def inside(radii: tuple[float, ...]) -> NDArray[np.float64]:
    """How deep each voxel lies in ellipsoids about one centre, (regions, Z, Y, X)."""
    z, y, x = np.ogrid[tuple(slice(0, size) for size in SHAPE)]
    distance = np.sqrt(((z - 80) / 0.9) ** 2 + (y - 120) ** 2 + ((x - 110) / 1.2) ** 2)
    return np.stack([radius - distance for radius in radii])


def softmax(regions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Four classes of three nested regions: background, and what each has that the next has not."""
    whole, core, enhancing = 1 / (1 + np.exp(-regions))
    soft = np.stack([1 - whole, whole * (1 - core), whole * core * (1 - enhancing), whole * core * enhancing])
    return certain(soft, 1)


def certain(soft: NDArray[np.float64], background: float) -> NDArray[np.float64]:
    """Beyond the head's box nothing is in doubt."""
    full = np.zeros_like(soft)
    full[0] = background
    full[(slice(None), *BOX)] = soft[(slice(None), *BOX)]
    return full


def deflated(soft: NDArray[np.float64], steps: int | None) -> str:
    """Megabytes and seconds at each level, and how many voxels decide otherwise."""
    rounded = (soft if steps is None else np.rint(soft * steps) / steps).astype(np.float16)
    told = []
    for level in LEVELS:
        begun, size = thread_time(), 0
        for channel in rounded:
            deflate = zlib.compressobj(level, zlib.DEFLATED, -15)
            size += len(deflate.compress(channel.data)) + len(deflate.flush())
        told.append(f"level {level} {size / 1e6:.2f} MB in {thread_time() - begun:.2f} s")
    moved = (rounded.argmax(0) != soft.argmax(0)).sum() if len(soft) > 3 else ((rounded > 0.5) != (soft > 0.5)).any(0).sum()
    return ", ".join([*told, f"{moved} voxels moved"])


if __name__ == "__main__":
    main()
