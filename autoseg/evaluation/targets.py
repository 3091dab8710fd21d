"""Which structures are judged: what a dataset's labels declare, or what a user names."""

import re
from collections.abc import Mapping, Sequence

from autoseg.data.dataset import Labels
from autoseg.errors import AutosegError
from autoseg.evaluation.result import Target


def targets_of(labels: Labels) -> tuple[Target, ...]:
    """What a dataset's labels ask to be judged: the classes without the background, then the regions.

    Raises
    ------
    AutosegError
        a region has the name of a class that is something else, or there is only background
    """
    classes = {name: (value,) for name, value in zip(labels.names[1:], labels.values[1:], strict=True)}
    targets = [Target(name, values) for name, values in classes.items()]
    for name, values in labels.regions.items():
        if name not in classes:
            targets.append(Target(name, tuple(values), region=True))
        elif tuple(values) != classes[name]:
            raise AutosegError(f"'{name}' is the class {classes[name][0]} and also the region {tuple(values)}: give one of them another name.")
    if not targets:
        raise AutosegError("The labels declare nothing but background: there is nothing to evaluate.")
    return tuple(targets)


def targets_learned(labels: Labels, *, regions: bool) -> tuple[Target, ...]:
    """What networks are judged by: the regions alone where they learn regions, since no network knows the classes; else what `targets_of` gives."""
    return targets_from_regions(labels.regions) if regions else targets_of(labels)


def targets_from_regions(regions: Mapping[str, Sequence[int]]) -> tuple[Target, ...]:
    """The regions that a user named, in that order.

    Raises
    ------
    AutosegError
        there is none, or one is empty or holds the background's 0
    """
    if not regions:
        raise AutosegError("No region is named: there is nothing to evaluate. Name some, such as WT=1,2,4.")
    return tuple(Target(name, tuple(dict.fromkeys(values)), region=True) for name, values in regions.items())


def parse_regions(words: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Regions as they are typed: `NAME=VALUE,VALUE,...`, several in one word if a space is between them.

    Returns
    -------
    name -> label values, in the order typed

    Raises
    ------
    AutosegError
        a word is no region, or a name comes twice
    """
    regions: dict[str, tuple[int, ...]] = {}
    for word in " ".join(words).split():
        match = re.fullmatch(r"([^=]+)=(\d+(?:,\d+)*)", word)
        if match is None:
            raise AutosegError(f"'{word}' is no region. Write its name and its label values without spaces, such as WT=1,2,4.")
        name, values = match[1], tuple(int(value) for value in match[2].split(","))
        if name in regions:
            raise AutosegError(f"The region {name} is named twice. Keep one of them.")
        regions[name] = values
    return regions
