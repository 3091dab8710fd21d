"""A shell that runs `autoseg`, and a workspace in which a tiny model was planned and trained once."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from autoseg.data.phantom import write_phantoms

DATASET = "Dataset020_Phantom"
SHAPE = (24, 28, 24)
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "AUTOSEG_WORKSPACE": ""}


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def headline(self) -> str:
        return self.err.splitlines()[0]


@dataclass
class Running:
    """A command that was started."""

    pid: int
    shell: "Shell" = field(repr=False)
    output: Path = field(repr=False)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> Done:
        self.signal(signal.SIGKILL)
        done = self.wait()
        assert done.code == -signal.SIGKILL, "it ended before it was killed"
        return done

    def wait(self, seconds: float = 120) -> Done:
        code = self.shell.ask({"wait": self.pid, "seconds": seconds})["code"]
        assert code is not None, f"still running: {self.error()}"
        return Done(code, self.output.with_suffix(".out").read_text(), self.error())

    def error(self) -> str:
        """What was written to standard error so far."""
        return self.output.with_suffix(".err").read_text()

    def until(self, happened: Callable[[], Any], seconds: float = 60) -> None:
        """Wait until something is seen on the disk."""
        end = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < end, f"it did not happen: {self.error()}"
            time.sleep(0.002)


class Shell:
    """Starts `autoseg` commands; see forkserver.py."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forkserver.py"))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | ENVIRONMENT,
        )  # fmt: skip

    def ask(self, request: dict[str, Any]) -> Any:
        assert self._server.stdin and self._server.stdout
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())

    def start(self, *arguments: object, cwd: Path, env: dict[str, str] | None = None, file_size: int = 0) -> Running:
        self._count += 1
        output = self._folder / str(self._count)
        request = {
            "run": [str(argument) for argument in arguments], "cwd": str(cwd), "env": env or {}, "file_size": file_size,
            "out": str(output.with_suffix(".out")), "err": str(output.with_suffix(".err")),
        }  # fmt: skip
        output.with_suffix(".err").touch()
        return Running(self.ask(request)["pid"], self, output)

    def run(self, *arguments: object, cwd: Path, env: dict[str, str] | None = None, file_size: int = 0) -> Done:
        return self.start(*arguments, cwd=cwd, env=env, file_size=file_size).wait()

    def fails(self, *arguments: object, cwd: Path, code: int = 1, changes: bool = False, file_size: int = 0) -> str:
        """The message of a command that must fail calmly and leave the workspace as it was."""
        before = tree(cwd)
        done = self.run(*arguments, cwd=cwd, file_size=file_size)
        assert done.code == code, done
        assert "Traceback" not in done.err
        assert arguments[0] == "check" or not done.out.strip(), "what failed has no result"
        assert [path for path in tree(cwd) if ".autoseg-" in path] == []
        if not changes:
            assert tree(cwd) == before
        return done.err

    def close(self) -> None:
        assert self._server.stdin
        self._server.stdin.close()
        self._server.wait(10)


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file with its size and time, every folder."""
    found = {}
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a command that runs renames its temporary files
            state = path.lstat()
            found[str(path.relative_to(folder))] = (0, 0) if path.is_dir() else (state.st_size, state.st_mtime_ns)
    return found


def shrink(plan: Path, **training: Any) -> None:
    """Make every network of a plan tiny, as a person would who edits the file."""
    content = json.loads(plan.read_text())
    for configuration in content["configurations"].values():
        axes = configuration["dimensions"]
        configuration["patch_size"] = [16] * axes
        configuration["batch_size"] = 2
        configuration["network"] |= {
            "features_per_stage": [4, 8], "strides": [[1] * axes, [2] * axes], "kernel_sizes": [[3] * axes] * 2, "blocks_per_stage": [1, 1],
            "convs_per_stage_decoder": [1],
        }  # fmt: skip
        configuration["training"] |= {"epochs": 2, "iterations_per_epoch": 2, "validation_iterations": 1, "precision": "float32"} | training
    plan.write_text(json.dumps(content, indent=1))


def link_workspace(source: Path, target: Path, *, models: bool = False) -> Path:
    """A workspace of its own with the same plans and ready cases, files linked; models only where they are wanted."""
    folders = ["raw_data", "plans", "preprocessed", *(["models"] if models else [])]
    for folder in folders:
        shutil.copytree(source / folder, target / folder, copy_function=shutil.copy2)
    return target


@pytest.fixture(scope="session")
def shell() -> Iterator[Shell]:
    with tempfile.TemporaryDirectory() as folder:
        shell = Shell(Path(folder))
        yield shell
        shell.close()


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four labelled phantoms; not to be written into."""
    folder = tmp_path_factory.mktemp("raw") / DATASET
    write_phantoms(folder, count=4, seed=3, shape=SHAPE)
    return folder


@pytest.fixture(scope="session")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two phantoms without labels; not to be written into."""
    folder = tmp_path_factory.mktemp("unseen")
    write_phantoms(folder, count=2, seed=3, first=9, shape=SHAPE, with_labels=False)
    return folder


@pytest.fixture(scope="session")
def trained(shell: Shell, raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace, planned, its plan edited by hand, folds 0 and 1 of 3d_fullres trained; copy it before changing anything."""
    place = tmp_path_factory.mktemp("trained")
    shutil.copytree(raw, place / "raw_data" / DATASET)
    planned = shell.run("plan", "Phantom", "--preset", "cpu", "--no-preprocess", cwd=place)
    assert planned.code == 0, planned.err
    shrink(place / "plans" / f"{DATASET}.json")
    for fold in (0, 1):
        done = shell.run("train", "3d_fullres", fold, cwd=place)
        assert done.code == 0, done.err
    return place


@pytest.fixture
def workspace(raw: Path, tmp_path: Path) -> Path:
    """A workspace with raw data only; may be changed."""
    shutil.copytree(raw, tmp_path / "work" / "raw_data" / DATASET)
    return tmp_path / "work"


@pytest.fixture
def planned(trained: Path, tmp_path: Path) -> Path:
    """A workspace with a tiny plan and ready cases; may be changed."""
    return link_workspace(trained, tmp_path / "work")
