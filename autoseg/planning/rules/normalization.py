"""How intensities are scaled, chosen by the channel's name.

- Only the name can tell: CT has a physical scale that is worth keeping, other modalities have none.
- Where cropping to what is not zero removed more than a quarter, the image was masked (a stripped skull) and statistics come from inside the mask.
"""

from collections.abc import Sequence
from typing import Literal

from autoseg.planning.fingerprint import IntensityStatistics
from autoseg.planning.plan import Normalization

MASK_BELOW = 3 / 4
Scheme = Literal["zscore", "ct", "none", "rescale_to_0_1", "rgb_to_0_1"]

SCHEMES: dict[str, Scheme] = {
    "ct": "ct",
    "nonorm": "none",
    "zscore": "zscore",
    "rescale_to_0_1": "rescale_to_0_1",
    "rgb_to_0_1": "rgb_to_0_1",
}


def choose_normalization(
    channel_names: Sequence[str], intensities: Sequence[IntensityStatistics], median_relative_size: float
) -> tuple[tuple[Normalization, ...], str]:
    """Normalisation of each channel and the line that explains it (the rule of nnU-Net, Isensee et al. 2021).

    Parameters
    ----------
    channel_names, intensities : one entry a channel
    median_relative_size : median over the cases of voxels after / voxels before cropping to non-zero, 0..1
    """
    use_mask = median_relative_size < MASK_BELOW
    chosen = tuple(_channel(name, statistics, use_mask) for name, statistics in zip(channel_names, intensities, strict=True))
    alike: dict[str, list[str]] = {}
    for one in chosen:
        alike.setdefault(_reason(one, median_relative_size), []).append(one.channel)
    return chosen, "; ".join(f"{', '.join(names)}: {reason}" for reason, names in alike.items()) + "."


def _channel(name: str, statistics: IntensityStatistics, use_mask: bool) -> Normalization:
    scheme = SCHEMES.get(name.casefold(), "zscore")
    if scheme == "ct":
        return Normalization(
            channel=name,
            scheme="ct",
            lower=statistics.percentile_00_5,
            upper=statistics.percentile_99_5,
            mean=statistics.mean,
            std=statistics.std,
        )
    return Normalization(channel=name, scheme=scheme, use_mask=use_mask and scheme == "zscore")


def _reason(chosen: Normalization, relative_size: float) -> str:
    if chosen.scheme == "ct":
        return f"the name says CT, so all images share one scale (0.5 to 99.5 percentile {chosen.lower:.4g} to {chosen.upper:.4g})"
    if chosen.scheme == "zscore":
        side = "below" if chosen.use_mask else "not below"
        where = "inside the non-zero mask" if chosen.use_mask else "over the whole image"
        return (
            f"each image on its own scale, statistics {where}"
            f" (cropping to non-zero leaves {100 * relative_size:.4g}% of the voxels, {side} {100 * MASK_BELOW:g}%)"
        )
    return f"the name asks for {chosen.scheme}"
