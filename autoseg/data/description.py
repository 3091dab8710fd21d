"""A `dataset.json` on its own, without the images beside it: what a plan needs to know of a dataset.

- nnU-Net's file (version 2 and the older keys) and that of the Medical Segmentation Decathlon, by the parsers of their layouts.
- No other file is touched: the paths that it may list need not exist.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoseg.data.dataset import Labels
from autoseg.data.layouts._description import read_channel_names, read_file_ending, read_labels_entry, read_object
from autoseg.errors import AutosegError
from autoseg.imaging.read import suffix_of

_NUMBERED_FOLDER = re.compile(r"Dataset\d{3}_.+")


@dataclass(frozen=True)
class DatasetDescription:
    """What a `dataset.json` says.

    Attributes
    ----------
    path : the file, for errors
    name : the name of its folder where that is one of nnU-Net's (`Dataset001_Name`), else the key `name`, else that of its folder
    layout : "nnunet" or "decathlon"
    channel_names : in the network's order
    labels : see `Labels`
    num_training : number of training cases, from `numTraining` or else the cases that it lists; None where it says nothing
    file_ending : what predictions are written as
    """

    path: Path
    name: str
    layout: str
    channel_names: tuple[str, ...]
    labels: Labels
    num_training: int | None
    file_ending: str


def read_dataset_json(path: Path) -> DatasetDescription:
    """Read a `dataset.json` alone.

    Parameters
    ----------
    path : the file, of any name

    Raises
    ------
    AutosegError
        the file is missing or not JSON, or a key is missing or impossible; the text names file and key
    """
    content = read_object(path)
    listed = content.get("training")
    decathlon = "channel_names" not in content and isinstance(listed, list)
    return DatasetDescription(
        path=path,
        name=_name(content, path),
        layout="decathlon" if decathlon else "nnunet",
        channel_names=read_channel_names(content, path),
        labels=read_labels_entry(content, path),
        num_training=_num_training(content, path),
        file_ending=read_file_ending(content, path) or _listed_ending(listed) or ".nii.gz",
    )


def _name(content: Mapping[str, Any], path: Path) -> str:
    folder, own = path.absolute().parent.name, content.get("name")
    # folders are named after a dataset, so a name that leads elsewhere is none
    usable = isinstance(own, str) and bool(own.strip()) and not own.strip().startswith(".") and not set("/\\:") & set(own)
    return str(own).strip() if usable and not _NUMBERED_FOLDER.fullmatch(folder) else folder or "dataset"


def _num_training(content: Mapping[str, Any], path: Path) -> int | None:
    announced = content.get("numTraining")
    if announced is None:
        cases = content.get("dataset", content.get("training"))
        return len(cases) if isinstance(cases, dict | list) and cases else None
    if not isinstance(announced, int) or isinstance(announced, bool) or announced < 1:
        raise AutosegError(f"{path}: 'numTraining' is {announced!r}; it must be the number of training cases, 1 or more.")
    return announced


def _listed_ending(listed: object) -> str | None:
    first = listed[0] if isinstance(listed, list) and listed else None
    image = first.get("image") if isinstance(first, dict) else None
    return suffix_of(Path(image)) if isinstance(image, str) else None
