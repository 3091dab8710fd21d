"""What configurations make, by their task, and one way to refuse those that make no segmentations where segmentations are asked for."""

from collections.abc import Mapping

from autoseg.errors import AutosegError, listing

SEGMENTATION = "segmentation"
MAKES = {SEGMENTATION: "segmentations", "classification": "tables of classes", "anomaly": "maps of anomalies", "denoising": "denoised scans"}
DONE = {SEGMENTATION: "segmented", "classification": "classified", "anomaly": "searched for anomalies", "denoising": "denoised"}


def require_segmenting(tasks: Mapping[str, str], why: str) -> None:
    """Make sure that all configurations segment.

    Parameters
    ----------
    tasks : what is asked for by name -> its task
    why : what segmentations are needed for, and what to do

    Raises
    ------
    AutosegError
        some make something else (names them, and what they make)
    """
    if others := without_segmentations(tasks):
        raise AutosegError(f"{others}: {why}")


def without_segmentations(tasks: Mapping[str, str]) -> str:
    """Those that do not segment, and what they make, in words; empty where there are none."""
    others = [f"{name} makes {MAKES.get(task, 'something else')}" for name, task in tasks.items() if task != SEGMENTATION]
    return f"{listing(others)}, no segmentations" if others else ""
