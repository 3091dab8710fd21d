"""Where the foreground of a case lies, so that patches can be centred on it without looking for it.

- Of each class at most 10,000 voxels but at least 1 % of them, drawn without replacement, seeded by the case's name.
"""

import zlib

import numpy as np
from numpy.typing import NDArray

Locations = dict[int, NDArray[np.int32]]


def foreground_locations(classes_ZYX: NDArray[np.integer], case_name: str) -> Locations:
    """Voxels of each class above 0: at most 10,000 but at least 1 % of them (nnU-Net's rule), seeded by the case's name.

    Returns
    -------
    class -> int32 (N, 3), only for classes that are there
    """
    generator = np.random.default_rng(zlib.crc32(case_name.encode()))
    voxels = np.flatnonzero(classes_ZYX > 0)
    found = classes_ZYX.reshape(-1)[voxels]
    locations: Locations = {}
    for label in np.flatnonzero(np.bincount(found)):
        members = voxels[found == label]
        count = max(min(10_000, len(members)), -(-len(members) // 100))
        drawn = np.sort(generator.choice(members, count, replace=False)) if count < len(members) else members
        locations[int(label)] = np.stack(np.unravel_index(drawn, classes_ZYX.shape), axis=1).astype(np.int32)
    return locations
