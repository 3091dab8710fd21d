"""The intensities of a channel, as a rule of the plan scales them.

- Most rules are one linear map. Those that equalise make another channel first, and are stored as what comes out.
"""

import numpy as np
from numpy.typing import NDArray

from autoseg.imaging import normalize
from autoseg.imaging.normalize import Linear
from autoseg.planning.plan import Normalization
from autoseg.planning.schema.blocks import CLIP_LIMIT, PERCENTILES


def equalizes(rule: Normalization) -> bool:
    """Whether the rule is no linear map."""
    return rule.scheme in ("histogram_equalization", "clahe")


def equalized(channel_ZYX: NDArray[np.float32], rule: Normalization) -> NDArray[np.float32]:
    """The channel with its histogram equalised, or the channel itself where the rule does not.

    Raises
    ------
    AutosegError
        a package that this needs is not installed
    """
    match rule.scheme:
        case "histogram_equalization":
            return normalize.equalize(channel_ZYX)
        case "clahe":
            return normalize.equalize_locally(channel_ZYX, rule.clip_limit or CLIP_LIMIT)
        case _:
            return channel_ZYX


def linear_map(channel_ZYX: NDArray[np.float32], inside: NDArray[np.bool_] | None, rule: Normalization) -> Linear:
    """What normalises a channel, once it is equalised where the rule says so.

    Parameters
    ----------
    channel_ZYX : as the files hold it
    inside : bool (Z, Y, X), what is not zero in some channel; None: everywhere

    Raises
    ------
    AutosegError
        its values are not what the rule is for
    """
    match rule.scheme:
        case "zscore":
            return normalize.zscore(channel_ZYX, inside if rule.use_mask else None)
        case "ct":
            return normalize.ct(*(value or 0.0 for value in (rule.lower, rule.upper, rule.mean, rule.std)))
        case "rescale_to_0_1":
            return normalize.rescale_to_0_1(channel_ZYX)
        case "rgb_to_0_1":
            return normalize.rgb_to_0_1(channel_ZYX)
        case "percentile_to_0_1":
            return normalize.percentile_to_0_1(channel_ZYX, *(rule.percentiles or PERCENTILES))
        case "none" | "histogram_equalization" | "clahe":
            return Linear()
