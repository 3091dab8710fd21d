"""`train`: one fold, all folds in turn, or every case; then the validation at full resolution."""

import re
from collections.abc import Callable
from pathlib import Path

from autoseg.api._cascade import make_ready
from autoseg.api._fold import Trained, train_fold
from autoseg.api._job import Job, Key, Length, make_job
from autoseg.data.folds import Folds
from autoseg.errors import AutosegError
from autoseg.files import require_writable
from autoseg.networks import build, start_encoder
from autoseg.planning.plan import EncoderNetworkPlan, LibraryNetworkPlan
from autoseg.progress import Progress, silent
from autoseg.training.checkpoint import read_counters
from autoseg.training.pretrained import load_start, source_of
from autoseg.workspace import Workspace


def train(
    configuration: str,
    fold: str | int,
    *,
    dataset: str | None = None,
    workspace: Path | str | None = None,
    epochs: int | None = None,
    budget: str | None = None,
    device: str = "auto",
    seed: int | None = None,
    pretrained: Path | str | None = None,
    restart: bool = False,
    progress: Progress = silent,
    notify: Callable[[str], None] = lambda text: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[Trained]:
    """Train a configuration of the plan, and validate it. For a cascade, what its previous stage lacks is trained first.

    Parameters
    ----------
    configuration : a name in the plan, such as "3d_fullres"
    fold : 0..4, "all" (every case, nothing to validate on) or "cv" (all folds in turn)
    dataset : by default the one last planned
    workspace : by default `AUTOSEG_WORKSPACE`, else the current folder
    epochs : instead of the plan's
    budget : wall-clock time such as "20m" or "2h" instead; the final validation comes on top
    device : "auto", "cpu", "cuda", "cuda:1" or "mps"
    seed : instead of the plan's
    pretrained : folder fold_<k> of a trained model whose weights a new run starts from; a run that is taken up keeps its own start. A cascade's
        previous stage does not start from it
    restart : delete what an earlier run of this fold left; without it an unfinished run is taken up. A cascade's previous stage is kept
    progress : told how far training and validation are
    notify : told decisions in words (recipe, precision, what was taken up)
    should_stop : asked after every step; yes saves the state and raises `Interrupted`

    Returns
    -------
    one entry a fold of that configuration

    Raises
    ------
    Interrupted
        `should_stop` answered yes
    AutosegError
        the plan, the fold or the device does not exist, the data cannot be read, the plan changed since the run began, the run began from
        other weights or those to start from do not fit, or the previous stage of a cascade was trained on cases that it should not have seen
    """
    place = Workspace.find(workspace)
    name = place.resolve(dataset) if dataset else place.current()
    job = make_job(place, name, configuration, Length(epochs, budget), device, seed, progress, notify, should_stop)
    keys: list[Key] = [_fold_key(str(fold), job.folds)] if str(fold) != "cv" else list(range(len(job.folds.validation)))
    start = Path(pretrained) if pretrained is not None else None
    sources = {source_of(job.folder(key), start, anew=restart) for key in keys}
    for source in filter(None, sources):
        load_start(source, job.plan, configuration)  # before minutes of work; nothing is deleted for a model that does not fit
    if start is None and any(restart or read_counters(job.folder(key)) is None for key in keys):
        _require_network(job)
    require_writable(job.model)
    require_writable(job.preprocessed(configuration))
    ready = make_ready(job)
    return [train_fold(job, key, ready, restart=restart, pretrained=start) for key in keys]


def _require_network(job: Job) -> None:
    """A library that is missing, or an encoder's weights that cannot be had, are found out before minutes of work."""
    if isinstance(job.configuration.network, EncoderNetworkPlan | LibraryNetworkPlan):
        channels = job.plan.input_channels(job.name)
        network = build(job.configuration, in_channels=channels, num_classes=job.plan.network_outputs(job.name))
        start_encoder(network, job.configuration, channels)


def _fold_key(fold: str, folds: Folds) -> Key:
    count = len(folds.validation)
    if fold == "all":
        return "all"
    if not re.fullmatch("[0-9]+", fold) or int(fold) >= count:
        raise AutosegError(f"There is no fold '{fold}'. Choose 0 to {count - 1}, all (every case) or cv (all folds in turn).")
    return int(fold)
