"""What a plan is made from where there are no images: a fingerprint, ours or nnU-Net's, and a `dataset.json` where the fingerprint needs one.

- A site can share these two files instead of its patients.
- Two files that contradict each other are an error, never a choice between them.
"""

from pathlib import Path

from autoseg.data.description import DatasetDescription, read_dataset_json
from autoseg.errors import AutosegError
from autoseg.files import read_json
from autoseg.planning.fingerprint import Fingerprint, describe_labels, validate_fingerprint
from autoseg.planning.nnunet.fingerprint import convert_nnunet_fingerprint, is_nnunet_fingerprint
from autoseg.planning.plan import DatasetBlock


def plan_inputs(fingerprint_path: Path, dataset_json_path: Path | None = None) -> tuple[Fingerprint, DatasetBlock]:
    """What `make_plan` needs, from files alone.

    Parameters
    ----------
    fingerprint_path : our `<dataset>.fingerprint.json` or nnU-Net's `dataset_fingerprint.json`
    dataset_json_path : nnU-Net's or the Decathlon's `dataset.json`; nnU-Net's fingerprint needs it, ours does not

    Raises
    ------
    AutosegError
        a file is missing or faulty, nobody names channels and labels, or the two files contradict each other
    """
    description = None if dataset_json_path is None else read_dataset_json(dataset_json_path)
    found = read_fingerprint_file(fingerprint_path, description)
    if found.dataset is not None:
        return found, found.dataset
    if description is None:
        raise AutosegError(f"{fingerprint_path} does not say what the labels mean. Give the dataset.json as well (--dataset-json).")
    return found, dataset_block(description, len(found.spacings))


def read_fingerprint_file(path: Path, description: DatasetDescription | None = None) -> Fingerprint:
    """Read a fingerprint of ours or of nnU-Net's.

    Parameters
    ----------
    path : the file
    description : the dataset.json that belongs to it; nnU-Net's fingerprint needs it to name the channels, ours must agree with it

    Raises
    ------
    AutosegError
        the file is missing or faulty, or contradicts the description; the text names file and key
    """
    content = read_json(path)
    if not is_nnunet_fingerprint(content):
        found = validate_fingerprint(content, str(path))
        if description is not None:
            _require_agreement(found, description, path)
        return found
    if description is None:
        raise AutosegError(
            f"{path} is nnU-Net's fingerprint, which names neither channels nor labels. Give its dataset.json as well (--dataset-json)."
        )
    return convert_nnunet_fingerprint(content, description, str(path))


def dataset_block(description: DatasetDescription, num_cases: int) -> DatasetBlock:
    """What a plan repeats of a dataset, from its `dataset.json` alone.

    Parameters
    ----------
    description : see `read_dataset_json`
    num_cases : number of training cases where the description does not say
    """
    return DatasetBlock(
        name=description.name,
        layout=description.layout,
        channel_names=description.channel_names,
        labels=describe_labels(description.labels),
        num_cases=description.num_training or num_cases,
        file_ending=description.file_ending,
    )


def _require_agreement(found: Fingerprint, description: DatasetDescription, path: Path) -> None:
    labels = describe_labels(description.labels)
    pairs: dict[str, tuple[object, object]] = {"channel_names": (list(found.channel_names), list(description.channel_names))}
    if found.dataset is not None:
        pairs["labels"] = (found.dataset.labels.model_dump(), labels.model_dump())
    elif found.class_voxels is not None:
        pairs["the number of classes"] = (len(found.class_voxels), len(labels.names))
    for key, (theirs, ours) in pairs.items():
        if theirs != ours:
            raise AutosegError(
                f"{path} and {description.path} contradict each other in {key}: {theirs} and {ours}."
                " Give the dataset.json that belongs to this fingerprint, or leave it out."
            )
