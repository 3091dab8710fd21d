"""nnU-Net's fingerprint (`dataset_fingerprint.json`), read as one of ours.

- It numbers channels instead of naming them, and knows neither labels nor cases: the names come from the `dataset.json` beside it.
- What it does not hold (shapes before cropping, voxels of classes) stays absent.
"""

from typing import Any

from pydantic import ValidationError

from autoseg.data.description import DatasetDescription
from autoseg.errors import AutosegError
from autoseg.planning.fingerprint import Fingerprint, IntensityStatistics
from autoseg.planning.nnunet.parts import INTENSITIES, OLDER_INTENSITIES, Part, faults, intensities

RELATIVE_SIZE = "median_relative_size_after_cropping"
_THEIR_NAMES = {"median_relative_size_after_crop": RELATIVE_SIZE, "intensities": INTENSITIES}


def is_nnunet_fingerprint(content: Any) -> bool:
    """Whether decoded JSON is a fingerprint of nnU-Net's."""
    return isinstance(content, dict) and bool({INTENSITIES, OLDER_INTENSITIES, RELATIVE_SIZE} & content.keys())


def convert_nnunet_fingerprint(content: dict[str, Any], description: DatasetDescription, source: str) -> Fingerprint:
    """Make a fingerprint of nnU-Net's decoded JSON.

    Parameters
    ----------
    content : see `is_nnunet_fingerprint`
    description : the dataset.json that belongs to it
    source : the file, for errors

    Raises
    ------
    AutosegError
        a key is missing or impossible, or contradicts the dataset.json; the text names it
    """
    whole = Part(content, source)
    if RELATIVE_SIZE not in content:
        raise AutosegError(
            f"{source}: {RELATIVE_SIZE} is missing, as in older files. It decides whether intensities are scaled inside a mask, and will"
            " not be guessed: have the file made anew (nnUNetv2_extract_fingerprint), or add the key. It is the median over the cases of voxels after"
            " / voxels before cropping to what is not zero, 1.0 where nothing was cropped."
        )
    try:
        return Fingerprint(
            channel_names=description.channel_names,
            spacings=whole.get("spacings"),
            shapes_after_crop=whole.get("shapes_after_crop"),
            median_relative_size_after_crop=content[RELATIVE_SIZE],
            intensities=_intensities(whole, description),
        )
    except ValidationError as error:
        raise AutosegError("\n".join([f"{source} is no fingerprint to plan from:", *faults(error, Fingerprint, _THEIR_NAMES)])) from None


def _intensities(whole: Part, description: DatasetDescription) -> tuple[IntensityStatistics, ...]:
    channels = intensities(whole)
    names = description.channel_names
    if sorted(channels.content) != sorted(str(number) for number in range(len(names))):
        raise AutosegError(
            f"{whole.source}: {channels.at.removesuffix('.')} has the channels {', '.join(sorted(channels.content)) or 'none'}, but"
            f" {description.path} names {len(names)}: {', '.join(names)}. Give the dataset.json that belongs to this fingerprint."
        )
    parts = [channels.part(str(number)) for number in range(len(names))]
    return tuple([_statistics(part) for part in parts])


def _statistics(channel: Part) -> IntensityStatistics:
    try:
        return IntensityStatistics(**{key: channel.get(key) for key in IntensityStatistics.model_fields})
    except ValidationError as error:
        where = f"{channel.source}: {channel.at.removesuffix('.')} is impossible:"
        raise AutosegError("\n".join([where, *faults(error, IntensityStatistics, {})])) from None
