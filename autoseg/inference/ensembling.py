"""Several segmentations of one scan made into one: the mean of probabilities, a majority vote, or STAPLE.

- Members are streamed. The mean is decided class by class with a running argmax, so that memory grows neither with the members nor with the
  classes. Label maps are reduced to patterns, the members' answers that occur together, one member at a time: a vote or an EM step looks at a
  pattern once, however many voxels have it.
- Ties go to the smaller class or value, so to the background before any structure; the order of the members plays no part.
- STAPLE is Warfield's with several labels: each member has a confusion matrix, and the truth is hidden. A label's prior is how often the
  members gave it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

_ITERATIONS = 1000
_CONVERGED = 1e-5  # largest change of an entry of a confusion matrix


@dataclass(frozen=True)
class Patterns:
    """What several label maps say together.

    Attributes
    ----------
    index : int64 (Z, Y, X), the pattern of each voxel
    answers : int64 (P, M), the value that each of M members gives in each of P patterns; no two rows are the same
    counts : int64 (P,), voxels of each pattern, all above zero
    """

    index: NDArray[np.int64]
    answers: NDArray[np.int64]
    counts: NDArray[np.int64]


def mean_argmax(members: Sequence[Iterable[NDArray[np.floating]]]) -> NDArray[np.int16]:
    """The class of the largest mean probability.

    Parameters
    ----------
    members : at least one; each gives its channels in turn, class 0 first, floating point (Z, Y, X) of one shape; all give as many

    Returns
    -------
    classes 0..K-1 (Z, Y, X)

    Raises
    ------
    ValueError
        there is no member, a member has more channels than another, or a sum is not a number
    """
    best: NDArray[np.float32] | None = None
    classes: NDArray[np.int16] | None = None
    for k, mean in enumerate(_means(members)):
        if best is None or classes is None:
            best, classes = mean, np.zeros(mean.shape, np.int16)
            continue
        larger = mean > best
        np.copyto(best, mean, where=larger)
        classes[larger] = k
    if classes is None:
        raise ValueError("no member, or no channel")
    return classes


def mean_regions(members: Sequence[Iterable[NDArray[np.floating]]], painted_classes: Sequence[int]) -> NDArray[np.int16]:
    """The classes that regions of a mean probability above one half paint, later over earlier.

    Parameters
    ----------
    members : as for `mean_argmax`, a channel for each region
    painted_classes : the class that each region paints

    Returns
    -------
    classes (Z, Y, X), 0 where no region is

    Raises
    ------
    ValueError
        as for `mean_argmax`, or there are not as many channels as regions
    """
    classes: NDArray[np.int16] | None = None
    for value, mean in zip(painted_classes, _means(members), strict=True):
        classes = np.zeros(mean.shape, np.int16) if classes is None else classes
        classes[mean > 0.5] = value
    if classes is None:
        raise ValueError("no member, or no channel")
    return classes


def patterns(members: Iterable[NDArray[np.integer]]) -> Patterns:
    """Reduce label maps to their patterns, one at a time.

    Parameters
    ----------
    members : at least one label map (Z, Y, X), all of one shape; any integer values

    Raises
    ------
    ValueError
        there is no member
    """
    found: Patterns | None = None
    for labels in members:
        values, counts = np.unique(labels, return_counts=True)
        if found is None:
            found = Patterns(_places(values, labels), values.astype(np.int64)[:, None], counts.astype(np.int64))
        else:
            found = _refined(found, labels, values)
    if found is None:
        raise ValueError("no member")
    return found


def majority(found: Patterns) -> NDArray[np.int64]:
    """The value that most members give, the smallest of those that tie. Returns int64 (Z, Y, X)."""
    values = np.unique(found.answers)
    votes_PK = (found.answers[:, :, None] == values).sum(axis=1)
    chosen: NDArray[np.int64] = values[votes_PK.argmax(axis=1)]
    return chosen[found.index]


def staple(found: Patterns) -> NDArray[np.int64]:
    """The most probable value where each member errs in its own way, all ways estimated together with the truth.

    Returns
    -------
    int64 (Z, Y, X); the smallest of the values that tie

    References
    ----------
    S. K. Warfield, K. H. Zou, W. M. Wells. Simultaneous truth and performance level estimation (STAPLE). IEEE Transactions on Medical Imaging
    23, 903-921 (2004)
    """
    values, flat = np.unique(found.answers, return_inverse=True)
    given_PM: NDArray[np.int64] = flat.reshape(found.answers.shape)
    members, labels, weights = found.answers.shape[1], len(values), found.counts.astype(np.float64)
    prior = np.bincount(given_PM.ravel(), np.repeat(weights, members), minlength=labels) / (weights.sum() * members)
    truth_PK = (given_PM[:, :, None] == np.arange(labels)).mean(axis=1)  # the votes are where it starts
    before = np.zeros((members, labels, labels))
    for _ in range(_ITERATIONS):
        confusion = _confusion(given_PM, truth_PK * weights[:, None])
        truth_PK = _truth(given_PM, confusion, prior)
        if np.abs(confusion - before).max() < _CONVERGED:
            break
        before = confusion
    chosen: NDArray[np.int64] = values[truth_PK.argmax(axis=1)]
    return chosen[found.index]


def _means(members: Sequence[Iterable[NDArray[np.floating]]]) -> Iterator[NDArray[np.float32]]:
    """The mean of each channel in turn; never more than one channel of one member is held beside it."""
    streams = [iter(member) for member in members]
    for k in count():
        total: NDArray[np.float32] | None = None
        ended = 0
        for stream in streams:
            channel = next(stream, None)
            if channel is None:
                ended += 1
            else:
                total = np.array(channel, dtype=np.float32) if total is None else np.add(total, channel, out=total, casting="same_kind")
            del channel  # before the next one is read
        if total is None:
            return
        if ended:
            raise ValueError(f"{ended} of {len(streams)} members have no channel {k}")
        if not np.isfinite(total).all():
            raise ValueError(f"channel {k} holds what is not a number")
        total /= len(streams)
        yield total


def _refined(found: Patterns, labels: NDArray[np.integer], values: NDArray[np.integer]) -> Patterns:
    """The patterns with one member more: a pattern parts where that member gives several values."""
    index = found.index
    index *= len(values)
    index += _places(values, labels)
    counts = np.bincount(index.ravel(), minlength=len(found.counts) * len(values))
    there = np.flatnonzero(counts)
    renumbered = np.zeros(len(counts), np.int64)
    renumbered[there] = np.arange(len(there))
    answers = np.column_stack([found.answers[there // len(values)], values[there % len(values)].astype(np.int64)])
    for z in range(len(index)):  # a slice at a time: the whole would be needed twice
        index[z] = renumbered[index[z]]
    return Patterns(index, answers, counts[there].astype(np.int64))


def _places(values: NDArray[np.integer], labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """The place of each voxel's value among the sorted `values`."""
    places: NDArray[np.int64] = np.searchsorted(values, labels).astype(np.int64, copy=False)
    return places


