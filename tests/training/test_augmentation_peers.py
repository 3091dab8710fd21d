"""Each change gives what batchgeneratorsv2 gives: the same distributions of what can be measured in the patches.

They were recorded with benchmarks/augmentation_peers.py.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from augmentation_peers import BOX, CHANNELS, FACTS, PATCH, RANGES, facts, scan
from scipy.stats import ks_2samp

from autoseg.training import augment, moving
from autoseg.training.places import cut

PEER = json.loads((Path(__file__).parent / "data" / "batchgenerators.json").read_text(encoding="utf-8"))["facts"]
COUNT, DOUBT = 300, 1e-3


def ours(make: SimpleNamespace, name: str, limits: tuple[float, float] | None) -> dict[str, list[float]]:
    """The facts of `COUNT` patches."""
    rules = make.augmentation(mirror_axes=[0, 1, 2]) if limits is None else make.augmentation(**{name: {"probability": 1, "range": limits}})
    image, labels = scan()
    rows = []
    for one in make.draws(rules, COUNT, channels=CHANNELS):
        box = moving.box_shape(one, (PATCH,) * 3)
        corner = [(BOX - size) // 2 for size in box]
        patch, classes = augment.apply(one, cut(image, corner, box), cut(labels, corner, box), (PATCH,) * 3, keep_zero=False)
        rows.append(facts(patch.numpy(), classes.numpy()))
    return {fact: [row[fact] for row in rows] for fact in FACTS[name]}


@pytest.mark.parametrize("name", FACTS)
def test_distributions_are_those_of_batchgenerators(make: SimpleNamespace, name: str) -> None:
    """Kolmogorov-Smirnov for each of the facts."""
    found = ours(make, name, RANGES.get(name))
    doubts = {fact: float(ks_2samp(values, PEER[name][fact]).pvalue) for fact, values in found.items()}
    assert min(doubts.values()) > DOUBT, doubts


@pytest.mark.parametrize("name", RANGES)
def test_other_ranges_would_be_noticed(make: SimpleNamespace, name: str) -> None:
    """The upper end half as far away: some fact tells."""
    low, high = RANGES[name]
    found = ours(make, name, (low, (low + high) / 2))
    assert min(ks_2samp(values, PEER[name][fact]).pvalue for fact, values in found.items()) < DOUBT


def test_the_scan_is_the_one_that_was_recorded() -> None:
    assert facts(*(np.asarray(array) for array in _untouched()))["added"] == 0
    assert {name: set(values) for name, values in PEER.items()} == {name: set(of) for name, of in FACTS.items()}
    assert all(len(values) == 200 for of in PEER.values() for values in of.values())


def _untouched() -> tuple[torch.Tensor, torch.Tensor]:
    image, labels = scan()
    corner = [(BOX - PATCH) // 2] * 3
    return cut(image, corner, (PATCH,) * 3), cut(labels, corner, (PATCH,) * 3)
