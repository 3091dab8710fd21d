"""What both sides work on: the same raw data, and what is made of them before a stage can be measured.

- Both read one folder in nnU-Net's layout: links to the scans, and for BraTS the labels rewritten to 0..3 as nnU-Net needs them, with its regions.
- Without real data, synthetic brains of the same sizes stand in; times then are not those of the goals.
- What several stages need (plans, ready cases) is made once, unmeasured, with the very commands that the `prepare` stages measure.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.dataset import Case
from autoseg.data.layouts import open_dataset
from autoseg.data.phantom import write_phantoms
from autoseg.imaging.image import LabelMap
from autoseg.imaging.read import read_labels
from autoseg.imaging.write import write_labels
from autoseg.planning.plan import Plan, read_plan
from nnunet.environment import Theirs, our_command, our_variables, variables
from nnunet.watch import Work, do

BRATS, HIPPOCAMPUS = "Dataset137_BraTS2021", "Dataset004_Hippocampus"
CONFIGURATIONS = {BRATS: ("3d_fullres",), HIPPOCAMPUS: ("2d", "3d_fullres")}
MODALITIES = ("t1", "t1ce", "t2", "flair")
REGIONS = {"WT": (1, 2, 3), "TC": (2, 3), "ET": (3,)}
ITS_VALUES = {0: 0, 2: 1, 1: 2, 4: 3}  # BraTS -> nnU-Net's own conversion, in which a region's inside has a higher value
SMALL = {BRATS: 2, HIPPOCAMPUS: 10}  # cases of a trial
SYNTHETIC = {BRATS: (9, (155, 240, 240)), HIPPOCAMPUS: (200, (36, 50, 36))}


@dataclass(frozen=True)
class Prepared:
    """A dataset made ready by both.

    Attributes
    ----------
    theirs : nnU-Net's folder of the dataset, with plans and ready cases
    ours : a workspace of ours
    """

    dataset: str
    theirs: Path
    ours: Path

    @property
    def our_plan(self) -> Plan:
        return read_plan(self.ours / "plans" / f"{self.dataset}.json")

    def their_plans(self, name: str = "nnUNetPlans") -> dict[str, Any]:
        """nnU-Net's plans."""
        plans: dict[str, Any] = json.loads((self.theirs / f"{name}.json").read_text(encoding="utf-8"))
        return plans


