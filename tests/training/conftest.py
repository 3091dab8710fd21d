"""A tiny dataset of phantoms made ready, and a plan with a tiny network, for the tests of training."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from autoseg.data.dataset import Case
from autoseg.data.phantom import write_phantoms
from autoseg.errors import Interrupted
from autoseg.imaging.read import read_image, read_labels
from autoseg.planning.plan import Augmentation, Plan, validate_plan
from autoseg.preprocessing.case import prepare
from autoseg.preprocessing.store import CaseStore
from autoseg.training.batches import PatchSource
from autoseg.training.draws import Draw, draw
from autoseg.training.schedule import Target
from autoseg.training.trainer import Outcome, Trainer

MODALITIES = ("flair", "t1", "t1ce", "t2")
TRANSFORM = {"probability": 0.5, "range": [0.75, 1.25]}
AUGMENTATION = {
    "rotation": {"probability": 0.5, "range": [-30, 30]},
    "scaling": {"probability": 0.5, "range": [0.7, 1.4]},
    "noise": {"probability": 0.5, "range": [0, 0.1]},
    "brightness": TRANSFORM,
    "contrast": TRANSFORM,
    "gamma": TRANSFORM,
}
SGD = {"optimizer": "sgd", "learning_rate": 0.01, "clip_gradient_norm": 12}
ADAMW = {
    "optimizer": "adamw", "learning_rate": 0.003, "momentum": 0.9, "weight_decay": 0.01, "warmup_fraction": 0.1,
    "clip_gradient_norm": 1, "weight_average": 0.9,
}  # fmt: skip


@pytest.fixture(autouse=True, scope="session")
def _one_core() -> None:
    torch.set_num_threads(1)


def make_plan(*, dimensions: int = 3, patch: tuple[int, ...] | None = None, batch_size: int = 2, regions: bool = False, **training: Any) -> Plan:
    """A plan for the phantoms with one configuration, "tiny": a U-Net of 4-8-8 features, four steps an epoch."""
    augmentation = AUGMENTATION | {"mirror_axes": list(range(dimensions))}
    recipes = {"default": SGD | {"augmentation": augmentation}, "fast": ADAMW | {"augmentation": augmentation}}
    rules = {
        "epochs": 2, "iterations_per_epoch": 4, "validation_iterations": 1, "batch_dice": False, "precision": "float32",
        "recipes": recipes,
    }  # fmt: skip
    axes = dimensions
    configuration = {
        "dimensions": dimensions,
        "spacing": [1.0] * axes,
        "median_shape": [24.0] * axes,
        "patch_size": patch or [16] * axes,
        "batch_size": batch_size,
        "normalization": [{"channel": name, "scheme": "zscore", "use_mask": True} for name in MODALITIES],
        "network": {
            "family": "plain_unet",
            "features_per_stage": [4, 8, 8],
            "strides": [[1] * axes, [2] * axes, [2] * axes],
            "kernel_sizes": [[3] * axes] * 3,
            "blocks_per_stage": [1, 1, 1],
            "convs_per_stage_decoder": [1, 1],
        },
        "training": rules | training,
    }
    labels: dict[str, Any] = {"names": ["background", "necrosis", "edema", "enhancing"], "values": [0, 1, 2, 4]}
    if regions:
        labels |= {"regions": {"WT": [1, 2, 4], "TC": [1, 4], "ET": [4]}, "region_order": [2, 1, 4], "trained": "regions"}
    dataset = {"name": "Phantoms", "layout": "brats", "channel_names": MODALITIES, "labels": labels, "num_cases": 4, "file_ending": ".nii.gz"}
    content = {
        "dataset": dataset, "preset": "cpu", "gpu_memory_gb": 1.0, "transpose_forward": [0, 1, 2], "configurations": {"tiny": configuration},
    }  # fmt: skip
    return validate_plan(content, "the plan of the tests")


def make_augmentation(**changes: Any) -> Augmentation:
    """Rules with only these changes."""
    return Augmentation.model_validate(changes)


def make_draw(channels: int = 1, **changes: Any) -> Draw:
    """What `nothing` gives, but for some changes."""
    ones = (1.0,) * channels
    neutral: dict[str, Any] = {
        "angles": (0.0, 0.0, 0.0), "scale": 1.0, "in_plane": False, "flips": (), "noise": 0.0, "noise_seed": 0, "blur": (0.0,) * channels,
        "brightness": ones, "contrast": ones, "low_resolution": ones, "gamma_inverted": ones, "gamma": ones,
    }  # fmt: skip
    return Draw(**(neutral | changes))


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """Makers: `make.plan(...)`, `make.augmentation(...)`, `make.draw(...)`, `make.draws(rules, count)`."""

    def draws(rules: Augmentation, count: int, *, channels: int = 2, in_plane: bool = False, seed: int = 1, previous_classes: int = 0) -> list[Draw]:
        generator = np.random.default_rng(seed)
        return [draw(generator, rules, channels, in_plane=in_plane, previous_classes=previous_classes) for _ in range(count)]

    return SimpleNamespace(plan=make_plan, augmentation=make_augmentation, draw=make_draw, draws=draws)


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder of a store with four ready phantoms of 24 x 28 x 24 voxels at most (they are cropped to the head), and their names."""
    root = tmp_path_factory.mktemp("phantoms")
    names = write_phantoms(root / "raw", count=4, seed=3, shape=(24, 28, 24))
    plan = make_plan()
    store = open_store(root / "ready")
    for name in names:
        case = root / "raw" / name
        image = read_image(tuple(case / f"{name}_{modality}.nii.gz" for modality in MODALITIES))
        ready = prepare(image, read_labels(case / f"{name}_seg.nii.gz"), plan, plan.configuration("tiny"))
        put(store, name, case, ready)
    return root / "ready", names


