"""What a network is for, and what that asks of its family, its loss and the rest of its configuration.

- Segmentation is what everything else in a plan was made for. Classification takes the encoder of a network alone, with a head. The other tasks bring
  the image out again: the map of an anomaly is the error of the reconstruction, a denoised scan is what a network makes of a noisy one.
- A fault is told at the key that would have to change, with what it could be.
"""

from collections.abc import Iterator
from typing import Literal

from autoseg.planning.schema.faults import Fault, shown
from autoseg.planning.schema.losses import RECONSTRUCTION_LOSSES

Task = Literal["segmentation", "classification", "anomaly", "denoising"]
RECONSTRUCTIONS = ("anomaly", "denoising")  # tasks whose output is the image again
RECONSTRUCTING = "autoencoder"  # the family that does these tasks, and no other
DECODERS = ("unet", "unetplusplus", "deeplabv3plus")  # families that put a decoder on a library's encoder
CLASSIFYING = ("plain_unet", "residual_unet", "encoder")  # families whose encoder can stand alone
WITH_HEAD = ("plain_unet", "residual_unet", *DECODERS)  # families that can have a head for the image beside


def family_faults(task: str, family: str, *, head: bool) -> Iterator[Fault]:
    """What a task asks of a network's family; `head` where the image has a class beside its segmentation."""
    if task in RECONSTRUCTIONS and family != RECONSTRUCTING:
        yield Fault(("network", "family"), f"must be {RECONSTRUCTING} for the task {task}{shown(family)}")
    if task not in RECONSTRUCTIONS and family == RECONSTRUCTING:
        yield Fault(("task",), f"must be {' or '.join(RECONSTRUCTIONS)} for the family {family}, which gives the image again{shown(task)}")
    if task == "segmentation" and family == "encoder":
        yield Fault(
            ("network", "family"), f"'encoder' has no decoder: it is for task 'classification'; choose {', '.join(DECODERS[:-1])} or {DECODERS[-1]}"
        )
    if task == "classification" and family in DECODERS:
        yield Fault(("network", "family"), f"is a decoder, which a classification has no use for{shown(family)}; nearest valid: 'encoder'")
    choices = CLASSIFYING if task == "classification" else WITH_HEAD
    if (task == "classification" or head) and family not in (*WITH_HEAD, "encoder", RECONSTRUCTING):
        yield Fault(("network", "family"), f"has no encoder that a head can stand on{shown(family)}; choose from {', '.join(choices)}")


def loss_faults(task: str, loss: str) -> Iterator[Fault]:
    """What a task asks of the loss."""
    if task in RECONSTRUCTIONS and loss not in RECONSTRUCTION_LOSSES:
        yield Fault(("training", "loss"), f"must be {' or '.join(RECONSTRUCTION_LOSSES)} for the task {task}{shown(loss)}")
    if task not in RECONSTRUCTIONS and loss in RECONSTRUCTION_LOSSES:
        nearest = "ce" if task == "classification" else "dice_ce"
        yield Fault(("training", "loss"), f"compares images, which the task {task} does not{shown(loss)}; nearest valid: '{nearest}'")
