"""The other side's environment: nnU-Net from the package index, with the PyTorch version that this side has.

- Where PyTorch is a CPU build, nnU-Net's folder `primus` is deleted in an environment made here: it alone imports timm, which does not import there.
- Granted to it: as many processes as there are cores, no compiling of networks on a CPU, and one thread a process where processes fill the cores.
"""

import json
import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

NNUNET = "2.8.1"
FACTS = "import json, importlib.metadata as m; print(json.dumps({n: m.version(n) for n in ('nnunetv2', 'torch', 'numpy', 'batchgeneratorsv2')}))"


@dataclass(frozen=True)
class Theirs:
    """An environment that nnU-Net is installed in."""

    python: Path

    def command(self, name: str) -> str:
        """The path of one of its commands."""
        return str(self.python.parent / name)

    def versions(self) -> dict[str, str]:
        """What matters in it.

        Raises
        ------
        SystemExit
            nnU-Net is not installed there in the version that is compared
        """
        answer = subprocess.run([self.python, "-c", FACTS], capture_output=True, text=True, check=False)
        if answer.returncode:
            raise SystemExit(f"{self.python} has no nnU-Net: {answer.stderr.strip().splitlines()[-1]}")
        found: dict[str, str] = json.loads(answer.stdout)
        if found["nnunetv2"] != NNUNET:
            raise SystemExit(f"{self.python} has nnU-Net {found['nnunetv2']}; {NNUNET} is compared. Leave out --nnunet to have it installed.")
        return found


def provide(python: Path | None, folder: Path) -> Theirs:
    """The environment that was named, or one made in `folder` and kept there."""
    if python is not None:
        return Theirs(python.absolute())  # not resolved: a link's target would be the interpreter outside the environment
    made = folder / "bin" / "python"
    if not (folder / ".complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        print(f"Installing nnU-Net {NNUNET} into {folder}", flush=True)
        venv.create(folder, with_pip=True, symlinks=True)
        ours = version("torch")
        wanted = [f"torch=={ours.partition('+')[0]}", f"nnunetv2=={NNUNET}"]
        subprocess.run([made, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *_torch_index(ours), *wanted], check=True)
        if not _has_cuda(made):
            for primus in folder.glob("lib/python*/site-packages/nnunetv2/training/nnUNetTrainer/primus"):
                shutil.rmtree(primus)
        (folder / ".complete").touch()
    return Theirs(made)


def variables(cores: int, raw: Path, preprocessed: Path, results: Path) -> dict[str, str]:
    """What nnU-Net reads from the environment."""
    return {
        "nnUNet_raw": str(raw),
        "nnUNet_preprocessed": str(preprocessed),
        "nnUNet_results": str(results),
        "nnUNet_def_n_proc": str(cores),
        "nnUNet_n_proc_DA": str(cores),
        "nnUNet_compile": "f",
    }


def our_variables() -> dict[str, str]:
    """This clone is what is measured, wherever the scripts lie."""
    return {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def our_command() -> list[str]:
    """`autoseg` as a user calls it; as a module where it is not installed."""
    script = Path(sys.executable).parent / "autoseg"
    return [str(script)] if script.exists() else [sys.executable, "-m", "autoseg"]


def cores_at_hand() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _torch_index(torch: str) -> list[str]:
    """Where pip finds a CPU build, unless it is told of wheels anyway."""
    if not torch.endswith("+cpu") or os.environ.get("PIP_FIND_LINKS"):
        return []
    return ["--extra-index-url", "https://download.pytorch.org/whl/cpu"]


def _has_cuda(python: Path) -> bool:
    answer = subprocess.run([python, "-c", "import torch; print(torch.version.cuda or '')"], capture_output=True, text=True, check=True)
    return bool(answer.stdout.strip())
