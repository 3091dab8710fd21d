"""A training step replayed without a network: which tensors are alive while each operation runs forward and backward.

- What an operation keeps for the way back: a convolution, a norm and a pooling their input, an activation (in place) its result, an addition and a
  concatenation nothing.
- The way back begins when all gradients of the logits are there and the loss's own tensors are gone.
- The gradients of both parts of a concatenation are one tensor, which lives until the encoder's stage has used it.
- Gradients that meet are added in place, unless one is part of such a larger tensor.
- The result of PyTorch's instance norm is a view, so the way back through an operation in place on it (activation, addition) goes over copies:
  two for the activation beside its gradient, and one gradient for each part of a sum.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from autoseg.planning.hardware.layers import IMAGE, IN_PLACE, Operation

SCRATCH = {"activation": 2}  # copies that an operation in place on a view makes on the way back


@dataclass(frozen=True)
class Moment:
    """Bytes that come and go within a step.

    Attributes
    ----------
    features : feature maps, logits included
    feature_gradients, gradients : of feature maps; of weights
    copies : weights of convolutions in half precision
    loss : tensors of the loss
    workspace : of the convolution that runs
    """

    features: int = 0
    feature_gradients: int = 0
    gradients: int = 0
    copies: int = 0
    loss: int = 0
    workspace: int = 0

    @property
    def total(self) -> int:
        return self.features + self.feature_gradients + self.gradients + self.copies + self.loss + self.workspace


def replay(made: Sequence[Operation], *, batch: int, value: int, weight: int, image: int, loss: int) -> Iterator[Moment]:
    """Every moment of a step but the optimizer's.

    Parameters
    ----------
    made : as `operations` lists them
    batch : samples
    value, weight : bytes of a number in feature maps, and of a weight and its gradient; where they differ, convolutions get copies of their weights
    image : bytes of the image as the first convolution keeps it; 0 where that is the batch itself
    loss : bytes of the loss's own tensors at its worst moment
    """
    sizes = [batch * value * one.values for one in made]
    roots = _roots(made)
    kept = [[roots[place] for place in _kept(made, place)] for place in range(len(made))]
    workspaces = [_workspace(made, place, sizes, image) for place in range(len(made))]
    copied = [value * one.weights if value != weight and one.flops else 0 for one in made]
    features, gradients = _Heap(), _Heap()

    reads = [0] * len(made)
    for one in made:
        for source in one.inputs:
            if source != IMAGE:
                reads[roots[source]] += 1
    copies = 0
    for place, one in enumerate(made):
        copies += copied[place]
        if roots[place] == place:
            features.take(place, sizes[place], holders=reads[place] + one.head)
        for root in kept[place]:
            features.hold(root)
        yield Moment(image + features.now, copies=copies, workspace=workspaces[place])
        for source in one.inputs:
            if source != IMAGE:
                features.release(roots[source])
    yield Moment(image + features.now, copies=copies, loss=loss)

    arriving: dict[int, int] = {}  # place -> the gradient of its result, or what that is a part of
    for place, one in enumerate(made):
        if one.head:
            features.release(place)
            arriving[place] = gradients.new(sizes[place])
    of_weights = 0
    for place in reversed(range(len(made))):
        if place in arriving:  # nothing comes back to what no logits were made from
            _backward(made[place], arriving.pop(place), arriving, gradients, sizes)
        yield Moment(image + features.now, gradients.fullest, of_weights, copies, workspace=workspaces[place])
        gradients.settle()
        of_weights += weight * made[place].weights
        copies -= copied[place]
        for root in kept[place]:
            features.release(root)


def _backward(one: Operation, gradient: int, arriving: dict[int, int], heap: "_Heap", sizes: Sequence[int]) -> None:
    """Pass the gradient of a result on to what it was made from."""
    scratch = [heap.new(heap.size(gradient)) for _ in range(SCRATCH.get(one.kind, 0))]
    for source in one.inputs:
        if source == IMAGE:
            continue
        if one.kind == "concatenation":  # the gradients of the parts lie in that of the whole
            heap.hold(gradient)
            incoming = gradient
        else:
            incoming = heap.new(sizes[source])
        if source in arriving:
            earlier = arriving[source]
            if heap.size(earlier) == sizes[source]:
                heap.release(incoming)
                incoming = earlier
            else:
                total = heap.new(sizes[source])
                heap.release(earlier)
                heap.release(incoming)
                incoming = total
        arriving[source] = incoming
    for block in (*scratch, gradient):
        heap.release(block)


def _roots(made: Sequence[Operation]) -> list[int]:
    """The operation whose storage each result lies in: another's, where it was written in place."""
    roots: list[int] = []
    for place, one in enumerate(made):
        roots.append(roots[one.inputs[0]] if one.kind in IN_PLACE else place)
    return roots


def _kept(made: Sequence[Operation], place: int) -> tuple[int, ...]:
    """Results that an operation keeps for the way back."""
    one = made[place]
    if one.kind == "activation":
        return (place,)
    return () if one.kind in ("add", "concatenation") or one.inputs[0] == IMAGE else (one.inputs[0],)


def _workspace(made: Sequence[Operation], place: int, sizes: Sequence[int], image: int) -> int:
    """A copy of input and result, for libraries that change the layout of both."""
    if not made[place].flops:
        return 0
    source = made[place].inputs[0]
    return sizes[place] + (image if source == IMAGE else sizes[source])


class _Heap:
    """Blocks of memory with the number of their holders, and the bytes of those that have any.

    Attributes
    ----------
    now, fullest : bytes at present, and at most since `settle`
    """

    def __init__(self) -> None:
        self.now = self.fullest = 0
        self._blocks: dict[int, list[int]] = {}
        self._made = 0

    def new(self, size: int) -> int:
        """Take a block that one holds; gives its name."""
        self._made += 1
        self.take(self._made, size, holders=1)
        return self._made

    def take(self, name: int, size: int, *, holders: int) -> None:
        self._blocks[name] = [size, holders]
        self.now += size
        self.fullest = max(self.fullest, self.now)

    def hold(self, name: int) -> None:
        self._blocks[name][1] += 1

    def size(self, name: int) -> int:
        return self._blocks[name][0]

    def release(self, name: int) -> None:
        block = self._blocks[name]
        block[1] -= 1
        if block[1] == 0:
            self.now -= block[0]
            del self._blocks[name]

    def settle(self) -> None:
        self.fullest = self.now