def _confusion(given_PM: NDArray[np.int64], weighted_truth_PK: NDArray[np.float64]) -> NDArray[np.float64]:
    """(M, K, K): how often a member gives the value of the first K where the truth is that of the second; columns add up to 1, or are 0."""
    labels = weighted_truth_PK.shape[1]
    totals = weighted_truth_PK.sum(axis=0)
    confusion = np.zeros((given_PM.shape[1], labels, labels))
    for member, given_P in enumerate(given_PM.T):
        np.add.at(confusion[member], given_P, weighted_truth_PK)
    shares: NDArray[np.float64] = np.divide(confusion, totals, out=np.zeros_like(confusion), where=totals > 0)
    return shares


def _truth(given_PM: NDArray[np.int64], confusion: NDArray[np.float64], prior: NDArray[np.float64]) -> NDArray[np.float64]:
    """(P, K): the probability of each value in each pattern."""
    with np.errstate(divide="ignore"):
        logs = np.log(prior) + sum(np.log(confusion[member][given_P]) for member, given_P in enumerate(given_PM.T))
    largest = logs.max(axis=1, keepdims=True)
    shares = np.exp(logs - np.where(np.isfinite(largest), largest, 0.0))
    totals = shares.sum(axis=1, keepdims=True)
    # a pattern that all matrices hold impossible is left to the prior
    result: NDArray[np.float64] = np.where(totals > 0, shares / np.where(totals > 0, totals, 1.0), prior)
    return result