def open_store(folder: Path, **options: int) -> CaseStore:
    return CaseStore(folder, "tests", **options)


def put(store: CaseStore, name: str, case: Path, ready: Any) -> None:
    files = tuple(case / f"{name}_{modality}.nii.gz" for modality in MODALITIES)
    store.put(Case(name, files, case / f"{name}_seg.nii.gz", name), ready)


@pytest.fixture
def store(phantoms: tuple[Path, list[str]]) -> CaseStore:
    return open_store(phantoms[0])


@pytest.fixture
def names(phantoms: tuple[Path, list[str]]) -> list[str]:
    return phantoms[1]


@pytest.fixture(scope="session")
def reopen(phantoms: tuple[Path, list[str]]) -> Callable[..., CaseStore]:
    """Another store on the same ready cases; `memory=0` keeps every case on disk."""
    return lambda **options: open_store(phantoms[0], **options)


class Setting:
    """Trains into folders with one dataset and fixed decisions, so that no timing decides anything."""

    def __init__(self, store: CaseStore, names: list[str]) -> None:
        self.store, self.names, self.notes = store, names, []

    def decide(self, folder: Path, **decisions: Any) -> Path:
        """Leave a `run.json` as an earlier sitting would have."""
        run = {"recipe": "fast", "steps": 12, "seconds": None, "seed": 5, "precision": "float32", "channels_last": False, "epoch_steps": 4}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.json").write_text(json.dumps(run | decisions))
        return folder

    def trainer(self, plan: Plan, folder: Path, target: Target | None = None, *, seed: int = 5, validate: bool = True, **options: Any) -> Trainer:
        configuration = plan.configuration("tiny")
        regions = plan.labels.region_classes if plan.learns_regions else None
        return Trainer(
            plan, "tiny", "0", folder,
            training=lambda recipe, seed: PatchSource(self.store, self.names[:3], configuration, recipe.augmentation, seed, regions=regions),
            validation=PatchSource(self.store, self.names[3:], configuration, None, 99, regions=regions) if validate else None,
            device="cpu", target=target, seed=seed, notify=self.notes.append, **options,
        )  # fmt: skip

    def train(self, plan: Plan, folder: Path, target: Target | None = None, *, stop_after: int | None = None, **options: Any) -> Outcome:
        calls = iter(range(1, 10**9))
        return self.trainer(plan, folder, target, **options).train(should_stop=lambda: next(calls) == stop_after)

    def interrupted(self, plan: Plan, folder: Path, after: int, target: Target | None = None, **options: Any) -> None:
        with pytest.raises(Interrupted, match="goes on from there"):
            self.train(plan, folder, target, stop_after=after, **options)

    @staticmethod
    def weights_in(folder: Path) -> dict[str, Tensor]:
        return load_file(folder / "weights.safetensors")

    def same_weights(self, one: Path, other: Path) -> bool:
        first, second = self.weights_in(one), self.weights_in(other)
        return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)

    @staticmethod
    def log_of(folder: Path) -> list[dict[str, float]]:
        """Rows of the log; an empty field is not a number."""
        with (folder / "log.csv").open(newline="") as file:
            return [{key: float(value) if value else math.nan for key, value in row.items()} for row in csv.DictReader(file)]


@pytest.fixture
def setting(store: CaseStore, names: list[str]) -> Setting:
    return Setting(store, names)
