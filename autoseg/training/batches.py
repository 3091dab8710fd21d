"""Batches of patches: drawn on the host, loaded ahead in threads, augmented on the device.

- Everything about batch number n follows from (seed, n): a resumed run goes on with the same sequence, and no state needs to be kept.
- Cases are drawn uniformly with replacement. The last third of a batch is forced to hold foreground: a class that the case has is drawn, then
  one of its voxels, and the patch is centred there (nnU-Net's rule). Where networks learn regions, a region that the case has is drawn instead,
  then one of the known voxels of all its classes: a region inside another is seen more often, as the rarer structure should be.
- `patches_per_case` draws a case for so many patches, one after the other. With `slices: with_foreground` a case that has foreground is drawn, then
  one of its slices that hold some, then a place in it as ever: cases without are drawn only where no case has any.
- With `slices: without_foreground` a patch is looked for that holds background alone, at ten random places of a case, then of another case, of
  ten in all. Where none of these is free, the one with the fewest other voxels is taken. What nobody annotated may be anything, so it is not free.
- Where networks say whether foreground is there, slices with and without are drawn on purpose (`presence.py`): the forced part of a batch has some.
- Where somebody left part of a case without labels, every other patch of it is centred on a voxel that was annotated (nnU-Net's rule).
- What a previous stage decided moves with the image. Random damage to it comes after the move (nnU-Net's order); a patch that does not move is
  damaged where it is loaded, which is the same up to flips, and flips change neither balls nor components.
- Threads, not processes: nothing to die without a cause, and an error reaches the user as it was raised.
"""

from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from autoseg.planning.plan import Augmentation, Configuration
from autoseg.preprocessing.previous import with_previous
from autoseg.preprocessing.store import ReadyCases, StoredCase
from autoseg.training import augment
from autoseg.training.buffers import new
from autoseg.training.draws import Draw, draw, nothing
from autoseg.training.moving import box_shape
from autoseg.training.places import corner_of, cut, foreground_slices, patch_start, slice_of
from autoseg.training.presence import PresenceDraws
from autoseg.training.previous import damaged

PLACES, CASES = 10, 10  # where a patch without foreground is looked for: in a case, and how many cases


@dataclass(frozen=True)
class Sample:
    """One patch before augmentation: the box that the draw needs.

    Attributes
    ----------
    image, classes : (C, *box) and (*box)
    draw : what happens to it
    previous : (*box) classes that the previous stage of a cascade decided, or None
    target : the class of its case, where networks classify cases; else -1
    """

    image: Tensor
    classes: Tensor
    draw: Draw
    previous: Tensor | None = None
    target: int = -1


@dataclass(frozen=True)
class Batch:
    """Images float32 (B, C, *patch) and classes int64 (B, *patch), -1 where nobody annotated; without Z for 2D networks.

    With a previous stage its classes are further channels of the images. `targets`, int64 (B,), is the class of each one's case where networks
    classify cases, -1 where it has none.
    """

    images: Tensor
    classes: Tensor
    targets: Tensor | None = None


