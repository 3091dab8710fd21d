"""A recipe: what the authors of an approach did, as data, so that the one trainer, predictor and evaluator carry it out.

- `configuration` says what differs from the configuration that is planned for the dataset; the network, and how weights are learned, are the
  recipe's alone.
- Spacing, axes, channels, labels and the number of cases are the dataset's: a recipe never names them.
- What its authors published stands beside, with what differs from how it is measured here.
"""

from typing import Any, Literal

from pydantic import Field

from autoseg.planning.schema.blocks import Block, Name
from autoseg.planning.schema.tasks import Task


class Published(Block):
    """A figure of the authors.

    Attributes
    ----------
    metric : "Dice, whole tumour", "accuracy", ...
    value : as they give it; ratios from 0 to 1
    data : of how many cases of what, by which split
    differs : what keeps it from being compared with ours, in a line
    where : the paper, page or repository it stands in
    """

    metric: str
    value: float
    data: str
    differs: str
    where: str = ""


class ZooRecipe(Block):
    """A published approach.

    Attributes
    ----------
    name : of the configuration that it becomes
    title : what it is, in a line
    task : what it is for, as `task` of a configuration; what is classified stands in `configuration`
    source : whose approach it is
    needs : what a dataset must have, for people
    dimensions : of its network
    channels : the channels that it sees, found by name however they are spelled; empty: all that the dataset has
    learns : what its authors' network learned; another choice of the plan is told, not refused
    normalization : how each channel is scaled, as in a plan but without `channel`
    configuration : what differs from the planned configuration: `patch_size`, `batch_size`, `network`, `training`, ...
    differs : what is done in another way here than its authors did it
    published : their figures
    """

    name: Name
    title: str
    task: Task = "segmentation"
    source: str
    needs: str
    dimensions: Literal[2, 3]
    channels: tuple[str, ...] = ()
    learns: Literal["classes", "regions", "any"] = "any"
    normalization: dict[str, Any] = Field(default_factory=dict)
    configuration: dict[str, Any]
    differs: str = ""
    published: tuple[Published, ...] = ()
