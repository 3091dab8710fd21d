"""Where raw data, plans, ready cases and models lie, and which dataset is current.

- A workspace is a folder: the one given, `AUTOSEG_WORKSPACE`, or the current folder. No variable is needed.
- The current dataset is the one last planned, kept in `plans/.current`, or the only one there is.
- A dataset answers to its folder's name with or without `Dataset` and the three digits.
"""

import os
import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from autoseg.errors import AutosegError
from autoseg.files import write_text

PLAN_FILE = re.compile(r"([^.].*)(?<!\.fingerprint)(?<!\.folds)\.json")


@dataclass(frozen=True)
class Workspace:
    """A folder with `raw_data/`, `plans/`, `preprocessed/` and `models/`."""

    root: Path

    @classmethod
    def find(cls, given: Path | str | None = None) -> "Workspace":
        """The workspace to use: `given`, else the environment's, else the current folder."""
        return cls(Path(given or os.environ.get("AUTOSEG_WORKSPACE") or ".").resolve())

    @property
    def raw_data(self) -> Path:
        """The user's datasets; never written to."""
        return self.root / "raw_data"

    def raw(self, dataset: str) -> Path:
        """A dataset's folder, or a link to it."""
        return self.raw_data / dataset

    def plan(self, dataset: str) -> Path:
        """The plan."""
        return self.root / "plans" / f"{dataset}.json"

    def fingerprint(self, dataset: str) -> Path:
        """The facts that the plan was made from."""
        return self.root / "plans" / f"{dataset}.fingerprint.json"

    def folds(self, dataset: str) -> Path:
        """Which cases each fold validates on."""
        return self.root / "plans" / f"{dataset}.folds.json"

    def preprocessed(self, dataset: str, configuration: str) -> Path:
        """Ready cases; may be deleted at any time."""
        return self.root / "preprocessed" / dataset / configuration

    def model(self, dataset: str, configuration: str) -> Path:
        """The folder with a folder for each fold."""
        return self.root / "models" / dataset / configuration

    def fold(self, dataset: str, configuration: str, fold: str) -> Path:
        """The model folder of a fold: "0".."4" or "all"."""
        return self.model(dataset, configuration) / f"fold_{fold}"

    def resolve(self, name: str) -> str:
        """The full name of the dataset that `name` means; its folder's path in `raw_data/`, as a shell completes it, is a name too.

        Raises
        ------
        AutosegError
            no dataset, or more than one, answers to `name`; the text lists those there are
        """
        known, path = self.datasets(), Path(name)
        if len(path.parts) == 1 or path.parent.resolve() == self.raw_data.resolve():
            name = path.name
        if name in known:
            return name
        matches = [dataset for dataset in known if _short(dataset).lower() == _short(name).lower() or _number(dataset) == name.lstrip("0")]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise AutosegError(f"'{name}' could be {' or '.join(matches)}: write the full name.")
        close = get_close_matches(_short(name).lower(), [_short(dataset).lower() for dataset in known], n=1)
        meant = next((f" Did you mean {dataset}?" for dataset in known if [_short(dataset).lower()] == close), "")
        raise AutosegError(
            f"There is no dataset '{name}' in {self.raw_data}.{meant} {_listing(known)}"
            " Put the dataset's folder there, or a link to it; or name another workspace with --workspace."
        )

    def current(self) -> str:
        """The dataset last planned, or the only one.

        Raises
        ------
        AutosegError
            no dataset was planned and there is not exactly one
        """
        marker = self.root / "plans" / ".current"
        if marker.is_file():
            return self.resolve(marker.read_text(encoding="utf-8").strip())
        known = self.datasets()
        if len(known) == 1:
            return known[0]
        raise AutosegError(f"Which dataset? None was planned in {self.root} yet. {_listing(known)} Name one, or plan one: autoseg plan NAME")

    def set_current(self, dataset: str) -> None:
        """Remember the dataset last planned."""
        write_text(self.root / "plans" / ".current", dataset + "\n")

    def datasets(self) -> list[str]:
        """Names of all datasets with raw data, a plan or a model, sorted."""
        # a link that leads nowhere is one too: opening it says so
        raw = {entry.name for entry in _entries(self.raw_data) if (entry.is_dir() or entry.is_symlink()) and not entry.name.startswith(".")}
        planned = {match[1] for entry in _entries(self.root / "plans") if (match := PLAN_FILE.fullmatch(entry.name))}
        trained = {entry.name for entry in _entries(self.root / "models") if entry.is_dir() and not entry.name.startswith(".")}
        return sorted(raw | planned | trained)


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _short(name: str) -> str:
    return re.sub(r"^Dataset(\d{3}_)?", "", name, flags=re.IGNORECASE)


def _number(name: str) -> str | None:
    match = re.match(r"Dataset(\d{3})_", name)
    return match[1].lstrip("0") if match else None


def _listing(known: list[str]) -> str:
    return f"Known are: {', '.join(known)}." if known else "No dataset is known yet."