class Ground:
    """The folders of one run of the benchmark.

    Parameters
    ----------
    root : everything is written in it
    theirs : nnU-Net's environment
    cores : processes granted to nnU-Net, threads that ours will find
    data : folder with `brats_as_downloaded/` and `Dataset004_Hippocampus/`; None: synthetic
    small : a trial with few cases and short measurements
    """

    def __init__(self, root: Path, theirs: Theirs, cores: int, data: Path | None, *, small: bool) -> None:
        self.root, self.theirs, self.cores, self.small = root, theirs, cores, small
        self.raw = root / "raw"
        self._data = data
        self._prepared: dict[str, Prepared] = {}

    @cached_property
    def brats(self) -> Path:
        """The BraTS dataset in nnU-Net's layout."""
        source = self._source(BRATS, "brats_as_downloaded")
        cases = open_dataset(source).cases
        target = self.raw / BRATS
        for case in cases[: SMALL[BRATS]] if self.small else cases:
            for channel, file in enumerate(_channels(case)):
                _link(file, target / "imagesTr" / f"{case.name}_{channel:04d}.nii.gz")
            _convert(case, target / "labelsTr" / f"{case.name}.nii.gz")
        labels = {"background": 0} | {name: list(values) for name, values in REGIONS.items()}
        _describe(target, dict(enumerate(("T1", "T1ce", "T2", "Flair"))), labels, regions_class_order=[1, 2, 3])
        return target

    @cached_property
    def hippocampus(self) -> Path:
        """The hippocampus dataset in nnU-Net's layout."""
        source = self._source(HIPPOCAMPUS, HIPPOCAMPUS)
        target = self.raw / HIPPOCAMPUS
        if (source / "imagesTr").is_dir():
            labels = sorted((source / "labelsTr").glob("*.nii.gz"))
            for file in labels[: SMALL[HIPPOCAMPUS]] if self.small else labels:
                name = file.name.removesuffix(".nii.gz")
                _link(source / "imagesTr" / f"{name}_0000.nii.gz", target / "imagesTr" / f"{name}_0000.nii.gz")
                _link(file, target / "labelsTr" / file.name)
        else:
            for case in open_dataset(source).cases:
                _link(case.channels[0], target / "imagesTr" / f"{case.name}_0000.nii.gz")
                _convert(case, target / "labelsTr" / f"{case.name}.nii.gz", {0: 0, 1: 1, 2: 2, 4: 2})
        _describe(target, {0: "MRI"}, {"background": 0, "Anterior": 1, "Posterior": 2})
        return target

    def folder(self, dataset: str) -> Path:
        """The raw data of a dataset."""
        return self.brats if dataset == BRATS else self.hippocampus

    def their_variables(self, preprocessed: Path) -> dict[str, str]:
        """nnU-Net's environment, with its ready cases in a folder."""
        return variables(self.cores, self.raw, preprocessed, self.root / "results")

    def prepared(self, dataset: str) -> Prepared:
        """A dataset made ready by both; made when it is first asked for."""
        if dataset not in self._prepared:
            self.folder(dataset)
            home = self.root / "prepared" / dataset
            for side, work in (("theirs", self.they_prepare), ("ours", self.we_prepare)):
                if not (home / f"{side}.done").exists():
                    shutil.rmtree(home / side, ignore_errors=True)
                    print(f"  making {dataset} ready for {side}", flush=True)
                    do(work(dataset, home / side), self.root / "logs" / f"prepare_{dataset}_{side}.log")
                    (home / f"{side}.done").touch()
            self._prepared[dataset] = Prepared(dataset, home / "theirs" / dataset, home / "ours")
        return self._prepared[dataset]

    def they_prepare(self, dataset: str, folder: Path, *, one_thread: bool = True) -> Work:
        """Check, fingerprint, plan and preprocess, with nnU-Net's own command."""
        self.folder(dataset)
        folder.mkdir(parents=True)
        number, cores = dataset.removeprefix("Dataset")[:3].lstrip("0"), str(self.cores)
        command = [
            self.theirs.command("nnUNetv2_plan_and_preprocess"), "-d", number, "-c", *CONFIGURATIONS[dataset], "--verify_dataset_integrity",
            "-npfp", cores, "-np", cores, "--no_pbar",
        ]  # fmt: skip
        return Work(command, self.their_variables(folder) | ({"OMP_NUM_THREADS": "1"} if one_thread else {}))

    def we_prepare(self, dataset: str, folder: Path) -> Work:
        """The same with ours."""
        self.folder(dataset)
        self.workspace(folder)
        return Work([*our_command(), "plan", dataset, "--workspace", str(folder)], our_variables())

    def workspace(self, folder: Path) -> Path:
        """An empty workspace that finds the raw data."""
        folder.mkdir(parents=True)
        (folder / "raw_data").symlink_to(self.raw)
        return folder

    def _source(self, dataset: str, name: str) -> Path:
        if self._data is not None:
            folder = self._data / name
            if not folder.is_dir():
                raise SystemExit(f"{folder} does not exist. --data names the folder that holds it; without --data synthetic scans are used.")
            return folder
        folder = self.root / "synthetic" / dataset
        if not folder.exists():
            count, shape = SYNTHETIC[dataset]
            print(f"  drawing synthetic scans for {dataset}", flush=True)
            write_phantoms(folder, count=SMALL[dataset] if self.small else count, seed=1, shape=shape)
        return folder


def cases_of(folder: Path) -> list[str]:
    """The cases of a dataset in nnU-Net's layout."""
    return sorted(file.name.removesuffix(".nii.gz") for file in (folder / "labelsTr").glob("*.nii.gz"))


def channel_files(folder: Path, case: str) -> list[Path]:
    """A case's scans."""
    return sorted((folder / "imagesTr").glob(f"{case}_????.nii.gz"))


def _channels(case: Case) -> Iterator[Path]:
    for modality in MODALITIES:
        yield next(file for file in case.channels if file.name.removesuffix(".nii.gz").removesuffix(".nii").endswith(f"_{modality}"))


def _convert(case: Case, target: Path, values: dict[int, int] = ITS_VALUES) -> None:
    if case.label is None:
        raise SystemExit(f"{case.name} has no segmentation; the benchmark needs cases with one.")
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    labels = read_labels(case.label)
    table = np.zeros(256, np.uint8)
    table[list(values)] = list(values.values())
    write_labels(LabelMap(table[labels.array], labels.geometry), target)


def _link(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        target.symlink_to(file.resolve())


def _describe(target: Path, channels: dict[int, str], labels: dict[str, Any], **more: Sequence[int]) -> None:
    count = len(list((target / "labelsTr").iterdir()))
    names = {str(index): name for index, name in channels.items()}
    facts = {"channel_names": names, "labels": labels, "numTraining": count, "file_ending": ".nii.gz", **more}
    (target / "dataset.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
