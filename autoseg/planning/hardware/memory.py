"""What training a configuration needs of a graphics card's memory, before any network exists.

- A training step is replayed operation by operation (`replay.py`); the estimate is the composition of its worst moment.
- In half precision feature maps and the weights of convolutions are stored in two bytes (PyTorch's autocast); weights, their gradients, the
  optimizer and the loss stay in four.
- A convolution's workspace is taken to be a copy of its input and of its result, for libraries that change the layout of both. That and the
  context of CUDA are assumptions; everything else is arithmetic.
- Augmentation on the card and validation need less than a training step, and come at other times.
"""

from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from autoseg.planning.hardware.layers import operations
from autoseg.planning.hardware.replay import Moment, replay
from autoseg.planning.plan import Configuration, Recipe
from autoseg.planning.training_recipe import training_recipe

GB = 2**30
CONTEXT = GB // 2  # CUDA's context and the libraries' kernels: typical of recent cards and drivers, not measured here
HALF, FLOAT, LONG = 2, 4, 8
# For each voxel of the full resolution and each term of a loss, in the order in which they are computed: what is alive at the term's worst moment,
# and what it leaves for the way back while later terms are computed. Bytes a class (softmax, its logarithm, one-hot labels, products and their
# gradients, 4 each) and bytes in any case (masks, sums over classes, less what the background spares). Regions are counted as classes: too much for
# "bce", a little too much for Dice, too little for "ce" and "focal", where dozens of them would be needed to make a difference.
LOSS = {
    "ce": ((10, 0), (0, 0)),
    "bce": ((31, 8), (14, 5)),
    "focal": ((10, 0), (0, 16)),
    "tversky": ((28, -3), (8, 1)),
    "dice": ((28, -3), (8, 1)),
}

Precision = Literal["float32", "float16", "bfloat16"]


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes in use at the worst moment of a training step.

    Attributes
    ----------
    weights, average : parameters, and their moving average where the recipe keeps one
    gradients : of the parameters, as far as they are there at that moment
    optimizer : momentum (SGD) or both averages (Adam, AdamW)
    weight_copies : weights of convolutions in half precision
    batch : images and classes
    activations : feature maps kept for the way back or still to be read, logits included
    loss : tensors of the loss, in float32
    transient : gradients of feature maps, or what the optimizer's step takes for a moment
    workspace : of the convolution that runs (assumed)
    context : CUDA itself (assumed); not seen by PyTorch's own count
    """

    weights: int
    average: int
    gradients: int
    optimizer: int
    weight_copies: int
    batch: int
    activations: int
    loss: int
    transient: int
    workspace: int
    context: int = CONTEXT

    @property
    def allocated(self) -> int:
        """What `torch.cuda.max_memory_allocated` should say."""
        return self.total - self.context

    @property
    def total(self) -> int:
        """All of it."""
        state = self.weights + self.average + self.gradients + self.optimizer + self.weight_copies + self.batch
        return state + self.activations + self.loss + self.transient + self.workspace + self.context


def training_memory(
    configuration: Configuration,
    in_channels: int,
    num_classes: int,
    *,
    precision: Precision = "float16",
    recipe: str = "default",
    workspace: bool = True,
) -> MemoryEstimate:
    """Memory of training on CUDA.

    Parameters
    ----------
    configuration : what is trained
    in_channels : channels that the network takes; `Plan.input_channels`
    num_classes : classes with the background
    precision : of convolutions
    recipe : name in `training.recipes`; where there is only one recipe it is that one
    workspace : count what convolutions are assumed to take for themselves

    Raises
    ------
    PlanError
        the plan has several recipes and none of that name
    """
    rules, made = training_recipe(configuration, recipe), operations(configuration, in_channels, num_classes)
    voxels, value = configuration.batch_size * prod(configuration.patch_size), FLOAT if precision == "float32" else HALF
    weights = FLOAT * sum(one.weights for one in made)
    image = voxels * in_channels * value if value != FLOAT else 0
    loss = _loss(configuration, voxels, num_classes, converted=value != FLOAT)
    optimizing = Moment(gradients=weights, feature_gradients=weights)  # one more copy of the weights while they are changed
    moments = (*replay(made, batch=configuration.batch_size, value=value, weight=FLOAT, image=image, loss=loss), optimizing)
    worst = max(moments if workspace else (replace(moment, workspace=0) for moment in moments), key=lambda moment: moment.total)
    return MemoryEstimate(
        weights=weights,
        average=weights if rules.weight_average else 0,
        optimizer=_states(rules) * weights,
        batch=voxels * (FLOAT * in_channels + LONG),
        gradients=worst.gradients,
        weight_copies=worst.copies,
        activations=worst.features,
        loss=worst.loss,
        transient=worst.feature_gradients,
        workspace=worst.workspace,
    )


def largest_memory(configuration: Configuration, in_channels: int, num_classes: int) -> MemoryEstimate:
    """Memory of training with the recipe that needs most, in the precision that the plan names (float16 where it names none)."""
    precision: Precision = "float16" if configuration.training.precision == "auto" else configuration.training.precision
    recipes = configuration.training.recipes
    return max(
        (training_memory(configuration, in_channels, num_classes, precision=precision, recipe=name) for name in recipes), key=lambda one: one.total
    )


def _states(recipe: Recipe) -> int:
    """Numbers that the optimizer keeps for each weight."""
    return 2 if recipe.optimizer in ("adam", "adamw") else int(recipe.momentum > 0)


def _loss(configuration: Configuration, voxels: int, num_classes: int, *, converted: bool) -> int:
    """The loss's own tensors at the worst moment of its terms; logits that are float32 already are not converted."""
    chosen = configuration.training.loss.split("_")
    kept = worst = 0
    for name, (alive, left) in LOSS.items():
        if name in chosen:
            worst = max(worst, kept + (alive[0] - (0 if converted else FLOAT)) * num_classes + alive[1])
            kept += left[0] * num_classes + left[1]
    return voxels * worst
