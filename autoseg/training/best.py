"""The weights of the best epoch, while a training that is to keep them goes on.

- Held in memory until the next checkpoint is due, then written beside it before it, in a file that bears their fingerprint: the checkpoint names the
  fingerprint, so after a kill the two still belong together. Others are removed after it.
- At the end the file becomes the weights that prediction uses. A run that is lengthened finds them there.
"""

from pathlib import Path

from torch import Tensor

from autoseg.errors import AutosegError
from autoseg.inference.model_folder import WEIGHTS, fingerprint, is_trained, stored_fingerprint
from autoseg.networks.weights import write_tensors

PATTERN = "best_*.safetensors"


class BestWeights:
    """The best weights of one run.

    Parameters
    ----------
    folder : of the model
    known : fingerprint of the best weights at the last checkpoint, or None

    Raises
    ------
    AutosegError
        they are not there any more
    """

    def __init__(self, folder: Path, known: str | None) -> None:
        self._folder = folder
        self._held: dict[str, Tensor] | None = None
        self.known = known
        if known and not self._file(known).is_file() and not self._are_final(known):
            raise AutosegError(
                f"The weights of the best epoch of the run in {folder} are not there any more ({self._file(known).name}, or {WEIGHTS} as the run left"
                " it). Put them back, or start anew with --restart."
            )

    def hold(self, weights: dict[str, Tensor]) -> None:
        """Take a copy of weights that are better than those before."""
        self._held = {name: tensor.detach().to("cpu", copy=True) for name, tensor in weights.items()}

    def write(self) -> str | None:
        """Write what is held; the fingerprint of the best weights, which the next checkpoint must name."""
        if self._held is not None:
            self.known = fingerprint(self._held)
            write_tensors(self._file(self.known), self._held)
            self._held = None
        return self.known

    def tidy(self) -> None:
        """Remove all but the best, once a checkpoint names them."""
        for path in self._folder.glob(PATTERN):
            if self.known is None or path != self._file(self.known):
                path.unlink(missing_ok=True)

    def become_final(self) -> bool:
        """Turn them into the weights that prediction uses; False where no epoch was the best."""
        if self.known is None:
            return False
        if self._file(self.known).is_file():
            self._file(self.known).replace(self._folder / WEIGHTS)
        return True

    def _file(self, known: str) -> Path:
        return self._folder / PATTERN.replace("*", known)

    def _are_final(self, known: str) -> bool:
        return is_trained(self._folder) and stored_fingerprint(self._folder) == known
