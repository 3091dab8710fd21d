"""Folder layouts, one file each; `open_dataset` tells which one a folder has.

- The user's folder is read where it lies: nothing is copied, renamed or written. No image is decoded but a few of COCO's, which nothing else
  tells to be grey or in colours.
- What is wrong with single files is collected in `Dataset.problems`, so that the check shows all of it at once.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from autoseg.data.dataset import Dataset
from autoseg.data.layouts import brats, coco, decathlon, lgg, nnunet
from autoseg.data.layouts._folder import describe, entries
from autoseg.errors import AutosegError
from autoseg.imaging.image import Spacing3


class Layout(NamedTuple):
    """How one layout is recognised and read; `looks_like` says in a line what a folder needs, `stacked` reads its slices as volumes."""

    recognises: Callable[[Path], bool]
    load: Callable[[Path], Dataset]
    looks_like: str
    stacked: Callable[[Path, Spacing3], Dataset] | None = None


LAYOUTS: dict[str, Layout] = {
    "decathlon": Layout(decathlon.recognises, decathlon.load, decathlon.LOOKS_LIKE),
    "nnunet": Layout(nnunet.recognises, nnunet.load, nnunet.LOOKS_LIKE),
    "coco": Layout(coco.recognises, coco.load, coco.LOOKS_LIKE),
    "lgg": Layout(lgg.recognises, lgg.load, lgg.LOOKS_LIKE, lambda root, spacing: lgg.load(root, stack=spacing)),
    "brats": Layout(brats.recognises, brats.load, brats.LOOKS_LIKE),
}


def open_dataset(root: Path, *, stack: Spacing3 | None = None) -> Dataset:
    """Read a dataset's folder in whatever layout it was downloaded.

    Parameters
    ----------
    root : the folder, or a link to it
    stack : millimetres along Z, Y, X: the slices of a patient are read as one volume

    Returns
    -------
    the dataset; its `problems` hold what the check must report before any work

    Raises
    ------
    AutosegError
        the folder is missing, empty or of no known layout, its `dataset.json` contradicts itself, or it has no slices to stack
    """
    require_folder(root)
    for name, layout in LAYOUTS.items():
        if layout.recognises(root):
            if stack is None:
                return layout.load(root)
            if layout.stacked is None:
                raise AutosegError(f"{root} is in the layout '{name}', which has no slices of patients to stack. Leave out --stack.")
            return layout.stacked(root, stack)
    known = "".join(f"\n  - {layout.looks_like}" for layout in LAYOUTS.values())
    raise AutosegError(f"{root} is in no layout that autoseg knows: {describe(root)}. Looked for:{known}")


def recognise(root: Path) -> str | None:
    """The name of the folder's layout, or None."""
    return next((name for name, layout in LAYOUTS.items() if layout.recognises(root)), None)


def require_folder(root: Path) -> None:
    """Make sure that there is a folder with something in it.

    Raises
    ------
    AutosegError
        the folder is missing, a broken link, a file, or empty
    """
    if root.is_symlink() and not root.exists():
        raise AutosegError(f"{root} is a link to {root.readlink()}, which does not exist. Mend the link.")
    if not root.exists():
        raise AutosegError(f"{root} does not exist. Put the dataset's folder there, or a link to it.")
    if not root.is_dir():
        raise AutosegError(f"{root} is a file; a dataset is a folder.")
    if not entries(root):
        raise AutosegError(f"{root} is empty. Put the dataset's files there.")
