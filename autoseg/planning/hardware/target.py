"""The largest memory target that a graphics card can hold, found by planning.

- A target is a size of network and patch by the field's rule of thumb; what training then needs is the memory model's business, so the targets
  are tried from the largest down.
- Where the dataset limits patch and batch sooner than the card does, it is the smallest target with the same decisions.
- A tenth of the card is left to fragments between tensors, and to whatever else runs on it.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence

from autoseg.errors import AutosegError
from autoseg.planning.hardware.memory import GB, largest_memory
from autoseg.planning.plan import Configuration, Plan

SHARE = 0.9
TARGETS = (*range(128, 7, -1), *(half / 2 for half in range(15, 1, -1)))  # whole GB down to 8, half ones down to 1


def largest_target(make: Callable[[float], Plan], available_bytes: float) -> float:
    """The largest memory target with which every configuration is predicted to train on a card, as far as it changes anything.

    Parameters
    ----------
    make : makes the plan for a target in GB
    available_bytes : of the card

    Returns
    -------
    float : GB, a whole number from 8 to 128, or a multiple of 0.5 from 1 on

    Raises
    ------
    AutosegError
        not even the smallest target fits, or the plan is of a preset that is not sized by memory
    """
    for index, target in enumerate(TARGETS):
        made = _made(make, target)
        if made is not None and largest_need(made) <= SHARE * available_bytes:
            return _smallest_alike(make, made, TARGETS[index:])
    smallest, has, may = TARGETS[-1], available_bytes / GB, SHARE * available_bytes / GB
    raise AutosegError(
        f"The graphics card has {has:.1f} GB, of which {may:.1f} GB may be used: too little for a plan of {smallest:g} GB,"
        f" {_shortfall(make, smallest)}. Give a smaller target (--gpu-memory GB), or use --preset cpu."
    )


def largest_need(plan: Plan) -> int:
    """Bytes that the most demanding configuration of a plan is predicted to need for training, the context of CUDA included."""
    return max(largest_memory(one, plan.input_channels(name), plan.network_outputs(name)).total for name, one in plan.configurations.items())


def _smallest_alike(make: Callable[[float], Plan], made: Plan, targets: Sequence[float]) -> float:
    """The smallest target with the same decisions: where the dataset limits patch and batch, more memory changes nothing."""

    def alike(target: float) -> bool:
        other = _made(make, target)
        return other is not None and _decisions(other) == _decisions(made)

    # the targets fall, and those alike come first
    return float(targets[bisect_left(targets, True, lo=1, key=lambda target: not alike(target)) - 1])


def _made(make: Callable[[float], Plan], target: float) -> Plan | None:
    """The plan for a target, or None where no patch is small enough for it."""
    try:
        made = make(float(target))
    except AutosegError:
        if target == TARGETS[0]:
            raise  # nothing that less memory would mend
        return None
    if made.preset == "cpu":
        raise AutosegError("The preset cpu is sized by time, not by a graphics card's memory: choose another preset, or leave out --gpu-memory.")
    return made


def _decisions(plan: Plan) -> list[Configuration]:
    return [configuration.model_copy(update={"why": {}}) for configuration in plan.configurations.values()]


def _shortfall(make: Callable[[float], Plan], target: float) -> str:
    made = _made(make, target)
    return "for which no patch is small enough" if made is None else f"which is predicted to need {largest_need(made) / GB:.1f} GB"
