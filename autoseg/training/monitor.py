"""What the losses of epochs decide: when a plateau lowers the learning rate, when a training stops, and which epoch was the best.

- A loss is better where it is lower than every one before it, by however little. One that is not a number is never better.
- All state is in the counters of the checkpoint, so a run that was killed decides as one that was not.
- The part of an epoch that a run ends with may be the best, but does not count as an epoch without a better loss: a lengthened run finishes it.
"""

from math import isfinite

from autoseg.errors import counted
from autoseg.planning.plan import Recipe
from autoseg.training.checkpoint import Counters
from autoseg.training.run import Run


def take_note(counters: Counters, recipe: Recipe, loss: float, *, whole: bool) -> bool:
    """Take note of an epoch's loss in the counters; whether it is the best so far.

    Parameters
    ----------
    counters : at the end of the epoch; changed
    recipe : with patience and limits
    loss : of the epoch: of the validation, or of the training where no case is held out
    whole : the epoch has all its steps
    """
    counters.judged_step = counters.step
    better = isfinite(loss) and (counters.best_loss is None or loss < counters.best_loss)
    if better:
        counters.best_loss = loss
        counters.stale_epochs = counters.flat_epochs = 0
    elif whole:
        counters.stale_epochs += 1
        counters.flat_epochs += 1
    if recipe.schedule == "plateau" and counters.flat_epochs > recipe.plateau_patience:
        counters.lowered += 1
        counters.flat_epochs = 0
    counters.stopped = recipe.stop_after is not None and counters.stale_epochs >= recipe.stop_after
    return better


def why_stopped(counters: Counters, run: Run, *, validated: bool) -> str:
    """Why a run stopped early, in words that follow its name."""
    loss, epochs = "validation" if validated else "training", counted(counters.stale_epochs, "epoch")
    return f"stopped early after epoch {counters.step // run.epoch_steps:,}, because the {loss} loss had not improved for {epochs}"