class PatchSource:
    """Batches of one set of cases.

    Parameters
    ----------
    store : ready cases; with what the previous stage made of them where the configuration has one
    names : the cases to draw from
    configuration : patch, batch size, share of forced foreground
    augmentation : random changes, or None for patches as they are
    seed : of the whole sequence
    num_classes : K, background included; read only where the configuration has a previous stage
    regions : the classes of each region, where networks learn regions; else None
    targets : the class of each case, where networks classify cases; else None

    Raises
    ------
    ValueError
        the configuration has a previous stage, and `num_classes` is not given
    """

    def __init__(
        self,
        store: ReadyCases,
        names: Sequence[str],
        configuration: Configuration,
        augmentation: Augmentation | None,
        seed: int,
        *,
        num_classes: int | None = None,
        regions: Sequence[Sequence[int]] | None = None,
        targets: Mapping[str, int] | None = None,
    ) -> None:
        if configuration.previous_stage and num_classes is None:
            raise ValueError("num_classes is needed where a configuration has a previous stage")
        self._store = store
        self._slices = foreground_slices(store, names) if configuration.training.slices == "with_foreground" else {}
        self._free = configuration.training.slices == "without_foreground"
        self._names = tuple(self._slices or names)
        self._targets = targets or {}
        block = configuration.classification if configuration.task == "classification" else None
        of_presence = block is not None and block.of_presence
        self._presence = PresenceDraws.of(store, names, flat=configuration.dimensions == 2) if of_presence else None
        self._patches_per_case = configuration.training.patches_per_case
        self._augmentation = augmentation if augmentation is None or configuration.dimensions == 3 else _of_slices(augmentation)
        self._seed = seed
        self._regions = regions
        self._batch_size = configuration.batch_size
        self._forced_from = round(configuration.batch_size * (1 - configuration.training.oversample_foreground))
        self._flat = configuration.dimensions == 2
        self._keep_zero = configuration.keeps_zero
        self._num_classes = (num_classes or 0) if configuration.previous_stage else 0  # of the previous stage
        self.patch = configuration.patch_3d

    def load(self, number: int, *, contiguous: bool = True) -> list[Sample]:
        """The samples of one batch, on the host.

        With `contiguous` each has memory of its own, ready to be sent to another device. Without, patches may be views of cases that are in memory.
        """
        generator = np.random.default_rng([self._seed, number])
        samples, name, z = [], "", None
        for index in range(self._batch_size):
            forced = index >= self._forced_from
            if self._presence is not None:
                name, z = self._presence.draw(generator, foreground=forced)
            elif index % self._patches_per_case == 0:
                name = self._names[generator.integers(len(self._names))]
            samples.append(self._sample(generator, name, forced=forced, z=z))
        return [replace(sample, image=_contiguous(sample.image)) for sample in samples] if contiguous else samples

    def assemble(self, samples: Sequence[Sample], device: str) -> Batch:
        """Augment samples on the device and stack them."""
        channels = samples[0].image.shape[0]
        shape = (len(samples), channels + max(0, self._num_classes - 1), *self.patch)
        images_BCZYX, classes_BZYX = new(shape, torch.float32, device), new((len(samples), *self.patch), torch.int64, device)
        for sample, image, classes in zip(samples, images_BCZYX, classes_BZYX, strict=True):
            voxels, labels = sample.image.to(device, non_blocking=True), torch.stack(_label_maps(sample)).to(device, non_blocking=True)
            _, labels = augment.apply(sample.draw, voxels, labels, self.patch, keep_zero=self._keep_zero, out=image[:channels])
            classes.copy_(labels[0])
            if sample.previous is not None:
                previous = damaged(sample.draw, labels[1]) if sample.draw.moves else labels[1]
                image[channels:] = with_previous(image[:0], previous, self._num_classes)
        targets = torch.tensor([sample.target for sample in samples], device=device)
        return Batch(images_BCZYX.squeeze(2), classes_BZYX.squeeze(1), targets) if self._flat else Batch(images_BCZYX, classes_BZYX, targets)

    def _sample(self, generator: np.random.Generator, name: str, *, forced: bool, z: int | None = None) -> Sample:
        """A patch of a case, in its slice `z` or, where that is None, wherever the rules have it."""
        if self._free:
            return self._sample_free(generator, name)
        case = self._store.get(name)
        if name in self._slices:
            z = int(generator.choice(self._slices[name]))
        if z is not None:
            start = [z, *patch_start(generator, slice_of(case, z), self.patch, forced=forced, regions=self._regions)[1:]]
        else:
            start = patch_start(generator, case, self.patch, forced=forced, regions=self._regions)
        change = self._change(generator, case)
        box = box_shape(change, self.patch)
        corner = corner_of(start, box, self.patch)
        previous = cut(case.previous, corner, box) if self._num_classes else None
        if previous is not None and not change.moves:  # here, and not while the device waits
            previous = damaged(change, previous)
        return Sample(cut(case.image, corner, box), cut(case.classes, corner, box), change, previous, self._targets.get(name, -1))

    def _sample_free(self, generator: np.random.Generator, name: str) -> Sample:
        """A patch without foreground, or the one with least of those that were looked at."""
        change = self._change(generator, self._store.get(name))
        box = box_shape(change, self.patch)
        least: tuple[int, StoredCase, list[int], Tensor] | None = None
        for attempt in range(CASES):
            case = self._store.get(name if attempt == 0 else self._names[generator.integers(len(self._names))])
            for _ in range(PLACES):
                corner = corner_of(patch_start(generator, case, self.patch, forced=False), box, self.patch)
                classes = cut(case.classes, corner, box)
                count = int(classes.count_nonzero())
                if least is None or count < least[0]:
                    least = count, case, corner, classes
                if count == 0:
                    return Sample(cut(case.image, corner, box), classes, change)
        if least is None:
            raise ValueError("no place was looked at")
        return Sample(cut(least[1].image, least[2], box), least[3], change)

    def _change(self, generator: np.random.Generator, case: StoredCase) -> Draw:
        """What happens to a sample of a case."""
        channels = case.image.shape[0]
        if self._augmentation is None:
            return nothing(channels)
        foreground = max(0, self._num_classes - 1)
        return draw(generator, self._augmentation, channels, in_plane=self._augmentation.slice_wise, previous_classes=foreground)


def stream(source: PatchSource, first: int, device: str, *, ahead: int = 3) -> Generator[Batch, None, None]:
    """Endless batches from number `first` on, loaded up to `ahead` of the one in use."""
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="batches") as pool:
        load = partial(source.load, contiguous=torch.device(device).type != "cpu")
        waiting: deque[Future[list[Sample]]] = deque(pool.submit(load, first + index) for index in range(ahead))
        number = first + ahead
        try:
            while True:
                samples = waiting.popleft().result()
                waiting.append(pool.submit(load, number))
                number += 1
                yield source.assemble(samples, device)
        finally:
            for future in waiting:
                future.cancel()


def _contiguous(x: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x.numpy()))


def _label_maps(sample: Sample) -> list[Tensor]:
    if sample.previous is None:
        return [sample.classes]
    common = torch.promote_types(sample.classes.dtype, sample.previous.dtype)
    return [sample.classes.to(common), sample.previous.to(common)]


def _of_slices(augmentation: Augmentation) -> Augmentation:
    """The rules of a 2D plan, whose axes are Y and X, for patches that are one slice thick."""
    return augmentation.model_copy(update={"slice_wise": True, "mirror_axes": tuple(axis + 1 for axis in augmentation.mirror_axes)})
