"""Logits become a segmentation: classes, and on request probabilities and how sure they are.

- Everything is decided slab by slab, over planes of the cropped, transposed scan, so that neither the logits nor the probabilities ever exist at its
  size in memory.
- One configuration: each voxel takes the class of the largest logit; of regions all above 0 are painted in the plan's order.
- Several: their probabilities (softmax, or sigmoid for regions) are averaged; the largest wins, the smaller class at a tie, or regions above one half
  are painted.
- Probabilities are rounded to 1/256 and wait on disk until they are written, deflated by zlib at level 1. Of a BraTS case of four classes that makes
  1.1 MB in 0.1 s of one core where the network is sure, 9 MB in 0.4 s where a third of the voxels is in doubt; of 1/1024 it were 1.3 and 13 MB,
  unrounded 2 and 22 MB, and level 6 takes four times as long for a tenth to a third less (`benchmarks/probabilities.py`).
- Rounding never changes a decision: the winner of a tie that it makes is raised by one step, and one half is never crossed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autoseg.errors import AutosegError
from autoseg.imaging.channels import largest_channel, paint
from autoseg.imaging.image import LabelMap, Shape3
from autoseg.imaging.resample import Planes, full_precision, slabs
from autoseg.inference.logits import Logits
from autoseg.inference.scratch import Waiting
from autoseg.inference.uncertainty import Gauge, Uncertainty
from autoseg.planning.plan import Plan
from autoseg.preprocessing.placement import Placement
from autoseg.threads import map_in_order

STEPS = 256  # probabilities are multiples of 1 / STEPS, which float16 holds exactly


@dataclass(frozen=True)
class Probabilities:
    """The probabilities of a scan on its own grid, one channel at a time.

    Attributes
    ----------
    names : what each channel stands for, as `Plan.output_names`
    shape : voxels along Z, Y, X of a channel
    """

    names: tuple[str, ...]
    waiting: Waiting[np.float16]
    placement: Placement
    regions: bool

    @property
    def shape(self) -> Shape3:
        return self.placement.geometry.shape

    def __iter__(self) -> Iterator[NDArray[np.float16]]:
        """Each channel in turn: multiples of 1/256 from 0 to 1, (Z, Y, X). Outside the crop the background is certain."""
        for channel in range(len(self.names)):
            certain = 0 if self.regions or channel else 1
            yield self.placement.restore(self.waiting.channel(channel), certain)


@dataclass(frozen=True)
class Prediction:
    """A segmentation.

    Attributes
    ----------
    labels : the user's values on the scan's own grid
    probabilities : of every class or region; None where not asked for
    uncertainty : how sure it is; None where not asked for
    """

    labels: LabelMap
    probabilities: Probabilities | None = None
    uncertainty: Uncertainty | None = None


def decide(
    members: Sequence[Logits], plan: Plan, *, probabilities: bool = False, uncertainty: bool = False, folder: Path | None = None
) -> Prediction:
    """Make a segmentation of the logits of one configuration, or of several.

    Parameters
    ----------
    members : at least one; several are of the same scan and of plans that agree on labels and axes
    plan : says what the channels stand for
    probabilities : also give the probabilities of every class (softmax) or region (sigmoid)
    uncertainty : also tell how sure it is; the members then hold the logits of each fold
    folder : where probabilities wait on disk; None: among the system's temporary files

    Raises
    ------
    AutosegError
        members lie differently in the scan (names both), or the disk is full
    """
    placement = _shared_placement(members)
    shape = placement.cropped_shape
    painted = plan.labels.painted_classes if plan.learns_regions else None
    folds = [fold for member in members for fold in member.folds]
    classes = np.zeros(shape, np.uint8 if max(painted or (plan.output_channels - 1,)) <= 255 else np.int16)
    waiting = Waiting(folder, plan.output_channels, shape, np.float16) if probabilities else None
    gauge = Gauge(plan, len(folds), shape) if uncertainty else None
    soft = probabilities or uncertainty
    together = plan.output_channels if soft or len(members) > 1 else 1
    means = [member.mean for member in members]
    pieces = list(slabs(shape[0], min(mean.thickness(together) for mean in means)))
    small = together == 1 and means[0].device.type == "cpu"  # a channel of a slab at a time: each thread may have one
    for planes, slab in _slabs_in_order(pieces, lambda planes: _decided(means, planes, painted, soft=soft), parallel=small):
        classes[planes] = slab.classes_ZYX.cpu().numpy()
        if slab.soft_CZYX is None:
            continue
        if gauge:
            gauge.add(planes, slab.soft_CZYX, slab.classes_ZYX, (_decided([fold], planes, painted).classes_ZYX for fold in folds))
        if waiting:
            waiting.write(planes, _rounded(slab).cpu().numpy())
    return Prediction(
        LabelMap(placement.restore(plan.labels.to_values(classes), plan.labels.values[0]), placement.geometry),
        Probabilities(plan.output_names, waiting, placement, plan.learns_regions) if waiting else None,
        gauge.result(placement) if gauge else None,
    )


@dataclass(frozen=True)
class _Slab:
    """A few planes: classes (Z, Y, X), and where asked for probabilities (C, Z, Y, X), of regions with those that are there, bool alike."""

    classes_ZYX: Tensor
    regions_CZYX: Tensor | None
    soft_CZYX: Tensor | None


def _slabs_in_order(pieces: Sequence[slice], decided: Callable[[slice], _Slab], *, parallel: bool) -> Iterator[tuple[slice, _Slab]]:
    """Every slab in its turn; where `parallel` allows it several threads make one each."""
    if not parallel:
        yield from ((planes, decided(planes)) for planes in pieces)
        return
    with full_precision("cpu"):
        yield from map_in_order(lambda planes: (planes, decided(planes)), pieces)


def _decided(members: Sequence[Planes], planes: slice, painted: Sequence[int] | None, *, soft: bool = False) -> _Slab:
    if len(members) == 1 and not soft:  # channels need not be in memory together
        channels = members[0].channels(planes)
        return _Slab(largest_channel(channels) if painted is None else paint(channels, painted, above=0.0), None, None)
    if len(members) == 1:
        x_CZYX = members[0].at(planes)
        threshold, soft_CZYX = 0.0, _soft(x_CZYX, painted)
    else:
        x_CZYX = _soft(members[0].at(planes), painted)
        for member in members[1:]:
            x_CZYX += _soft(member.at(planes), painted)
        x_CZYX /= len(members)
        threshold, soft_CZYX = 0.5, x_CZYX
    if painted is None:
        return _Slab(largest_channel(x_CZYX), None, soft_CZYX)
    return _Slab(paint(x_CZYX, painted, above=threshold), x_CZYX > threshold, soft_CZYX)


def _soft(logits_CZYX: Tensor, painted: Sequence[int] | None) -> Tensor:
    return logits_CZYX.softmax(0) if painted is None else logits_CZYX.sigmoid()


def _rounded(slab: _Slab) -> Tensor:
    """Probabilities as multiples of 1 / STEPS, float16; what they decide stays."""
    if slab.soft_CZYX is None:
        raise ValueError("there are no probabilities")
    steps = (slab.soft_CZYX * STEPS).round_()
    if slab.regions_CZYX is None:
        tied = largest_channel(steps) != slab.classes_ZYX  # another class rounds to the same, and comes before
        steps.scatter_add_(0, slab.classes_ZYX.long()[None], tied[None].to(steps.dtype))
    else:
        half = STEPS / 2
        steps = torch.where(slab.regions_CZYX, steps.clamp_min(half + 1), steps.clamp_max(half))
    return steps.div_(STEPS).to(torch.float16)


def _shared_placement(members: Sequence[Logits]) -> Placement:
    first = members[0]
    for member in members[1:]:
        ours, theirs = first.placement, member.placement
        if (ours.geometry, ours.box, ours.transpose) != (theirs.geometry, theirs.box, theirs.transpose):
            raise AutosegError(
                f"{first.made_by} and {member.made_by} cut the scan differently (only one resizes the whole of it) or take its axes in another order,"
                " so their probabilities have no mean. Train both with one plan and with resampling.resize or without, or predict with each and put"
                " the results together: autoseg ensemble"
            )
    return first.placement
